"""A run with effects: what was clean before it, and what is handed over without caches."""

from __future__ import annotations

from relokit.codegen.base.errors import MachineError
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.effects import Effects
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.effect_facts import EffectFacts
from relokit.runtime.run.prehistories import (
    prehistory_of,
    prehistory_of_found,
    prehistory_of_resume,
)


class BehindCaches:
    """Effects on what ``cpu`` does with ``guest`` from now on, until :meth:`end`."""

    def __init__(self, guest: Machine | Resume, cpu: Cpu, job: Job) -> None:
        self._guest, self._cpu = guest, cpu
        if isinstance(guest, Resume):
            before = prehistory_of_resume(guest)
        elif guest.found is None:
            before = prehistory_of(guest, job)
        elif isinstance(guest.found.history, str):
            raise MachineError("effects of caches whose history nobody knows")
        else:
            before = prehistory_of_found(guest, guest.found.history)
        self._effects = Effects(cpu, before.clean)

    def end(self, *, entered: bool) -> EffectFacts:
        """RAM has from now on what memory has, of what is handed over: the new kernel's segments.

        Nothing is, unless one of them was ``entered`` with the MMU off.
        """
        guest, handed_over = self._guest, []
        if (
            isinstance(guest, Machine)
            and entered
            and not self._cpu.walk_registers().sctlr & SCTLR_M
        ):
            page = guest.target.page_size
            handed_over = [(one.mem, one.pages(page) * page) for one in guest.kimage.segments]
        return self._effects.end(handed_over)
