"""Our decoded text against objdump's: of routines, of whole kernels, of the encoding space."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.system_registers import decode_system, split_key
from relokit.diffing.instructions.decode import decode_words
from relokit.diffing.instructions.ignorable import Ignorable, ignorable_word
from relokit.diffing.read.sides import read_side
from relokit.linker.kernel.kallsyms import read_kallsyms
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.linker.kernel.opened import Files

pytestmark = pytest.mark.oracle

KERNELS = ("kernel_5_10", "kernel_6_1", "kernel_6_12", "kernel_6_12_16k", "kernel_7")
WHOLE = "kernel_5_10"
"""The smallest: compared where it stands; what others have beside it, word by word."""
RELOCATION = "arm64_relocate_new_kernel"

Words = npt.NDArray[np.uint32]
Text = tuple[str, str]
"""Mnemonic and operands."""
Difference = tuple[str, str, str]
"""Word, our text and objdump's, as they are compared."""


def _list(match: re.Match[str]) -> str:
    first, last = int(match[2]), int(match[4])
    numbers = ((first + n) % 32 for n in range((last - first) % 32 + 1))
    return "{" + ", ".join(f"{match[1]}{number}.{match[3]}" for number in numbers) + "}"


def _unsigned(digits: str, bits: int = 64) -> str:
    return str(int(digits, 16 if "x" in digits else 10) & (1 << bits) - 1)


_shown = cache(_unsigned)

# Two ways to write one instruction. Each pattern is of a whole text, a line an instruction, and
# what it finds is written the second way; then the texts must be equal.
SPELLINGS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"(?://|;).*$", ""),  # remarks
    (r"<.*$", ""),  # symbols
    (r"#", ""),
    (r"\t", " "),
    (r" +$", ""),
    # Hints that have got a name.
    (r"^clearbhb$", "hint 22"),
    (r"^hint 0x6$", "dgh"),
    # Two names of one condition.
    (r"^(bc?)\.cc\b", r"\1.lo"),
    (r"^(bc?)\.cs\b", r"\1.hs"),
    (r", cc$", ", lo"),
    (r", cs$", ", hs"),
    # A register that is not used, or is zero.
    (r"^((?:tlbi|ic|dc|at) \w+), xzr$", r"\1"),
    (r"^(tlbi (?:vmall|all|paall)\w*|ic iall\w+), x\d+$", r"\1"),
    # System instructions that have got a name.
    (r"^cfp rctx, ", "sys 3, c7, c3, 4, "),
    (r"^dvp rctx, ", "sys 3, c7, c3, 5, "),
    (r"^cpp rctx, ", "sys 3, c7, c3, 7, "),
    # Registers one by one, or the first and the last.
    (r"\{([vz])(\d+)\.(\w+)-[vz](\d+)\.\w+\}", _list),
    # Numbers: with an exponent or without, hexadecimal or decimal, of 32 bits or signed.
    (r" (-?\d+\.\d+(?:e[+-]\d+)?)$", lambda match: f" {float(match[1])}"),
    (r"^(mov w\w+, )(-?\d\w*)$", lambda match: match[1] + _unsigned(match[2], 32)),
    (r"-?\b(?<!\.)(?:0x[0-9a-f]+|\d+)\b(?!\.)", lambda match: _shown(match[0])),
    # An alias, or what it stands for.
    (r"^orr (\w+), [wx]zr, (\d+)$", r"mov \1, \2"),
    (r"^bfxil (\w+), [wx]zr, (\d+), (\d+)$", r"bfc \1, \2, \3"),
    (r"^subps xzr, ", "cmpp "),
    (r"^([us])shll(2?) (.*), 0$", r"\1xtl\2 \3"),
)
# Younger than the oldest binutils we test with (2.40): as undefined there as it was then. Newer
# ones spell them; tests/diffing/test_diffing_beyond_capstone.py has what 2.47 says.
NEWER = re.compile(
    r"cas(a|l|al)?t |swpt(a|l|al)? |ldt(add|clr|set)(a|l|al)? |stt(add|clr|set)l? "
    r"|lda?txr |stl?txr |gcss?t?tr |(ldr|str) zt0, "
)
# Mask, value: undefined in DDI 0487, C7.2.101 to 104 (sz) and C6.2 (Rt of 64-byte accesses), and
# decoded by objdump all the same.
TAKEN_BY_OBJDUMP = (
    (0xBF60FC00, 0x0E60EC00), (0xBF60FC00, 0x2E60CC00),  # FMLAL, FMLSL; FMLAL2, FMLSL2
    (0xFFFFFC00, 0xF83F9000), (0xFFFFFC00, 0xF83FD000),  # ST64B, LD64B
    (0xFFE0FC00, 0xF820B000), (0xFFE0FC00, 0xF820A000),  # ST64BV, ST64BV0
)  # fmt: skip
# What objdump's text depends on the address of (DDI 0487, C4.1: PC-relative addressing, branches
# with an immediate, literals): mask and value.
PC_RELATIVE = (
    (0x1F000000, 0x10000000), (0x7C000000, 0x14000000), (0xFF000000, 0x54000000),
    (0x7C000000, 0x34000000),
    (0xBF000000, 0x18000000), (0xBF000000, 0x1C000000), (0xBF000000, 0x98000000),
    (0xFF000000, 0x9C000000),
)  # fmt: skip


def spelt(lines: Iterable[str]) -> list[str]:
    """``lines``, an instruction each, as they are compared."""
    text = "\n".join(lines).lower()
    for pattern, spelling in SPELLINGS:
        text = re.sub(pattern, spelling, text, flags=re.MULTILINE)
    return text.split("\n")


def agree(word: int, ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    system = decode_system(word)
    if system and system.form in ("mrs", "msr"):
        # Which registers have a name differs with age; test_oracle_sysregs compares the names.
        generic = "s{}_{}_c{}_c{}_{}".format(*split_key(system.key))
        differing = [{one, other} for one, other in zip(ours.split(), theirs.split(), strict=True)]
        return all(
            len(pair) == 1 or generic in {name.strip(",") for name in pair} for pair in differing
        )
    return theirs.startswith(".inst") and bool(NEWER.match(ours))


def objdump(code: bytes, path: Path, *options: str, base: int = 0) -> list[tuple[int, str]]:
    """Every word that objdump prints of ``code`` at VA ``base``, and its text."""
    path.write_bytes(code)
    command = ["aarch64-linux-gnu-objdump", "-D", "-b", "binary", "-m", "aarch64"]
    command += [f"--adjust-vma={base:#x}", *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = re.findall(r"^ *[0-9a-f]+:\t([0-9a-f]{8}) \t(.*)$", done.stdout, re.MULTILINE)
    return [(int(word, 16), text) for word, text in rows]


def differences(
    ours: Iterable[tuple[int, Text]], theirs: list[tuple[int, str]]
) -> list[Difference]:
    """Words on which the two do not agree, of the same words in the same order."""
    mine = list(ours)
    assert [word for word, _ in mine] == [word for word, _ in theirs]
    return [
        (f"{word:08x}", one, other)
        for (word, _), one, other in zip(
            mine,
            spelt(" ".join(text) for _, text in mine),
            spelt(text for _, text in theirs),
            strict=True,
        )
        if not agree(word, one, other)
    ]


def in_place(code: bytes, tmp_path: Path, base: int = 0) -> list[Difference]:
    """Words of ``code`` at VA ``base`` on which the two do not agree, each compared there."""
    words = struct.unpack(f"<{len(code) // 4}I", code)
    ours = zip(words, decode_words(code, base), strict=True)
    return differences(ours, objdump(code, tmp_path / "code.bin", "-z", base=base))


def is_relative(words: Words) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(words), np.bool_)
    for mask, value in PC_RELATIVE:
        found |= words & np.uint32(mask) == value
    return found


def whole(code: bytes, tmp_path: Path, base: int) -> list[Difference]:
    """Words of ``code`` at VA ``base`` on which the two do not agree, line for line.

    Our text is made of all of it, in place. objdump's is too where it depends on the place, which
    it can for PC-relative words only: the others are zeroed then, and objdump passes over zeros.
    Each other word is shown to objdump once; that our texts of it are all one, and one for all
    words, is looked at too. So every line of the whole disassembly is compared with an equal one.
    """
    words: Words = np.frombuffer(code, "<u4")
    ours = list(decode_words(code, base))
    relative = is_relative(words)

    fixed = sorted(set(compress(zip(words.tolist(), ours, strict=True), (~relative).tolist())))
    once = np.unique(words[~relative])
    found = differences(fixed, objdump(once.tobytes(), tmp_path / "once.bin", "-z"))

    moving = np.where(relative, words, 0).astype("<u4").tobytes()
    theirs = [row for row in objdump(moving, tmp_path / "moving.bin", base=base) if row[0]]
    mine = list(compress(ours, relative.tolist()))
    assert [word for word, _ in theirs] == words[relative].tolist()
    # What stands before the place, and the place; neither has a remark behind it here.
    our_ends = [operands.rpartition("#0x") for _, operands in mine]
    their_ends = [text.partition("  //")[0].rpartition("0x") for _, text in theirs]
    found += [
        (f"{word:08x}", one[2], other[2])
        for one, other, (word, _) in zip(our_ends, their_ends, theirs, strict=True)
        if one[2] != other[2]
    ]
    pairs = {
        (mnemonic, one[0], other[0]): word
        for (mnemonic, _), one, other, (word, _) in zip(
            mine, our_ends, their_ends, theirs, strict=True
        )
    }
    # The heads are compared as whole instructions, with a place that needs no comparison.
    return found + differences(
        [(word, (mnemonic, f"{head}#0x0")) for (mnemonic, head, _), word in pairs.items()],
        [(word, f"{head}0x0") for (_, _, head), word in pairs.items()],
    )


@cache
def encoder() -> Encoder:
    return Encoder()


def texts_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Link VA and bytes of a kernel's text and of its init text, in whole words."""
    image = open_kernel(path).image
    symbols = read_kallsyms(image)
    for start, end in (("_stext", "_etext"), ("_sinittext", "_einittext")):
        at, stop = symbols.offset(start), symbols.offset(end)
        if start == "_stext":
            at = 0  # the header and what _text has before _stext
        yield symbols.link_base + at, bytes(image[at : stop & ~3])


@pytest.mark.parametrize("name", KERNELS)
def test_routines_read_as_objdump_reads_them(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    side = read_side(str(request.getfixturevalue(name)), None, encoder, Files())
    assert RELOCATION in side.routines
    code = b"".join(one.code for one in side.routines.values())
    assert in_place(code, tmp_path) == []


def test_all_text_of_a_kernel_reads_as_objdump_reads_it(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for base, code in texts_of(request.getfixturevalue(WHOLE)):
        assert len(code) > 300_000
        assert whole(code, tmp_path, base) == []


def words_of(path: Path) -> Words:
    """Each word of a kernel's text once, but for those that depend on the place."""
    words: Words = np.frombuffer(b"".join(code for _, code in texts_of(path)), "<u4")
    return np.unique(words[~is_relative(words)])


def test_each_word_of_the_others_reads_as_objdump_reads_it(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Each that the first has not, of all their text, once."""
    found = {name: words_of(request.getfixturevalue(name)) for name in KERNELS}
    others = np.unique(np.concatenate([found[name] for name in KERNELS if name != WHOLE]))
    words = np.setdiff1d(others, found[WHOLE])
    assert len(words) > 300_000
    assert in_place(words.astype("<u4").tobytes(), tmp_path) == []


@pytest.mark.parametrize("name", KERNELS)
def test_text_in_place_reads_as_objdump_reads_it(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """All words of a stretch where they are, with nothing said about what depends on the place."""
    base, code = next(texts_of(request.getfixturevalue(name)))
    start, size = 0x10000, 0x40000
    assert in_place(code[start : start + size], tmp_path, base + start) == []


def test_the_encoding_space_reads_as_objdump_reads_it(tmp_path: Path) -> None:
    """What no kernel has yet: words drawn from all but the reserved, SVE and SME groups (C4.1)."""
    words: Words = np.random.default_rng(1).integers(0, 1 << 32, 150_000, np.uint32)
    words = words[words >> 25 & 15 >= 4]
    # So many encodings are those of system registers and instructions (op0 is 1 to 3) that few
    # of them would be drawn.
    system = words[:50_000] & np.uint32(0x3FFFFF) | np.uint32(0xD5080000)
    words = np.concatenate((words, system))
    for mask, value in TAKEN_BY_OBJDUMP:
        words = words[words & np.uint32(mask) != value]
    assert in_place(words.tobytes(), tmp_path) == []


def test_what_may_be_ignored_is_what_objdump_calls_so(tmp_path: Path) -> None:
    """By name: all hints, and all of data-processing with one source."""
    words = [0xD503201F | number << 5 for number in range(128)]
    words += [0xDAC10000 | code << 10 | n << 5 | 3 for code in range(64) for n in (4, 31)]
    # What is like one, and is none: with another size, register or opcode.
    words += [0x5AC10083, 0xDAC00083, 0xD5032000, 0xD65F0BFF, 0x9AC33083, 0xF8200400, 0xD503305F]
    data = np.array(words, np.uint32).tobytes()
    kinds: dict[int, Ignorable | None] = {}
    for word, text in objdump(data, tmp_path / "code.bin", "-z"):
        name = text.split()[0]
        # The result of PACGA is a number like any other.
        if name.startswith(("pac", "aut", "xpac")) and name != "pacga":
            kinds[word] = Ignorable.PAC
        elif name == "bti":
            kinds[word] = Ignorable.BTI
        elif word & 0xFFFFF01F == 0xD503201F:
            kinds[word] = Ignorable.HINTS
        else:
            kinds[word] = None
    # Not known to this objdump: PACM is HINT #39.
    kinds[0xD503201F | 39 << 5] = Ignorable.PAC
    ours = {word: ignorable_word(word) for word in words}
    assert {hex(word) for word in words if ours[word] is not kinds[word]} == set()
    assert len({kind for kind in kinds.values() if kind}) == 3
