"""The new kernel, where it was let run on: what it says, and where it ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.rules.rule import Applies, Broken, Check, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.given import Given
from relokit.runtime.record.known import UnknownFactError, known
from relokit.runtime.record.record import BootFacts, Limits, Record
from relokit.runtime.record.stop import NO_ANSWERS, Stop, StopReason

DEMO_PASS = "relokit demo kernel: PASS"
LAST_LINES, LONGEST = 8, 160
"""Lines of the console that a finding shows, and characters of each."""

_NOT_RUN = "the new kernel was not let run on"
_BOOTING = "Documentation/arch/arm64/booting.rst"


@dataclass(frozen=True, slots=True)
class Sign:
    """What a kernel prints at the beginning of a line when it is in trouble, and what that is."""

    text: str
    what: str


GIVES_UP = (
    Sign("Kernel panic - not syncing: ", "it panics"),
    Sign("Internal error: ", "an oops"),
    Sign("Unable to handle kernel ", "an abort that nothing handles"),
    Sign("kernel BUG at ", "a BUG"),
    Sign("BUG: ", "a BUG"),
    Sign("Insufficient stack space to handle exception!", "its stack overflows"),
    Sign("Unhandled 64-bit ", "an exception that nothing handles"),
    Sign("Unhandled fault", "an abort that nothing handles"),
    Sign("Bad mode in ", "an exception that nothing handles"),
    Sign("SError Interrupt on CPU", "an SError"),
)
"""In the kernel's own words: kernel/panic.c, lib/bug.c; arch/arm64: kernel/traps.c, mm/fault.c."""
NO_ROOT = (
    "VFS: Unable to mount root fs",
    "No working init found",
)
"""Panics of a kernel that has come up, and was given nothing to go on with (init/)."""
INIT_EXITS = r"Attempted to kill init! exitcode=0x0000[0-9a-f]{2}00"
"""Its init has ended, and not by a signal."""
_PREFIX = r"^(?:\[ *[0-9]+\.[0-9]+\](?:\[ *[TC][0-9]+\])? )?"


def _boot(record: Record) -> BootFacts:
    assert record.boot is not None
    return record.boot


def _ended(record: Record) -> BootFacts:
    """Its run, if it was not cut short: what a host's time has ended says nothing of the rest."""
    boot = _boot(record)
    if boot.stop.reason in NO_ANSWERS:
        raise UnknownFactError(boot.ended)
    return boot


def _ran(record: Record) -> str | None:
    return _NOT_RUN if record.boot is None else None


def _demo_ran(record: Record) -> str | None:
    if record.boot is None:
        return _NOT_RUN
    kind = record.boot.kind
    if isinstance(kind, PayloadKind) and kind is not PayloadKind.DEMO_KERNEL:
        return "another kernel than the demo kernel owes no report"
    return None


def _another_ran(record: Record) -> str | None:
    if record.boot is None:
        return _NOT_RUN
    if record.boot.kind is PayloadKind.DEMO_KERNEL:
        return "the demo kernel owes a report"
    return None


def _expected(record: Record) -> str | None:
    if record.boot is None:
        return _NOT_RUN
    return None if record.boot.expected is not None else "nothing is expected (--expect)"


def _demo(record: Record) -> Iterator[Broken]:
    boot = _ended(record)
    known(boot.kind)
    if DEMO_PASS not in boot.console:
        yield Broken(
            "the demo kernel does not find the machine as booting.rst promises",
            address=boot.stop.at,
            notes=tuple(boot.console.splitlines()[-LAST_LINES:]),
            cause=None if boot.console else f"it printed nothing ({boot.ended})",
        )


def _expect(record: Record) -> Iterator[Broken]:
    boot = _ended(record)
    if boot.stop.reason is StopReason.PRINTED:
        return
    hint = None
    if boot.stop.reason is StopReason.INSTRUCTION_LIMIT:
        hint = f"it may come later: give more than --boot {boot.seconds:g}"
    yield _told(record, f"the new kernel has not printed {boot.expected!r}", hint=hint)


def _silent(record: Record) -> Iterator[Broken]:
    boot = _ended(record)
    if boot.console.strip():
        return
    tree = known(record.given).tree if isinstance(record.given, Given) else None
    words = (tree.bootargs or "").split() if tree else []
    if not any(word.startswith("earlycon") for word in words):
        raise UnknownFactError("its command line asks for no early console (earlycon)")
    yield _told(record, "the new kernel says nothing")


def _gives_up(record: Record) -> Iterator[Broken]:
    trouble = _trouble(record)
    if trouble is None:
        if _boot(record).dropped:
            raise UnknownFactError("not all that it printed is kept")
        return
    sign, lines = trouble
    if not _excused(record, lines[0]):
        yield _told(record, f"the new kernel gives up, {sign.what}: {lines[0]}", lines=lines)


def _no_root(record: Record) -> Iterator[Broken]:
    trouble = _trouble(record)
    if trouble and _excused(record, trouble[1][0]):
        yield Broken(f"the new kernel has come up, and finds no more to do: {trouble[1][0]}")


def _trouble(record: Record) -> tuple[Sign, tuple[str, ...]] | None:
    """The first sign of trouble on the console, with the lines from there on, without their times.

    A panic that is excused counts only if there is no other sign before it.
    """
    lines = [re.sub(_PREFIX, "", line) for line in _boot(record).console.splitlines()]
    for number, line in enumerate(lines):
        for sign in GIVES_UP:
            if line.startswith(sign.text):
                return sign, tuple(one[:LONGEST] for one in lines[number : number + LAST_LINES])
    return None


def _excused(record: Record, line: str) -> bool:
    """Whether ``line`` is the end of a kernel that has come up, and was given nothing more."""
    given = any(segment.kind is PayloadKind.INITRD for segment in record.segments)
    if any(text in line for text in NO_ROOT):
        return not given
    return re.search(INIT_EXITS, line) is not None


def _ends(when: Callable[[Stop], bool], what: str) -> Check:
    def check(record: Record) -> Iterator[Broken]:
        if when(_boot(record).stop):
            yield _told(record, f"the new kernel {what}")

    return check


def _parked(record: Record) -> Iterator[Broken]:
    """Waiting with the MMU on is what an idle kernel does; no device here would wake it."""
    boot = _boot(record)
    halted = boot.stop.reason is StopReason.HALTED
    if boot.stop.reason is not StopReason.SPIN and not halted:
        return
    if halted and boot.scene is not None and boot.scene.mmu:
        return
    trouble = _trouble(record)
    if trouble is None or not _excused(record, trouble[1][0]):
        how = "waits for an interrupt, with the MMU off" if halted else "branches to itself"
        yield _told(record, f"the new kernel has parked itself: it {how}")


def _idle(record: Record) -> Iterator[Broken]:
    boot = _boot(record)
    if boot.stop.reason is StopReason.HALTED and boot.scene is not None and boot.scene.mmu:
        yield _told(record, "the new kernel waits for an interrupt, and none is to come")


def _outside(record: Record) -> Iterator[Broken]:
    stop = _boot(record).stop
    if stop.reason is StopReason.UNMAPPED and stop.access:
        access = stop.access
        yield _told(
            record,
            f"the new kernel leaves RAM and devices: {access.kind} of {access.size} bytes at "
            f"PA {access.pa:#x}",
        )


def _unanswered(record: Record) -> Iterator[Broken]:
    boot = _boot(record)
    if boot.stop.reason not in NO_ANSWERS:
        return
    hint = "the message says what is not emulated"
    if boot.stop.reason is StopReason.TIMEOUT and isinstance(boot.limits, Limits):
        hint = (
            f"{boot.limits.seconds:g} s of this host were not enough for the "
            f"{boot.limits.instructions:,} instructions of --boot {boot.seconds:g}: give more "
            "--timeout, or less --boot"
        )
    yield _told(record, f"the new kernel was stopped, and did not end: {boot.ended}", hint=hint)


def _told(
    record: Record, message: str, *, lines: tuple[str, ...] | None = None, hint: str | None = None
) -> Broken:
    """``message``, with all there is to say of where the new kernel ended, and its last lines."""
    from relokit.runtime.judge.rules.handover.boot_end import end_of

    boot = _boot(record)
    if lines is None:
        lines = tuple(line[:LONGEST] for line in boot.console.splitlines()[-LAST_LINES:])
    return end_of(boot, message, lines, hint)


_PARKED = (
    "it cannot go on: pages that the CPU does not have (__no_granule_support), a CPU without what "
    "it was built for"
)
_ROWS: tuple[tuple[str, str, str, Severity, Applies, Check, str, str, str], ...] = (
    (
        "boot.expect",
        "the new kernel prints what is expected of it (--expect)",
        "whoever asked for it",
        Severity.ERROR,
        _expected,
        _expect,
        "What was to be seen is not.",
        "the console says how far it came",
        "the new kernel ended before, or has not come so far",
    ),
    (
        "boot.silent",
        "a new kernel that has an early console says something",
        f"{_BOOTING}; kernel-parameters.txt: earlycon",
        Severity.ERROR,
        _another_ran,
        _silent,
        "The machine hangs without a word.",
        "what it was given: image, device tree and registers, as booting.rst has them",
        "it ended, or waits, before it found its console",
    ),
    (
        "boot.panic",
        "the new kernel does not oops, panic or find a bug in itself",
        "kernel/panic.c, arch/arm64/kernel/traps.c",
        Severity.ERROR,
        _another_ran,
        _gives_up,
        "The new kernel does not come up.",
        "a kernel that comes up when it is booted finds other memory, registers or firmware here",
        "the lines of the console say what it found",
    ),
    (
        "boot.root",
        "the new kernel has something to go on with when it has come up",
        "init/do_mounts.c, init/main.c",
        Severity.NOTE,
        _another_ran,
        _no_root,
        "None: it has come up.",
        "--initrd gives it an init; --expect says what is to be seen",
        "nothing was given that it could start",
    ),
    (
        "boot.parked",
        "the new kernel does not stop for ever by itself",
        "arch/arm64/kernel/head.S",
        Severity.ERROR,
        _ran,
        _parked,
        "The machine hangs, mostly without a word.",
        "the symbol says what it found; the same kernel has to fit CPU and page size",
        _PARKED,
    ),
    (
        "boot.idle",
        "the new kernel has something to do",
        "ARM DDI 0487, D1.6 (WFI): no timer is armed, and the console has sent all it was given",
        Severity.NOTE,
        _ran,
        _idle,
        "It waits for ever, unless another device interrupts it.",
        "--expect says what it should have printed by then",
        "it has nothing to do, or waits for a device that this board has not",
    ),
    (
        "boot.vector",
        "the new kernel has vectors where it takes an exception",
        "ARM DDI 0487, D1.3.1: vector tables",
        Severity.ERROR,
        _ran,
        _ends(
            lambda stop: stop.reason is StopReason.BAD_VECTOR,
            "takes an exception for which it has no vectors",
        ),
        "It raises the next one, for ever.",
        "what raised it: the exception below",
        "an exception so early is none that it expects: a wrong address, or what the CPU has not",
    ),
    (
        "boot.exception",
        "the new kernel raises nothing that no level of this machine handles",
        "ARM DDI 0487, D1.3",
        Severity.ERROR,
        _ran,
        _ends(lambda stop: stop.reason is StopReason.EXCEPTION, "raises what nothing here handles"),
        "Firmware ends it, or it hangs.",
        "calls by the conduit that the device tree names",
        "a call to firmware by the wrong conduit, or what is trapped to EL3",
    ),
    (
        "boot.storm",
        "the new kernel handles an exception before it raises the next",
        "ARM DDI 0487, D1.3",
        Severity.ERROR,
        _ran,
        _ends(
            lambda stop: stop.reason is StopReason.STORM,
            "takes one exception after the other, and comes no further",
        ),
        "It hangs, and is busy.",
        "what raised the last one: the exception below",
        "what handles the exception returns to where it was raised, and has changed nothing",
    ),
    (
        "boot.outside",
        "the new kernel stays in RAM and at devices that the device tree has",
        "the memory map of the machine",
        Severity.ERROR,
        _ran,
        _outside,
        "An external abort, or an SError.",
        "the device tree says what there is; nothing else may be touched",
        "a register that was computed wrongly, or a device that is not in the device tree",
    ),
    (
        "boot.unanswered",
        "there is an answer: else there is no verdict",
        "the host, the engine",
        Severity.NOTE,
        _ran,
        _unanswered,
        "Nothing is known.",
        "--timeout is the host's time",
        "the limit: nothing is known of the new kernel, which may or may not come up",
    ),
)

BOOT = (
    Rule(
        "boot.demo",
        "the demo kernel finds the machine as booting.rst promises, and says so",
        f"{_BOOTING}, checked by the guest itself",
        Severity.ERROR,
        _demo_ran,
        _demo,
    ),
    *(
        Rule(name, must, source, severity, applies, check, cause, consequence, hint)
        for name, must, source, severity, applies, check, consequence, hint, cause in _ROWS
    ),
)
