"""What an alias is, and whose name is whose, by GNU as; and what it refuses of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.source import Unit
from support.gnu_as import agree, gnu

pytestmark = pytest.mark.oracle

BEFORE = ("b: nop", ".type b, %function; .size b, 4")
ALIASES = {
    "before the type, a place behind": (".set a, b + 4", *BEFORE),
    "before the type, the same place": (".set a, b", *BEFORE),
    "behind label and type": (*BEFORE, "a = b + 4"),
    "between label and type": ("b: nop", ".equ a, b", ".type b, %function; .size b, 4"),
    "between type and label": (".type b, %function; .size b, 4", ".equiv a, b + 4", "b: nop"),
    "an alias of an alias": (".set a, b; .set c, a", *BEFORE),
    "an alias of an alias to come": (".set c, a; .set a, b", *BEFORE),
    "a chain with a number early": (".set c, a; .set a, b + 4", *BEFORE),
    "a chain with a number late": (".set c, a + 4; .set a, b", *BEFORE),
    "an object of a function": (".type a, %object; .set a, b", *BEFORE),
    "a function of an object": (*BEFORE, ".type a, %object; .type b, %object; a = b"),
    "its own size": (".size a, 8; .set a, b", *BEFORE),
    "nothing is left of it": ("c: nop", ".type b, %function", ".set a, b - b + c", "b: nop"),
    "a number in front": (".type b, %function", ".set a, 4 + b", "b: nop"),
    "global, weak, hidden": (".globl a; .weak b; .hidden b; .set a, b", *BEFORE),
    "of a number": (".type b, %function; .set b, 5; .set a, b; .set c, b + 1",),
    "of what becomes a number": (".type b, %function; .set a, b + 1; .set c, b; .set b, 5",),
    "again": ("a = 1; .hidden a; .type a, %function; .size a, 4; .weak a; a = 2",),
    "again, when its size waits": (
        "a = 1; .hidden a; .size a, c - b; a = 2",
        "b: nop; .balign 16; c:",
    ),
    "names of registers as they are, or in one case": (
        "Foo .req x2; mov x1, Foo; mov x1, foo; mov x1, FOO; .unreq foo",
    ),
    "sections whose names have attributes": (
        '.section .text.2, "a"; nop; .section .rodata.x, ""; .byte 1; .section .bss.y, "a"',
        '.zero 4; .section .data.z, "a"; .byte 2; .section .init, "a"; nop; .section .z, "a"',
        '.byte 3; .section .rodata.c, "ax"; nop',
    ),
    "texts with blanks": (".ifc a b, a  b; nop; .endif; .ifnc a b , a c; nop; .endif",),
}


@pytest.mark.parametrize("name", ALIASES)
def test_aliases_are_what_gnu_as_makes_of_them(name: str, tmp_path: Path, encoder: Encoder) -> None:
    agree("\n".join([*ALIASES[name], ""]), tmp_path, encoder)


REFUSED = [
    ".section bar, \"a\"; bar: nop", "bar: nop; .section bar, \"a\"", "bal 1f; 1:", "bnv 1f; 1:",
    "Foo .req x2; mov x1, fOo", "Foo .req x2; .unreq fOO", ".warning a b", ".print", ".print a b",
    ".file x", '.file 1 "a" "b"', '.file 1 "a" md5 0x1', ".file", ".ident x", ".loc 1 a", ".loc",
    ".loc 0 1 0", ".cfi_startproc", ".cfi_endproc", ".cfi_startproc x; .cfi_endproc",
    ".cfi_def_cfa_offset 16", ".cfi_startproc; .cfi_offset 29; .cfi_endproc", ".arch a b",
    "cmle v0.8b, v1.8b, v2.8b", "cmlo d0, d1, d2", "fcmlt s0, s1, s2", "faclt v0.2d, v1.2d, v2.2d",
    "ld1 {v31.2s-v1.2s}, [sp]", "st2 {v31.4s-v0.4s}, [sp]",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_gnu_as_refuses_we_refuse(text: str, tmp_path: Path, encoder: Encoder) -> None:
    assert isinstance(gnu(text + "\n", tmp_path, check=False), str)
    with pytest.raises(AssemblyError) as caught:
        assemble(Unit.from_text("t.s", text + "\n"), encoder.encode)
    assert (caught.value.where or "").startswith("t.s")


NAMED = [
    ".quad .data", "ldr x0, =.bss", "b .text", ".globl .data", '.section x, "a"; .quad x',
    '.section .eh_frame, "a"; .quad 1', ".file 1 \"a\"; nop; .loc 1 2 view 0",
]  # fmt: skip


@pytest.mark.parametrize("text", NAMED)
def test_what_gnu_as_makes_something_of_its_own_of_is_refused_by_name(
    text: str, tmp_path: Path, encoder: Encoder
) -> None:
    gnu(text + "\n", tmp_path)
    with pytest.raises(AssemblyError):
        assemble(Unit.from_text("t.s", text + "\n"), encoder.encode)


NOTES = """
.file "a.c"
.ident "someone"
.arch armv8-a+crc
.file 0 "/d" "a.c" md5 0x00112233445566778899aabbccddeeff
.file 1 "e" "b.c"
f: .cfi_startproc
.loc 1 2 3 is_stmt 0 view .LV1
.cfi_def_cfa_offset 16; .cfi_offset 29, -16; .cfi_remember_state; .cfi_restore_state
nop
.loc 0 4 view -0
.cfi_restore 29; .cfi_endproc
"""


def test_notes_leave_nothing(tmp_path: Path, encoder: Encoder) -> None:
    gnu(NOTES, tmp_path)
    (section,) = assemble(Unit.from_text("t.s", NOTES), encoder.encode).sections
    assert (section.name, section.size) == (".text", 4)
