"""Whether the order of two instructions matters, by their operands alone."""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import BARRIER, NOP
from relokit.runtime.mutation.encodings import LOAD, PAIR_MODE, SINGLE_MODE, encoding_of

FLAGS = 32
"""NZCV, beside the numbers of registers."""
ZERO = 31
_MEMORY = frozenset({"pair", "literal", "offset", "indexed", "register-offset"})
_READS_FLAGS = frozenset({"branch-if", "select", "conditional-compare"})
_JUMPS = frozenset(
    {"branch-if", "compare-branch", "test-branch", "branch", "register-branch", "exception"}
)
_READS_SYSTEM = 1 << 21
"""Of MRS and SYSL, which write a register (C4.1.95)."""
_OFFSET_MODE = 2
_UNSCALED_MODE = 0


@dataclass(frozen=True, slots=True)
class Operands:
    """Registers and flags that an instruction reads and writes; ``apart`` if it has no other
    effect (memory, system, control flow).
    """

    reads: frozenset[int]
    writes: frozenset[int]
    apart: bool


def independent(one: int, other: int) -> bool:
    """Whether the instructions ``one`` and ``other`` do the same in either order.

    One of them at least has no effect but on registers and flags.
    """
    if NOP in (one, other):
        return True
    first, second = operands_of(one), operands_of(other)
    if first is None or second is None or not (first.apart or second.apart):
        return False
    return not (first.writes & (second.reads | second.writes) or second.writes & (first.reads))


def operands_of(word: int) -> Operands | None:
    """What ``word`` reads and writes; None where that is not known, or where it may jump."""
    if BARRIER.holds(word):
        return Operands(frozenset(), frozenset(), apart=False)
    encoding = encoding_of(word)
    if encoding is None or encoding.name in _JUMPS:
        return None
    if encoding.name == "system":
        used = frozenset({word & 31} - {ZERO})
        none: frozenset[int] = frozenset()
        return Operands(none, used, False) if word & _READS_SYSTEM else Operands(used, none, False)
    values = {field.name: field.get(word) for field in encoding.registers}
    written = _written(encoding.name, word, values)
    reads = {number for name, number in values.items() if name not in written}
    writes = {values[name] for name in written if name in values}
    if (encoding.name == "move-wide" and word >> 29 & 3 == 3) or _inserts(encoding.name, word):
        reads |= writes
    if _writes_base(encoding.name, word):
        writes.add(values["Rn"])
    if _sets_flags(encoding.name, word):
        writes.add(FLAGS)
    if encoding.name in _READS_FLAGS:
        reads.add(FLAGS)
    return Operands(
        frozenset(reads - {ZERO}), frozenset(writes - {ZERO}), encoding.name not in _MEMORY
    )


def _written(name: str, word: int, values: dict[str, int]) -> frozenset[str]:
    if name in _MEMORY:
        loads = name == "literal" or bool(LOAD.get(word))
        return frozenset({"Rt", "Rt2"}) if loads else frozenset()
    return frozenset({"Rd"})


def _inserts(name: str, word: int) -> bool:
    """BFM keeps the other bits of its destination."""
    return name == "bitfield" and word >> 29 & 3 == 1


def _writes_base(name: str, word: int) -> bool:
    if name == "pair":
        return PAIR_MODE.get(word) not in (0, _OFFSET_MODE)
    return name == "indexed" and SINGLE_MODE.get(word) not in (_UNSCALED_MODE, 2)


def _sets_flags(name: str, word: int) -> bool:
    if name in ("logical", "logical-immediate"):
        return word >> 29 & 3 == 3
    if name in ("add", "add-immediate", "add-extended"):
        return bool(word >> 29 & 1)
    return name == "conditional-compare"
