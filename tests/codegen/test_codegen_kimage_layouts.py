"""struct kimage of shipped kernels, against the offsets read out of their BTF and their code."""

from __future__ import annotations

import pytest

from relokit.codegen.base.errors import TargetError
from relokit.codegen.kimage_layouts import LAYOUTS, layout_named

# Offsets as the kernels' BTF has them: version, sizeof, flags word, arch; the rest is common.
KNOWN = [
    ("5.10", 0x280, 0x278, None),
    ("6.1", 0x2E0, 0x278, 0x280),
    ("6.12", 0x2E0, 0x278, 0x280),
    ("7.2", 0x380, 0x2F8, 0x300),
]
# Immediates of the loads in machine_kexec and the relocation code.
ARCH = {
    "6.1": (0x288, 0x290, 0x298, 0x2A0, 0x2A8, 0x2B0, 0x2B8, 0x2C0),
    "7.2": (0x308, 0x310, 0x318, 0x320, 0x328, 0x330, 0x338, 0x340),
}


@pytest.mark.parametrize(("name", "size", "flags", "arch"), KNOWN)
def test_offsets(name: str, size: int, flags: int, arch: int | None) -> None:
    layout = layout_named(name)
    assert layout.name == name
    assert (layout.size, layout.flags, layout.arch) == (size, flags, arch)
    assert (layout.head, layout.entry, layout.last_entry, layout.start) == (0, 8, 0x10, 0x18)
    assert (layout.control_code_page, layout.nr_segments, layout.segment) == (0x20, 0x38, 0x40)


@pytest.mark.parametrize("name", ARCH)
def test_offsets_of_arch(name: str) -> None:
    layout = LAYOUTS[name]
    assert (
        layout.dtb_mem,
        layout.kern_reloc,
        layout.el2_vectors,
        layout.ttbr0,
        layout.ttbr1,
        layout.zero_page,
        layout.phys_offset,
        layout.t0sz,
    ) == ARCH[name]
    assert layout.t0sz + 8 <= layout.size


def test_a_kernel_without_arch_has_none_of_its_fields() -> None:
    layout = LAYOUTS["5.10"]
    for field in ("dtb_mem", "kern_reloc", "el2_vectors", "ttbr0", "ttbr1", "zero_page"):
        with pytest.raises(TargetError, match=r"5\.10 has no struct kimage_arch") as caught:
            getattr(layout, field)
        assert "6.1" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["", "6", "6.2", "linux"])
def test_unknown_versions_are_refused(name: str) -> None:
    with pytest.raises(TargetError, match="no kimage layout") as caught:
        layout_named(name)
    assert caught.value.hint == "known: 5.10, 6.1, 6.12, 7.2"


def test_every_layout_is_found_by_its_name() -> None:
    assert all(layout_named(name) is layout for name, layout in LAYOUTS.items())
