"""Hardware: what a machine takes for what is counted, a few parameters with their sources.

    time = accesses to Device memory * access_ns
         + 64 bytes of cached lines, in or out * line_ns
         + lines maintained * maintenance_ns
         + DSBs * barrier_ns
         + translations * walk_ns
         + instructions * instruction_ns * (1 - overlap)

Where a machine has no ``maintenance_ns`` or ``barrier_ns`` of its own they are

    maintenance_ns = clean_lines * line_ns * (1 - barrier_share)
    barrier_ns     = clean_lines * line_ns * barrier_share * PAGE_LINES

so that ``clean_lines`` is what a line of a page costs to be cleaned, with its part of the page's
DSB, in lines that are moved in or out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass


class ParameterName(Enum):
    """The parameters; the value is the name in files."""

    ACCESS = "access_ns"
    LINE = "line_ns"
    MAINTENANCE = "maintenance_ns"
    BARRIER = "barrier_ns"
    CLEAN = "clean_lines"
    BARRIER_SHARE = "barrier_share"
    WALK = "walk_ns"
    TLB_ENTRIES = "tlb_entries"
    INSTRUCTION = "instruction_ns"
    OVERLAP = "overlap"


OPTIONAL = frozenset({ParameterName.MAINTENANCE, ParameterName.BARRIER})
"""What a machine need not have."""
CONSTANTS = frozenset(
    {ParameterName.BARRIER_SHARE, ParameterName.TLB_ENTRIES, ParameterName.OVERLAP}
)
"""What is taken as it is: no measurement of a move tells it."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """``value``, most likely from ``low`` to ``high`` (95 %); None: nobody knows, and it is free.

    ``source`` says where it is from, or why it is not known.
    """

    name: ParameterName
    source: str
    value: float | None = field(default=None, metadata=ABSENT)
    low: float | None = field(default=None, metadata=ABSENT)
    high: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class Hardware:
    """A machine: ``key`` is its name in commands, ``name`` what it is called.

    ``own`` are its parameters, ``shared`` those that it has in common with all others: what is
    learnt of one by any machine counts for each.
    """

    key: str
    name: str
    own: Mapping[ParameterName, Parameter]
    shared: Mapping[ParameterName, Parameter]

    def has(self, name: ParameterName) -> bool:
        """Whether there is one of that name."""
        return name in self.own or name in self.shared

    def parameter(self, name: ParameterName) -> Parameter:
        """The one that counts."""
        return self.own.get(name) or self.shared[name]

    def constant(self, name: ParameterName) -> float:
        """The value of one of CONSTANTS."""
        value = self.parameter(name).value
        assert value is not None, name
        return value

    def unknown(self, name: ParameterName) -> ParameterKey:
        """Which quantity the parameter is: the machine's own, or the one of all."""
        return ParameterKey(self.key if name in self.own else "", name)


@dataclass(frozen=True, slots=True)
class ParameterKey:
    """A parameter as something to be learnt: ``machine`` is a key, or empty for one of all."""

    machine: str
    name: ParameterName

    def __str__(self) -> str:
        return f"{self.name.value} of {self.machine or 'every machine'}"
