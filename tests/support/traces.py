"""Traces made by hand, an instruction at a time."""

from __future__ import annotations

import numpy as np

from relokit.codegen.system_registers import OPERATIONS, REGISTERS
from relokit.runtime.record.trace import (
    ATTRIBUTE_MMU,
    ATTRIBUTE_SHAREABILITY,
    RECORD,
    Trace,
    TraceFlag,
    TraceKind,
)

WRITE_BACK = ATTRIBUTE_MMU | 3 << ATTRIBUTE_SHAREABILITY | 0xFF
NON_CACHEABLE = ATTRIBUTE_MMU | 3 << ATTRIBUTE_SHAREABILITY | 0x44
MMU_OFF = 0
FULL, LOADS, STORES = 3, 1, 2
SYSTEM, INNER, NON, OUTER = 3, 2, 1, 0
B = 0x1400_0000
"""A branch to itself, as in vectors."""
SCTLR_ON = 0b1000000000101  # M, C, I


class Story:
    """What a CPU does, from ``pc`` on; each method is one instruction, at one range."""

    def __init__(self, *, line: int = 64, pc: int = 0x5000_0000, el: int = 1, hcr: int = 0) -> None:
        self.line, self.pc, self.el = line, pc, el
        self.attributes = WRITE_BACK
        self._came = 0
        self._records: list[dict[str, int]] = []
        self._start = {
            "CTR_EL0": (line // 4).bit_length() - 1 << 16 | 4,
            "SCTLR_EL1": SCTLR_ON,
            "SCTLR_EL2": 0,
            "HCR_EL2": hcr,
            "PC": pc,
        }

    def store(self, pa: int, size: int, *, va: int | None = None, flags: int = 0) -> Story:
        at = pa if va is None else va
        return self._range(TraceKind.STORE, pa, size, size=16, flags=flags, va=at)

    def load(self, pa: int, size: int, *, va: int | None = None, flags: int = 0) -> Story:
        at = pa if va is None else va
        return self._range(TraceKind.LOAD, pa, size, size=16, flags=flags, va=at)

    def fetch(self, pa: int, size: int = 4, *, va: int | None = None) -> Story:
        return self._range(TraceKind.FETCH, pa, size, size=4, va=pa if va is None else va)

    def dc(self, name: str, pa: int, size: int, *, stride: int | None = None) -> Story:
        """By address over ``size`` bytes, ``stride`` (a line) apart; the last operand is below."""
        step = stride or self.line
        count = -(-size // step)
        return self._range(
            TraceKind.DC, pa, count * step, size=self.line, count=count,
            stride=0 if step == self.line else step, encoding=OPERATIONS[f"dc {name}"],
        )  # fmt: skip

    def dc_by_way(self, name: str) -> Story:
        return self._event(TraceKind.DC, encoding=OPERATIONS[f"dc {name}"])

    def ic(self, name: str = "iallu") -> Story:
        return self._event(TraceKind.IC, encoding=OPERATIONS[f"ic {name}"])

    def ic_by_address(self, pa: int, size: int, *, va: int | None = None, line: int = 64) -> Story:
        return self._range(
            TraceKind.IC, pa, size, size=line, count=-(-size // line),
            encoding=OPERATIONS["ic ivau"], va=pa if va is None else va,
        )  # fmt: skip

    def dsb(self, kind: int = FULL, domain: int = SYSTEM, *, nxs: bool = False) -> Story:
        return self._event(TraceKind.DSB, encoding=nxs << 4 | domain << 2 | kind)

    def dmb(self, kind: int = FULL) -> Story:
        return self._event(TraceKind.DMB, encoding=SYSTEM << 2 | kind)

    def isb(self) -> Story:
        return self._event(TraceKind.ISB, encoding=15)

    def msr(self, name: str, value: int) -> Story:
        return self._event(TraceKind.MSR, encoding=REGISTERS[name], value=value)

    def eret(
        self, to: int = 1, *, x0: int = 0, mode: int | None = None, back: int | None = None
    ) -> Story:
        """A return to level ``to``, with SPSR.M of that unless ``mode`` is something else.

        It goes ``back`` to where the last exception came, unless that is something else.
        """
        self._event(
            TraceKind.ERET,
            encoding=to << 2 | 1 if mode is None else mode,
            value=x0,
            va=self._came if back is None else back,
        )
        self.el = to
        return self

    def hvc(self, x0: int = 0) -> Story:
        return self._event(TraceKind.HVC, value=x0)

    def vectors(self, va: int, *, daif: int = 0, pa: int | None = None, word: int = B) -> Story:
        """What exceptions find from here on: vectors at ``pa``, nothing if that is None."""
        here = {"flags": int(TraceFlag.NO_PA), "pa": (1 << 64) - 1}
        if pa is not None:
            here = {"flags": int(TraceFlag.EXECUTABLE), "pa": pa}
        self._event(TraceKind.VECTORS, va=va, encoding=daif << 6 | 1, value=word, **here)
        self.pc -= 4
        return self

    def exception(self, to: int = 2, *, offset: int = 0x400) -> Story:
        """An exception that is taken to level ``to``."""
        self.el, self._came = to, self.pc
        return self._event(TraceKind.EXCEPTION, encoding=offset)

    def at(self, name: str = "s1e1r") -> Story:
        return self._event(TraceKind.AT, encoding=OPERATIONS[f"at {name}"])

    def mrs(self, name: str = "PAR_EL1") -> Story:
        return self._event(TraceKind.MRS, encoding=REGISTERS[name])

    def tlbi(self, name: str = "vmalle1", operand: int = 0) -> Story:
        return self._event(TraceKind.TLBI, encoding=OPERATIONS[f"tlbi {name}"], value=operand)

    def executed(self, va: int, size: int = 4, *, leaf: int = 0) -> Story:
        """Code that is translated to its own PA, and fetched there, with the MMU as it is.

        ``leaf`` is what the descriptor has of attributes.
        """
        flags = int(TraceFlag.EXECUTABLE | TraceFlag.READABLE)
        page = va & -4096
        self._range(TraceKind.FILL, page, 4096, flags=flags, encoding=2, value=leaf)
        return self.fetch(va, size)

    def starting(self, **registers: int) -> Story:
        """With other system registers at the start."""
        self._start |= registers
        return self

    def mmu_off(self) -> Story:
        """From here on all data is Device."""
        self.isb().msr(f"SCTLR_EL{self.el}", 0).isb()
        self.attributes = MMU_OFF
        return self

    def mmu_on(self) -> Story:
        """From here on all data is Normal Write-Back."""
        self.msr(f"SCTLR_EL{self.el}", SCTLR_ON).isb()
        self.attributes = WRITE_BACK
        return self

    def fetchable(self) -> Story:
        """What follows cleaned code: DSB, IC, DSB, ISB."""
        return self.dsb().ic().dsb().isb()

    def trace(self, *, full_at: int | None = None) -> Trace:
        records = np.zeros(len(self._records), RECORD)
        for at, record in enumerate(self._records):
            for name, value in record.items():
                records[at][name] = value
        records.flags.writeable = False
        return Trace(records, self._start, len(self._records), full_at)

    def _range(self, kind: TraceKind, pa: int, length: int, **fields: int) -> Story:
        fields = {"va": pa, "count": 1, "attributes": self.attributes} | fields
        return self._event(kind, pa=pa, length=length, **fields)

    def _event(self, kind: TraceKind, **fields: int) -> Story:
        before = len(self._records)
        self._records.append(
            {"kind": kind, "pc": self.pc, "el": self.el, "count": 1, "before": before} | fields
        )
        self.pc += 4
        return self


UNALIGNED = int(TraceFlag.UNALIGNED)
