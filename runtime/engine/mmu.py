"""Our MMU under the engine: fills of its TLB by our own walk, in C (tlb_fill.c, walker.c).

With UC_TLB_VIRTUAL the engine asks for each page it does not know. A fill that is refused ends the
run at the exact PC, for the CPU to deliver the abort. What the engine forgets, and when, is its
own: it does at TLBI, and at writes of SCTLR, TCR, and of TTBR with another ASID (docs/adr).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
from unicorn import Uc
from unicorn import arm64_const as a64
from unicorn import unicorn_const as u
from unicorn.unicorn_py3.unicorn import uclib

from relokit.codegen.base import native
from relokit.runtime.arch.walker import Access
from relokit.runtime.engine.native_hooks import Words, add_native_hook
from relokit.runtime.guest.memory import GuestMemory

WALK_OK = 0x40
"""The fault code of a walk without one: no DFSC has it."""
FAULT_STAGE2 = 0x41
"""What a fill is refused with where a second stage of translation is enabled."""

_ACCESS = {
    u.UC_MEM_READ: Access.READ,
    u.UC_MEM_WRITE: Access.WRITE,
    u.UC_MEM_FETCH: Access.EXECUTE,
}


def _words(*names: str) -> tuple[tuple[str, type[ctypes.c_uint64]], ...]:
    return tuple((name, ctypes.c_uint64) for name in names)


class NativeRam(ctypes.Structure):
    """``struct guest_ram``: PA, bytes, and the host address of the first one."""

    _fields_ = _words("base", "size", "host")

    @classmethod
    def of(cls, memory: GuestMemory) -> NativeRam:
        """All of ``memory``, which must live as long as this is used."""
        return cls(memory.base, memory.size, memory.address)


class NativeRegime(ctypes.Structure):
    """``struct walk_regime``: the registers of a translation regime."""

    _fields_ = _words("sctlr", "tcr", "ttbr0", "ttbr1", "mair", "two_ranges", "cpu_bits")


class NativeWalk(ctypes.Structure):
    """``struct walk_result``: how a walk ended."""

    _fields_ = _words("pa", "fault", "level", "attributes")


class _State(ctypes.Structure):
    """``struct mmu``."""

    _fields_ = (
        ("ram", NativeRam),
        *_words("cpu_bits", "read_register", "msr_filter", "stale", "hcr"),
        ("el1", NativeRegime),
        ("el2", NativeRegime),
        *_words("code_page", "code_regime", "code_offset"),
        *_words("fault", "pc", "access", "fills", "invented"),
    )


_library = native.library()
native.check_shared(
    _library,
    "tlb_fill_shared",
    {
        "REG_PC": a64.UC_ARM64_REG_PC,
        "REG_PSTATE": a64.UC_ARM64_REG_PSTATE,
        "REG_CP": a64.UC_ARM64_REG_CP_REG,
        "MEM_READ": u.UC_MEM_READ,
        "MEM_WRITE": u.UC_MEM_WRITE,
        "MEM_FETCH": u.UC_MEM_FETCH,
        "WALK_OK": WALK_OK,
        "FAULT_STAGE2": FAULT_STAGE2,
        "struct mmu": ctypes.sizeof(_State),
        "struct walk_regime": ctypes.sizeof(NativeRegime),
        "struct walk_result": ctypes.sizeof(NativeWalk),
    },
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A fill that was refused: fault code (DFSC or IFSC, or FAULT_STAGE2), access, PC."""

    fault: int
    access: Access
    pc: int


class Mmu:
    """The MMU of the engine ``uc`` over ``memory``; must live as long as the engine.

    ``cpu_bits`` are the widest addresses the CPU has, 48 or 52.
    """

    def __init__(self, uc: Uc, memory: GuestMemory, cpu_bits: int) -> None:
        read = ctypes.cast(uclib.uc_reg_read, ctypes.c_void_p).value or 0
        self._state = _State(
            ram=NativeRam.of(memory), cpu_bits=cpu_bits, read_register=read, stale=1, fault=WALK_OK
        )
        self._filter: Words | None = None
        data = np.frombuffer(memoryview(self._state), dtype=np.uint64)
        uc.ctl_set_tlb_mode(u.UC_TLB_VIRTUAL)
        add_native_hook(uc, u.UC_HOOK_TLB_FILL, native.address(_library, "fill_tlb"), data)
        add_native_hook(
            uc,
            u.UC_HOOK_INSN,
            native.address(_library, "watch_writes"),
            data,
            instruction=a64.UC_ARM64_INS_MSR,
        )

    @property
    def fills(self) -> int:
        """How often the engine asked."""
        return int(self._state.fills)

    def forget_registers(self) -> None:
        """Read the registers again at the next fill: one was written from outside."""
        self._state.stale = 1

    def filter_writes(self, system_filter: Words) -> None:
        """Pass each MSR on to ``system_filter``: the engine calls one hook for it only."""
        self._filter = system_filter
        self._state.msr_filter = system_filter.ctypes.data

    def refusal(self) -> Refusal | None:
        """The refused fill that ended a run, told once."""
        state = self._state
        if state.fault == WALK_OK:
            return None
        refusal = Refusal(int(state.fault), _ACCESS[state.access], int(state.pc))
        state.fault = WALK_OK
        return refusal

    def invented(self) -> bool:
        """Whether the TLB has answers that are not the guest's, told once."""
        invented = bool(self._state.invented)
        self._state.invented = 0
        return invented
