"""With kinds chosen, nothing else is shown or counted; what else has changed is context."""

from __future__ import annotations

import pytest

from relokit.building import encoder
from relokit.cli.terminal.diff_view import side_by_side
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.read.object_side import object_side
from relokit.diffing.read.routine import Side
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.report import summary, unified

LEFT = """
        .type go, %function
go:     mov x1, #1
        ldr x2, [x1]
        add x3, x2, #4
        str x3, [x1, #8]
        ret
        .size go, . - go
"""
RIGHT = """
        .type go, %function
go:     mov x1, #1
        ldr x9, [x1]
        add x3, x9, #8
        isb
        nop
        str x3, [x1, #8]
        ret
        .size go, . - go
"""


def side(text: str) -> Side:
    return object_side(assemble(Unit.from_text("t.S", text), encoder().encode), "t.o")


def test_only_barriers() -> None:
    found = compare(side(LEFT), side(RIGHT), kinds=[ChangeKind.BARRIER])
    assert found.changed == 1
    lines = unified(found).splitlines()
    assert [line for line in lines[2:] if line[0] in "+-"] == ["+isb"]
    assert " add x3, x9, #8" in lines  # as it is now
    assert summary(found) == "1 barrier inserted: isb"
    assert "isb" in side_by_side(found, colour=False)
    everything = summary(compare(side(LEFT), side(RIGHT)))
    assert "registers renamed" in everything
    assert "arithmetic" in everything


@pytest.mark.parametrize("kind", ChangeKind)
def test_each_kind_alone_adds_up_to_all(kind: ChangeKind) -> None:
    found = compare(side(LEFT), side(RIGHT), kinds=[kind])
    all_of_it = compare(side(LEFT), side(RIGHT)).changes()
    assert found.changed == sum(change.kind is kind for change in all_of_it)
    assert found.same == (not unified(found))
