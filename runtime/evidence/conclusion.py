"""Evidence to Outcome: the book is opened, and figures stand beside what it says."""

from __future__ import annotations

from relokit.runtime.evidence.evidence import Evidence
from relokit.runtime.judge.book import Judgement, judge
from relokit.runtime.judge.outcome import Handoff, Outcome, RelocationRun, Status
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import JumpFacts, LegName, Record
from relokit.runtime.record.stations import CpuFacts


def conclude(evidence: Evidence, *, strict: bool = False, profile: str | None = None) -> Outcome:
    """Judge what was recorded, and say with it what was moved; a warning fails it if ``strict``.

    ``profile`` names a CPU: findings say if they would not bite on it.
    """
    subject, record = evidence.subject, evidence.record
    judged = judge(record, profile=profile)
    boot = record.boot
    page_size = subject.target.page_size
    return Outcome(
        status=_status(record, judged, strict=strict),
        target=subject.target,
        payload=subject.payload,
        relocation=relocation_run(record, subject.pages, page_size),
        handoff=_handoff(record.reached[-1]) if record.reached else None,
        verified_bytes=verified_bytes(record, page_size),
        findings=judged.findings,
        rules=judged.answers,
        console=boot.console if boot else None,
        ended=boot.ended if boot else None,
        undefined=(boot.undefined or None) if boot else None,
        maintenance=subject.maintenance,
        operations=record.operations,
        interrupt=None if isinstance(record.interrupt, Unknown) else record.interrupt,
        strict=strict,
        effects=record.effects,
        profile=judged.profile,
        code=subject.code,
        left_out=subject.left_out,
        unanswered=str(record.unanswered.reason) if record.unanswered else None,
    )


def _status(record: Record, judged: Judgement, *, strict: bool) -> Status:
    if record.unanswered:
        return Status.NO_ANSWER
    failed = judged.failed or (strict and not judged.flawless)
    return Status.FAIL if failed else Status.PASS


def relocation_run(record: Record, pages: int, page_size: int) -> RelocationRun:
    """The move in figures, ``pages`` being what it had to copy."""
    cpu = before_the_move(record)
    move = record.leg(LegName.MOVE)
    return RelocationRun(
        bytes=pages * page_size,
        pages=pages,
        el=cpu.el,
        mmu=cpu.mmu,
        sctlr=cpu.sctlr,
        instructions=move.instructions if move else 0,
        seconds=move.seconds if move else 0.0,
    )


def before_the_move(record: Record) -> CpuFacts:
    """The CPU at the jump; without one, where the old kernel's last steps ended."""
    if isinstance(record.jump, JumpFacts):
        return record.jump.cpu
    if record.scene is not None and not record.reached:
        return record.scene.cpu
    return record.reached[0]


def verified_bytes(record: Record, page_size: int) -> int:
    """Bytes found where they belong, whole pages; 0 if nothing was compared."""
    if isinstance(record.arrived, Unknown):
        return 0
    results = [arrival.result for arrival in record.arrived]
    return sum(result.pages - result.bad_pages for result in results) * page_size


def _handoff(cpu: CpuFacts) -> Handoff:
    return Handoff(
        pc=cpu.pc,
        el=cpu.el,
        x0=cpu.x[0],
        x1=cpu.x[1],
        x2=cpu.x[2],
        x3=cpu.x[3],
        mmu=cpu.mmu,
        sctlr=cpu.sctlr,
        daif=cpu.daif,
    )
