"""BTF blobs put together here after Documentation/bpf/btf.rst, then read; then damaged ones."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError
from relokit.codegen.kimage_layouts import LAYOUTS
from relokit.linker.kernel.btf import kimage_layout_from, read_struct
from support.btf_blobs import ARCH, KIMAGE_6_1, Blob, all_kinds, kernel


def test_struct_is_found_behind_every_kind_of_type() -> None:
    found = read_struct(kernel(KIMAGE_6_1, ARCH), "kimage")
    assert found is not None
    assert found.size == 0x2E0
    assert dict(found.bit_offsets) == {name: 8 * at for name, at in KIMAGE_6_1.items()}
    assert found.offset("type") == 0x278
    assert read_struct(kernel(KIMAGE_6_1, ARCH), "kima") is None
    assert read_struct(kernel(KIMAGE_6_1, ARCH), "head") is None


def test_longer_header_is_stepped_over() -> None:
    blob = Blob()
    blob.struct("kimage", 8, {"head": 0})
    assert read_struct(memoryview(blob.image(header=32)), "kimage") is not None


def test_layouts_of_known_kernels() -> None:
    assert kimage_layout_from(kernel(KIMAGE_6_1, ARCH)) == LAYOUTS["6.1"]
    old = {name: at for name, at in KIMAGE_6_1.items() if name != "arch"}
    blob = Blob()
    blob.struct("kimage", 0x280, old)
    image = memoryview(blob.image(banner=b"Linux version 5.10.0"))
    assert kimage_layout_from(image) == LAYOUTS["5.10"]
    moved = KIMAGE_6_1 | {"type": 0x2F8, "arch": 0x300}
    blob = Blob()
    blob.struct("kimage", 0x380, moved)
    blob.struct("kimage_arch", 72, ARCH)
    image = memoryview(blob.image(banner=b"Linux version 7.2.13+deb14"))
    assert kimage_layout_from(image) == LAYOUTS["7.2"]


@pytest.mark.parametrize("member", [name for name in KIMAGE_6_1 if name != "arch"])
def test_kimage_without_a_member(member: str) -> None:
    kimage = {name: at for name, at in KIMAGE_6_1.items() if name != member}
    with pytest.raises(FormatError, match=f"no member '{member}'"):
        kimage_layout_from(kernel(kimage, ARCH))


@pytest.mark.parametrize("member", [name for name in ARCH if name != "dtb"])
def test_kimage_arch_unlike_any_known(member: str) -> None:
    with pytest.raises(FormatError, match=f"kimage_arch.{member}"):
        kimage_layout_from(kernel(KIMAGE_6_1, ARCH | {member: 0x44}))
    # A kernel from the middle of the series has fewer members.
    fewer = {name: at for name, at in ARCH.items() if name != member}
    assert kimage_layout_from(kernel(KIMAGE_6_1, fewer)).arch == 0x280


def test_no_btf_no_kimage() -> None:
    with pytest.raises(FormatError, match="no BTF") as caught:
        kimage_layout_from(memoryview(bytes(4096)), where="vmlinuz")
    assert "vmlinuz" in str(caught.value)
    with pytest.raises(FormatError, match="no BTF"):
        kimage_layout_from(memoryview(b"\x9f\xeb\x01\x00"))
    with pytest.raises(FormatError, match="no struct kimage"):
        kimage_layout_from(memoryview(all_kinds().image()))


def test_damaged_types() -> None:
    blob = Blob()
    blob.plain(25, 0, b"")
    blob.struct("kimage", 8, {"head": 0})
    with pytest.raises(FormatError, match="kind 25"):
        read_struct(memoryview(blob.image()), "kimage")
    blob = Blob()
    blob.struct("kimage", 8, {"head": 0})
    blob.types = blob.types[:-4]
    with pytest.raises(FormatError, match="ends inside"):
        read_struct(memoryview(blob.image()), "kimage")
    blob = Blob()
    blob.struct("kimage", 8, {"head": 9})
    with pytest.raises(FormatError, match="damaged member"):
        read_struct(memoryview(blob.image()), "kimage")
    blob = Blob()
    blob.struct("kimage", 1 << 20, {"head": 0})
    with pytest.raises(FormatError, match="1048576 bytes"):
        read_struct(memoryview(blob.image()), "kimage")
    blob = Blob()
    blob.struct("kimage", 8, {"head" * 200: 0})
    with pytest.raises(FormatError, match="damaged member"):
        read_struct(memoryview(blob.image()), "kimage")


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    st.integers(0, 2000),
)
def test_damage_never_gives_anything_but_a_layout_or_a_refusal(
    damage: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(kernel(KIMAGE_6_1, ARCH))
    for at, value in damage:
        data[at % len(data)] = value
    with contextlib.suppress(FormatError):
        layout = kimage_layout_from(memoryview(bytes(data[: len(data) - cut % len(data)])))
        assert layout.size <= 1 << 16
