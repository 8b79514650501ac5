"""casemate's traces: read, told in short, and judged by a model of what casemate says to them.

The model is of the part that our encoding uses: entries of one table that are switched between
valid and empty, and a lock. `python tests/support/casemate.py` writes the golden files anew.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = 0xFF00_0000_0000
LISTS = 0xFF00_0010_0000
PAGE = 4096
PASSES = "log checked successfully"
_FORM = re.compile(r"\(([a-z-]+) \(id (\d+)\) \(tid 0\) (.*) \(src \"([^\" ]+:[^\" ]*)\"\)\)")
_FIELD = re.compile(r"\((\w[\w-]*) (\w+)\)")


@dataclass(frozen=True)
class Step:
    """A line: its kind, what is said without a name (``dsb``, ``alle2is``), and its fields."""

    kind: str
    what: str
    fields: dict[str, str]

    def number(self, name: str) -> int:
        return int(self.fields[name], 16)


def steps(text: str) -> list[Step]:
    """The lines of a trace; every one has the form that casemate's parser wants."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _FORM.fullmatch(line)
        assert match, line
        assert int(match[2]) == number
        rest = _FIELD.sub("", match[3]).strip()
        found.append(Step(match[1], rest, dict(_FIELD.findall(match[3]))))
    return found


@dataclass
class Entry:
    """A TTBR: what it holds, and how far what it held before has been broken (3: all of it)."""

    value: int = 0
    before: int = 0
    progress: int = 3


@dataclass
class Model:
    """What casemate knows after some steps."""

    pages: dict[int, int] = field(default_factory=dict)
    entries: tuple[Entry, Entry] = field(default_factory=lambda: (Entry(), Entry()))
    locked: bool = False
    begun: bool = False

    def below(self, value: int) -> set[int]:
        """The pages of tables below the descriptor ``value``, that of a made-up list."""
        if not value:
            return set()
        page = value & -PAGE
        found = {page}
        if page >= LISTS:
            for at in range(page, page + PAGE, 8):
                found |= self.below(self.pages.get(at, 0))
        return found

    def step(self, step: Step) -> str | None:
        """What casemate has against it."""
        if step.kind in ("lock", "unlock"):
            self.locked = step.kind == "lock"
        if step.kind == "sysreg-write":
            self.begun = True
        if step.kind == "barrier":
            self._barrier(step.fields["kind"])
        if step.kind == "tlbi":
            for one in self.entries:
                one.progress += one.progress == 1
        if step.kind == "mem-write":
            return self._write(step.number("address"), step.number("value"))
        return None

    def _barrier(self, kind: str) -> None:
        for one in self.entries:
            if one.progress == 0 or (one.progress == 2 and kind == "ish"):
                one.progress += 1

    def _write(self, at: int, value: int) -> str | None:
        if at - ROOT in (0, 8):
            return self._switch(self.entries[(at - ROOT) // 8], value)
        if not self.begun:
            self.pages[at] = value
            return None
        live = set()
        for one in self.entries:
            live |= self.below(one.value)
            if one.progress < 3:
                live |= self.below(one.before)
        if at & -PAGE in live and not self.locked:
            return "must write to pte while holding owner lock"
        return None

    def _switch(self, entry: Entry, value: int) -> str | None:
        other = self.entries[entry is self.entries[0]]
        if self.begun and entry.value and value:
            return "BBM valid->valid"
        if value and entry.progress < 3:
            return "BBM invalid unclean->valid"
        if value and self.below(value) & self.below(other.value):
            return "double-use pte"
        if self.begun and not value:
            entry.before, entry.progress = entry.value, 0
        entry.value = value
        return None


def answer(text: str) -> str:
    """What casemate says to the trace, by the model."""
    model = Model()
    for step in steps(text):
        problem = model.step(step)
        if problem:
            return problem
    return PASSES


def told(text: str) -> list[str]:
    """The run in short, without addresses: where a store goes is which tables it is in."""
    model, found = Model(), []
    for step in steps(text):
        model.step(step)
        if not model.begun or step.kind == "sysreg-write":
            continue
        words = [step.kind, step.what, step.fields.get("kind", "")]
        if step.kind == "mem-write":
            at, value = step.number("address"), step.number("value")
            if at >= ROOT:
                words += [f"TTBR{(at - ROOT) // 8}", "empty" if not value else hex(value - LISTS)]
            else:
                trees = [page for page in range(LISTS, LISTS + 16 * PAGE, PAGE)
                         if at & -PAGE in model.below(page)]  # fmt: skip
                words += ["into", *map(hex, trees)]
        found.append(" ".join(word for word in words if word))
    return found


def tool() -> str | None:
    """casemate-check, where it is on PATH: no package has it."""
    return shutil.which("casemate-check")


def answer_of_the_tool(path: Path) -> str:
    """What casemate-check says to the trace in ``path``."""
    checker = tool()
    assert checker
    done = subprocess.run(
        [checker, "-q", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    last = (done.stdout + done.stderr).strip().splitlines()[-1]
    assert (done.returncode == 0) == (PASSES in last), last
    return PASSES if PASSES in last else last.removeprefix("! ").split(" at ")[0].strip()
