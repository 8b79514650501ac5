"""Outcome: what happened, as a document for people and machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from relokit.codegen.base.errors import FormatError
from relokit.codegen.target import Target
from relokit.runtime.kexec.maintenance import Maintenance


class Status(StrEnum):
    """The verdict of a run."""

    PASS = "pass"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: ``rule`` is a stable dotted name, ``message`` says what.

    ``address`` is where (a VA while the MMU was on, a PA else), ``place`` the symbol and source
    line, ``listing`` the disassembly around it (``>`` marks the line), ``registers`` name/value
    pairs, ``notes`` further facts (page walk, owner of a page), ``cause`` the probable reason.
    """

    rule: str
    message: str
    address: int | None = None
    place: str | None = None
    listing: tuple[str, ...] = ()
    registers: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    cause: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON data; absent facts are left out."""
        document: dict[str, Any] = {"rule": self.rule, "message": self.message}
        if self.address is not None:
            document["address"] = self.address
        if self.place:
            document["place"] = self.place
        if self.listing:
            document["listing"] = list(self.listing)
        if self.registers:
            document["registers"] = dict(self.registers)
        if self.notes:
            document["notes"] = list(self.notes)
        if self.cause:
            document["cause"] = self.cause
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Finding:
        """Read what :meth:`to_json` wrote."""
        return cls(
            rule=document["rule"],
            message=document["message"],
            address=document.get("address"),
            place=document.get("place"),
            listing=tuple(document.get("listing", ())),
            registers=tuple(document.get("registers", {}).items()),
            notes=tuple(document.get("notes", ())),
            cause=document.get("cause"),
        )


@dataclass(frozen=True, slots=True)
class RelocationRun:
    """The move itself: ``bytes`` and ``pages`` in the list, ``el`` and ``mmu`` while copying.

    ``instructions`` and ``seconds`` run from the jump to the new kernel's first instruction.
    """

    bytes: int
    pages: int
    el: int
    mmu: bool
    sctlr: int
    instructions: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Handoff:
    """The CPU at the new kernel's first instruction. ``daif`` is PSTATE[9:6]."""

    pc: int
    el: int
    x0: int
    x1: int
    x2: int
    x3: int
    mmu: bool
    sctlr: int
    daif: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Verdict, measurements and findings of one run.

    ``handoff`` is None when the new kernel was never reached. ``console`` is what the new
    kernel printed when it was let run on. ``maintenance`` is what the C half did to caches (kexec
    only), ``operations`` how often the move executed which maintenance instruction or barrier:
    None if that was not observed.
    """

    status: Status
    target: dict[str, Any]
    payload: tuple[dict[str, Any], ...]
    relocation: RelocationRun
    handoff: Handoff | None
    verified_bytes: int
    findings: tuple[Finding, ...] = ()
    console: str | None = None
    ended: str | None = None
    timings: dict[str, float] = field(default_factory=dict)
    maintenance: tuple[Maintenance, ...] = ()
    operations: dict[str, int] | None = None

    @property
    def passed(self) -> bool:
        """Whether every check held."""
        return self.status is Status.PASS

    def to_json(self) -> dict[str, Any]:
        """The document that ``relokit run --json`` prints."""
        from dataclasses import asdict

        document: dict[str, Any] = {
            "status": str(self.status),
            "target": self.target,
            "payload": list(self.payload),
            "relocation": asdict(self.relocation),
            "handoff": asdict(self.handoff) if self.handoff else None,
            "verified_bytes": self.verified_bytes,
            "findings": [finding.to_json() for finding in self.findings],
            "timings": self.timings,
            "maintenance": [row.to_json() for row in self.maintenance],
        }
        if self.operations is not None:
            document["operations"] = self.operations
        if self.console is not None:
            document["console"] = self.console
            document["ended"] = self.ended
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Outcome:
        """Read what :meth:`to_json` wrote; raises FormatError for anything else."""
        try:
            handoff = document["handoff"]
            return cls(
                status=Status(document["status"]),
                target=document["target"],
                payload=tuple(document["payload"]),
                relocation=RelocationRun(**document["relocation"]),
                handoff=Handoff(**handoff) if handoff else None,
                verified_bytes=document["verified_bytes"],
                findings=tuple(Finding.from_json(entry) for entry in document["findings"]),
                console=document.get("console"),
                ended=document.get("ended"),
                timings=document["timings"],
                maintenance=tuple(Maintenance.from_json(row) for row in document["maintenance"]),
                operations=document.get("operations"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"not an outcome document: {error!r}") from None


def target_json(target: Target) -> dict[str, Any]:
    """The target as the outcome document shows it."""
    return {
        "series": target.series,
        "page_size": target.page_size,
        "va_bits": target.va_bits,
        "pa_bits": target.pa_bits,
        "regime": str(target.regime),
        "cache_line": target.cache_line,
        "layout": target.layout.name,
    }
