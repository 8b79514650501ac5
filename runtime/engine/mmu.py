"""Our MMU under the engine, in C: fills of its TLB by our own walk (tlb_fill.c, walker.c), and
the system instructions that translate an address (maintenance.c).

With UC_TLB_VIRTUAL the engine asks for each page it does not know. A fill that is refused ends the
run at the exact PC, for the CPU to deliver the abort. What the engine forgets, and when, is its
own: it does at TLBI, and at writes of SCTLR, TCR, and of TTBR with another ASID (docs/adr/0017).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from unicorn import Uc
from unicorn import arm64_const as a64
from unicorn import unicorn_const as u
from unicorn.unicorn_py3.unicorn import uclib

from relokit.codegen.base import native
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch.exceptions import ALIGNMENT_STATUS
from relokit.runtime.engine.native_hooks import Words, add_native_hook, remove_native_hook
from relokit.runtime.guest.memory import GuestMemory

WALK_OK = 0x40
"""The fault code of a walk without one: no DFSC has it."""
FAULT_STAGE2, FAULT_BUS = 0x41, 0x42
"""What a fill is refused with where a second stage of translation is enabled, and where a walk
ends at what is neither RAM nor a device."""
MAINTENANCE = 0x100
"""Beside the engine's numbers of accesses: maintenance of a cache by address, and AT."""
WINDOWS = 16
"""How many devices there may be."""
_EXCEPTION_UNDEFINED = 1
"""What the engine tells a hook for exceptions of an instruction that it has not."""


def _words(*names: str) -> tuple[tuple[str, type[ctypes.c_uint64]], ...]:
    return tuple((name, ctypes.c_uint64) for name in names)


class NativeRam(ctypes.Structure):
    """``struct guest_ram``: PA, bytes, the host address of the first one; and where no RAM is."""

    _fields_ = _words("base", "size", "host", "holes", "hole_count")

    @classmethod
    def of(cls, memory: GuestMemory) -> NativeRam:
        """That of ``memory``, which must live longer."""
        table = memory.hole_table
        return cls(memory.base, memory.size, memory.address, table.ctypes.data, len(table))


class NativeRegime(ctypes.Structure):
    """``struct walk_regime``: the registers of a translation regime."""

    _fields_ = _words("sctlr", "tcr", "ttbr0", "ttbr1", "mair", "two_ranges", "cpu_bits")


class NativeWalk(ctypes.Structure):
    """``struct walk_result``: how a walk ended."""

    _fields_ = _words("pa", "fault", "level", "attributes", "sharing")


class _Extent(ctypes.Structure):
    _fields_ = _words("base", "size")


class _Calls(ctypes.Structure):
    _fields_ = _words("read_register", "write_register", "stop", "control", "save")


_CALLS = _Calls(
    *(
        ctypes.cast(function, ctypes.c_void_p).value or 0
        for function in (
            uclib.uc_reg_read,
            uclib.uc_reg_write,
            uclib.uc_emu_stop,
            uclib.uc_ctl,
            uclib.uc_context_save,
        )
    )
)
"""What the MMU calls of the engine."""


class _State(ctypes.Structure):
    """``struct mmu``."""

    _fields_ = (
        ("ram", NativeRam),
        ("calls", _Calls),
        ("windows", _Extent * WINDOWS),
        *_words("cpu_bits", "has_pan2", "permissive", "until"),
        *_words("mrs_filter", "operations", "blocks", "context"),
        *_words("stale", "hcr"),
        ("el1", NativeRegime),
        ("el2", NativeRegime),
        *_words("code_page", "code_regime", "code_offset"),
        *_words("kept_page", "kept_operation", "kept_el", "kept_key", "kept_pa"),
        *_words("fault", "access", "pc", "address", "doomed"),
        *_words("fills", "invented", "recorder", "effects"),
        *_words("exceptions", "registers", "board", "timers_written", "answers"),
    )


_ON_EXCEPTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)

_library = native.library()
native.check_shared(
    _library,
    "mmu_shared",
    {
        "REG_PC": a64.UC_ARM64_REG_PC,
        "REG_PSTATE": a64.UC_ARM64_REG_PSTATE,
        "REG_CP": a64.UC_ARM64_REG_CP_REG,
        "MEM_READ": u.UC_MEM_READ,
        "MEM_WRITE": u.UC_MEM_WRITE,
        "MEM_FETCH": u.UC_MEM_FETCH,
        "MAINTENANCE": MAINTENANCE,
        "WALK_OK": WALK_OK,
        "FAULT_STAGE2": FAULT_STAGE2,
        "FAULT_BUS": FAULT_BUS,
        "WINDOWS": WINDOWS,
        "EXCEPTION_UNDEFINED": _EXCEPTION_UNDEFINED,
        "struct mmu": ctypes.sizeof(_State),
    },
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An access that was refused: fault code (DFSC, IFSC or FAULT_*), what it was, PC.

    ``address`` is None where the engine knows it.
    """

    fault: int
    access: int
    pc: int
    address: int | None

    @property
    def fetch(self) -> bool:
        """Whether the instruction itself could not be had."""
        return bool(self.access == u.UC_MEM_FETCH)

    @property
    def maintenance(self) -> bool:
        """Whether it was maintenance of a cache, or AT."""
        return self.access == MAINTENANCE and self.fault != ALIGNMENT_STATUS

    @property
    def write(self) -> bool:
        """Whether it is reported as a write: maintenance and DC ZVA are."""
        return self.access in (u.UC_MEM_WRITE, MAINTENANCE)


class Mmu:
    """The MMU of the engine ``uc`` over ``memory``; must live as long as the engine.

    ``cpu_bits`` are the widest addresses the CPU has, 48 or 52. ``blocks`` is the block
    counter's array. ``has_pan2``: AT S1E1RP and S1E1WP exist. ``on_exception`` is called for what
    the engine raises, and raises nothing itself.
    """

    def __init__(
        self,
        uc: Uc,
        memory: GuestMemory,
        cpu_bits: int,
        blocks: Words,
        *,
        has_pan2: bool,
        on_exception: Callable[[], None],
    ) -> None:
        self._uc = uc
        self._told = _ON_EXCEPTION(lambda *_: on_exception())
        self._kept: list[Words] = [blocks]
        self._hooks: list[int] = []
        self._context: Any = uc.context_save()
        self._state = _State(
            ram=NativeRam.of(memory),
            calls=_CALLS,
            cpu_bits=cpu_bits,
            has_pan2=has_pan2,
            blocks=blocks.ctypes.data,
            context=ctypes.cast(self._context._context, ctypes.c_void_p).value or 0,
            stale=1,
            fault=WALK_OK,
            exceptions=ctypes.cast(self._told, ctypes.c_void_p).value or 0,
        )
        data = np.frombuffer(memoryview(self._state), dtype=np.uint64)
        uc.ctl_set_tlb_mode(u.UC_TLB_VIRTUAL)
        for kind, function, instruction in (
            (u.UC_HOOK_TLB_FILL, "fill_tlb", None),
            (u.UC_HOOK_INSN, "watch_reads", a64.UC_ARM64_INS_MRS),
            (u.UC_HOOK_INSN, "watch_writes", a64.UC_ARM64_INS_MSR),
            (u.UC_HOOK_INSN, "watch_operations", a64.UC_ARM64_INS_SYS),
            (u.UC_HOOK_INTR, "watch_exceptions", None),
        ):
            address = native.address(_library, function)
            self._hooks.append(add_native_hook(uc, kind, address, data, instruction=instruction))

    def close(self) -> None:
        """Take the hooks off the engine, which has no MMU then."""
        for hook in self._hooks:
            remove_native_hook(self._uc, hook)

    @property
    def fills(self) -> int:
        """How often the engine asked."""
        return int(self._state.fills)

    @property
    def doomed(self) -> bool:
        """Whether an instruction was refused and the engine goes on to the end of its block."""
        return bool(self._state.doomed)

    def ends_at(self, until: int) -> None:
        """Runs end at the PC ``until`` from now on: it may be where nothing is."""
        self._state.until = until

    def forget_registers(self) -> None:
        """Read the registers again at the next fill: one was written from outside."""
        self._state.stale = 1
        self._state.kept_page = 0

    def filter_system(self, reads: Words, answers: Words) -> None:
        """Answer what ``answers`` has of MRS and MSR, and pass each other MRS on to ``reads``.

        The engine calls one hook for it only.
        """
        self._kept += [reads, answers]
        self._state.mrs_filter, self._state.answers = reads.ctypes.data, answers.ctypes.data

    def count_operations(self, counters: Words | None) -> None:
        """Count each SYS instruction in ``counters`` (ENCODINGS words); None ends that."""
        self._counters = counters
        self._state.operations = 0 if counters is None else counters.ctypes.data
        self._state.kept_page = 0

    def add_registers(self, board: int, access: int) -> None:
        """System registers that the engine lacks are those of ``board``, by native addresses."""
        self._state.board, self._state.registers = board, access
        self._state.timers_written = 1

    def add_window(self, base: int, size: int) -> None:
        """Let something answer at PA ``base``, ``size`` bytes; MachineError for one too many."""
        for window in self._state.windows:
            if not window.size:
                window.base, window.size = base, size
                return
        raise MachineError(f"no more than {WINDOWS} devices", hint="leave one out")

    @contextmanager
    def permissive(self) -> Iterator[None]:
        """Fill what nothing answers, too: the engine finds out then."""
        self._state.permissive = 1
        try:
            yield
        finally:
            self._state.permissive = 0

    @property
    def address(self) -> int:
        """Where the state is that native code knows."""
        return ctypes.addressof(self._state)

    @property
    def is_told(self) -> bool:
        """Whether a recorder is told of fills."""
        return bool(self._state.recorder)

    def tell(self, recorder: int) -> None:
        """Tell the recorder at a native address of fills, or nobody (0)."""
        self._state.recorder = recorder

    def take_effect(self, effects: int) -> None:
        """Have the effects at a native address take place, or none (0)."""
        self._state.effects = effects
        self._state.kept_page = 0

    def refusal(self) -> Refusal | None:
        """The refused access that ended a run, told once; registers are as they were then."""
        state = self._state
        if state.fault == WALK_OK:
            return None
        doomed = bool(state.doomed)
        if doomed:
            self._uc.context_restore(self._context)
            state.doomed = 0
            self.forget_registers()
        refusal = Refusal(
            int(state.fault),
            int(state.access),
            int(state.pc),
            int(state.address) if doomed else None,
        )
        state.fault = WALK_OK
        return refusal

    def invented(self) -> bool:
        """Whether the TLB has answers that are not the guest's, told once."""
        invented = bool(self._state.invented)
        self._state.invented = 0
        return invented
