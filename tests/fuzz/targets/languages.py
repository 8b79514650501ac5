"""Texts in a language: assembly, ld scripts, expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from fuzz.door import Door, WrongError
from fuzz.mutations import text_of, within
from fuzz.targets import own
from fuzz.targets.elf_files import spots
from relokit.building import encoder
from relokit.codegen import gas
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.gas.instructions.arithmetic import parse
from relokit.codegen.object import Object
from relokit.codegen.source import Unit
from relokit.linker.elf.elf_reader import read_object
from relokit.linker.elf.elf_writer import write_exec, write_rel
from relokit.linker.link.linking import link
from relokit.linker.script.parser import parse_script
from relokit.linker.script.words import WORDS, WORDS_OF_BODIES

MACROS = """
	.macro	twice a, b=1, c:req, rest:vararg
	.if \\a - \\b
	.byte \\a, \\b
	.exitm
	.else
	.irp r, \\rest
	mov x\\r, #\\@
	.endr
	.endif
	twice 1, 1, \\c, 2
	.endm
	twice 2, 1, x
	.balign 4
	.rept 3
1:	b 1b
	cbz x0, 2f
2:	.irpc c, abcd
	.ascii "\\c"
	.endr
	.endr
	.set one, 2b - 1b
	.equiv three, (one << 2) | 5 ^ ~1
	.ifdef one
	.fill 3, 4, 0xff
	.elseif three > 4
	.org . + 8
	.endif
value	.req x7
	ldr value, =0x123456789
	ldr x0, =symbol
	adrp x1, :pg_hi21:symbol
	add x1, x1, :lo12:symbol
	.ltorg
symbol:
"""
EXTENSIONS = """
	pacia x1, sp
	autdzb x3
	pacga x0, x5, x16
	ldraa x0, [x5, #8]!
	ldaddal w1, w2, [x3]
	stclrlb w1, [sp]
	swpah w1, w2, [x3]
	casal x0, x1, [x4]
	caspal x0, x1, x2, x3, [x4]
	irg x0, x1, x2
	subps x0, sp, x1
	setf8 w1
	wfet x3
	mrs x0, s3_0_c1_c0_0
	msr daifset, #2
	mrs x1, id_aa64mmfr2_el1
	tlbi vae1is, x0
	dc civac, x1
	sys #3, c7, c14, #1, x2
"""
FLOATS = """
	fmov d0, #1.5
	fmov s1, #0x40000000
	fmov v2.4s, #-2.0e0
	fcmp d1, #0.0
	fcmpe s1, #0.0
	fmov x0, d1
	ld1 {v0.16b, v1.16b}, [x0], #32
	ldp q0, q1, [x2, #-32]!
	movi v0.2d, #0xff00ff00ff00ff00
"""
VALUES = """
	.warning "look"
	.file 1 "one.c"
	.loc 1 5
	.string "a", "b\\0\\377"
	.hword 1, 2
	.byte 0
start:	.dword start, end - start
end:	.zero 5
	.set alias, start + 4
	.equ beside, end - start
	.quad alias, beside
	.arch armv8.2-a
	.org end + 64
	.balign 4
	.inst 0xd503201f, 0
	.ident "it"
	.macro inner name
\\name:	.byte 1
	.endm
	inner first
	.purgem inner
	.ifc a, a
	.ifnc a, b
	.ifb
	.ifndef nothing
	.byte 2
	.endif
	.endif
	.endif
	.endif
"""
_COMMENT = re.compile(r"/\*.*?\*/|[ \t]*//[^\n]*", re.DOTALL)
_ROUTINE = re.compile(
    r"(?:^\t\.type|^\t\.globl)(?:(?!^\t\.size).)*^\t\.size[^\n]*\n", re.DOTALL | re.MULTILINE
)
DATA = """
	.section .data.one, "awM", %progbits, 8
	.align 3
	.quad symbol - . , 1f, -1
1:	.word 5, 6 + (2 * 3)
	.pushsection .note, "a", %note
	.asciz "text\\n", "\\x41\\101"
	.popsection
	.subsection 2
	.p2align 0, , 7
	.balign 1, 0xcc
	.skip 24, 1
	.previous
	.globl symbol
	.weak other
	.type symbol, %function
	.size symbol, 8
	.hidden symbol
	.local here
	.cfi_startproc
	.cfi_def_cfa x29, 16
	.cfi_endproc
	movz x0, #:abs_g1:symbol
	b.eq 1b
	.inst 0xd503201f
	.hword 'a'
"""
SCRIPT = """
MEMORY { ram (rwx) : ORIGIN = 0x40000000, LENGTH = 64M  rom : org = 0, len = 1M * 4 }
PHDRS { one PT_LOAD FLAGS(5); two PT_NOTE; }
ENTRY(start)
OUTPUT_ARCH(aarch64)
base = DEFINED(start) ? ADDR(.text) : MAX(1, 2) + CONSTANT(MAXPAGESIZE);
PROVIDE_HIDDEN(end_of = ALIGN(base, 0x1000) | ~3);
SECTIONS
{
  . = 0x40000000 + SIZEOF_HEADERS;
  .text ALIGN(16) : SUBALIGN(8)
  {
    start = .;
    *(EXCLUDE_FILE(*cpu_reset*) .text .stub)
    *(SORT_BY_NAME(.text.*))
    KEEP(*(SORT_BY_ALIGNMENT(.idmap.text)))
    *(.text .[keh]*)
    . = ALIGN(64);
    BYTE(1) SHORT(2) LONG(. - start) QUAD(end_of) SQUAD(-1)
    FILL(0x1234)
    . += 16;
  } >ram :one =0x90909090
  .data (NOLOAD) : { *(.data* .rodata* .note* .bss*) *(COMMON) } >ram AT>ram
  /DISCARD/ : { *(.comment) }
  . = . + 1;
  last = ABSOLUTE(.) - LENGTH(ram) * 2 / 3 % 5 << 1 >> 1;
}
ASSERT(last >= base && !0, "the end")
NOCROSSREFS(.text .note)
"""
EXPRESSIONS = (
    "1 + 2 * (3 - ~4) << 5 >> 6 & 7 | 8 ^ 9 / 10 % 11",
    "symbol - . + 0x10 - (1b - 2f)",
    "a == b && c != d || !e < 1 >= 2",
    "((((((1))))))",
    "'a' + 0b101 - 017",
    "-symbol + 1f",
)
"""Of GNU as."""


def _texts() -> Sequence[bytes]:
    # Parts of our own, so that a case is small: much is tried in little time.
    texts = [MACROS, DATA, EXTENSIONS, FLOATS, VALUES]
    for unit in own.program().source.units:
        texts += _ROUTINE.findall(_COMMENT.sub("", unit.text))
    return [one.encode() for one in texts if _is_whole(one)]


def _is_whole(text: str) -> bool:
    """Whether a part of a unit does without the rest."""
    defined = set(re.findall(r"^(\.L\w+):", text, re.MULTILINE))
    return defined >= set(re.findall(r"\.L\w+", text))


def _assembled(case: bytes) -> object:
    text = case.decode("utf-8", "replace")
    return assemble(Unit.from_text("case.S", text), encoder().encode)


def _scripts() -> Sequence[bytes]:
    return [SCRIPT.encode(), own.program().source.script.text.encode(), LAYOUT.encode()]


def _parsed(case: bytes) -> object:
    return parse_script(Unit.from_text("case.lds", case.decode("utf-8", "replace")))


def _linked(case: bytes) -> object:
    script = Unit.from_text("case.lds", case.decode("utf-8", "replace"))
    return link((*own.program().objects, _piece()), script, name="case")


PIECES = """
	.section .text.pieces, "ax", %progbits
	.globl symbol, weak, far
	.weak weak
symbol:	bl far
	b.ne near
	cbz x0, near
	tbz x1, #3, near
near:	adr x0, words
	adrp x1, words
	add x1, x1, :lo12:words
	ldrb w2, [x1, :lo12:words]
	ldrh w2, [x1, :lo12:words]
	ldr w2, [x1, :lo12:words]
	ldr x2, [x1, :lo12:words]
	ldr q2, [x1, :lo12:words]
	ldr x3, words
	movz x4, #:abs_g3:words
	movk x4, #:abs_g2_nc:words
	movk x4, #:abs_g1_nc:words
	movk x4, #:abs_g0_nc:words
	ret
	.section .rodata.str1.1, "aMS", %progbits, 1
one:	.asciz "one string"
two:	.asciz "string"
	.section .rodata.cst8, "aM", %progbits, 8
	.quad 5, 5, 6
	.section .data.words, "aw", %progbits
	.balign 16
words:	.quad symbol, weak, one, two + 3
	.word symbol - ., symbol - words
	.hword near - words
	.section .bss.room, "aw", %nobits
	.skip 100
	.section .text.far, "ax", %progbits
far:	ret
"""
LAYOUT = """
SECTIONS
{
  . = 0x80000;
  .text : { *(.text .text.*) }
  .rodata : { *(.rodata .rodata.*) }
  .data : { first = .; *(.data .data.*) }
  .bss : { *(.bss .bss.*) *(COMMON) }
}
"""


@cache
def _piece() -> Object:
    return assemble(Unit.from_text("pieces.S", PIECES), encoder().encode)


def _pieces() -> Sequence[bytes]:
    return [write_rel(_piece()), own.objects()[0]]


def _put_together(case: bytes) -> object:
    """An object of others, linked twice."""
    unit = read_object(case, "case.o")
    script = Unit.from_text("case.lds", LAYOUT)
    first = link((unit,), script, name="case")
    if write_exec(first) != write_exec(link((unit,), script, name="case")):
        raise WrongError("another program the second time")
    return first


def _expressions() -> Sequence[bytes]:
    return [one.encode() for one in EXPRESSIONS]


def _directives() -> Sequence[str]:
    """Those that the assembler has, by its text: so none is forgotten."""
    found: set[str] = set()
    for folder in gas.__path__:
        for path in Path(folder).glob("*.py"):
            found |= set(re.findall(r'"(\.[a-z][a-z0-9_]+)"', path.read_text()))
    return sorted(found)


_SIGNS = "( ) + - * / % << >> & | ^ ~ ! == . ,"
_OF_AS = f"""
{" ".join(_directives())} {_SIGNS}
.macro .endm .rept .irp .irpc .endr .exitm .purgem .req .unreq x0 w30 sp v0.4s # = : ; " \\ // /*
symbol 1b 2f 0 [x0,#8]! lsl ldr b msr tlbi \\@
"""
_OF_LD = f"""
{" ".join(sorted(WORDS | WORDS_OF_BODIES))} {_SIGNS} ; {{ }} * ? = : > AT> .text .data ram /* "
"""

DOORS = (
    Door("assembly", "assembly, with Keystone", _texts, text_of(_OF_AS), _assembled, 0.3),
    Door("expression", "expressions of GNU as", _expressions, text_of(_OF_AS),
         lambda case: parse(case.decode("utf-8", "replace")), 0.04),
    Door("script", "ld scripts, parsed", _scripts, text_of(_OF_LD), _parsed, 1.0),
    Door("link-object", "objects of others, linked", _pieces, within(spots), _put_together, 3.0),
    Door("link", "ld scripts, and objects linked by them", _scripts, text_of(_OF_LD), _linked, 1.2),
)  # fmt: skip
