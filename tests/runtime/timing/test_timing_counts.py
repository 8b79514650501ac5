"""Counts against a machine that is stepped through, arithmetic, and a move of another size."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from capstone import CS_ARCH_ARM64, CS_MODE_ARM, Cs
from unicorn.unicorn_const import UC_HOOK_CODE

from relokit.codegen.target import Regime, Target
from relokit.runtime.arch.walker import walk
from relokit.runtime.judge.model.caches.memory_type import MemoryType
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.kexec.pagetables import PageTables
from relokit.runtime.record.code_path import PATH_BLOCK, CodePath
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.executed import EXECUTED_BLOCK, Executed
from relokit.runtime.record.known import Unknown, UnknownFactError
from relokit.runtime.record.record import JumpFacts, Record
from relokit.runtime.record.trace import Trace, TraceKind
from relokit.runtime.run.count_move import count_move
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.timing.counted import counts_of
from relokit.runtime.timing.counts import MoveCounts, Phase, Quantity
from relokit.runtime.timing.fill_levels import entry_size
from relokit.runtime.timing.scaling import SAMPLES, Scale
from relokit.runtime.timing.word_effects import InstructionClass
from support.accesses import watched
from support.machines import prepared, programs, quiet

PAGE, LINE = 4096, 64
LINES = PAGE // LINE
SMALL = Job(size=3 * PAGE)
PAGES = 4
"""Those of SMALL, and a device tree."""
CODED = [
    (0, Regime.NVHE), (4, Regime.EL1), (6, Regime.NVHE), (9, Regime.NVHE), (11, Regime.VHE),
    (12, Regime.EL1), (15, Regime.NVHE), (15, Regime.VHE),
]  # fmt: skip
BY_MNEMONIC = {
    "dc": InstructionClass.CACHE, "ic": InstructionClass.CACHE, "tlbi": InstructionClass.TLB,
    "dsb": InstructionClass.BARRIER, "isb": InstructionClass.BARRIER,
    "mrs": InstructionClass.SYSTEM, "msr": InstructionClass.SYSTEM,
    "nop": InstructionClass.SYSTEM, "bti": InstructionClass.SYSTEM,
}  # fmt: skip
BRANCHES = ("b", "br", "blr", "bl", "ret", "eret", "hvc", "cbz", "cbnz", "tbz", "tbnz")


@cache
def class_of(word: int) -> InstructionClass:
    """What Capstone's mnemonic says."""
    engine = Cs(CS_ARCH_ARM64, CS_MODE_ARM)
    [(_, _, mnemonic, _)] = engine.disasm_lite(word.to_bytes(4, "little"), 0)
    if mnemonic in BY_MNEMONIC:
        return BY_MNEMONIC[mnemonic]
    if mnemonic.startswith(("ld", "st")):
        return InstructionClass.LOAD if mnemonic.startswith("ld") else InstructionClass.STORE
    branches = mnemonic in BRANCHES or mnemonic.startswith("b.")
    return InstructionClass.BRANCH if branches else InstructionClass.INTEGER


def word_at(machine: Machine, record: Record, pc: int) -> int:
    """The word at VA ``pc``, by where the trace has it fetched from."""
    assert isinstance(record.trace, Trace)
    fetched = record.trace.of(TraceKind.FETCH)
    [one, *_] = fetched[(fetched["va"] <= pc) & (pc < fetched["va"] + fetched["length"])]
    pa = int(one["pa"]) + pc - int(one["va"])
    return int.from_bytes(machine.memory.read(pa, 4), "little")


def classes(counts: MoveCounts, *phases: Phase) -> Counter[str]:
    """Instructions by class, of some phases or all."""
    which = phases or tuple(Phase)
    found = {
        one.value: counts.total(Quantity.INSTRUCTIONS, phases=which, of=one.value)
        for one in InstructionClass
    }
    return Counter({name: number for name, number in found.items() if number})


@pytest.mark.parametrize(("series", "regime"), CODED)
def test_a_machine_that_is_stepped_through_does_as_much(series: int, regime: Regime) -> None:
    """One hook an instruction, one an access; what each is comes from Capstone."""
    stepped: Counter[int] = Counter()
    with prepared(Target(series=series, regime=regime), SMALL) as machine:
        cpu = open_cpu(machine)

        def step(_uc: object, pc: int, *_: object) -> None:
            stepped[pc] += 1

        hook = cpu.uc.hook_add(UC_HOOK_CODE, step)
        with watched(cpu) as seen:
            record = execute(machine, cpu, SMALL, quiet)
        cpu.uc.hook_del(hook)
        by_class: Counter[str] = Counter()
        for pc, times in stepped.items():
            # No code is where the move stores.
            by_class[class_of(word_at(machine, record, pc)).value] += times
    counts = counts_of(record, "", PAGE, PAGES)
    assert classes(counts) == by_class
    for name, quantity in (("load", Quantity.LOADS), ("store", Quantity.STORES)):
        counted = sum(row.number * row.size for row in counts.rows if row.quantity is quantity)
        assert counted == sum(end - start for kind, start, end in seen.spans if kind == name)
    # Each page lies elsewhere, so no line is touched in two phases.
    assert len({pa // LINE for kind, pa, _ in seen.spans if kind == "store"}) == counts.total(
        Quantity.LINES_STORED
    )


@pytest.mark.parametrize(("series", "regime"), CODED)
def test_phases_are_what_the_code_is_for(series: int, regime: Regime) -> None:
    counts = counted(series, regime)
    copied = PAGES * LINES
    assert classes(counts, Phase.COPY) == {
        "loads": 4 * copied, "stores": 4 * copied, "integer": 2 * copied, "branches": copied,
    }  # fmt: skip
    assert classes(counts, Phase.MAINTENANCE) == {
        "cache maintenance": copied, "integer": 2 * copied, "branches": copied, "barriers": PAGES,
    }  # fmt: skip
    memory = MemoryType.WRITE_BACK if series >= 12 else MemoryType.DEVICE
    copy = {"phases": (Phase.COPY,), "memory": memory}
    assert counts.total(Quantity.LOADS, **copy) == 4 * copied
    assert counts.total(Quantity.STORES, **copy) == 4 * copied
    assert counts.total(Quantity.LINES_LOADED, **copy) == copied
    assert counts.total(Quantity.LINES_STORED, **copy) == copied
    operation = "dc civac" if series >= 12 else "dc ivac"
    assert counts.total(Quantity.OPERATIONS, of=operation) == copied
    assert counts.total(Quantity.OPERATIONS, of="tlbi vmalle1") == (series >= 11)
    switch = classes(counts, Phase.TABLE_SWITCH)
    assert switch == ({"TLB maintenance": 1, "barriers": 3, "system": 2} if series >= 11 else {})
    assert counts.total(Quantity.OPERATIONS, phases=[Phase.EXIT], of="ic iallu") == 1
    assert counts.total(Quantity.LOADS, phases=[Phase.EXIT]) == 0 if series >= 12 else True
    # The words of the list: pages, two destinations, IND_DONE. Before them kimage's fields.
    walked = counts.total(Quantity.LOADS, phases=[Phase.LIST_WALK])
    assert walked - (PAGES + 3) in ({7} if series >= 12 else {0, 1, 3})
    translated = counts.total(Quantity.PAGES, phases=[Phase.COPY])
    assert translated == (2 * PAGES if series >= 12 else 0)


def test_the_same_move_gives_the_same_counts() -> None:
    assert recount(15, SMALL) == recount(15, SMALL) == counted(15, Regime.NVHE)


@pytest.mark.parametrize(("series", "size"), [(0, 11 << 20), (15, 21 << 20), (15, 1 << 20)])
def test_counts_of_a_large_move_are_sums_over_its_pages(series: int, size: int) -> None:
    """All but those that depend on where pages lie, which are close."""
    found = {row.what: row.number for row in scale(series).at(size).rows}
    right = {row.what: row.number for row in recount(series, Job(size=size)).rows}
    assert found.keys() == right.keys()
    for what, number in right.items():
        placed = what[1] in (Quantity.PAGES, Quantity.TRANSLATIONS, Quantity.LINES_LOADED)
        near = 1 + number // 500 if placed and number != found[what] else 0
        assert abs(found[what] - number) <= near, what


def test_what_does_not_grow_by_the_page_is_refused() -> None:
    small, middle, large = scale(15).samples
    row = next(row for row in middle.rows if row.quantity is Quantity.INSTRUCTIONS)
    rows = tuple(replace(one, number=one.number + (one is row)) for one in middle.rows)
    with pytest.raises(Exception, match="does not grow by the page"):
        Scale((small, replace(middle, rows=rows), large)).at(1 << 30)


def test_without_blocks_each_page_has_a_translation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a linear map by pages: what relokit says, and a machine that has one."""
    asked = counted(15, Regime.NVHE).by_pages()
    whole = PageTables.map

    def by_pages(self: PageTables, *arguments: object, **more: object) -> None:
        whole(self, *arguments, **(more | {"blocks": False}))  # type: ignore[arg-type]

    monkeypatch.setattr(PageTables, "map", by_pages)
    right = recount(15, SMALL)
    for quantity in (Quantity.TRANSLATIONS, Quantity.PAGES):
        assert asked.total(quantity, of="level 3") == right.total(quantity, of="level 3")
        assert asked.total(quantity) == right.total(quantity)


@pytest.mark.parametrize(
    ("path", "moves"),
    [(KexecPath.PURGATORY, True), (KexecPath.HIBERNATE, True), (KexecPath.CRASH, False)],
)
def test_other_ways_are_counted(path: KexecPath, moves: bool) -> None:
    counts = recount(15, replace(SMALL, path=path))
    stored = counts.total(Quantity.STORES, phases=[Phase.COPY])
    assert stored == (counts.pages * PAGE // 16 if moves else 0)
    assert bool(counts.pages) == moves
    assert counts.total(Quantity.LOADS, phases=[Phase.PURGATORY]) == (
        2 if path is KexecPath.PURGATORY else 0
    )


def test_what_is_not_known_is_not_counted() -> None:
    with prepared(Target(), SMALL) as machine:
        record = execute(machine, open_cpu(machine), SMALL, quiet)
    trace, path, executed, code = record.trace, record.path, record.executed, record.code
    assert isinstance(trace, Trace)
    assert isinstance(path, CodePath)
    assert isinstance(executed, Executed)
    assert isinstance(code, CodeSeen)
    blocks, rows = path.rows().copy(), executed.rows().copy()
    blocks["length"][5] = 0
    rows["times"][5] += 1
    huge = np.array([(0x1000, 1, 1 << 60)], EXECUTED_BLOCK)
    words = dict(code.words)
    del words[min(words)]
    for less, why in (
        (replace(record, reached=()), "was not entered"),
        (replace(record, trace=replace(trace, full_at=9)), "room"),
        (replace(record, path=CodePath(path.blocks[: PATH_BLOCK.itemsize * 30])), "not add up"),
        (replace(record, path=CodePath(blocks.tobytes())), "not add up"),
        (replace(record, executed=Executed(rows.tobytes())), "not add up"),
        (replace(record, executed=Executed(huge.tobytes())), "instructions in blocks"),
        (replace(record, executed=Unknown("why not")), "why not"),
        (replace(record, code=replace(code, words=words)), "is not known"),
        (replace(record, trace=replace(trace, records=trace.records[:-30])), "carried out"),
        (replace(record, legs=record.legs[:1]), "legs"),
    ):
        with pytest.raises(UnknownFactError, match=why):
            counts_of(less, "", PAGE, PAGES)


@cache
def counted(series: int, regime: Regime) -> MoveCounts:
    """Of SMALL."""
    return recount(series, SMALL, regime)


def recount(series: int, job: Job, regime: Regime = Regime.NVHE) -> MoveCounts:
    target = Target(series=series, regime=regime)
    return count_move(target, programs(target), job, quiet)


@cache
def scale(series: int) -> Scale:
    small, middle, large = (recount(series, Job(size=size)) for size in SAMPLES)
    return Scale((small, middle, large))


@pytest.mark.parametrize("page_size", [4096, 16384])
def test_levels_are_those_of_a_walk(page_size: int) -> None:
    """Each page that is copied, walked for by our other walker in the memory that is left."""
    job = Job(size=6 << 20)
    with prepared(Target(page_size=page_size), job) as machine:
        record = execute(machine, open_cpu(machine), job, quiet)
        trace, jump = record.trace, record.jump
        assert isinstance(trace, Trace)
        assert isinstance(jump, JumpFacts)
        rows = trace.of(TraceKind.LOAD, TraceKind.STORE)
        # The list is read word by word.
        vas = rows["va"][(rows["size"] == 16) & (rows["va"] >> np.uint64(63) == 1)]
        levels: Counter[str] = Counter()
        entries: set[tuple[int, int]] = set()
        for page in sorted({int(va) // page_size * page_size for va in vas}):
            found = walk(machine.memory, jump.cpu.translation, page, el=1)
            level = found.trail[-1].level
            levels[f"level {level}"] += 1
            entries.add((level, page // entry_size(page_size, level)))
    counts = counts_of(record, "", page_size, 0)
    for quantity, right in (
        (Quantity.PAGES, levels),
        (Quantity.TRANSLATIONS, Counter(f"level {level}" for level, _ in entries)),
    ):
        rows_of = [
            row for row in counts.rows if row.quantity is quantity and row.phase is Phase.COPY
        ]
        assert {row.of: row.number for row in rows_of} == right
