"""The clauses of booting.rst on system registers, each a rule, all by one check."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.runtime.judge.rules.handover.boot_contract import (
    CONTRACT,
    Bits,
    Clause,
    EntryLevel,
    Wanted,
)
from relokit.runtime.judge.rules.handover.cpu_features import features_of
from relokit.runtime.judge.rules.handover.handoff import BOOTING, enters_a_kernel
from relokit.runtime.judge.rules.handover.provenance import located, system_writer
from relokit.runtime.judge.rules.rule import Applies, Broken, Check, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.known import Unknown, UnknownFactError, known
from relokit.runtime.record.record import Record
from relokit.runtime.record.stations import CpuFacts, StationRole

_E2H = 1 << 34


def _applies(clause: Clause) -> Applies:
    """Where one of its bits counts on this CPU, for this entry; unknown facts come up later."""

    def applies(record: Record) -> str | None:
        why = enters_a_kernel(record)
        if why is not None:
            return why
        try:
            el = known(record.promises[-1].el)
            for row in clause.rows:
                if _counts(record, row, el):
                    return None
        except UnknownFactError:
            return None
        return f"nothing of it is asked of this CPU, entered at EL{el}"

    return applies


def _counts(record: Record, row: Bits, el: int) -> bool:
    """Whether ``row`` is asked for of this CPU, for a kernel entered at ``el``."""
    if row.entry is not EntryLevel.ANY and row.entry.value != el:
        return False
    if row.gicv2 is not None and row.gicv2 != _has_gicv2(record):
        return False
    if not row.features:
        return True
    return features_of(known(record.platform).identity).has(row.features)


def _has_gicv2(record: Record) -> bool:
    """What the device tree says, if there is one."""
    given = record.given
    return not isinstance(given, Unknown) and bool(given and given.tree and given.tree.gicv2)


def _check(clause: Clause) -> Check:
    def check(record: Record) -> Iterator[Broken]:
        for number, promise, cpu in record.stations():
            if promise.role is not StationRole.KERNEL:
                continue
            for row in clause.rows:
                if _counts(record, row, cpu.level) and _has_this_format(row, cpu):
                    yield from _broken(record, row, cpu, number)
        if not record.complete:
            raise UnknownFactError("the new kernel was never entered")

    return check


def _has_this_format(row: Bits, cpu: CpuFacts) -> bool:
    if row.host is None:
        return True
    return bool(known(cpu.register("HCR_EL2")) & _E2H) == row.host


def _broken(record: Record, row: Bits, cpu: CpuFacts, number: int) -> Iterator[Broken]:
    value = known(cpu.register(row.register))
    before = known(record.platform).provided.get(row.register)
    if not _is_wrong(row, value, before):
        return
    message = f"{row.register} = {value:#x}: {_bits(row.mask)} must be {_as_wanted(row, before)}"
    cause = _cause(value, before)
    yield located(record, message, number, system_writer(record, row.register), cause=cause)


def _is_wrong(row: Bits, value: int, before: int | None) -> bool:
    masked = value & row.mask
    match row.wanted:
        case Wanted.ONES:
            return masked != row.mask
        case Wanted.ZEROS:
            return masked != 0
        case Wanted.NOT_ZERO:
            return masked == 0
        case Wanted.UNCHANGED:
            if before is None:
                raise UnknownFactError(f"{row.register} was not recorded before machine_kexec")
            return masked != before & row.mask


def _as_wanted(row: Bits, before: int | None) -> str:
    unchanged = row.wanted is Wanted.UNCHANGED
    return f"{before:#x}, as before machine_kexec" if unchanged else row.wanted.value


def _bits(mask: int) -> str:
    numbers = [number for number in range(64) if mask >> number & 1]
    if len(numbers) == 64:
        return "it"
    name = "bit" if len(numbers) == 1 else "bits"
    return f"{name} {', '.join(map(str, numbers))}"


def _cause(value: int, before: int | None) -> str:
    if before is None:
        return "it was left so by the old kernel, or by whoever booted that"
    if value == before:
        return "it was so before machine_kexec: whoever booted the old kernel has left it so"
    return f"it was {before:#x} before machine_kexec, and was changed since"


def _unwritten(record: Record) -> Iterator[Broken]:
    names = known(record.platform).unwritten
    for number, promise, cpu in record.stations():
        if promise.role is not StationRole.KERNEL:
            continue
        for name in names:
            if int(name[-1]) <= cpu.level and system_writer(record, name) is None:
                message = f"{name} may hold anything: nobody has written it since reset"
                yield located(record, message, number, None)
    if not record.complete:
        raise UnknownFactError("the new kernel was never entered")


INITIALISED = Rule(
    "handoff.initialised",
    "all writable system registers at or below the level that is entered have been written once",
    BOOTING,
    Severity.WARNING,
    enters_a_kernel,
    _unwritten,
    "the old kernel never used it, and whoever booted that had no need to",
    consequence="Linux writes what it uses before it uses it, so it boots; another kernel may "
    "trust what it finds.",
    hint="write each of them in early boot, as init_el2_state does for EL2",
    executed=False,
)
BOOT_REGISTERS = (
    INITIALISED,
    *(
        Rule(
            clause.rule,
            clause.must,
            BOOTING,
            Severity.ERROR,
            _applies(clause),
            _check(clause),
            consequence=clause.consequence,
            hint="leave it as whoever booted the old kernel has set it up: nothing between "
            "machine_kexec and the new kernel has to write it",
            executed=clause.executed,
        )
        for clause in CONTRACT
    ),
)
