"""docs/json.md against what is printed: each key with its type, and none that nothing prints."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import relokit
from relokit.cli.main import main
from relokit.codegen.base.documents import document
from relokit.codegen.target import Regime, Target
from relokit.diffing.read.routine import Names, Replaced, Routine, Side
from relokit.diffing.routines.compare import compare
from relokit.facade import run
from relokit.machines.showing import show
from relokit.machines.snapshots import Recorded
from relokit.mutation.mutation_report import Left, MutantRow, MutationReport, TargetTried
from relokit.runtime.arch.feature_id import ShownFeature
from relokit.runtime.judge.outcome import TakenUp
from relokit.runtime.kexec.job import Job
from relokit.runtime.live.live_outcome import LiveOutcome
from relokit.runtime.show.shown.code_shown import VectorsShown, VectorTable
from relokit.runtime.show.shown.list_shown import ListShown
from relokit.runtime.show.shown.memory_shown import MemoryShown
from relokit.runtime.show.shown.question import Question, Topic
from relokit.runtime.show.shown.tables_shown import TablesOfRange, TablesShown
from support.live_outcomes import silent

ROOT = Path(relokit.__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "json.md"
TEMPLATES = ROOT / "templates"
NOP, RET, DSB_SY = 0xD503201F, 0xD65F03C0, 0xD5033F9F
MOV_X1_1, MOV_X2_2, MOV_X2_1, MOV_X1_2 = 0xD2800021, 0xD2800042, 0xD2800022, 0xD2800041
ADD_X3_X1_X2, ADD_X3_X2_X1, STR_X1 = 0x8B020023, 0x8B010043, 0xF9000401
SCALARS = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_HEADING = re.compile(r"#{2,3} (\S+)")
_ROW = re.compile(r"\| `(\w+)`(\??) \| ([^|]+?) \|")


@cache
def page() -> dict[str, dict[str, tuple[str, bool]]]:
    """By schema or shape, its keys: type, and whether one may be missing."""
    shapes: dict[str, dict[str, tuple[str, bool]]] = {}
    name = ""
    for line in PAGE.read_text().splitlines():
        if heading := _HEADING.fullmatch(line):
            name = heading[1]
            assert name not in shapes, f"{name} is described twice"
            shapes[name] = {}
        elif row := _ROW.match(line):
            assert row[1] not in shapes[name], f"{name}.{row[1]} stands there twice"
            shapes[name][row[1]] = (row[3], bool(row[2]))
    return {name: keys for name, keys in shapes.items() if keys}


@dataclass
class Reader:
    """Checks documents, and remembers which keys it has met."""

    met: set[tuple[str, str]] = field(default_factory=set)

    def whole(self, data: dict[str, Any]) -> None:
        schema = next(iter(data.items()))
        assert schema[0] == "schema", "the first key says what document it is"
        self.shape({key: one for key, one in data.items() if key != "schema"}, schema[1], schema[1])

    def shape(self, data: object, name: str, at: str) -> None:
        assert isinstance(data, dict), at
        keys = page()[name]
        assert data.keys() <= keys.keys(), f"{at}: {data.keys() - keys.keys()} not in json.md"
        for key, (kind, optional) in keys.items():
            assert optional or key in data, f"{at} has no {key}"
            if key in data:
                self.met.add((name, key))
                self.value(data[key], kind, f"{at}.{key}")

    def value(self, data: object, kind: str, at: str) -> None:
        if kind.startswith("array of "):
            assert isinstance(data, list), at
            for one in data:
                self.value(one, kind.removeprefix("array of "), f"{at}[]")
        elif kind.startswith("map of "):
            assert isinstance(data, dict), at
            for name, one in data.items():
                self.value(one, kind.removeprefix("map of "), f"{at}[{name!r}]")
        elif " or " in kind:
            kinds = kind.split(" or ")
            if type(data) not in {python for one in kinds for python in SCALARS.get(one, ())}:
                self.shape(data, kinds[0], at)
        elif kind in SCALARS:
            assert type(data) in SCALARS[kind], f"{at} is {data!r}, not {kind}"
        else:
            self.shape(data, kind, at)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One document of each kind, and what it takes for every key to be there."""
    return list(documents(tmp_path_factory.mktemp("documents")))


def documents(directory: Path) -> Iterator[dict[str, Any]]:
    def cli(*arguments: object) -> dict[str, Any]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main([*map(str, arguments), "--json"])
        found: dict[str, Any] = json.loads(out.getvalue())
        return found

    def edited(name: str, template: str, old: str, new: str) -> Path:
        text = (TEMPLATES / template).read_text()
        assert old in text
        (directory / name).mkdir()
        (directory / name / template).write_text(text.replace(old, new, 1))
        return directory / name

    relocate = "relocate_kernel.S.j2"
    crash = edited("crash", relocate, "\tldr\tx28, [x0", "\tudf\t#7\n\tldr\tx28, [x0")
    left_over = edited("left", relocate, "\tmov\tx2, xzr\n", "\tmov\tx2, #9\n")
    nonsense = edited("nonsense", relocate, "\tmov\tx2, xzr\n", "\tmov\tx2, y9\n")
    yield cli("run", "--effects")
    yield cli("run", "--templates", crash)
    project = directory / "relokit.toml"
    accepted = '[[suppress]]\nrule = "handoff.x2"\nreason = "known"\nuntil = 9999-12-31\n'
    project.write_text(accepted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RELOKIT_PROJECT", str(project))
        yield cli("run", "--templates", left_over, "--el", "el1", "--size", "4k", "--plain")
        cell = ("--cell", "series15/4k/va48/vhe/normal/shuffled", "--plain")
        yield cli("matrix", *cell, "--templates", left_over)
    yield cli("run", "--templates", left_over, "--el", "el1")
    yield cli("run", "--templates", nonsense)
    far = "1g@0x40000000,1g@0x8040000000"
    yield cli("run", "--path", "hibernate", "--strict", "--va-bits", "39", "--memory-map", far)
    yield cli("run", "--path", "in-place", "--profile", "best")
    # It goes on for as long as it may, on any host.
    spin = ".Lspin:\n\tadd\tx9, x9, #1\n\tb\t.Lspin\n\tldr\tx28, [x0"
    endless = edited("endless", relocate, "\tldr\tx28, [x0", spin)
    patient = ("--timeout", "0.3", "--max-instructions", 1 << 60)
    yield cli("run", "--templates", endless, "--plain", *patient)
    open_ = edited("open", "machine_kexec.S.j2", "msr\tdaifset, #0xf", "nop")
    yield cli("run", "--interrupts", 3000, "--templates", open_)
    traced = relokit.run(job=relokit.Job(observe=True), trace=directory / "trace")
    assert traced.trace is not None
    # It takes some gigabytes of payload to fill one, and a strange kernel to access no register.
    full = replace(traced.trace, full_at=9)
    yield document(replace(traced, trace=full, undefined={"S3_0_C15_C2_1": 1}))
    old, new = directory / "old.elf", directory / "new.elf"
    yield cli("export", "-o", old, "--series", 11)
    yield cli("export", "-o", new, "--series", 12)
    yield cli("run", "--code-from", new, "--series", 12)
    yield cli("export", "-o", directory / "boot.elf", "--type", "bootable")
    yield cli("generate", "-o", directory / "generated")
    yield cli("templates", "--copy", directory / "templates")
    yield cli("show", "memory", "--at", "kernel")
    for topic in Topic:
        yield cli("show", topic, "--el", "vhe")
        if topic not in (Topic.LIST, Topic.VECTORS):
            yield cli("show", topic, "--record", directory / "trace")
    yield cli("show", "tables", "machine_kexec")
    vectors = VectorTable("VBAR_EL1", 1, None, (), "owner", "translation fault, level 0")
    yield document(VectorsShown("t", "start", 1, (vectors,)))
    row = TablesOfRange("TTBR0_EL1", 1, "EL1&0", True, 1, 48, 48, 4096, "48-bit", (), (), 1, "why")
    yield document(TablesShown("t", "start", 1, {}, (row,)))
    yield document(ListShown("t", "start", 4096, 1, {}, 1, 0, 0, (), "it loops"))
    broken = replace(memory_of(Job(size=4096)), problem="it loops")
    yield document(broken)
    yield cli("explain")
    measurements = directory / "measurements.toml"
    measurements.write_text(
        'name = "mine"\nlike = "cortex-a72"\nfree = ["walk_ns"]\n'
        "[[measurement]]\nseries = 0\nsize = '8K'\nseconds = 1e-3\n"
    )
    yield cli("time", "--size", "8K", "--fit", measurements)
    yield cli("time", "--table")
    yield cli("series")
    yield cli("series", 9)
    yield cli("series", 14)
    cell = ("--series", 15, "--page-size", "4k", "--va-bits", 48, "--el", "el1", "--jobs", 1)
    payloads = ("--path", "normal", "--payload", "shuffled,no-list")
    yield cli("matrix", *cell, *payloads, "--templates", left_over)
    yield cli("matrix", *cell[:-2], *payloads, "--list")
    mutants = ("--el", "el1", "--operator", "weaken,flags", "--jobs", 1)
    yield cli("mutate", *mutants, "--routine", "relocation,soft-restart", "--templates", crash)
    yield cli("mutate", *mutants, "--routine", "soft-restart")
    yield cli("matrix", *cell[2:], "--path", "normal", "--payload", "shuffled", "--code-from", new)
    yield cli("mutate", "--code-from", new, "--operator", "flags", "--el", "el1", "--jobs", 1)
    yield document(some_mutants())
    yield document(some_kexec())
    yield document(Recorded(directory / "snapshot", "vmlinuz", 1, 2, 1, 3, devices=True))
    taken_up = TakenUp("vmlinuz", ("ID_AA64ISAR0_EL1.Atomic = 2",), {"history": "nobody saw it"})
    yield document(replace(traced, taken_up=taken_up))
    yield cli("diff", "series:11", "series:12", "--run")
    yield cli("diff", "series:13:cpu_soft_restart", "series:15", "--run")
    yield cli("diff", edited_source(directory, "a", 1), edited_source(directory, "b", 2), "--run")
    yield cli("diff", old, new, "--all")
    yield cli("diff", "--series")
    plain, patched = (
        side(NOP, RET),
        side(NOP, RET, replaced=(Replaced(0, 4, (DSB_SY,), None, "an erratum"),)),
    )
    yield document(compare(plain, patched))
    one = side(MOV_X1_1, MOV_X2_2, ADD_X3_X1_X2, STR_X1, RET)
    yield document(compare(one, side(MOV_X2_1, MOV_X1_2, ADD_X3_X2_X1, STR_X1, RET)))


def memory_of(job: Job) -> MemoryShown:
    found: MemoryShown = show(Question(Topic.MEMORY), job=job)
    return found


def some_mutants() -> MutationReport:
    """What no campaign on good code comes to: no answer, nothing to try, nothing judged."""
    row = MutantRow(0, 0, 0, 1, 0, 0, 0)
    left = Left("t", "i", "drop", "p", "t", not_judged=("caches.data",), why="timeout")
    return MutationReport(
        "fail",
        (TargetTried("t", why_not="no answer"),),
        row,
        {},
        {},
        {},
        {},
        {},
        (),
        (left,),
        accepted="1 known",
    )


def some_kexec() -> LiveOutcome:
    """One with all that there may be."""
    return silent(
        run(Target(regime=Regime.EL1), Job(size=4096, plain=True)),
        features=(ShownFeature.PAUTH,),
        unknown={"history": "nobody saw it"},
        undefined={"S3_0_C15_C2_1": 2},
    )


def side(*words: int, replaced: tuple[Replaced, ...] = ()) -> Side:
    code = struct.pack(f"<{len(words)}I", *words)
    return Side("a side", {"f": Routine("f", 0, code, replaced=replaced)}, Names(()))


def edited_source(directory: Path, name: str, number: int) -> Path:
    """Two of these store to memory and set registers, each to something else."""
    path = directory / f"{name}.S"
    path.write_text(
        f"""\t.globl f
\t.type f, %function
f:
\tmov\tx3, #{number}
\tstr\tx3, [x0]
\tmov\tx0, #{number}
\tdsb\tsy
\tret
\t.size f, . - f
"""
    )
    return path


def test_the_page_describes_what_it_names() -> None:
    shapes = page()
    for name, keys in shapes.items():
        for key, (kind, _) in keys.items():
            for word in re.sub(r"\b(array|map) of ", "", kind).split(" or "):
                assert word in SCALARS or word in shapes, f"{name}.{key}: {word}"


def test_every_document_is_as_described(printed: list[dict[str, Any]]) -> None:
    reader = Reader()
    for one in printed:
        reader.whole(one)
    described = {name for name in page() if name.startswith("relokit.")}
    assert {one["schema"] for one in printed} == described
    lacking = {(name, key) for name, keys in page().items() for key in keys} - reader.met
    assert not lacking, f"described, and printed by nothing: {sorted(lacking)}"


def test_a_key_that_is_not_described_is_found() -> None:
    good = {"schema": "relokit.error/1", "status": "error", "error": {"message": "m"}}
    Reader().whole(good)
    for bad in (
        good | {"error": {"message": "m", "colour": "red"}},
        good | {"error": {}},
        good | {"status": 1},
        {"status": "error", "error": {"message": "m"}},
    ):
        with pytest.raises(AssertionError):
            Reader().whole(bad)
