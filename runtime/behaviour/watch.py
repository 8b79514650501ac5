"""Everything that is counted of one piece of code while it runs."""

from __future__ import annotations

from relokit.codegen.base.errors import MachineError
from relokit.codegen.system_registers import register_key
from relokit.runtime.behaviour.observation import Counts
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.observing.access_counter import AccessCounter
from relokit.runtime.engine.observing.execution_profile import (
    OPERATIONS,
    READS,
    WRITES,
    ExecutionProfile,
)

# What code finds and leaves behind (DDI 0487, D19.2), besides what it names itself.
_EL1_STATE = (
    "SCTLR_EL1", "CPACR_EL1", "TTBR0_EL1", "TTBR1_EL1", "TCR_EL1", "MAIR_EL1", "AMAIR_EL1",
    "VBAR_EL1", "CONTEXTIDR_EL1", "ELR_EL1", "SPSR_EL1", "ESR_EL1", "FAR_EL1", "MDSCR_EL1",
    "CNTKCTL_EL1", "TPIDR_EL1", "TPIDR_EL0", "TPIDRRO_EL0",
)  # fmt: skip
_EL2_STATE = (
    "HCR_EL2", "SCTLR_EL2", "CPTR_EL2", "MDCR_EL2", "HSTR_EL2", "TTBR0_EL2", "TTBR1_EL2",
    "TCR_EL2", "MAIR_EL2", "VTTBR_EL2", "VTCR_EL2", "VBAR_EL2", "ELR_EL2", "SPSR_EL2", "ESR_EL2",
    "FAR_EL2", "VPIDR_EL2", "VMPIDR_EL2", "CNTHCTL_EL2", "CNTVOFF_EL2", "TPIDR_EL2",
)  # fmt: skip

# What MSR reaches of PSTATE: looked at by itself, whichever instruction it was changed with.
_PSTATE = frozenset({"DAIF", "NZCV", "SPSel", "PAN", "UAO", "DIT", "SSBS", "TCO"})


class Watch:
    """While it is entered: all loads and stores of ``cpu``, and each instruction of the ``size``
    bytes at PC ``code``.
    """

    def __init__(self, cpu: Cpu, code: int, size: int) -> None:
        self._cpu = cpu
        self._accesses = AccessCounter(cpu)
        self._profile = ExecutionProfile(cpu, code, size)
        self._system = {name: register_key(name) for name in (*_EL1_STATE, *_EL2_STATE)} | {
            name: key for name, key in self._profile.writable().items() if name not in _PSTATE
        }

    def __enter__(self) -> Watch:
        self._accesses.__enter__()
        self._profile.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._profile.__exit__(*error)
        self._accesses.__exit__(*error)

    def counts(self, instructions: int) -> Counts:
        """What was counted; ``instructions`` the CPU counts by itself."""
        accesses, profile = self._accesses.counts(), self._profile
        return Counts(
            instructions=instructions,
            loads=accesses.loads,
            stores=accesses.stores,
            loaded=accesses.loaded,
            stored=accesses.stored,
            operations=profile.system(OPERATIONS),
            barriers=profile.barriers(),
            reads=profile.system(READS),
            writes=profile.system(WRITES),
        )

    def system_state(self) -> dict[str, int]:
        """System registers by name: the main ones, and whatever the code could write by name."""
        state = {}
        for name, key in self._system.items():
            try:
                state[name] = self._cpu.read_key(key, name)
            except MachineError:
                continue  # This CPU model lacks it.
        return state


def general_registers(cpu: Cpu) -> dict[str, int]:
    """x0 to x30 and sp."""
    return {f"x{number}": value for number, value in enumerate(cpu.registers)} | {"sp": cpu.sp}
