"""The house: which room may import which, what its files are called, and what the rooms say."""

from __future__ import annotations

import ast
import configparser
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("api", "codegen", "templates", "linker", "runtime", "diffing", "cli")

# A room may import what stands here, and nothing else: each only rooms above itself, so there
# can be no circle. `linker.*` is the linker with its sub-rooms, `linker` its own modules only.
# Whatever is imported counts: at the top, in a function, for types. The __init__ of the room says
# the same in its first sentence. A new arrow is a decision: change both, and say why.
ALLOWED = {
    "codegen.base": "nothing",
    "templates": "nothing",
    "codegen": "codegen.base, templates",
    "codegen.gas.instructions": "codegen, codegen.base",
    "codegen.gas": "codegen, codegen.base, codegen.gas.instructions",
    "linker": "codegen, codegen.base",
    "linker.script": "codegen, codegen.base, linker",
    "linker.link": "codegen.*, linker, linker.script",
    "linker.elf": "codegen, codegen.base, linker",
    "linker.kernel": "codegen, codegen.base, linker",
    "linker.foreign": "codegen.*, linker, linker.elf, linker.kernel, linker.link",
    "diffing": "nothing",
    "diffing.read": "codegen.*, linker.*, diffing",
    "diffing.instructions": "codegen.*, diffing.read",
    "diffing.routines": (
        "codegen, codegen.base, linker, diffing, diffing.read, diffing.instructions"
    ),
    "diffing.kernels": "codegen, codegen.base, linker.*, diffing.*",
    "runtime": "nothing",
    "runtime.guest": "codegen.base",
    "runtime.arch": "codegen, codegen.base, runtime.guest",
    "runtime.record": "codegen, codegen.base, runtime.guest, runtime.arch",
    "runtime.engine": "codegen, codegen.base, runtime.guest, runtime.arch, runtime.record",
    "runtime.engine.observing": (
        "codegen, codegen.base, runtime.arch, runtime.record, runtime.engine"
    ),
    "runtime.board": (
        "codegen, codegen.base, linker.kernel, runtime.guest, runtime.arch, runtime.record, "
        "runtime.engine"
    ),
    "runtime.kexec": "codegen.*, linker.*, runtime.guest, runtime.arch, runtime.board",
    "runtime.found": (
        "codegen, codegen.base, linker, linker.kernel, runtime.guest, runtime.arch, runtime.board, "
        "runtime.kexec"
    ),
    "runtime.campaign": "codegen, codegen.base, runtime.guest, runtime.kexec",
    "runtime.state": "codegen.*, linker.*, runtime.guest, runtime.kexec",
    "runtime.judge.model": "codegen, codegen.base, runtime.guest, runtime.arch, runtime.record",
    "runtime.judge.model.caches": (
        "codegen, codegen.base, runtime.arch, runtime.record, runtime.judge.model"
    ),
    "runtime.judge.model.tlb": (
        "codegen, codegen.base, runtime.arch, runtime.record, runtime.judge.model"
    ),
    "runtime.timing": (
        "codegen, codegen.base, runtime.guest, runtime.record, runtime.judge.model.caches"
    ),
    "runtime.timing.model": "codegen.base, runtime.judge.model.caches, runtime.timing",
    "runtime.judge.rules": "codegen, codegen.base, runtime.arch, runtime.record",
    "runtime.judge.rules.moved": (
        "codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.judge.rules"
    ),
    "runtime.judge.rules.handover": (
        "codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.judge.rules"
    ),
    "runtime.judge.rules.traced": (
        "codegen, runtime.guest, runtime.arch, runtime.record, runtime.judge.model.*, "
        "runtime.judge.rules"
    ),
    "runtime.judge": (
        "codegen, codegen.base, runtime.guest, runtime.record, runtime.kexec, runtime.judge.rules.*"
    ),
    "runtime.evidence": (
        "codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.kexec, "
        "runtime.judge"
    ),
    "runtime.run": (
        "codegen.*, linker.*, runtime.guest, runtime.arch, runtime.record, runtime.engine.*, "
        "runtime.board, runtime.kexec, runtime.judge, runtime.evidence, runtime.timing"
    ),
    "runtime.show.shown": "codegen.base",
    "runtime.show": (
        "codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.engine, "
        "runtime.engine.observing, runtime.kexec, runtime.judge.rules, runtime.evidence, "
        "runtime.run, runtime.show.shown"
    ),
    "runtime.debug": (
        "codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.engine, "
        "runtime.kexec, runtime.run, runtime.show"
    ),
    "runtime.snapshot": "codegen.base, linker, linker.kernel",
    "runtime.capture": "codegen, codegen.base, linker.kernel, runtime.snapshot",
    "runtime.live": (
        "codegen, codegen.base, linker, linker.kernel, runtime.snapshot, runtime.guest, "
        "runtime.arch, runtime.record, runtime.engine.*, runtime.board, runtime.kexec, "
        "runtime.found, runtime.judge, runtime.evidence, runtime.run"
    ),
    "runtime.behaviour": (
        "codegen, codegen.base, runtime.guest, runtime.arch, runtime.record, runtime.engine.*, "
        "runtime.kexec, runtime.judge, runtime.evidence, runtime.run"
    ),
    "runtime.mutation": (
        "codegen, codegen.base, linker, linker.foreign, runtime.guest, runtime.arch, "
        "runtime.record, runtime.board, runtime.kexec, runtime.judge, runtime.judge.rules, "
        "runtime.judge.rules.traced, runtime.run"
    ),
    "runtime.room": (
        "codegen.*, linker.*, runtime.timing, runtime.kexec, runtime.judge, runtime.run, "
        "runtime.show.*, runtime.debug, runtime.snapshot, runtime.live, runtime.state, "
        "runtime.behaviour, runtime.mutation"
    ),
    "": "codegen.*, linker.*, diffing.*, runtime.*",
    "timing": (
        "relokit, codegen, codegen.base, linker.kernel, runtime.record, "
        "runtime.judge.model.caches, runtime.timing.*, runtime.kexec, runtime.evidence, runtime.run"
    ),
    "machines": (
        "relokit, codegen, codegen.base, linker, linker.elf, linker.kernel, linker.link, "
        "runtime.snapshot, runtime.capture, runtime.guest, runtime.board, runtime.record, "
        "runtime.kexec, runtime.judge, runtime.evidence, runtime.run, runtime.show.*, "
        "runtime.live, runtime.room"
    ),
    "reporting": (
        "codegen.base, linker.kernel, runtime.show.*, runtime.timing, runtime.live, runtime.judge, "
        "runtime.judge.rules, machines, timing"
    ),
    "mutation": (
        "relokit, codegen, codegen.base, linker.foreign, linker.kernel, runtime.campaign, "
        "runtime.kexec, runtime.mutation, runtime.room"
    ),
    "project": "relokit, codegen.base, runtime.judge, runtime.judge.rules",
    "cli.pages": ("relokit, reporting, mutation, codegen.base, diffing.*, runtime.judge"),
    "cli.terminal": (
        "relokit, timing, mutation, codegen, codegen.base, diffing.*, runtime.guest, "
        "runtime.timing.*, runtime.kexec, runtime.live, runtime.campaign, runtime.judge, "
        "runtime.judge.rules, runtime.show.*, runtime.behaviour, runtime.mutation, cli.pages"
    ),
    "cli.results": (
        "relokit, mutation, codegen.base, diffing.kernels, diffing.routines, runtime.live, "
        "runtime.judge, runtime.judge.rules, runtime.behaviour, runtime.mutation, cli.terminal"
    ),
    "cli": (
        "relokit, project, codegen, codegen.base, linker.kernel, diffing.instructions, "
        "diffing.kernels, diffing.routines, runtime.guest, runtime.kexec, runtime.campaign, "
        "runtime.judge, runtime.live, runtime.mutation, reporting, mutation, cli.pages, "
        "cli.terminal, cli.results"
    ),
    "cli.commands": (
        "relokit, timing, machines, reporting, mutation, project, codegen, codegen.base, "
        "linker.foreign, linker.kernel, diffing.*, runtime.kexec, runtime.show.shown, "
        "runtime.live, runtime.campaign, runtime.judge, runtime.behaviour, runtime.mutation, "
        "cli, cli.pages, cli.terminal, cli.results"
    ),
}

# What the order of the rooms is for: these never know those, by whatever way round.
NEVER = (
    ("runtime.kexec", {"runtime.engine"}),
    ("runtime.engine", {"runtime.kexec"}),
    ("runtime.judge", {"runtime.engine", "runtime.board", "runtime.run"}),
    ("runtime.evidence", {"runtime.engine", "runtime.board", "runtime.run"}),
    ("runtime.judge.rules", {"runtime.engine", "runtime.board", "runtime.run", "runtime.kexec"}),
    ("runtime.judge.rules.moved", {"runtime.judge.model", "runtime.kexec"}),
    ("runtime.judge.rules.handover", {"runtime.judge.model", "runtime.kexec"}),
    ("diffing.routines", {"runtime.engine", "runtime.kexec", "runtime.run", "runtime.judge"}),
    ("diffing.kernels", {"runtime.engine", "runtime.kexec", "runtime.run", "runtime.judge"}),
)


@dataclass(frozen=True)
class Module:
    """A source file: its import name without ``relokit.``, and its room's."""

    name: str
    room: str
    path: Path

    @property
    @cache  # noqa: B019
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text("utf-8"))

    @property
    @cache  # noqa: B019
    def named(self) -> list[ast.AST]:
        """Its imports, classes and constants, from one walk."""
        kinds = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.Constant)
        return [node for node in ast.walk(self.tree) if isinstance(node, kinds)]


@cache
def modules() -> dict[str, Module]:
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            room = ".".join(parts[:-1] if parts[0] != "api" else parts[1:-1])
            name = room if parts[-1] == "__init__" else f"{room}.{parts[-1]}".lstrip(".")
            found[name] = Module(name, room, path)
    # `python -m relokit` is no part of the facade: it starts the command line.
    del found["__main__"]
    return found


def rooms() -> set[str]:
    return {module.room for module in modules().values()}


def imported(module: Module) -> Iterator[str]:
    """Import names of what ``module`` imports, or names in a string to start a process with."""
    for node in module.named:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}:{node.lineno}: a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
                yield f"{node.module}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # "relokit" alone is the program's name.
            yield node.value if "." in node.value else ""


@cache
def edges(module: Module) -> set[str]:
    """Modules of ours that ``module`` imports. ``from room import module`` is no use of the room's
    own __init__, which holds nothing; ``import relokit`` is the facade. What that names for its
    users is wherever in the facade it is: looked up when it is asked for, it is no import.
    """
    names = set()
    for name in imported(module):
        if name == "relokit":
            names.add("")
        elif name.startswith("relokit."):
            names.add(name.removeprefix("relokit."))
    known = {name for name in names if name in modules()}
    if module.name == "":
        known = {name for name in known if modules()[name].path.parts[len(ROOT.parts)] != "api"}
    packages = {name for name in known if modules()[name].path.name == "__init__.py"}
    return {
        name
        for name in known - {module.name}
        if name not in packages or not any(other.startswith(f"{name}.") for other in known)
    }


@cache
def arrows() -> dict[tuple[str, str], set[str]]:
    """From room to room, with the imports that make each arrow."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for module in modules().values():
        for name in edges(module):
            other = modules()[name]
            if other.room != module.room:
                found[module.room, other.room].add(f"{module.name or 'relokit'} -> {name}")
    return found


def expanded(room: str) -> set[str]:
    """The rooms that ``room`` may import."""
    allowed = set()
    for word in ALLOWED[room].split(", "):
        if word.endswith(".*"):
            top = word.removesuffix(".*")
            allowed |= {one for one in ALLOWED if one == top or one.startswith(f"{top}.")}
        elif word != "nothing":
            allowed.add("" if word == "relokit" else word)
    return allowed - {room}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in number:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], number[other])
        if lowest[node] == number[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return found


def twice(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def test_the_table_has_every_room() -> None:
    assert set(ALLOWED) == rooms()


def test_a_room_may_import_only_rooms_above_it() -> None:
    order = list(ALLOWED)
    for at, room in enumerate(order):
        assert expanded(room) <= set(order[:at]), room


def test_no_arrow_that_the_table_does_not_have() -> None:
    wrong = {arrow: why for arrow, why in arrows().items() if arrow[1] not in expanded(arrow[0])}
    assert wrong == {}


@pytest.mark.parametrize(("room", "strangers"), NEVER)
def test_the_table_keeps_strangers_apart(room: str, strangers: set[str]) -> None:
    assert expanded(room) & strangers == set()


def test_no_word_in_the_table_without_use() -> None:
    """A right that nobody uses is a hole for the arrow that should be a decision."""
    used = defaultdict(set)
    for room, other in arrows():
        used[room].add(other)
    idle = []
    for room, words in ALLOWED.items():
        for word in words.split(", "):
            top = word.removesuffix(".*") if word != "relokit" else ""
            family = {one for one in used[room] if one.startswith(f"{top}.") and top}
            if word != "nothing" and top not in used[room] and not (word != top and family):
                idle.append(f"{room}: {word}")
    assert idle == []


def test_no_circle_between_modules() -> None:
    assert circles({module.name: edges(module) for module in modules().values()}) == []


def test_setup_cfg_has_the_packages_of_the_tree() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packages = config["options"]["packages"].split()
    assert twice(packages) == []
    assert set(packages) == {f"relokit.{room}".rstrip(".") for room in rooms()}
    folders = dict(
        line.split(" = ") for line in config["options"]["package_dir"].strip().splitlines()
    )
    assert folders == {
        "relokit" if folder == "api" else f"relokit.{folder}": folder for folder in FOLDERS
    }


def test_setup_cfg_has_every_file_that_is_no_module() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    data = config["options.package_data"]
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if not path.is_file() or path.suffix in {".py", ".pyc", ".so", ".c", ".h"}:
                continue
            parents = [path.parent, *path.parent.parents]
            home = next(one for one in parents if (one / "__init__.py").exists())
            room = ".".join(home.relative_to(ROOT).parts).replace("api", "").lstrip(".")
            patterns = data[f"relokit.{room}".rstrip(".")].split()
            assert any(path in home.glob(one) for one in patterns), path


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_says_what_it_is_and_what_it_may_import(room: str) -> None:
    text = ast.get_docstring(modules()[room].tree)
    assert text, "no docstring"
    sentence = re.sub(r"\s+", " ", text.partition("\n\n")[0])
    inner = any(other.startswith(f"{room}.") for other in ALLOWED)
    verb = "its own modules import" if inner else "imports"
    assert sentence.endswith(f"; {verb} {ALLOWED[room]}."), sentence


def test_a_room_of_many_modules_has_sub_rooms() -> None:
    counts = Counter(module.room for module in modules().values())
    # One is the __init__, which says what the room is.
    assert {room: count for room, count in counts.items() if count > 20 + 1} == {}


def test_no_two_modules_with_one_name() -> None:
    """A command's module may be called as the command."""
    names = [
        module.path.stem
        for module in modules().values()
        if module.room != "cli.commands" and module.path.name != "__init__.py"
    ]
    assert twice(names) == []


def test_no_class_name_with_two_meanings() -> None:
    names = [
        node.name
        for module in modules().values()
        for node in module.named
        if isinstance(node, ast.ClassDef)
    ]
    assert twice(names) == []


def test_dataclasses_are_those_that_start_fast() -> None:
    """``from relokit.codegen.base.nouns import dataclass``: ADR 14."""
    wrong = [
        name
        for name, module in modules().items()
        for node in module.named
        if isinstance(node, ast.ImportFrom)
        and node.module == "dataclasses"
        and "dataclass" in {one.name for one in node.names}
        and name != "codegen.base.nouns"
    ]
    assert wrong == []


def test_no_test_looks_at_the_wall_clock() -> None:
    """Work is bounded by counts or CPU time (support/bounds.py): machines are busy."""
    clocks = re.compile(r"\b(perf_counter|monotonic|time\.time)\(")
    tests = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py")}
    assert [str(path) for path, text in tests.items() if clocks.search(text)] == []
