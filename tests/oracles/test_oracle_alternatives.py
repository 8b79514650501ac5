"""Boot-time alternatives of shipped kernels, against what the kernel's own code is handed."""

from __future__ import annotations

import re
import struct
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from relokit.linker.kernel.alternatives import ENTRY, Alternatives, read_alternatives
from relokit.linker.kernel.cpu_capabilities import capability_names
from relokit.linker.kernel.kallsyms import Kallsyms, read_kallsyms
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.linker.kernel.shipped import relocation_code

pytestmark = pytest.mark.oracle

KERNELS = ("kernel_5_10", "kernel_6_1", "kernel_6_12", "kernel_6_12_16k", "kernel_7")
TABLE = ("__alt_instructions", "__alt_instructions_end")
RELATIVE = 0x403
"""R_AARCH64_RELATIVE (ELF for the Arm 64-bit Architecture, 5.7.16)."""


class Shipped:
    def __init__(self, path: Path) -> None:
        self.kernel = open_kernel(path)
        self.image = self.kernel.image
        self.symbols = read_kallsyms(self.image)
        started = time.process_time()
        self.alternatives = read_alternatives(self.image, self.symbols)
        self.seconds = time.process_time() - started

    def without_names(self) -> Kallsyms:
        """Symbols of a kernel that does not name its table."""
        rows = zip(self.symbols.names, self.symbols.types, self.symbols.offsets, strict=True)
        return Kallsyms.of((row for row in rows if row[0] not in TABLE), self.symbols.link_base)


@pytest.fixture(scope="module", params=KERNELS)
def one(request: pytest.FixtureRequest) -> Shipped:
    return Shipped(request.getfixturevalue(request.param))


def bounds(alternatives: Alternatives) -> tuple[int, int]:
    return alternatives.start, alternatives.end


def handed_over(one: Shipped, tmp_path: Path) -> tuple[int, int]:
    """Start and end of the table as the code that applies it gets them.

    By objdump: two addresses made side by side (5.10), or that of the pair of pointers, whose
    values are in the Image or, in kernels that relocate themselves by RELA, beside their places.
    """
    at = one.symbols.offset("apply_boot_alternatives")
    path = tmp_path / "code.bin"
    path.write_bytes(one.image[at : one.symbols.end(at)])
    command = ["aarch64-linux-gnu-objdump", "-D", "-b", "binary", "-m", "aarch64"]
    text = subprocess.run(
        [*command, f"--adjust-vma={at:#x}", str(path)], capture_output=True, text=True, check=True
    ).stdout
    pages: dict[str, int] = {}
    made: list[int] = []
    for name, page, source, low in re.findall(
        r"adrp\t(x\d+), 0x(\w+)|add\tx\d+, (x\d+), #0x(\w+)", text
    ):
        if name:
            pages[name] = int(page, 16)
        elif source in pages:
            made.append(pages[source] + int(low, 16))
    words = np.frombuffer(one.image[: len(one.image) & ~7], "<u8")
    middle = np.flatnonzero(words[1:-1] == RELATIVE)
    addends = dict(zip(words[middle].tolist(), words[middle + 2].tolist(), strict=True))
    base = one.symbols.link_base
    for place in made:
        pair = [
            (addends.get(base + place + 8 * n) or int(words[place // 8 + n])) - base
            for n in range(2)
            if place % 8 == 0 and place + 16 <= len(one.image)
        ]
        if len(pair) == 2 and 0 < pair[0] < pair[1] <= len(one.image):
            return pair[0], pair[1]
    return next((low, high) for low, high in pairwise(made) if low < high)


def test_the_table_is_the_one_that_the_kernel_applies(one: Shipped, tmp_path: Path) -> None:
    assert bounds(one.alternatives) == handed_over(one, tmp_path)
    assert ENTRY * len(one.alternatives) == one.alternatives.end - one.alternatives.start
    assert len(one.alternatives) > 10_000


def test_a_table_without_a_name_is_found(one: Shipped) -> None:
    assert bounds(read_alternatives(one.image, one.without_names())) == bounds(one.alternatives)


def test_a_table_is_found_without_any_symbol(one: Shipped) -> None:
    nothing = Kallsyms.of((), 0)
    assert bounds(read_alternatives(one.image, nothing)) == bounds(one.alternatives)


def test_every_entry_is_what_its_bytes_say(one: Shipped) -> None:
    table = one.image[one.alternatives.start : one.alternatives.end]
    said = []
    for at, fields in zip(
        range(one.alternatives.start, one.alternatives.end, ENTRY),
        struct.iter_unpack("<iiHBB", table),
        strict=True,
    ):
        place, replacement, capability, size, replacement_size = fields
        if size:
            named = at + place, size, at + 4 + replacement, replacement_size
            said.append((*named, capability & 0x7FFF))
    text = one.alternatives.within(0, len(one.image))
    assert said == [
        (alt.place, alt.size, alt.replacement, alt.replacement_size, alt.capability) for alt in text
    ]
    # Where the top bit of a capability says that it is a function, it says the same as the sizes.
    flagged = [
        bits >> 15 == 1 for _, _, bits, size, _ in struct.iter_unpack("<iiHBB", table) if size
    ]
    assert not any(flagged) or flagged == [alt.callback for alt in text]
    functions = {alt.replacement for alt in text if alt.callback}
    assert functions
    assert all(one.symbols.names_at(function) for function in functions)


def test_relocation_code_has_alternatives_in_7_only(one: Shipped) -> None:
    """And those bring their words along: the clean of each page is run twice."""
    code = relocation_code(one.kernel, one.symbols)
    found = one.alternatives.within(code.start, code.end)
    release = re.search(rb"Linux version (\d+)", bytes(one.image))
    assert release
    if release[1] != b"7":
        assert found == ()
        return
    assert [(alt.size, alt.replacement_size, alt.callback) for alt in found] == [
        (4, 4, False),
        (12, 12, False),
    ]
    assert len({alt.capability for alt in found}) == 1
    assert found == one.alternatives.replacing_from(code.start, code.end)
    assert [alt.replacement - code.start for alt in found] == [0x138, 0x13C]
    nop = 0xD503201F
    for alt in found:
        words = struct.unpack_from(f"<{alt.size // 4}I", one.image, alt.place)
        assert set(words) == {nop}


def test_reading_is_quick(one: Shipped) -> None:
    """About as long as the symbols take, or less: nothing that grows with more than the Image."""
    started = time.process_time()
    read_kallsyms(one.image)
    assert one.seconds < 4 * (time.process_time() - started)


KNOWN_CAPABILITIES = {
    "5.10": {4: "Privileged Access Never", 11: "Virtualization Host Extensions"},
    "6.1": {29: "Privileged Access Never", 37: "Virtualization Host Extensions"},
    "6.12": {50: "52-bit Virtual Addressing (LPA2)", 51: "Virtualization Host Extensions"},
    "7.2": {
        62: "52-bit Virtual Addressing (LPA2)",
        63: "Virtualization Host Extensions",
        103: "need_arm_si_l1_workaround_4311569",
    },
}


def test_capabilities_have_the_names_of_the_feature_tables(one: Shipped) -> None:
    names = capability_names(one.image, one.symbols)
    release = re.search(rb"Linux version (\d+\.\d+)", bytes(one.image))
    assert release
    assert KNOWN_CAPABILITIES.get(release[1].decode(), {}).items() <= names.items()
    assert any("erratum" in name for name in names.values())
    # One name to one number; and most of those that alternatives ask for have one.
    assert len(set(names.values())) == len(names) >= 50
    used = {
        alt.capability for alt in one.alternatives.within(0, len(one.image)) if not alt.callback
    }
    assert len(used & names.keys()) > len(used) / 2
