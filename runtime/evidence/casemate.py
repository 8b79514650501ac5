"""Evidence as a trace for casemate, which checks break-before-make on page-table entries.

casemate (github.com/rems-project/casemate) knows stage 1 of EL2 and stage 2 only, and no change of
a TTBR. So the two TTBRs are entries of a table that we make up, below which hang the tables of the
run, page by page: what is written, and what an answer says, is in docs/trace.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from relokit.codegen.base.errors import FormatError
from relokit.codegen.facts import HCR_EL2_E2H
from relokit.codegen.system_registers import OPERATIONS, REGISTERS
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.evidence.evidence import Evidence
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.tables import TableFacts, Tables
from relokit.runtime.record.trace import ATTRIBUTE_MMU, Trace, TraceFlag, TraceKind

CHUNK = 4096
"""What casemate calls a page."""
ROOT, LOCK, LISTS = 0xFF00_0000_0000, 0xFF00_0001_0000, 0xFF00_0010_0000
"""PAs of what we make up: the table with the TTBRs, its lock, and the pages that list tables."""
ENTRIES = CHUNK // 8
MAX_PAGES = 8192
"""Pages that casemate has room for."""
TABLE = 3
"""Bits of a descriptor that leads to a table."""
_TTBR_ADDRESS = 0xFFFF_FFFF_FFC0
_DSB_FULL, _DSB_TYPE = 3, 3
_TTBRS = {
    REGISTERS[f"{name}_EL{level}"]: slot
    for slot, name in enumerate(("TTBR0", "TTBR1"))
    for level in (1, 2)
}
_ALL = frozenset(
    OPERATIONS[f"tlbi {name}"] for name in ("vmalle1", "vmalle1is", "vmalle1os", "alle1", "alle1is")
)


def casemate_chunks(evidence: Evidence) -> Iterator[bytes]:
    """The file, piece by piece; equal runs have equal files. The trace is known.

    Raises FormatError for a run that cannot be written so: tables that are not known, addresses of
    more than 48 bits, or more tables than casemate has room for.
    """
    writer = _Writer(evidence)
    yield from (line.encode("ascii") for line in writer.lines())


class _Writer:
    """The lines for ``evidence``."""

    def __init__(self, evidence: Evidence) -> None:
        record = evidence.record
        assert isinstance(record.trace, Trace)
        if isinstance(record.tables, Unknown):
            raise _refused(f"the tables are not known: {record.tables.why}")
        self._trace = _with_the_mmu_on(record.trace)
        self._code = record.code if isinstance(record.code, CodeSeen) else None
        self._trees = _trees(record.tables)
        self._pages: dict[int, None] = {}
        self._lists: dict[int, int] = {}
        self._next = LISTS
        self._slots = [0, 0]
        self._number = 0
        self._level = _level(self._trace)
        if self._level == 2 and not self._trace.start.get("HCR_EL2", 0) & HCR_EL2_E2H:
            raise _refused("EL2 without VHE has one TTBR, which no other takes the place of")

    def lines(self) -> Iterator[str]:
        """All of them."""
        yield from self._beginning()
        yield from self._run()

    def _line(self, kind: str, fields: str, pc: int | None = None) -> str:
        self._number += 1
        seen = self._code.words.get(pc) if self._code and pc is not None else None
        source = (seen and seen.source) or ("start:0" if pc is None else f"pc:{pc:#x}")
        # The form has no escapes, and wants a colon.
        source = "".join(one if one.isalnum() or one in "./:_-" else "_" for one in source)
        return f'({kind} (id {self._number}) (tid 0) {fields} (src "{source}"))\n'

    def _write(self, order: str, pa: int, value: int, pc: int | None = None) -> str:
        fields = f"(mem-order {order}) (address {pa:#x}) (value {value:#x})"
        return self._line("mem-write", fields, pc)

    # The tables ---------------------------------------------------------------------------------

    def _beginning(self) -> Iterator[str]:
        """The made-up root with both TTBRs as they are at the start, and all tables below it."""
        yield self._page(ROOT)
        yield self._line("hint", f"(kind set_root_lock) (location {ROOT:#x}) (value {LOCK:#x})")
        start = self._trace.start
        roots = [self._root(start.get(f"TTBR{n}_EL{self._level}", 0)) for n in (0, 1)]
        occupant = self._next
        if roots[0] is None:
            # There was a process, whose tables are not those of the run.
            self._next += CHUNK
            yield self._page(occupant)
            self._slots[0] = occupant | TABLE
        for root in dict.fromkeys([*roots, *self._written_roots()]):
            if root is not None:
                yield from self._tree(root)
        for slot, root in enumerate(roots):
            if root is not None:
                self._slots[slot] = self._lists[root] | TABLE
            yield self._write("plain", ROOT + 8 * slot, self._slots[slot])
        yield self._line("sysreg-write", f"(sysreg ttbr0_el2) (value {ROOT:#x})")
        yield self._line("lock", f"(address {LOCK:#x})")

    def _page(self, pa: int) -> str:
        self._pages[pa] = None
        if len(self._pages) > MAX_PAGES:
            raise _too_many()
        return self._line("mem-init", f"(address {pa:#x}) (size {CHUNK:#x})")

    def _tree(self, root: int) -> Iterator[str]:
        """A page that lists the tables at ``root``, in pieces of 4 KiB; of more, pages of those."""
        pages = self._trees[root].pages
        if sum(end - start for start, end in pages) > MAX_PAGES * CHUNK:
            raise _too_many()
        chunks = [pa for start, end in pages for pa in range(start, end, CHUNK)]
        last = max(chunks, default=root)
        if last + CHUNK > ROOT:
            raise _refused(f"a table is at PA {last:#x}, and casemate has 48-bit addresses")
        self._lists[root] = self._next
        groups = [chunks[at : at + ENTRIES] for at in range(0, len(chunks), ENTRIES)]
        if len(groups) == 1:
            yield from self._list(chunks)
            return
        top = self._next
        self._next += CHUNK
        yield self._page(top)
        for number, group in enumerate(groups):
            inner = self._next
            yield from self._list(group)
            yield self._write("plain", top + 8 * number, inner | TABLE)

    def _list(self, chunks: list[int]) -> Iterator[str]:
        page = self._next
        self._next += CHUNK
        yield self._page(page)
        for number, chunk in enumerate(chunks):
            if chunk not in self._pages:
                yield self._page(chunk)
            yield self._write("plain", page + 8 * number, chunk | TABLE)

    def _root(self, ttbr: int) -> int | None:
        """The root that a value of TTBR leads to; None if nothing is mapped there."""
        root = ttbr & _TTBR_ADDRESS
        if root not in self._trees:
            raise _refused(f"the tables at {root:#x} are not known")
        return None if self._trees[root].empty else root

    def _written_roots(self) -> Iterator[int | None]:
        for record in self._trace.of(TraceKind.MSR):
            if self._slot(record) is not None:
                yield self._root(int(record["value"]))

    # The run ------------------------------------------------------------------------------------

    def _slot(self, record: np.void) -> int | None:
        """Which TTBR of the regime ``record`` writes, if it does."""
        if record["kind"] != TraceKind.MSR or record["el"] != self._level:
            return None
        slot = _TTBRS.get(int(record["encoding"]))
        other_level = self._level == 1 and int(record["encoding"]) == REGISTERS["TTBR0_EL2"]
        return None if other_level else slot

    def _run(self) -> Iterator[str]:
        pending = False
        stored: set[int] = set()
        chunks = np.array(sorted(pa for pa in self._pages if pa < ROOT), np.uint64)
        kinds = (
            TraceKind.STORE, TraceKind.TLBI, TraceKind.MSR, TraceKind.DSB, TraceKind.ISB,
        )  # fmt: skip
        for record in self._trace.of(*kinds):
            kind, pc, encoding = (int(record[name]) for name in ("kind", "pc", "encoding"))
            if kind == TraceKind.STORE:
                yield from self._store(record, chunks, stored)
            elif kind == TraceKind.MSR:
                written = self._switch(record)
                if written is not None:
                    pending = True
                    stored.clear()
                    yield written
            elif kind == TraceKind.ISB and pending:
                pending = False
                yield self._line("barrier", "dsb (kind ishst)", pc)
            elif kind == TraceKind.TLBI and encoding in _ALL:
                yield self._line("tlbi", "alle2is", pc)
            elif kind == TraceKind.DSB and encoding & _DSB_TYPE == _DSB_FULL and not pending:
                stored.clear()
                yield self._line("barrier", "dsb (kind ish)", pc)

    def _switch(self, record: np.void) -> str | None:
        """A TTBR gets another value."""
        slot = self._slot(record)
        if slot is None:
            return None
        root = self._root(int(record["value"]))
        value = 0 if root is None else self._lists[root] | TABLE
        if value == self._slots[slot]:
            return None
        self._slots[slot] = value
        return self._write("release", ROOT + 8 * slot, value, int(record["pc"]))

    def _store(self, record: np.void, chunks: np.ndarray, stored: set[int]) -> Iterator[str]:
        """The first store to each page of tables; with the MMU off none is walked any more."""
        if not record["attributes"] & ATTRIBUTE_MMU or record["flags"] & TraceFlag.NO_PA:
            return
        pa, end = int(record["pa"]), int(record["pa"]) + int(record["length"])
        pc = int(record["pc"])
        first, last = np.searchsorted(chunks, (max(pa - CHUNK + 1, 0), end)).tolist()
        for chunk in chunks[first:last].tolist():
            if chunk in stored:
                continue
            stored.add(chunk)
            yield self._line("unlock", f"(address {LOCK:#x})", pc)
            yield self._write("plain", max(pa, chunk) & ~7, 0, pc)
            yield self._line("lock", f"(address {LOCK:#x})", pc)


def _with_the_mmu_on(trace: Trace) -> Trace:
    """``trace`` up to the first write that turns the MMU off: no tables are walked from then on."""
    level = _level(trace)
    records = trace.records
    off = (records["kind"] == TraceKind.MSR) & (records["el"] == level)
    off &= np.isin(records["encoding"], [REGISTERS[f"SCTLR_EL{one}"] for one in (1, level)])
    off &= (records["value"] & np.uint64(SCTLR_M)) == 0
    end = int(off.argmax()) if off.any() else len(records)
    return replace(trace, records=records[:end])


def _trees(facts: TableFacts) -> dict[int, Tables]:
    """By root. Tables that are read in two ways are those of which a walk finds more."""
    found: dict[int, Tables] = {}
    for tables in facts.tables:
        if not isinstance(tables, Tables):
            raise _refused(f"the tables at {tables.key.root:#x} are not known: {tables.why.why}")
        known = found.get(tables.key.root)
        if known is None or len(tables.pages) > len(known.pages):
            found[tables.key.root] = tables
    return found


def _level(trace: Trace) -> int:
    """The exception level where the trace begins; EL1 for EL0, and where nobody knows."""
    return min(max(trace.start.get("PSTATE", 0) >> 2 & 3, 1), 2)


def _too_many() -> FormatError:
    return _refused(f"casemate has room for {MAX_PAGES:,} pages of tables")


def _refused(problem: str) -> FormatError:
    return FormatError(
        f"this run cannot be written for casemate: {problem}",
        hint="choose another --trace-format",
    )
