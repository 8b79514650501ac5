"""Tables of CPU capabilities laid out here, with the BTF that describes them, then read back."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError
from relokit.linker.kernel.cpu_capabilities import capability_names
from relokit.linker.kernel.kallsyms import Kallsyms

BASE = 0xFFFF_8000_0800_0000
SIZE = 40
MATCHER, OWN, OTHER = 0x100, 0x120, 0x140
TEXTS, RELA, BTF, TABLES = 0x400, 0x800, 0x1000, 0x2000
SYMBOLS = Kallsyms.of(
    [
        ("has_cpuid_feature", "t", MATCHER),
        ("need_workaround", "t", OWN),
        ("has_other", "t", OTHER),
    ],
    link_base=BASE,
)
FEATURES = [
    (0, "", MATCHER),
    (7, "Virtualization Host Extensions", MATCHER),
    (7, "a second way to the same", OTHER),
    (9, "", OWN),
    (11, "", OTHER),
]
HWCAPS = [(0, "HWCAP_FP", MATCHER), (0, "HWCAP_AES", MATCHER)]


def btf(size: int = SIZE, members: tuple[tuple[str, int], ...] | None = None) -> bytes:
    members = members or (("desc", 0), ("capability", 8), ("matches", 16))
    strings = b"\0arm64_cpu_capabilities\0"
    body = b""
    for name, offset in members:
        body += struct.pack("<III", len(strings), 0, 8 * offset)
        strings += name.encode() + b"\0"
    types = struct.pack("<III", 1, 4 << 24 | len(members), size) + body
    header = (b"\x9f\xeb\x01\x00", 24, 0, len(types), len(types), len(strings))
    return struct.pack("<4s5I", *header) + types + strings


def image_of(
    *tables: list[tuple[int, str, int]], rela: bool, described: bytes | None = None
) -> bytes:
    """Pointers stored, or left zero with their values in RELA entries."""
    image = bytearray(0x4000)
    described = btf() if described is None else described
    image[BTF : BTF + len(described)] = described
    at, text_at, rela_at = TABLES, TEXTS, RELA

    def point(place: int, target: int) -> None:
        nonlocal rela_at
        if rela:
            struct.pack_into("<QQQ", image, rela_at, BASE + place, 0x403, BASE + target)
            rela_at += 24
        else:
            struct.pack_into("<Q", image, place, BASE + target)

    for table in tables:
        for number, text, function in table:
            if text:
                image[text_at : text_at + len(text)] = text.encode()
                point(at, text_at)
                text_at += len(text) + 1
            struct.pack_into("<H", image, at + 8, number)
            point(at + 16, function)
            at += SIZE
        at += SIZE  # an entry of zeros ends a table
    return bytes(image)


@pytest.mark.parametrize("rela", [False, True])
def test_capabilities_are_named_by_their_tables(rela: bool) -> None:
    image = memoryview(image_of(HWCAPS, FEATURES, rela=rela))
    assert capability_names(image, SYMBOLS) == {
        7: "Virtualization Host Extensions",
        9: "need_workaround",
    }


@pytest.mark.parametrize(
    "described",
    [
        btf(members=(("desc", 0), ("matches", 16))),
        btf(members=(("desc", 0), ("capability", 8), ("matches", 40))),
        btf(members=(("desc", 4), ("capability", 8), ("matches", 16))),
        btf(size=36),
        btf(size=0, members=(("desc", 0), ("capability", 0), ("matches", 0))),
        b"",
    ],
)
def test_a_layout_that_cannot_be_is_refused(described: bytes) -> None:
    image = memoryview(image_of(FEATURES, rela=False, described=described))
    with pytest.raises(FormatError, match=r"some Image: .*BTF"):
        capability_names(image, SYMBOLS, where="some Image")


@settings(max_examples=200)
@given(st.data(), st.booleans())
def test_damaged_tables_are_read_or_refused(data: st.DataObject, rela: bool) -> None:
    image = bytearray(image_of(HWCAPS, FEATURES, rela=rela))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.sampled_from([RELA, BTF, TABLES])) + data.draw(st.integers(0, 400))
        image[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FormatError):
        names = capability_names(memoryview(bytes(image)), SYMBOLS)
        assert all(0 <= number < 1 << 16 and name.isprintable() for number, name in names.items())
