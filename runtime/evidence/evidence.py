"""Evidence: a Record and what it is of, which is all that an Outcome is made from."""

from __future__ import annotations

from dataclasses import field

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kexec_routines import CodeUsed
from relokit.runtime.guest.payload import PayloadPart
from relokit.runtime.judge.outcome import JudgedTarget
from relokit.runtime.kexec.maintenance import Maintenance
from relokit.runtime.record.record import Record


@dataclass(frozen=True, slots=True)
class Subject:
    """What was run: ``name`` is the target's, ``pages`` of ``payload`` were to be copied.

    ``maintenance`` is what the C half did to caches (kexec only), ``code`` which routines were not
    ours, if some, ``left_out`` what is said of memory that the old kernel leaves out.
    """

    name: str
    target: JudgedTarget
    payload: tuple[PayloadPart, ...]
    pages: int
    maintenance: tuple[Maintenance, ...] = ()
    code: CodeUsed | None = None
    left_out: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class Evidence:
    """``record`` is one of ``subject``."""

    subject: Subject
    record: Record
