"""Text, references and kinds of single instructions; reading what is named on either side."""

from __future__ import annotations

import random
import struct
import subprocess
import sys

import pytest

from relokit.codegen.kimage_layouts import LAYOUTS
from relokit.codegen.object import Object, Section, SectionFlag, SectionType, Symbol, SymbolType
from relokit.diffing.instructions.decode import decode, decode_words
from relokit.diffing.instructions.normalise import with_fields
from relokit.diffing.read.object_side import object_side
from relokit.diffing.read.routine import MAX_ROUTINE, MAX_ROUTINES, DiffError, Names, Routine, Side
from relokit.diffing.read.sides import parse_operand, parse_target
from relokit.diffing.routines.classify import ChangeKind, kind_of
from relokit.diffing.routines.compare import compare
from support.bounds import cpu_time_below

BASE = 0xFFFF_8000_0800_0000
NAMES = Names([(BASE, "f"), (BASE + 0x2000, "table"), (BASE + 0x3000, "g")])
RET = 0xD65F03C0


def texts(*words: int, names: Names = NAMES, at: int = BASE) -> list[str]:
    routine = Routine("f", at, struct.pack(f"<{len(words)}I", *words))
    return [one.text for one in decode(routine, names)]


def test_adrp_refers_to_what_it_is_completed_to() -> None:
    # adrp x0, .+0x2000; add x0, x0, #0x10 / ldr x1, [x0, #8]
    assert texts(0xD0000000, 0x91004000, RET)[:2] == [
        "adrp x0, table+0x10",
        "add x0, x0, #:lo12:table+0x10",
    ]
    assert texts(0xD0000000, 0xF9400401, RET)[:2] == [
        "adrp x0, table+0x8",
        "ldr x1, [x0, #:lo12:table+0x8]",
    ]
    assert texts(0xD0000000, 0xF9400001, RET)[1] == "ldr x1, [x0, #:lo12:table]"


def test_a_register_written_in_between_no_longer_holds_a_page() -> None:
    assert texts(0xD0000000, 0xD2800000, 0x91004000)[2] == "add x0, x0, #0x10"


def test_branches_by_label_and_by_name() -> None:
    assert texts(0x14000001, 0x94000BFF, 0x94000C00) == ["b <+0x4>", "bl g", "bl g+0x8"]
    assert texts(0x94000400, names=Names(()))[0] == f"bl {BASE + 0x1000:#x}"


def test_a_literal_is_data() -> None:
    assert texts(0x58000040, RET, 0x11111111, 0x22222222) == [
        "ldr x0, <+0x8>",
        "ret",
        ".word 0x11111111",
        ".word 0x22222222",
    ]


def test_what_is_no_instruction_is_a_number() -> None:
    assert texts(0xFFFFFFFF, RET) == [".inst 0xffffffff", "ret"]
    assert texts(0xD5004C5F, RET) == [".inst 0xd5004c5f", "ret"]  # among system instructions


def test_a_word_that_comes_again_refers_to_another_place() -> None:
    # adrp x0, .+0x1000; b .-4; cbz w1, .+8; tbz x2, #33, .; ldr x3, .+4: each twice
    code = struct.pack("<5I", 0xB0000000, 0x17FFFFFF, 0x34000041, 0xB6080002, 0x58000023) * 2
    assert [" ".join(text) for text in decode_words(code, 0xFFFF_8000_0000_0FF0)] == [
        "adrp x0, #0xffff800000001000",
        "b #0xffff800000000ff0",
        "cbz w1, #0xffff800000001000",
        "tbz x2, #0x21, #0xffff800000000ffc",
        "ldr x3, #0xffff800000001004",
        "adrp x0, #0xffff800000002000",
        "b #0xffff800000001004",
        "cbz w1, #0xffff800000001014",
        "tbz x2, #0x21, #0xffff800000001010",
        "ldr x3, #0xffff800000001018",
    ]


def test_every_word_is_decoded_whatever_is_around_it() -> None:
    """Noise, of which most is no instruction, and code that repeats itself in it."""
    noise = random.Random(1)
    words = [noise.choice((RET, 0x94000001, noise.getrandbits(32))) for _ in range(30_000)]
    code = struct.pack(f"<{len(words)}I", *words)
    alone = [
        next(decode_words(code[at : at + 4], 0x1000 + at)) for at in range(0, len(code), 4 * 31)
    ]
    assert list(decode_words(code, 0x1000))[::31] == alone


@pytest.mark.parametrize(
    ("word", "kind", "text"),
    [
        (0xD5033F9F, ChangeKind.BARRIER, "dsb sy"),
        (0xD5033FDF, ChangeKind.BARRIER, "isb"),
        (0xD503229F, ChangeKind.BARRIER, "csdb"),
        (0xD50B7E20, ChangeKind.CACHE, "dc civac, x0"),
        (0xD508751F, ChangeKind.CACHE, "ic iallu"),
        (0xD508871F, ChangeKind.TLB, "tlbi vmalle1"),
        (0xD5381000, ChangeKind.SYSTEM, "mrs x0, sctlr_el1"),
        (0xD5087800, ChangeKind.SYSTEM, "at s1e1r, x0"),
        (0xD50343DF, ChangeKind.SYSTEM, "msr daifset, #3"),
        (0xF9400C1C, ChangeKind.MEMORY, "ldr x28, [x0, #0x18]"),
        (0x58000000, ChangeKind.MEMORY, "ldr x0, <+0x0>"),
        (0xD4000002, ChangeKind.CONTROL, "hvc #0"),
        (RET, ChangeKind.CONTROL, "ret"),
        (0xD69F03E0, ChangeKind.CONTROL, "eret"),
        (0x91004000, ChangeKind.ARITHMETIC, "add x0, x0, #0x10"),
        (0x9E670000, ChangeKind.ARITHMETIC, "fmov d0, x0"),
        (0xD503201F, ChangeKind.HINT, "nop"),
        (0xD503245F, ChangeKind.HINT, "bti c"),
        (0x00000000, ChangeKind.DATA, "udf #0"),
    ],
)
def test_kinds_and_spellings(word: int, kind: ChangeKind, text: str) -> None:
    (instruction,) = decode(Routine("f", BASE, struct.pack("<I", word)), Names(()))
    assert (kind_of(instruction), instruction.text) == (kind, text)


def test_fields_are_followed_through_copies_and_forgotten_when_overwritten() -> None:
    # mov x19, x0; mov x0, #1; ldr x1, [x19, #0x18]; ldr x2, [x0, #0x18]; bl g; ldr x1, [x19]
    words = (0xAA0003F3, 0xD2800020, 0xF9400E61, 0xF9400C02, 0x94000BFC, 0xF9400261)
    routine = Routine("f", BASE, struct.pack(f"<{len(words)}I", *words))
    shown = [one.text for one in with_fields(decode(routine, NAMES), LAYOUTS["6.1"])]
    assert shown[2] == "ldr x1, [x19, #kimage.start]"
    assert shown[3] == "ldr x2, [x0, #0x18]"
    assert shown[5] == "ldr x1, [x19, #kimage.head]"


def test_operands_and_targets() -> None:
    assert parse_operand("series:12,page=16k:f").symbol == "f"
    assert parse_operand("series:12,page=16k").symbol is None
    assert parse_operand("dir/some.o:f").text == "dir/some.o"
    # No file has such a name, and none can be asked for.
    assert parse_operand(f"{'x' * 5000}:f").symbol == "f"
    assert parse_operand("a\0b:f").symbol == "f"
    target = parse_target("series:12,page=16k,el=vhe,va=47,layout=7.2")
    assert (target.series, target.page_size, str(target.regime), target.va_bits) == (
        12, 16384, "vhe", 47,
    )  # fmt: skip
    assert parse_target("series:12,page=16k,va=47,el=vhe").name == "series:12,page=16k,va=47,el=vhe"


@pytest.mark.parametrize(
    "pattern",
    [
        (0x91000400,),  # one word over and over
        (0x91000400, 0x91000821),
        tuple(0x91000000 | n << 10 for n in range(4096)),  # each of them somewhere, once
    ],
)
def test_large_routines_take_a_bounded_time(pattern: tuple[int, ...]) -> None:
    count = 1 << 15
    one = [pattern[n % len(pattern)] for n in range(count)]
    other = [pattern[(n * 7 + 3) % len(pattern)] | 1 << 5 for n in range(count)]
    sides = [
        Side(name, {"f": Routine("f", BASE, struct.pack(f"<{count}I", *words))}, Names(()))
        for name, words in (("one", one), ("other", other))
    ]
    with cpu_time_below(30):
        assert not compare(sides[0], sides[1]).same


def many_functions(count: int, size: int) -> Object:
    """A section of returns that ``count`` functions of ``size`` bytes share."""
    code = struct.pack("<I", RET) * (1 << 16)
    section = Section(
        ".text", SectionType.PROGBITS, SectionFlag.ALLOC | SectionFlag.EXEC, 4, code, len(code)
    )
    symbols = (Symbol(f"f{n}", 0, 4 * n, size, type=SymbolType.FUNC) for n in range(count))
    return Object("many.o", (section,), tuple(symbols))


def test_one_of_too_many_functions_can_be_named() -> None:
    many = many_functions(MAX_ROUTINES + 1, 4)
    with pytest.raises(DiffError, match=r"more than the 4096(.|\n)*FILE:symbol"):
        object_side(many, "many.o")
    assert list(object_side(many, "many.o", wanted="f7").routines) == ["f7"]
    overlapping = many_functions(MAX_ROUTINES - 1, MAX_ROUTINE // 2)
    with pytest.raises(DiffError, match="routines of more than"):
        object_side(overlapping, "many.o")


def test_a_function_without_a_size_ends_at_the_next() -> None:
    side = object_side(many_functions(3, 0), "many.o")
    assert [len(one.code) for one in side.routines.values()] == [4, 4, (1 << 18) - 8]


def test_comparing_needs_no_machine() -> None:
    code = (
        "import sys, relokit.diffing.read.sides, relokit.diffing.routines.report; "
        "print([name for name in sys.modules if name.startswith('relokit.runtime') "
        "or name in ('capstone', 'unicorn', 'lief', 'numpy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
