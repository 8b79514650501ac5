"""The instructions of our own table: every form, with operands right and wrong, by GNU as."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from oracles.test_oracle_gnu_as_random import encodings, ours

from relokit.codegen.gas.instructions import extensions
from relokit.codegen.gas.instructions.encoder import Encoder
from support.gnu_as import agree

pytestmark = pytest.mark.oracle

MARCH = "-march=armv9.3-a+memtag+flagm+profile"
STRANGE = ["sp", "xzr", "wzr", "x31", "w0", "x3", "#4", "v0.4s", "[x1]", "foo"]


class Forms:
    """Lines for the table's forms, one operand in six of another kind than the form says."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def register(self, kind: str) -> str:
        if kind in "Pp":
            return f"{'x' if kind == 'P' else 'w'}{2 * self.random.randrange(16)}"
        special = {"X": "xzr", "W": "wzr", "S": "sp"}[kind]
        name = f"{'w' if kind == 'W' else 'x'}{self.random.randrange(31)}"
        return self.random.choice([name, name, special])

    def number(self, form: str) -> str:
        scale, bits = (3, 10) if form[0] == "j" else (int(form[1]), int(form.split(":")[2]))
        low, high = (0, 1 << bits) if form[0] == "u" else (-(1 << bits - 1), 1 << bits - 1)
        value = self.random.choice([low, high - 1, low - 1, high, self.random.randrange(low, high)])
        value = (value << scale) + self.random.choice([0, 0, 0, 0, 1])
        return self.random.choice(["#", ""]) + self.random.choice([str(value), hex(value)])

    def operand(self, form: str, last: str) -> str:
        if self.random.random() < 1 / 6:
            return self.random.choice(STRANGE)
        if form[0] == "=":
            number = int(last[1:]) + 1 if last[1:].isdigit() else 1
            return f"{last[0]}zr" if number == 31 else f"{last[0]}{number}"
        if form[0] in "uij":
            return self.number(form)
        if form[0] != "[":
            return self.register(form[0])
        inner, _, mark = form[1:].partition("]")
        base, _, offset = inner.partition(",")
        if offset and self.random.random() < 0.8:
            return f"[{self.register(base[0])}, {self.number(offset)}]{mark}"
        return f"[{self.register(base[0])}{self.random.choice(['', '', ', #0'])}]{mark}"

    def line(self, name: str, form: extensions.EncodedForm) -> str:
        operands: list[str] = []
        for one in form.operands:
            if not one.endswith("?") or self.random.random() < 0.5:
                operands.append(self.operand(one, operands[-1] if operands else ""))
        return f"{name} {', '.join(operands)}".strip()


@pytest.mark.parametrize("seed", [1, 2])
def test_each_form_is_encoded_as_gnu_as_encodes_it(
    seed: int, tmp_path: Path, encoder: Encoder
) -> None:
    forms = Forms(seed)
    table = extensions._table()
    lines = [
        forms.line(name, form)
        for name, several in table.items()
        for form in several
        for _ in range(10)
    ]
    lines = list(dict.fromkeys(lines))
    theirs, mine = encodings(lines, tmp_path, MARCH), ours(lines, encoder)
    assert len(theirs) > 0.4 * len(lines)
    assert {line: word for line, word in mine.items() if theirs.get(line) != word} == {}
    assert sorted(theirs.keys() - mine.keys()) == []
    assert {line.split()[0] for line in mine} == set(table)


SPELLINGS = """
.set offset, 16
start: ldapur x0, [x1, #offset]
stg x0, [x1, #2 * offset]!; addg x2, x3, #offset * 2, #1
end: b.none start; b.ul start; cset x0, first; csel x1, x2, x3, NONE
cmp x7, x1, uxtb; add sp, x1, x3, sxtw #3; subs x0, sp, x2, uxth; cmn sp, xzr, sxtb
dsb synxs; dsb oshnxs
"""


def test_numbers_are_symbols_and_conditions_have_other_names(
    tmp_path: Path, encoder: Encoder
) -> None:
    agree(SPELLINGS, tmp_path, encoder)
