"""What the engine knows of its last exception or refused access, and does not tell.

Unicorn computes both as the architecture says (they are what its own walk found) but exports
neither. They lie together in the state that ``uc_context_save`` copies:

    uint32 syndrome (ESR), uint32 AArch32 status, uint64 address (FAR), uint32 target level

The exact address of an access that a TLB fill refused is kept too, in the engine's own structure.
Where they lie is found once a process, by provoking both with a known address.

In that structure is a switch, too: whether the engine looks for a request to stop after each load
and store, a fifth of its time (docs/adr/0017). It is not needed where every access that ends a run
does so in its TLB fill. It is used only where it was seen to be what it is taken for.
"""

from __future__ import annotations

import ctypes
import struct
from contextlib import suppress
from functools import cache
from typing import Any

from unicorn import Uc, UcError
from unicorn.arm64_const import UC_ARM64_REG_X1, UC_ARM64_REG_X2, UC_CPU_ARM64_A72
from unicorn.unicorn_const import UC_ARCH_ARM64, UC_HOOK_INTR, UC_MODE_ARM

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.system_registers import REGISTERS, split_key

_FIELDS = struct.Struct("<IIQI")
_LDXR_X0_X1 = 0xC85F7C20
_STR_X0_X1, _ADD_X2_1 = 0xF9000020, 0x91000442
_PROBE = 0x0123_4567_89AB_CDE1
_UNMAPPED_PROBE = 0x0ABC_DEF1_2348
_AT_ONCE, _TO_THE_END = 0, 1
"""What x2 is after an access that nothing answers, with the engine's checks and without."""
_STOP_CHECKS = struct.Struct("<II42x??")
"""What lies around the switch: the engine's page size, that minus one; whether the engine leaves
the checks out, and whether it is set up."""
_STOP_CHECKS_AT = 1984
_SWITCH = _STOP_CHECKS.size - 2
_ENGINE_BYTES = 4096
"""How much of the engine's structure is looked at; it has several times that."""
_ALIGNMENT_ABORT = 0x96000021  # ESR: EC 0x25, IL, DFSC 0x21 (D19.2, ESR_EL1)


@dataclass(frozen=True, slots=True)
class EngineFault:
    """ESR value, faulting VA (meaningful for aborts) and the level the engine routes to."""

    esr: int
    far: int
    target_el: int


class FaultReader:
    """Reads the last exception of one engine; costs about 3 us."""

    def __init__(self, uc: Uc) -> None:
        self._uc = uc
        self._context: Any = uc.context_save()
        self._address = _address_of(self._context) + _offset()
        self._refused = ctypes.c_uint64.from_address(_handle(uc) + _layout().refused)

    def read(self) -> EngineFault:
        """The exception the engine raised last."""
        self._uc.context_update(self._context)
        esr, _, far, target_el = _FIELDS.unpack(ctypes.string_at(self._address, _FIELDS.size))
        return EngineFault(esr, far, target_el)

    def check_for_stops(self, wanted: bool) -> None:
        """Whether the engine is to look for a stop after each access, where that can be chosen.

        Holds for code that is translated from now on.
        """
        switch = _layout().switch
        if switch is not None:
            ctypes.c_bool.from_address(_handle(self._uc) + switch).value = not wanted

    def refused_address(self) -> int:
        """VA of the access whose TLB fill was refused last."""
        return int(self._refused.value)


def _address_of(context: Any) -> int:
    return ctypes.cast(context._context, ctypes.c_void_p).value or 0


def _handle(uc: Uc) -> int:
    engine: Any = uc
    return engine._uch.value or 0


def _scratch(code: tuple[int, ...], x1: int) -> Uc:
    """An engine whose ``code`` at 0 accesses the address in x1."""
    uc = Uc(UC_ARCH_ARM64, UC_MODE_ARM)
    uc.ctl_set_cpu_model(UC_CPU_ARM64_A72)
    # Lower levels AArch64: the fault status is encoded the AArch32 way else.
    uc.cpr_write(*split_key(REGISTERS["SCR_EL3"]), 0x531)
    uc.cpr_write(*split_key(REGISTERS["HCR_EL2"]), 1 << 31)
    uc.mem_map(0, 0x1000)
    uc.mem_write(0, struct.pack(f"<{len(code)}I", *code))
    uc.reg_write(UC_ARM64_REG_X1, x1)
    return uc


@cache
def _offset() -> int:
    # An exclusive load from an odd address is an alignment fault whatever the MMU does.
    uc = _scratch((_LDXR_X0_X1,), _PROBE)
    uc.hook_add(UC_HOOK_INTR, lambda engine, *_: engine.emu_stop())
    uc.emu_start(0, 4, timeout=1_000_000)
    context: Any = uc.context_save()
    blob = ctypes.string_at(_address_of(context), context._size)
    wanted = struct.pack("<QI", _PROBE, 1)
    found = []
    at = blob.find(wanted)
    while at >= 0:
        if at >= 8 and struct.unpack_from("<I", blob, at - 8)[0] == _ALIGNMENT_ABORT:
            found.append(at - 8)
        at = blob.find(wanted, at + 1)
    return _only(found)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Offsets into the engine's structure; no ``switch`` where it was not found to be one."""

    refused: int
    switch: int | None


@cache
def _layout() -> _Layout:
    # An access that nothing answers leaves its address where a refused fill does.
    uc = _scratch((_STR_X0_X1, _ADD_X2_1), _UNMAPPED_PROBE)
    checked = _access_nothing(uc)
    blob = ctypes.string_at(_handle(uc), _ENGINE_BYTES)
    words = struct.unpack(f"<{_ENGINE_BYTES // 8}Q", blob)
    refused = _only([8 * index for index, word in enumerate(words) if word == _UNMAPPED_PROBE])
    page, mask, left_out, ready = _STOP_CHECKS.unpack_from(blob, _STOP_CHECKS_AT)
    if (mask, left_out, ready) != (page - 1, False, True) or checked != _AT_ONCE:
        return _Layout(refused, None)
    switch = ctypes.c_bool.from_address(_handle(uc) + _STOP_CHECKS_AT + _SWITCH)
    switch.value = True
    uc.ctl_flush_tb()
    works = _access_nothing(uc) == _TO_THE_END
    switch.value = False
    return _Layout(refused, _STOP_CHECKS_AT + _SWITCH if works else None)


def _access_nothing(uc: Uc) -> int:
    uc.reg_write(UC_ARM64_REG_X2, 0)
    with suppress(UcError):
        uc.emu_start(0, 8, timeout=1_000_000)
    return int(uc.reg_read(UC_ARM64_REG_X2))


def _only(found: list[int]) -> int:
    if len(found) != 1:
        raise MachineError(
            "this build of Unicorn keeps its exception state where it cannot be found",
            hint="use unicorn 2.1.4",
        )
    return found[0]
