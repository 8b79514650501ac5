"""What the move finds and must leave alone: whole at the jump and after, or else named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from relokit.codegen.target import MIB, PAGE_SIZES, Regime, Target
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.judge.book import judge
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.moved.setup import FIELDS, SETUP
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.kexec.kimage import KexecSegment, read_field, write_field
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record
from relokit.runtime.run.execute import execute
from relokit.runtime.run.keepsake import Keepsake
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.run.prepared import expected_fields, prepared_facts
from support.machines import prepared, quiet
from support.records import GOOD

JOB = Job(size=200_000, memory=160 * MIB)
PATHS = [path for path in KexecPath if path is not KexecPath.HIBERNATE]


def setup_findings(machine: Machine) -> list[Finding]:
    """What the rules say of what is prepared now."""
    return list(judge(replace(GOOD, prepared=prepared_facts(machine)), SETUP).findings)


@pytest.mark.parametrize("series", [0, 4, 5, 7, 8, 9, 11, 12, 15])
@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("path", PATHS)
def test_all_is_whole_before_and_after(path: KexecPath, regime: Regime, series: int) -> None:
    page = list(PAGE_SIZES.values())[series % 3]
    job = replace(JOB, path=path)
    with prepared(Target(series=series, regime=regime, page_size=page), job) as machine:
        assert setup_findings(machine) == []
        record = execute(machine, open_cpu(machine), job, quiet)
        # Since patch 5 nobody invalidates the I-cache on the way to what is in place: a warning.
        skipped = series >= 5 and path in (KexecPath.IN_PLACE, KexecPath.CRASH)
        findings = judge(record).findings
        assert [finding.rule for finding in findings] == ["fetch.in-place"] * skipped
        assert not judge(record).failed
        assert record.damage == ()
        assert setup_findings(machine) == []


@pytest.mark.parametrize("shape", [shape for shape in Shape if shape is not Shape.LOADED])
def test_every_shape_of_list_is_legal(shape: Shape) -> None:
    """But for the one that only a resume has. Edges choose their own RAM, one page its size."""
    own = shape in (Shape.EDGES, Shape.ONE_PAGE)
    job = Job(shape=shape) if own else replace(JOB, shape=shape)
    with prepared(Target(), job) as machine:
        assert setup_findings(machine) == []


# Which words a state reads, from series.md's rows and the code of 6.1.
@pytest.mark.parametrize(
    ("series", "fields"),
    [
        (0, {"head", "start", "dtb_mem", "kern_reloc"}),
        (8, {"head", "start", "dtb_mem", "kern_reloc", "el2_vectors"}),
        (11, {"head", "start", "dtb_mem", "kern_reloc", "el2_vectors", "ttbr1", "zero_page"}),
        (15, set(FIELDS)),
    ],
)
def test_fields_by_state(series: int, fields: set[str]) -> None:
    with prepared(Target(series=series), JOB) as machine:
        assert expected_fields(machine).keys() == fields
        for name, value in expected_fields(machine).items():
            assert read_field(machine.memory, machine.kimage, name) == value


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("bit", [0, 3, 12, 63])
def test_one_wrong_word_of_kimage_is_named(field: str, bit: int) -> None:
    with prepared(Target(), JOB) as machine:
        value = read_field(machine.memory, machine.kimage, field)
        write_field(machine.memory, machine.kimage, field, value ^ 1 << bit)
        found = [f for f in setup_findings(machine) if f.rule == "setup.kimage"]
        [finding] = found
    assert f"kimage {field} is {value ^ 1 << bit:#x}, and has to be {value:#x}" == finding.message
    assert FIELDS[field] in (finding.cause or "")


def test_three_wrong_words_are_three_mistakes_and_four_are_one() -> None:
    with prepared(Target(), JOB) as machine:
        rules = []
        for field in ("ttbr1", "zero_page", "t0sz", "phys_offset"):
            write_field(machine.memory, machine.kimage, field, 0)
            found = [f for f in setup_findings(machine) if f.rule == "setup.kimage"]
            rules.append(len(found))
    assert rules == [1, 2, 3, 1]


def test_an_overwritten_kimage_is_one_finding() -> None:
    with prepared(Target(), JOB) as machine:
        machine.memory.view(machine.kimage.pa, machine.kimage.layout.size).fill(0x5A)
        [finding] = [f for f in setup_findings(machine) if f.rule == "setup.kimage"]
    assert finding.message.endswith("was overwritten: 10 of its 10 words are wrong")
    assert len(finding.notes) == 10


def _code(machine: Machine) -> int:
    return machine.kimage.control_page + 0x40


def _last_code(machine: Machine) -> int:
    return machine.kimage.control_page + len(machine.routines.relocation) - 1


def _vectors(machine: Machine) -> int:
    return read_field(machine.memory, machine.kimage, "el2_vectors") + 0x7FF


def _zero_page(machine: Machine) -> int:
    return machine.old.zero_page + machine.target.page_size - 1


@pytest.mark.parametrize(
    ("place", "rule", "message"),
    [
        (_code, "setup.code", "the copy of the relocation code was changed"),
        (_last_code, "setup.code", "the copy of the relocation code was changed"),
        (_vectors, "setup.code", "the copy of the EL2 vectors was changed"),
        (_zero_page, "setup.zero-page", "is not empty"),
    ],
)
def test_one_wrong_byte_is_found(place: Callable[[Machine], int], rule: str, message: str) -> None:
    with prepared(Target(), JOB) as machine:
        pa = place(machine)
        machine.memory.view(pa, 1)[0] ^= 0x80
        [finding] = setup_findings(machine)
    assert finding.rule == rule
    assert message in finding.message
    assert finding.address == (pa if rule == "setup.zero-page" else pa & -4)


def test_a_list_for_other_segments_is_told() -> None:
    """Fewer pages, and one in the wrong place."""
    with prepared(Target(), JOB) as machine:
        [pages] = machine.kimage.list_pages
        memory, done = machine.memory, pages.base + 8 * machine.kimage.entries
        memory.write_u64(done - 8, 4)
        [fewer] = setup_findings(machine)
        memory.write_u64(pages.base, memory.read_u64(pages.base) + 4096)
        _, elsewhere = setup_findings(machine)
    assert fewer.message == "the list moves 49 pages, and the segments have 50"
    assert elsewhere.message.startswith("page 0 of the list goes to PA 0x40001000 instead of")
    assert "in the list" not in (elsewhere.cause or "")


def test_what_was_prepared_differently_by_other_code_is_no_damage() -> None:
    """The rest of RAM is nobody's business here."""
    with prepared(Target(), JOB) as machine:
        kinds = {region.owner.kind for region in machine.allocator.regions}
        assert OwnerKind.SOURCES in kinds
        elsewhere = (OwnerKind.SOURCES, OwnerKind.OLD_KERNEL, OwnerKind.DESTINATION)
        for region in machine.allocator.regions:
            if region.owner.kind in elsewhere:
                machine.memory.view(region.base, region.size).fill(0xEE)
        assert setup_findings(machine) == []


# After the move -----------------------------------------------------------------------------------


PLAIN = Unknown("not recorded")


def _own_words(machine: Machine) -> dict[OwnerKind, int]:
    """PA of a word of each that the move needs."""
    return {region.owner.kind: region.base + 8 for region in machine.allocator.regions}


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (OwnerKind.KIMAGE, "damage.kimage"),
        (OwnerKind.LIST, "damage.list"),
        (OwnerKind.CONTROL_PAGE, "damage.code"),
        (OwnerKind.EL2_VECTORS, "damage.code"),
        (OwnerKind.LINEAR_MAP, "damage.tables"),
        (OwnerKind.CONTROL_IDMAP, "damage.tables"),
        (OwnerKind.ZERO_PAGE, "damage.zero-page"),
    ],
)
def test_what_changes_after_the_jump_is_damage_and_no_mistake_of_the_setup(
    kind: OwnerKind, rule: str
) -> None:
    with prepared(Target(), JOB) as machine:
        facts, keepsake = prepared_facts(machine), Keepsake(machine)
        pa = _own_words(machine)[kind]
        before = machine.memory.read_u64(pa)
        machine.memory.write_u64(pa, before ^ 1 << 40)
        [damage] = keepsake.damage()
        assert (damage.owner.kind, damage.pa, damage.count) == (kind, pa, 1)
        assert (damage.before, damage.after) == (before, before ^ 1 << 40)
        findings = judge(replace(GOOD, prepared=facts, damage=(damage,), trace=PLAIN)).findings
    assert [finding.rule for finding in findings] == [rule]
    assert f"the first at PA {pa:#x}" in findings[0].message


@pytest.mark.parametrize("kind", [OwnerKind.SOURCES, OwnerKind.OLD_KERNEL, OwnerKind.SWAPPER])
def test_what_the_move_needs_no_more_may_change(kind: OwnerKind) -> None:
    with prepared(Target(), JOB) as machine:
        keepsake = Keepsake(machine)
        machine.memory.write_u64(_own_words(machine)[kind], 0xEE)
        assert keepsake.damage() == ()


def _filled(machine: Machine) -> Record:
    """The move has filled the page of struct kimage, lawfully: it is a destination."""
    page = machine.target.page_size
    segment = KexecSegment("kernel", machine.kimage.pa & -page, page, page)
    machine = replace(machine, kimage=replace(machine.kimage, segments=(segment,)))
    facts, keepsake = prepared_facts(machine), Keepsake(machine)
    machine.memory.view(segment.mem, page).fill(0x5A)
    return replace(GOOD, prepared=facts, damage=keepsake.damage())


def test_a_kimage_that_lies_in_a_destination_is_read_before_it_is_filled() -> None:
    with prepared(Target(), JOB) as machine:
        record = _filled(machine)
    rules = {finding.rule for finding in judge(record).findings}
    assert record.damage
    # The list was not made for such a segment; of kimage nobody complains.
    assert rules == {"setup.list"}
