"""What GNU as wants to know when it reads a statement, and what it has made numbers of by then."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.source import Unit
from support.gnu_as import agree, gnu

pytestmark = pytest.mark.oracle

# Between the two labels of each is something whose size GNU as knows in the end only.
APART = {
    "an alignment": ".balign 16",
    "one that needs nothing": ".p2align 2",
    ".org": ".org 32",
    "the counter": ". = . + 8",
    "a literal pool": "ldr x9, =0x123456789; .ltorg",
}
ASKED = [
    ".if b - a; .endif",
    ".rept b - a; nop; .endr",
    "ldr x0, =b - a",
    "lsl x0, x1, #(b - a) & 31",
    ".set k, b - a; .if k; .endif",
    ".balign b - a",
]
LATER = [
    "lsl x1, x1, #k", "ubfx x1, x1, #k, #2", "extr x1, x1, x2, #k", "ccmp x1, #k, #0, eq",
    "tbz x1, #k, .", "hint #k", "prfm #k, [x2]", "dsb #k", "isb #k", "clrex #k", "msr daifset, #k",
    "movk x1, #1, lsl #k * 2", "add x1, x2, x3, lsl #k", "eon x1, x2, x3, ror #k",
    "movi v0.4s, #1, lsl #k", "shl v0.4s, v1.4s, #k", "ext v0.16b, v1.16b, v2.16b, #k",
    "ld1 {v0.8b}, [x1], #k", "addg x1, x2, #16, #k", "rmif x1, #k, #1", "ldr x1, =k * 2",
    "ldr x1, =k - j",
]  # fmt: skip
WAITS = """
add x1, x1, #k; subs w1, w1, #k * 2; cmp x1, #-k; mov x1, #k; movk x1, #k, lsl #16; and x6, x6, #k
tst x1, #k; svc #k; brk #k + 1; ldr x1, [x2, #k]; ldrb w1, [x2], #k; ldp x1, x2, [x3, #k]!
ldur x1, [x2, #-k]; prfum pldl1keep, [x2, #k]; ldr x1, =k; ldr x2, =k + 1; str q0, [x1, #k * 2]
.set k, 8
"""


def refused(text: str, folder: Path, encoder: Encoder) -> AssemblyError:
    """Our error for what GNU as refuses, too."""
    assert isinstance(gnu(text, folder, check=False), str)
    with pytest.raises(AssemblyError) as caught:
        assemble(Unit.from_text("t.s", text), encoder.encode)
    return caught.value


@pytest.mark.parametrize("name", APART)
def test_a_distance_is_no_number_yet(name: str, tmp_path: Path, encoder: Encoder) -> None:
    for statement in ASKED:
        text = f"a: nop\n{APART[name]}\nb:\n{statement}\n"
        assert "known here" in str(refused(text, tmp_path, encoder)).replace("there", "here"), text
        # Without what is between them it is one.
        agree(f"a: nop\nb:\n{statement}\n", tmp_path, encoder)
    agree(f"a: nop\n{APART[name]}\nb: mov x0, #b - a\n.word b - a\n", tmp_path, encoder)


@pytest.mark.parametrize("statement", LATER)
def test_most_numbers_have_to_be_known(statement: str, tmp_path: Path, encoder: Encoder) -> None:
    text = f"{statement}\n.set k, 2\n.set j, 1\n"
    assert "known" in refused(text, tmp_path, encoder).message
    agree(f".set k, 8\n.set j, 1\n{statement}\n", tmp_path, encoder)


def test_some_numbers_may_come_later(tmp_path: Path, encoder: Encoder) -> None:
    agree(WAITS, tmp_path, encoder)


@pytest.mark.parametrize(
    "text",
    [
        ".irpc c, abc; .byte '\\c'; .endr",
        ".macro m c; .byte '\\c, '\\t', '\\\\'; .ascii \"it's \\c'\\c'\"; .endm; m d",
        ".irpc c, abc; .ascii \"'\\c'\"; .byte 'x', '\\''; .endr",
    ],
)
def test_a_character_of_a_body_is_a_number(text: str, tmp_path: Path, encoder: Encoder) -> None:
    agree(text.replace("; ", "\n") + "\n", tmp_path, encoder)


def test_a_label_before_a_macro_is_its_name(tmp_path: Path, encoder: Encoder) -> None:
    assert "label" in refused("l: .macro m\nnop\n.endm\nm\n", tmp_path, encoder).message
