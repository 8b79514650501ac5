"""The ``.if`` family of GNU as (its manual, "If"): which statements of a unit count."""

from __future__ import annotations

from collections.abc import Callable

from relokit.codegen.base.bits import signed
from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.gas.instructions.arithmetic import parse
from relokit.codegen.gas.macros import squeezed
from relokit.codegen.gas.unit import UnitState

MAX_CONDITIONS = 100
"""Conditions within one another."""


@dataclass(slots=True)
class _Condition:
    """An open ``.if``: whether its statements count now, or any of its branches has."""

    taken: bool
    any_taken: bool
    outer: bool
    else_seen: bool = False


class Conditions:
    """Those that are open; ``unit`` knows the symbols that they ask for.

    ``floor`` of them were open before the macro, loop or file began whose statements come now: it
    has to end its own, and no others.
    """

    def __init__(self, unit: UnitState) -> None:
        self._unit = unit
        self._open: list[_Condition] = []
        self.floor = 0

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def skipping(self) -> bool:
        """Whether what comes does not count."""
        return bool(self._open) and not self._open[-1].taken

    def close_own(self) -> None:
        """Forget those above the floor."""
        del self._open[self.floor :]

    def open(self, test: Callable[[], bool]) -> None:
        """A new one, which asks ``test`` if the one around it counts. Raises AssemblyError."""
        outer = not self.skipping
        taken = outer and test()
        if len(self._open) >= MAX_CONDITIONS:
            raise AssemblyError(f"more than {MAX_CONDITIONS} conditions within one another")
        self._open.append(_Condition(taken, taken, outer))

    def value(self, operands: str) -> int:
        """The number in ``operands``, which has to be known."""
        return signed(self._unit.number(parse(operands), "a condition"))

    def defined(self, operands: str) -> bool:
        """Whether there is a symbol of this name."""
        symbol = self._unit.symbols.get(operands.strip())
        return symbol is not None and symbol.defined

    def _innermost(self) -> _Condition:
        if len(self._open) <= self.floor:
            raise AssemblyError("no .if is open here")
        return self._open[-1]

    def else_if(self, operands: str) -> None:
        """``.elseif``."""
        condition = self._innermost()
        if condition.else_seen:
            raise AssemblyError(".elseif behind .else")
        condition.taken = condition.outer and not condition.any_taken and self.value(operands) != 0
        condition.any_taken |= condition.taken

    def otherwise(self, operands: str) -> None:
        """``.else``."""
        condition = self._innermost()
        if condition.else_seen:
            raise AssemblyError(".else twice")
        condition.else_seen = True
        condition.taken = condition.outer and not condition.any_taken

    def end(self, operands: str) -> None:
        """``.endif``."""
        self._innermost()
        self._open.pop()


_Carry = Callable[[Conditions, str], None]


def _two(operands: str) -> tuple[str, str]:
    left, comma, right = operands.partition(",")
    if not comma:
        raise AssemblyError("wants two texts with a comma between")
    return squeezed(left), squeezed(right)


def _compare(test: Callable[[int], bool]) -> _Carry:
    return lambda self, operands: self.open(lambda: test(self.value(operands)))


def _same(wanted: bool) -> _Carry:
    def condition(self: Conditions, operands: str) -> None:
        self.open(lambda: len(set(_two(operands))) == (1 if wanted else 2))

    return condition


def _blank(wanted: bool) -> _Carry:
    return lambda self, operands: self.open(lambda: (not operands.strip()) is wanted)


def _known(wanted: bool) -> _Carry:
    return lambda self, operands: self.open(lambda: self.defined(operands) is wanted)


CONDITIONS: dict[str, _Carry] = {
    ".if": _compare(lambda value: value != 0),
    ".ifne": _compare(lambda value: value != 0),
    ".ifeq": _compare(lambda value: value == 0),
    ".ifge": _compare(lambda value: value >= 0),
    ".ifgt": _compare(lambda value: value > 0),
    ".ifle": _compare(lambda value: value <= 0),
    ".iflt": _compare(lambda value: value < 0),
    ".ifdef": _known(True),
    ".ifndef": _known(False),
    ".ifnotdef": _known(False),
    ".ifc": _same(True),
    ".ifeqs": _same(True),
    ".ifnc": _same(False),
    ".ifnes": _same(False),
    ".ifb": _blank(True),
    ".ifnb": _blank(False),
    ".elseif": Conditions.else_if,
    ".else": Conditions.otherwise,
    ".endif": Conditions.end,
}
"""By directive, what becomes of its operands."""
