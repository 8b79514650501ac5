"""The recorder: what a CPU does in a window, as the ranges and events of a Trace.

One native hook for each instruction (recorder.c) decodes what it has not seen before, by PA and
word; what a loop does is recorded when it ends (recorder_loops.c). The fills of the TLB tell PA and
attributes, so they are those that the engine went by. A CPU that is not recorded pays nothing; one
that is takes some three times as long.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

import numpy as np
from unicorn import arm64_const as a64
from unicorn import unicorn_const as u
from unicorn.unicorn_py3.unicorn import uclib

from relokit.codegen.base import native
from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import MachineError
from relokit.runtime.arch.exceptions import ExceptionEvent
from relokit.runtime.engine import native_hooks
from relokit.runtime.engine.counting import Counting
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.mmu import NativeRam
from relokit.runtime.record import trace as t
from relokit.runtime.record.code_path import PATH_BLOCK, PATH_HEAD, PATH_TAIL, CodePath
from relokit.runtime.record.executed import EXECUTED_BLOCK, MAX_EXECUTED, Executed
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.trace import (
    MAX_TRACE_RECORDS,
    RECORD,
    Trace,
    TraceFlag,
    TraceKind,
)

TRACE_ROOM = 1 << 22
"""How many records there is room for, unless told otherwise: 256 MiB if all of it is used."""
_NO_PAGE = 1

_REGISTERS = (
    *(
        f"{name}_EL{el}"
        for el in (1, 2)
        for name in ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR", "VBAR", "ELR", "SPSR")
    ),
    "HCR_EL2", "CPACR_EL1", "CPTR_EL2", "VTTBR_EL2", "VTCR_EL2", "CTR_EL0", "DCZID_EL0",
    "ID_AA64MMFR0_EL1", "ID_AA64MMFR1_EL1", "ID_AA64MMFR2_EL1",
    "ID_AA64ISAR0_EL1",
)  # fmt: skip


class _NativeRecorder(ctypes.Structure):
    """The beginning of ``struct recorder``."""

    _fields_ = (
        *(
            (name, ctypes.c_uint64)
            for name in (
                "records", "capacity", "read_register", "control", "mmu", "line",
                "instruction_line", "zero_block", "used", "instructions", "full_at",
            )
        ),
        ("ram", NativeRam),
        ("el", ctypes.c_uint64),
        ("page_va", ctypes.c_uint64),
    )  # fmt: skip


_library = native.library()
native.check_shared(
    _library,
    "recorder_shared",
    {
        **{f"KIND_{kind.name}": kind for kind in TraceKind},
        **{f"FLAG_{flag.name}": flag for flag in TraceFlag},
        "ATTRIBUTE_SHAREABILITY": t.ATTRIBUTE_SHAREABILITY,
        "ATTRIBUTE_MMU": t.ATTRIBUTE_MMU,
        "REG_SP": a64.UC_ARM64_REG_SP,
        "REG_X0": a64.UC_ARM64_REG_X0,
        "REG_X29": a64.UC_ARM64_REG_X29,
        "REG_X30": a64.UC_ARM64_REG_X30,
        "struct record": RECORD.itemsize,
    },
)
_library.recorder_bytes.restype = ctypes.c_uint64
_PATH = np.dtype(
    [
        ("recorder", "<u8"),
        ("used", "<u8"),
        ("lost", "<u8"),
        ("head", PATH_BLOCK, PATH_HEAD),
        ("tail", PATH_BLOCK, PATH_TAIL),
        ("executed", EXECUTED_BLOCK, MAX_EXECUTED),
    ]
)
"""``struct path``."""
native.check_shared(
    _library,
    "path_shared",
    {
        "PATH_HEAD": PATH_HEAD,
        "PATH_TAIL": PATH_TAIL,
        "EXECUTED": MAX_EXECUTED,
        "struct path_block": PATH_BLOCK.itemsize,
        "struct executed": EXECUTED_BLOCK.itemsize,
        "struct path": _PATH.itemsize,
    },
)


class Recorder(Counting):
    """Records ``cpu`` while it is entered; between two runs of it, never within one.

    There is room for ``room`` records. Once that is used up nothing more is recorded, and the
    trace says where that was.
    """

    def __init__(self, cpu: Cpu, *, room: int = TRACE_ROOM) -> None:
        super().__init__(cpu)
        if not 0 < room <= MAX_TRACE_RECORDS:
            raise MachineError(f"no trace of {room} records", hint=f"give 1 to {MAX_TRACE_RECORDS}")
        self._records = np.empty(room, RECORD)
        self._memory = np.zeros(_library.recorder_bytes(), np.uint8)
        self._state = _NativeRecorder.from_address(self._memory.ctypes.data)
        self._path = np.zeros(1, _PATH)
        self._start: dict[str, int] = {}

    def __enter__(self) -> Self:
        cpu = self._cpu
        self._start = _registers_of(cpu)
        # Anew, not cleared: most of its seven megabytes are never touched.
        self._memory = np.zeros(_library.recorder_bytes(), np.uint8)
        state = self._state = _NativeRecorder.from_address(self._memory.ctypes.data)
        state.records, state.capacity = self._records.ctypes.data, len(self._records)
        state.read_register = ctypes.cast(uclib.uc_reg_read, ctypes.c_void_p).value or 0
        state.control = ctypes.cast(uclib.uc_ctl, ctypes.c_void_p).value or 0
        state.mmu, state.ram = cpu.mmu.address, NativeRam.of(cpu.memory)
        cache_type = self._start["CTR_EL0"]
        state.line = 4 << (cache_type >> 16 & 0xF)
        state.instruction_line = 4 << (cache_type & 0xF)
        state.zero_block = 4 << (self._start["DCZID_EL0"] & 0xF)
        state.full_at, state.el, state.page_va = MASK64, MASK64, _NO_PAGE
        self._path = np.zeros(1, _PATH)
        self._path["recorder"] = self._memory.ctypes.data
        super().__enter__()
        cpu.mmu.tell(self._memory.ctypes.data)
        self._tell_of_blocks(self._path.ctypes.data)
        cpu.on_exception = self._on_exception
        # So that every page is filled anew, and told.
        cpu.flush_tlb()
        return self

    def __exit__(self, *error: object) -> None:
        cpu = self._cpu
        self._call("end_recording", cpu.pc)
        _library.end_path(ctypes.c_void_p(self._path.ctypes.data))
        cpu.on_exception = None
        cpu.mmu.tell(0)
        self._tell_of_blocks(0)
        super().__exit__(*error)

    def trace(self) -> Trace:
        """What was recorded when it was entered last."""
        state = self._state
        spend(int(state.used) * RECORD.itemsize, "records of traces")
        records = self._records[: state.used].copy()
        records.flags.writeable = False
        full_at = None if state.full_at == MASK64 else int(state.full_at)
        return Trace(records, self._start, int(state.instructions), full_at)

    def path(self) -> CodePath:
        """The way that the code took, when it was entered last."""
        [kept] = self._path
        used = int(kept["used"])
        behind = max(used - PATH_HEAD, 0)
        tail = kept["tail"][: min(behind, PATH_TAIL)]
        blocks = kept["head"][:used].tobytes() + np.roll(tail, -behind).tobytes()
        return CodePath(blocks, max(behind - PATH_TAIL, 0))

    def executed(self) -> Executed | Unknown:
        """How often each block was run, when it was entered last."""
        [kept] = self._path
        if kept["lost"]:
            return Unknown(f"more than {MAX_EXECUTED:,} blocks of code were executed")
        blocks = kept["executed"]
        return Executed(np.sort(blocks[blocks["length"] > 0], order=("pc", "length")).tobytes())

    def _add_hooks(self) -> Iterator[int]:
        yield native_hooks.add_native_hook(
            self._cpu.uc,
            u.UC_HOOK_CODE,
            native.address(_library, "record_instruction"),
            self._memory,
        )

    def _tell_of_blocks(self, path: int) -> None:
        self._cpu.count.tell(path)

    def _on_exception(self, event: ExceptionEvent) -> None:
        if event.is_irq:
            self._call("withdraw_instruction", event.return_address)
        self._call(
            "record_exception",
            event.return_address,
            event.far or 0,
            event.esr,
            event.vector_offset,
            event.target_el,
        )

    def _call(self, function: str, *words: int) -> None:
        _library[function](
            self._cpu.uc._uch,
            ctypes.c_void_p(self._memory.ctypes.data),
            *(ctypes.c_uint64(word) for word in words),
        )


def _registers_of(cpu: Cpu) -> dict[str, int]:
    """System registers of ``cpu`` as far as it has them, PC and PSTATE."""
    found = {"PC": cpu.pc, "PSTATE": cpu.pstate}
    for name in _REGISTERS:
        with suppress(MachineError):
            found[name] = cpu.read(name)
    # As the guest sees it, which may be told another cache line.
    return found | {"CTR_EL0": cpu.cache_type}
