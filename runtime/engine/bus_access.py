"""An access that nothing answers: what it was, where the engine tells only that there was one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from unicorn import Uc, UcError
from unicorn import unicorn_const as u

from relokit.codegen.base.bits import MASK64
from relokit.runtime.engine.addresses import Addresses
from relokit.runtime.engine.block_count import NEVER
from relokit.runtime.engine.engine_fault import FaultReader
from relokit.runtime.engine.mmu import Mmu
from relokit.runtime.record.stop import BusAccess

_KINDS = {u.UC_MEM_WRITE_UNMAPPED: "write", u.UC_MEM_FETCH_UNMAPPED: "fetch"}


def access_to_nothing(cpu: Addresses, mmu: Mmu, faults: FaultReader) -> BusAccess | None:
    """Make the access that ended the run once more, to learn its address.

    A hook for it from the start would take every access off the engine's fast path: a
    tenfold slow-down.
    """
    found: list[BusAccess] = []

    def note(_uc: Uc, kind: int, address: int, size: int, value: int, _data: Any) -> bool:
        found.append(BusAccess(_KINDS.get(kind, "read"), address, size, value & MASK64))
        return False

    uc = cpu.uc
    hook = uc.hook_add(u.UC_HOOK_MEM_INVALID, note)
    faults.check_for_stops(True)
    uc.ctl_flush_tb()
    cpu.flush_tlb()
    with mmu.permissive(), suppress(UcError):
        uc.emu_start(cpu.pc, NEVER, count=1)
    uc.hook_del(hook)
    faults.check_for_stops(False)
    uc.ctl_flush_tb()
    if mmu.invented():
        cpu.flush_tlb()
    return found[-1] if found else None
