"""The new kernel, where it was let run on."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.rules.rule import Broken, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.known import known
from relokit.runtime.record.record import Record

DEMO_PASS = "relokit demo kernel: PASS"


def _demo_ran(record: Record) -> str | None:
    if record.boot is None:
        return "the new kernel was not let run on"
    kind = record.boot.kind
    if isinstance(kind, PayloadKind) and kind is not PayloadKind.DEMO_KERNEL:
        return "another kernel than the demo kernel owes no report"
    return None


def _demo(record: Record) -> Iterator[Broken]:
    boot = record.boot
    assert boot is not None
    known(boot.kind)
    if DEMO_PASS not in boot.console:
        yield Broken(
            "the demo kernel does not find the machine as booting.rst promises",
            address=boot.stop.pc,
            notes=tuple(boot.console.splitlines()),
            cause=None if boot.console else f"it printed nothing ({boot.ended})",
        )


BOOT = (
    Rule(
        "boot.demo",
        "the demo kernel finds the machine as booting.rst promises, and says so",
        "Documentation/arch/arm64/booting.rst, checked by the guest itself",
        Severity.ERROR,
        _demo_ran,
        _demo,
    ),
)
