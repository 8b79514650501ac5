"""Mergeable constants and strings: what is left, where, and what refers to it, as in GNU ld."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from relokit.codegen.base.errors import LinkError
from support.gnu_ld import assemble, compare, ours

SCRIPT = "SECTIONS { . = 0x1000; .text : { *(.text) } .s : { *(.s) *(.s.*) } .d : { *(.data) } }"
MERGED = {
    "equal": '.section .s, "aMS", @progbits, 1; .string "ab", "c", "ab"',
    "tails": '.section .s, "aMS", @progbits, 1; .string "c", "bc", "xbc", "abc", "c"',
    "numbers": '.section .s, "aM", @progbits, 4; .word 1, 2, 1, 3, 2',
    "of eight bytes": '.section .s, "aM", @progbits, 8; .balign 8; .quad 1, 2, 1, 3, 2',
    "aligned less": '.section .s, "aM", @progbits, 16; .balign 8; .quad 1, 2, 1, 2',
    "aligned more, which is not merged": '.section .s, "aM", @progbits, 4; .balign 8; .word 1, 1',
    "not whole": '.section .s, "aM", @progbits, 4; .word 1, 1; .byte 1',
    "wide": '.section .s, "aMS", @progbits, 2; .hword 97, 98, 0, 98, 0, 0, 0, 97, 98, 0',
    "an end across two": '.section .s, "aMS", @progbits, 2; .hword 97, 0x100, 1, 0, 1, 0',
    "no terminator": '.section .s, "aMS", @progbits, 1; .string "ab"; .ascii "xab"',
    "empty ones": '.section .s, "aMS", @progbits, 1; .string "", "", "ab", "", ""',
    "empty ones alone": '.section .s, "aMS", @progbits, 1; .string "", "", ""',
    "aligned strings": """.section .s, "aMS", @progbits, 1
        .balign 8; .string "abcdefg"; .balign 8; .string "xyz"; .balign 8; .string "abcdefg"
        .balign 8; .string "defg"; .balign 8; .string "0123456789defg" """,
    "aligned and not": """.section .s, "aMS", @progbits, 1
        .balign 4; .string "xab"; .string "ab"; .balign 4; .string "ab"; .string "q" """,
    "with relocations, which is not merged": '.section .s, "aM", @progbits, 8; .quad .s, .s',
}
USES = """
	.text
	.globl	first, second
first:
	adrp	x0, one
	add	x0, x0, :lo12:one
	adrp	x1, two
	ldr	x1, [x1, :lo12:two]
	ret
	.data
second:
	.quad	one, two, two + 1, one
"""


def refused(objects: list[Path]) -> None:
    with pytest.raises(LinkError, match="end alike, and are") as caught:
        ours(SCRIPT, objects)
    assert "take the M out" in (caught.value.hint or "")


@pytest.mark.parametrize("name", MERGED)
def test_one_section(tmp_path: Path, name: str) -> None:
    objects = [assemble(tmp_path, "a.s", MERGED[name] + "\n")]
    if name == "aligned and not":
        refused(objects)
    else:
        compare(tmp_path, SCRIPT, objects)


@pytest.mark.parametrize("name", MERGED)
def test_two_objects_with_the_same(tmp_path: Path, name: str) -> None:
    objects = [
        assemble(tmp_path, file, f"{MERGED[name]}\n{more}\n")
        for file, more in (("a.s", ".text; nop"), ("b.s", '.section .s.x, "a"; .byte 7'))
    ]
    if name == "aligned and not":
        refused(objects)
    else:
        compare(tmp_path, SCRIPT, objects)


@pytest.mark.parametrize("binding", [".local", ".globl", ".weak"])
def test_symbols_go_where_their_constant_goes(tmp_path: Path, binding: str) -> None:
    text = f"""
	.section .s, "aMS", @progbits, 1
	.byte	0
	.string	"something"
{binding}	one, two
two:	.string	"thing"
one:	.string	"one"
	.string	"one"
"""
    objects = [
        assemble(tmp_path, "a.s", '.section .s, "aMS", @progbits, 1\n.string "a one", "x"\n'),
        assemble(tmp_path, "b.s", text + USES),
    ]
    compare(tmp_path, SCRIPT, objects)


def test_a_section_symbol_goes_by_its_addend(tmp_path: Path) -> None:
    text = """
	.section .s, "aM", @progbits, 8
	.balign	8
	.quad	1, 2, 3
	.data
	.quad	.s, .s + 8, .s + 20
	.text
	adrp	x0, .s + 16
	add	x0, x0, :lo12:.s + 16
	ldr	x1, .s + 8
"""
    other = '.section .s, "aM", @progbits, 8\n.balign 8\n.quad 3, 2\n'
    objects = [assemble(tmp_path, "a.s", other), assemble(tmp_path, "b.s", text)]
    compare(tmp_path, SCRIPT, objects)


def test_local_labels_of_constants_are_dropped(tmp_path: Path) -> None:
    """As gas keeps them: what refers to such a section names the symbol."""
    text = """
	.section .s, "aMS", @progbits, 1
.LC0:	.string	"thing"
named:	.string	"other"
	.data
	.quad	.LC0, named
"""
    compare(tmp_path, SCRIPT, [assemble(tmp_path, name, text) for name in ("a.s", "b.s")])


def test_only_what_is_alike_is_merged(tmp_path: Path) -> None:
    """By output section, entry size, alignment and kind, in the order of objects."""
    text = """
	.section .s.a, "aMS", @progbits, 1; .string "abc", "c"
	.section .s.b, "aMS", @progbits, 1; .balign 2; .string "abc"
	.section .s.c, "aM", @progbits, 4; .balign 4; .ascii "abc\\0abc\\0"
	.section .s.d, "aMS", @progbits, 1; .string "abc", "zc"
	.section .t, "aMS", @progbits, 1; .string "abc"
"""
    script = "SECTIONS { .t : { *(.t) } .s : { *(.s.d) *(.s.c) *(.s.b) *(.s.a) } }"
    objects = [assemble(tmp_path, name, text) for name in ("a.s", "b.s")]
    compare(tmp_path, script, objects)
    script = "SECTIONS { x = .; .s : { *(.s.*) end = .; } .t : { *(.t) } size = SIZEOF(.s); }"
    compare(tmp_path, script, objects)
    compare(tmp_path, "SECTIONS { .s : { a.o(.s.a) *(.s.*) } /DISCARD/ : { *(*) } }", objects)


MIXED = frozenset({0, 4, 5, 6, 10, 19, 20, 23})
"""Those with strings that are aligned in a way that we do not know GNU ld's rule for."""


@pytest.mark.parametrize("seed", range(24))
def test_any_constants(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    objects = []
    for unit in range(draw.randint(1, 3)):
        lines = []
        for number in range(draw.randint(1, 3)):
            kind = draw.choice(("aMS,1", "aMS,1", "aMS,2", "aM,4", "aM,8"))
            flags, size = kind.split(",")
            name = f".s.{draw.choice('abc')}{flags}{size}"
            lines.append(f'.section {name}, "{flags}", @progbits, {size}')
            align = draw.choice((1, 1, 4, 8)) if flags == "aMS" else int(size)
            for index in range(draw.randint(1, 9)):
                lines.append(f".balign {align}, 0")
                if draw.random() < 0.5:
                    lines.append(f"l{unit}_{number}_{index}:")
                text = "".join(draw.choice("ab") for _ in range(draw.randint(0, 4)))
                if flags == "aM":
                    lines.append(f".{'word' if size == '4' else 'quad'} {draw.randint(1, 4)}")
                elif size == "1":
                    lines.append(f'.string "{text}"')
                else:
                    lines.append(".hword " + ", ".join([*(str(ord(one)) for one in text), "0"]))
        labels = [line[:-1] for line in lines if line.endswith(":")]
        lines.append(".data")
        lines += [f".quad {label}" for label in labels]
        objects.append(assemble(tmp_path, f"u{unit}.s", "\n".join(lines) + "\n"))
    if seed in MIXED:
        refused(objects)
    else:
        compare(tmp_path, SCRIPT, objects)
