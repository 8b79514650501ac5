"""One-word changes of the templates, as three machines judge them: rows of docs/caches.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from relokit import templates
from relokit.codegen.target import Target
from relokit.facade import run
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from support.qemu import boot, export

TEMPLATES = Path(templates.__file__).parent
CLEAN = 'dcache_by_line("civac"'
RELOCATION, CACHE = "relocate_kernel.S.j2", "macros/cache.j2"
SUBJECTS = ("caches", "fetch")
BEGIN, END = "<!-- side by side -->", "<!-- end -->"
HEAD = """\
| what is changed | state | relokit | plain Unicorn | QEMU |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Change:
    """``old`` becomes ``new`` in a template; ``what`` is how a person would say it."""

    what: str
    series: int
    template: str = RELOCATION
    old: str = ""
    new: str = ""


CHANGES = (
    Change("nothing", 15),
    Change("nothing", 0),
    Change("`dc civac` to `dc ivac`", 15, old=CLEAN, new=CLEAN.replace("civac", "ivac")),
    Change("`dc civac` to `dc cvau`", 15, old=CLEAN, new=CLEAN.replace("civac", "cvau")),
    Change(
        "every other line is cleaned", 15, CACHE,
        "add\t{{ start }}, {{ start }}, {{ line }}",
        "add\t{{ start }}, {{ start }}, {{ line }}, lsl #1",
    ),
    Change("no DSB between `ic iallu` and `isb`", 15, CACHE, "\tdsb\tnsh\n\tisb", "\tisb"),
    Change("no `ic iallu`", 15, CACHE, "\tic\tiallu\n", ""),
    Change("no `ic iallu`", 0, CACHE, "\tic\tiallu\n", ""),
    Change("`dc ivac` to `dc cvac`", 0, old="dc\tivac, x10", new="dc\tcvac, x10"),
    Change("no `dsb` behind `dc ivac`", 0, old="\tdsb\tsy\n{% else %}", new="{% else %}"),
)  # fmt: skip


def rows(directory: Path) -> str:
    """The table, made by running everything; ``directory`` is for files of the moment."""
    return HEAD + "".join(
        _row(change, directory / str(number)) for number, change in enumerate(CHANGES)
    )


def _row(change: Change, directory: Path) -> str:
    text = (TEMPLATES / change.template).read_text()
    assert change.old in text
    mine = directory / change.template
    mine.parent.mkdir(parents=True)
    mine.write_text(text.replace(change.old, change.new) if change.old else text)
    target = Target(series=change.series)
    judged = run(target, Job(templates=directory))
    plain = run(target, Job(templates=directory, plain=True))
    options = ("--series", str(change.series), "--templates", str(directory))
    console = boot(export(directory / "qemu.elf", *options))
    return (
        f"| {change.what} | {change.series} | {_verdict(judged)} | {_plain(plain)} | "
        f"{console.splitlines()[-1].removeprefix('relokit demo kernel: ')} |\n"
    )


def page(text: str, table: str) -> str:
    """``text`` of docs/caches.md, with ``table`` in its place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}{END}{after}"


def _verdict(outcome: Outcome) -> str:
    word = "PASS" if outcome.passed else "FAIL"
    rules = {one.rule for one in outcome.findings if one.rule.split(".")[0] in SUBJECTS}
    names = [f"`{rule}`" for rule in sorted(rules)]
    return ", ".join([word, *names]) if names else word


def _plain(outcome: Outcome) -> str:
    word = "PASS" if outcome.passed else "FAIL"
    return f"{word}, {outcome.verified_bytes:,} bytes right"


if __name__ == "__main__":
    path = Path(__file__).parents[2] / "docs" / "caches.md"
    with TemporaryDirectory() as work:
        path.write_text(page(path.read_text(), rows(Path(work))))
