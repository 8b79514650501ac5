"""BTF blobs put together here after Documentation/bpf/btf.rst, then read; then damaged ones."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError
from relokit.codegen.kimage_layouts import LAYOUTS
from relokit.linker.kernel.btf import kimage_layout_from, read_struct

KIMAGE_6_1 = {
    "head": 0,
    "entry": 8,
    "last_entry": 16,
    "start": 24,
    "control_code_page": 32,
    "nr_segments": 56,
    "segment": 64,
    "type": 0x278,
    "arch": 0x280,
}
ARCH = {
    "dtb": 0,
    "dtb_mem": 8,
    "kern_reloc": 0x10,
    "el2_vectors": 0x18,
    "ttbr0": 0x20,
    "ttbr1": 0x28,
    "zero_page": 0x30,
    "phys_offset": 0x38,
    "t0sz": 0x40,
}


class Blob:
    """Types in order, strings as they come."""

    def __init__(self) -> None:
        self.types = b""
        self.strings = b"\0"

    def name(self, text: str) -> int:
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def plain(self, kind: int, count: int, tail: bytes, name: str = "x") -> None:
        self.types += struct.pack("<III", self.name(name), kind << 24 | count, 8) + tail

    def struct(
        self, name: str, size: int, members: dict[str, int], *, bitfields: bool = False
    ) -> None:
        info = bitfields << 31 | 4 << 24 | len(members) + 1
        self.types += struct.pack("<III", self.name(name), info, size)
        self.types += struct.pack("<III", 0, 1, 0)
        for member, offset in members.items():
            width = 1 << 24 if bitfields else 0
            self.types += struct.pack("<III", self.name(member), 1, width | offset * 8)

    def image(self, *, header: int = 24, banner: bytes = b"Linux version 6.1.0-50 (gcc)") -> bytes:
        head = struct.pack(
            "<HBBIIIII",
            0xEB9F, 1, 0, header, 0, len(self.types), len(self.types), len(self.strings),
        ).ljust(header, b"\0")  # fmt: skip
        # The magic alone, twice, is no blob.
        decoys = b"\x9f\xeb\x01\x00" + bytes(40) + b"\x9f\xeb\x01\x00" + b"\xff" * 40
        return decoys + banner + bytes(1) + head + self.types + self.strings + bytes(64)


def all_kinds() -> Blob:
    """One type of each kind, with what follows each: the walk has to step over all of them."""
    blob = Blob()
    tails = {1: 4, 2: 0, 3: 12, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0, 12: 0, 14: 4, 16: 0, 17: 4, 18: 0}
    for kind, size in tails.items():
        blob.plain(kind, 0, b"\xff" * size)
    for kind, size in {5: 12, 6: 8, 13: 8, 15: 12, 19: 12}.items():
        blob.plain(kind, 3, b"\xff" * 3 * size)
    return blob


def kernel(kimage: dict[str, int], arch: dict[str, int] | None, size: int = 0x2E0) -> memoryview:
    blob = all_kinds()
    blob.struct("kimage_other", 8, {"head": 0})
    blob.struct("kimage", size, kimage, bitfields=True)
    if arch is not None:
        blob.struct("kimage_arch", 72, arch)
    return memoryview(blob.image())


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
