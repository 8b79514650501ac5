"""What a judged run records and a plain one does not; a plain one does not import this either."""

from __future__ import annotations

from types import TracebackType

from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.claims import Ownership
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.prehistory import Prehistory
from relokit.runtime.record.record import Seen
from relokit.runtime.run.code_reading import code_seen
from relokit.runtime.run.ownership_facts import ownership_of, ownership_of_resume
from relokit.runtime.run.prehistories import (
    prehistory_of,
    prehistory_of_found,
    prehistory_of_resume,
)
from relokit.runtime.run.tables_kept import TablesKept


class Recording:
    """Facts about caches and tables before ``guest`` runs; as a context, a recorder of ``cpu``."""

    def __init__(self, guest: Machine | Resume, cpu: Cpu, job: Job) -> None:
        self._guest = guest
        self._recorder = Recorder(cpu)
        self._tables = TablesKept(guest)
        if isinstance(guest, Resume):
            self._prehistory: Prehistory | Unknown = prehistory_of_resume(guest)
            self._ownership: Ownership | Unknown = ownership_of_resume(guest)
        else:
            if guest.found is None:
                self._prehistory = prehistory_of(guest, job)
            elif isinstance(guest.found.history, str):
                self._prehistory = Unknown(guest.found.history)
            else:
                self._prehistory = prehistory_of_found(guest, guest.found.history)
            self._ownership = ownership_of(guest)

    def __enter__(self) -> None:
        self._recorder.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._recorder.__exit__(kind, error, trace)

    def seen(self) -> Seen:
        """What there is for the Record, once the context is left."""
        trace = self._recorder.trace()
        return Seen(
            trace,
            self._prehistory,
            code_seen(self._guest, trace),
            self._tables.facts(trace),
            self._ownership,
            self._recorder.path(),
            self._recorder.executed(),
        )
