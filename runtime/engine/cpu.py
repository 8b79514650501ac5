"""One arm64 CPU on Unicorn: bounded and counted runs, with exception entry.

The engine leaves entry out; memory faults, HVC routing and ERET are its own. Measured against
unicorn 2.1.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter

from unicorn import UcError
from unicorn import unicorn_const as u

from relokit.codegen.facts import HCR_EL2_AUTHENTICATION, HCR_EL2_RW
from relokit.codegen.instruction_forms import WFI
from relokit.runtime.arch.address_id import address_id, without_el2
from relokit.runtime.arch.exceptions import (
    REPORT,
    ExceptionClass,
    ExceptionEvent,
    Policy,
    abort_syndrome,
    make_event,
    make_irq,
    undefined_call,
)
from relokit.runtime.arch.feature_id import ShownFeature, without
from relokit.runtime.arch.geometry import A72_PA_BITS, CPU_BITS
from relokit.runtime.arch.register_fields import field
from relokit.runtime.engine import native_hooks
from relokit.runtime.engine.addresses import Addresses
from relokit.runtime.engine.block_count import BlockCount
from relokit.runtime.engine.bus_access import access_to_nothing
from relokit.runtime.engine.clock import Clock
from relokit.runtime.engine.engine_fault import FaultReader
from relokit.runtime.engine.engines import map_banks, open_engine
from relokit.runtime.engine.exception_entry import enter
from relokit.runtime.engine.mmu import FAULT_BUS, FAULT_STAGE2, Mmu, Refusal
from relokit.runtime.engine.native_devices import NativeDevice, Raiser, map_native
from relokit.runtime.engine.native_hooks import NativeStop, Words
from relokit.runtime.engine.spinning import is_endless
from relokit.runtime.engine.system_access import SystemAccess
from relokit.runtime.engine.watchdog import Deadline, watched
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.record.stop import BusAccess, Stop, StopReason

# What EL3 firmware leaves behind: non-secure, HVC enabled, lower levels AArch64, pointer
# authentication and SVE not trapped where they exist, and RES1 bits (DDI 0487, SCR_EL3,
# CPTR_EL3). Before SCR_EL3 is set the engine walks EL1 tables in the AArch32 format.
SCR_RESET = 0x531 | 1 << 16 | 1 << 17
CPTR_EZ = 1 << 8


class Cpu(Addresses):
    """A CPU over ``memory``, at EL1h with DAIF masked, MMU off, no devices.

    ``model`` is ``a72`` (no VHE, no 16 KiB pages) or ``max`` (both). ``cache_line`` in bytes is
    what CTR_EL0 shows, the model's own if None. ``cpu_bits`` are the widest addresses, 48 or 52
    (LVA, LPA and LPA2); ``pa_bits`` is the PA size that ID_AA64MMFR0_EL1 tells. Where there
    is no EL2 (``has_el2``), HVC is UNDEFINED. Raises MachineError for what the engine refuses.

    ``policy`` says which exceptions the guest handles. ``firmware`` is called for each SMC (and,
    before the EL2 vectors, for each HVC if it wants those); it returns whether it took the call.
    ``interrupt`` is asked which level takes an interrupt, if one is, where the engine has stopped;
    so is ``board``, and whether there is something to wait for.
    ``on_exception`` is told of every other exception, before it is delivered or ends the run.
    """

    def __init__(
        self,
        model: str,
        memory: GuestMemory,
        *,
        cache_line: int | None = None,
        cpu_bits: int = CPU_BITS,
        pa_bits: int = A72_PA_BITS,
        has_el2: bool = True,
        policy: Policy = REPORT,
    ) -> None:
        self._engine = open_engine(model, memory)
        super().__init__(self._engine.uc, memory, cpu_bits)
        self.model = model
        self.count = BlockCount()
        pan = self.read("ID_AA64MMFR1_EL1") >> 20 & 0xF
        self._has_pan = bool(pan)
        self._has_el2 = has_el2
        self._mmu = Mmu(
            self.uc,
            memory,
            cpu_bits,
            self.count.words,
            has_pan2=pan > 1,
            on_exception=self._guarded,
        )
        self.policy = policy
        self.firmware: Callable[[Cpu, ExceptionEvent], bool] | None = None
        self.on_exception: Callable[[ExceptionEvent], None] | None = None
        self.interrupt: Callable[[], int | None] | None = None
        self.board: Raiser | None = None
        self._raised: Exception | None = None
        self._pending: tuple[StopReason, str | None] | None = None
        self._event: ExceptionEvent | None = None
        self._access: BusAccess | None = None
        self._exceptions = 0
        self._until: int | None = None
        self._has_more = False
        self._deadline = Deadline(0)
        self.write("SCR_EL3", SCR_RESET)
        self.write("CPTR_EL3", CPTR_EZ)
        self.write("HCR_EL2", HCR_EL2_RW | HCR_EL2_AUTHENTICATION)
        self._faults = FaultReader(self.uc)
        self._faults.check_for_stops(False)
        self._on_block = native_hooks.add_native_hook(
            self.uc, u.UC_HOOK_BLOCK, native_hooks.block_counter_address(), self.count.words
        )
        answers = address_id(self.read, cpu_bits=cpu_bits, pa_bits=pa_bits, has_16k=model == "max")
        if not has_el2:
            answers |= without_el2(self.read)
        time = Clock(self, self.count)
        self._system = SystemAccess(self, model, self._mmu, cache_line, answers, time, self.stop)

    def retire(self) -> None:
        """Give the engine to the next guest that is alike; this CPU is not used any more.

        For a CPU that has run well and is between runs, with nobody else's hooks on it.
        """
        if self._has_more:
            return
        self._mmu.close()
        native_hooks.remove_native_hook(self.uc, self._on_block)
        self._faults.check_for_stops(True)
        self._engine.give_back()

    def map_device(self, device: NativeDevice) -> None:
        """Have ``device`` answer where it is; MachineError if the engine refuses that."""
        self._has_more = True
        self._mmu.add_window(device.base, device.size)
        map_native(self.uc, device)

    def join(self, board: Raiser) -> None:
        """Have ``board`` raise interrupts, and be asked for registers that the engine lacks."""
        self._has_more = True
        self.board = board
        self.count.ask(board.address, board.on_alarm)
        self._mmu.add_registers(board.address, board.on_register)

    @property
    def blocks_address(self) -> int:
        """Where the block hook's array is, for native code."""
        return int(self.count.words.ctypes.data)

    def add_data(self, memory: GuestMemory) -> None:
        """Have ``memory``, which must live as long as this, answer to loads and stores, too.

        No table walk looks there, and a fetch from it ends the run (StopReason.ENGINE).
        """
        self._has_more = True
        self._mmu.add_window(memory.base, memory.size)
        rights = u.UC_PROT_READ | u.UC_PROT_WRITE
        map_banks(self.uc, memory, rights)

    def add_memory(self, memory: GuestMemory) -> None:
        """Have ``memory`` answer where fills lead to it: it is at no PA that a walk could give."""
        self._has_more = True
        self._kept = memory
        map_banks(self.uc, memory, u.UC_PROT_ALL)

    def count_operations(self, counters: Words | None) -> None:
        """Count each SYS instruction in ``counters`` (ENCODINGS words); None ends that."""
        self._mmu.count_operations(counters)

    def hide(self, features: Iterable[ShownFeature]) -> None:
        """Have ID registers say from now on that these are not there."""
        self._system.answer(without(features, self.seen))

    @property
    def undefined(self) -> dict[str, int]:
        """Accesses from above EL0 to system registers that this CPU has not, by name."""
        return dict(self._system.undefined)

    @property
    def cache_type(self) -> int:
        """CTR_EL0 as the guest reads it."""
        return self.seen("CTR_EL0")

    def seen(self, name: str) -> int:
        """A system register as the guest reads it at EL1: an ID register may be told otherwise."""
        return self._system.seen(name)

    @property
    def instructions(self) -> int:
        """Instructions of this run so far; where an exception is told of, exactly."""
        return self.count.instructions

    @property
    def mmu(self) -> Mmu:
        """The MMU under the engine."""
        return self._mmu

    def flush_code(self) -> None:
        """Drop translated code: needed after a hook is added to code that ran."""
        self.uc.ctl_flush_tb()

    def stop_at_once(self, wanted: bool) -> None:
        """Whether a stop from inside a hook takes effect before the next instruction.

        That takes longer; else it is at the end of a block.
        """
        self._faults.check_for_stops(wanted)
        self.flush_code()

    # Translation ----------------------------------------------------------------------------

    def flush_tlb(self) -> None:
        """Drop every TLB entry; registers of translation are read again."""
        self._mmu.forget_registers()
        super().flush_tlb()

    # Running --------------------------------------------------------------------------------

    def run(
        self,
        pc: int,
        *,
        until: int,
        max_instructions: int,
        timeout_s: float,
        progress: Callable[[int], None] | None = None,
    ) -> Stop:
        """Run from ``pc`` until just before the instruction at ``until``.

        ``max_instructions`` holds to within one block (at most a page of straight code).
        ``progress`` is called a few times a second, from another thread, with the instructions
        completed so far. Ends early for any reason in StopReason; never raises for what the
        guest does.
        """
        self._pending, self._event, self._access, self._exceptions = None, None, None, 0
        self.count.begin(max_instructions)
        # A block translated under another ``until`` runs past this one.
        if until != self._until:
            if self._until is not None:
                self.flush_code()
            self._until = until
            self._mmu.ends_at(until)
        error: UcError | None = None
        self._deadline = Deadline(timeout_s)
        start = perf_counter()
        if pc != until:
            # Again and again: a stop that comes before the engine runs is forgotten.
            with watched(self._deadline, self.uc.emu_stop, progress, lambda: self.instructions):
                error = self._run_engine(pc, until)
        else:
            self.set_pc(pc)
        seconds = perf_counter() - start
        reason, detail = self._reason(until, error)
        end = self.pc
        if self.count.reason is NativeStop.NONE:
            self.count.left_at(end)
        return Stop(
            reason=reason,
            pc=end,
            el=self.el,
            instructions=self.count.instructions,
            blocks=self.count.blocks,
            exceptions=self._exceptions,
            seconds=seconds,
            event=self._event,
            access=self._access,
            detail=detail,
        )

    def _run_engine(self, pc: int, until: int) -> UcError | None:
        """Run the engine, past each abort that the guest handles; the error it gives up with."""
        while True:
            caught: UcError | None = None
            try:
                self.uc.emu_start(pc, until)
            except UcError as error:
                caught = error
            if self._raised:
                raise self._raised
            if self._mmu.invented():
                self.flush_tlb()
            doomed, refusal = self._mmu.doomed, self._mmu.refusal()
            if doomed and self.count.reason is NativeStop.FAULT:
                self.count.go_on()
            if refusal and (doomed or (caught and caught.errno == u.UC_ERR_EXCEPTION)):
                if self._pending:
                    return None
                self._abort(refusal)
            elif not caught and self.interrupt and (target_el := self.interrupt()) is not None:
                self._interrupted(target_el)
            elif not caught and self.board and self._asks(self.board):
                pass
            elif caught or not self._only_looks_endless():
                return caught
            pc = self.pc
            if self._pending or self._deadline.passed or pc == until:
                return None

    def _asks(self, board: Raiser) -> bool:
        """Whether the board has the run go on that has ended: with an interrupt, or a wait over."""
        if self._pending or self._deadline.passed:
            return False
        if self.count.reason is NativeStop.INTERRUPT:
            # The engine has stopped between two blocks.
            self.count.go_on()
            self.count.whole_block()
            target_el = board.interrupt()
            if target_el:
                self._interrupted(target_el)
            return True
        if self.count.reason is not NativeStop.NONE or self.pc == self._until:
            return False
        if self.instruction_at(self.pc - 4) != WFI or not board.sleep():
            return False
        # What is masked wakes it again and again, where it does nothing else.
        parked = is_endless(self.instruction_at, self.pc, waiting=True)
        return board.may_interrupt() or not parked

    def stop(self, reason: StopReason, detail: str | None = None) -> None:
        """End the run from inside a hook, a device or the firmware; the first caller wins."""
        if self._pending is None:
            self._pending = reason, detail
        self.uc.emu_stop()

    def _only_looks_endless(self) -> bool:
        """After a stop for a block that keeps following itself: let it, if it may come to an end.

        Wall time and instructions still bound it.
        """
        if self.count.reason is not NativeStop.SPIN or self._deadline.passed or self._pending:
            return False
        pc = self.pc
        if self._is_endless(pc):
            return False
        self.count.allow_repeats(pc)
        return True

    def _is_endless(self, pc: int) -> bool:
        """Whether nothing ends the loop at ``pc``, no interrupt either."""
        if not is_endless(self.instruction_at, pc):
            return False
        return self.board is None or not self.board.may_interrupt()

    def _reason(self, until: int, error: UcError | None) -> tuple[StopReason, str | None]:
        if self._pending:
            return self._pending
        native = self.count.reason
        limits = (NativeStop.SPIN, NativeStop.LIMIT)
        if native in limits and self._is_endless(self.pc):
            return StopReason.SPIN, None
        if native is NativeStop.LIMIT:
            return StopReason.INSTRUCTION_LIMIT, None
        if error:
            return StopReason.ENGINE, str(error)
        if self.pc == until:
            return StopReason.REACHED, None
        if self._deadline.passed:
            return StopReason.TIMEOUT, None
        return StopReason.HALTED, None

    # What the engine calls ------------------------------------------------------------------

    def _guarded(self) -> None:
        """Nothing may be raised through the engine's frames: it is when they are gone."""
        try:
            self._on_exception()
        except Exception as error:
            self._raised = error
            self.uc.emu_stop()

    def _on_exception(self) -> None:
        fault = self._faults.read()
        pc = self.pc
        self.count.left_at(pc)
        event = make_event(
            fault.esr, fault.far, pc=pc, pstate=self.pstate, target_el=fault.target_el
        )
        if event.exception_class == ExceptionClass.UNKNOWN and self._emulate_access(pc):
            return
        self._deliver(event)

    def _abort(self, refusal: Refusal) -> None:
        """Raise the abort of a refused fill: the engine has stopped before its instruction."""
        pc = refusal.pc
        if refusal.fetch:
            self.count.whole_block()
        else:
            self.count.left_at(pc)
        if refusal.fault == FAULT_STAGE2:
            self.stop(StopReason.ENGINE, "HCR_EL2.VM is set: there is no second stage here")
            return
        if refusal.fault == FAULT_BUS:
            frozen = self.count.words.copy()
            self._access = access_to_nothing(self, self._mmu, self._faults)
            self.count.words[:] = frozen
            self.stop(StopReason.UNMAPPED)
            return
        pstate = self.pstate
        source_el = pstate >> 2 & 3
        to_el2 = source_el == 0 and field("HCR", self.read("HCR_EL2"), "TGE")
        target_el = 2 if to_el2 else max(source_el, 1)
        esr = abort_syndrome(
            refusal.fault,
            fetch=refusal.fetch,
            write=refusal.write,
            maintenance=refusal.maintenance,
            source_el=source_el,
            target_el=target_el,
        )
        far = pc if refusal.fetch else refusal.address
        if far is None:
            far = self._faults.refused_address()
        self._deliver(make_event(esr, far, pc=pc, pstate=pstate, target_el=target_el))

    def _interrupted(self, target_el: int) -> None:
        """Raise an interrupt: the engine has stopped before the instruction it is at."""
        pc = self.pc
        self.count.left_at(pc)
        self._deliver(make_irq(pc=pc, pstate=self.pstate, target_el=target_el))

    def _deliver(self, event: ExceptionEvent) -> None:
        self._event = event
        calls = (ExceptionClass.SMC64, ExceptionClass.HVC64)
        if event.exception_class in calls and self.firmware and self.firmware(self, event):
            return
        if event.exception_class == ExceptionClass.HVC64 and not self._has_el2:
            event = self._event = undefined_call(event)
            self.set_pc(event.return_address)
        if self.on_exception:
            self.on_exception(event)
        if event.target_el > 2 or not self.policy.delivers(event):
            self.stop(StopReason.EXCEPTION)
            return
        problem = enter(self, event, has_pan=self._has_pan)
        if problem:
            self.stop(StopReason.BAD_VECTOR, problem)
        else:
            self._exceptions += 1

    def _emulate_access(self, pc: int) -> bool:
        if not self._system.emulate(self.instruction_at(pc) or 0, self._absent):
            return False
        self.set_pc(pc + 4)
        self.count.add_instruction()
        return True
