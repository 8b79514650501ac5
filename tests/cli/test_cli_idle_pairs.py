"""Pairs of options of diff, export and judge: each does something with the other, or is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from relokit.building import encoder
from relokit.cli.command_list import relokit as group
from relokit.cli.commands import diff as diff_command
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.linker.elf.elf_writer import write_rel

Cli = Callable[..., Any]
Options = Mapping[str, tuple[str, ...]]
DIFF: Options = {
    "shape": ("--format", "html"), "output": ("-o", "file"), "kept": ("--keep", "registers"),
    "only": ("--only", "arithmetic"), "run": ("--run",), "regimes": ("--el", "vhe"),
    "page_size": ("--page-size", "16k"), "va_bits": ("--va-bits", "39"),
    "layout": ("--layout", "7.2"), "whole": ("--all",), "top": ("--top", "1"),
    "series": ("--series", "el=vhe"), "ignore": ("--ignore", "hints"),
    "score": ("--score",), "as_json": ("--json",), "no_cache": ("--no-cache",),
    "include_dir": ("--include-dir", "d"),
}  # fmt: skip
"""By parameter, the option with a value that changes something."""
OF_A_MACHINE = ("regimes", "page_size", "va_bits", "layout")
LEFT = ".globl f\n.type f, %function\nf: add x9, x0, #1\n mov x0, x9\n isb\n ret\n.size f, . - f\n"
RIGHT = LEFT.replace("x9", "x10").replace("#1", "#2").replace("isb", "dsb sy\n nop")
JUDGE: Options = {
    "trace": ("--trace", "file"), "trace_format": ("--trace-format", "perfetto"),
    "strict": ("--strict",), "profile": ("--profile", "coherent-fetch"),
    "verbose": ("--verbose",), "as_json": ("--json",), "form": ("--format", "junit"),
    "output": ("--output", "results"),
}  # fmt: skip
EXPORT = {
    "kind": ("--type", "bootable"), "series": ("--series", "12"),
    "page_size": ("--page-size", "64k"), "va_bits": ("--va-bits", "39"),
    "pa_bits": ("--pa-bits", "52"), "cpu_bits": ("--cpu-bits", "52"),
    "regime": ("--el", "vhe"), "layout": ("--layout", "7.2"), "layout_from": ("--layout-from", "k"),
    "templates": ("--templates", "t"), "kernel": ("--kernel", "k"), "initrd": ("--initrd", "i"),
    "dtb": ("--dtb", "d"), "cmdline": ("--cmdline", "c"), "size": ("--size", "1m"),
    "memory": ("--memory", "1g"), "memory_map": ("--memory-map", "1g@0x40000000"),
    "crashkernel": ("--crashkernel", "64m"), "kernel_at": ("--kernel-at", "0x40400000"),
    "initrd_at": ("--initrd-at", "0x48000000"), "dtb_at": ("--dtb-at", "0x48000000"),
    "order": ("--order", "reversed"), "path": ("--path", "purgatory"), "shape": ("--shape", "gaps"),
    "seed": ("--seed", "7"), "code_from": ("--code-from", "x"),
    "include_dir": ("--include-dir", "d"), "no_cache": ("--no-cache",),
    "as_json": ("--json",),
}  # fmt: skip
BESIDE = {"left", "right", "file", "help"}
"""What is no option."""


@pytest.mark.parametrize(
    ("name", "options"), [("diff", DIFF), ("judge", JUDGE), ("export", EXPORT)]
)
def test_every_option_is_tried(name: str, options: Options) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    named = {one.name for one in command.params} - BESIDE
    # Where the file goes is asked for by every export.
    assert named - ({"output"} if name == "export" else set()) == options.keys()


def try_pairs(
    options: Options,
    effect: Callable[[tuple[str, ...]], object],
    needed: Callable[[set[str]], set[str]] = lambda _: set(),
    unseen: frozenset[str] = frozenset(),
) -> int:
    """Each option of a pair adds to what the other does alone; returns how many are not refused.

    ``effect`` is what is done, None where that is refused; ``needed`` is what must stand beside,
    ``unseen`` what changes nothing that could be seen here.
    """
    done = 0
    for pair in map(set, combinations(sorted(options), 2)):
        beside = needed(pair)

        def of(names: set[str], beside: set[str] = beside) -> object:
            return effect((*sorted(beside), *sorted(names - beside)))

        both = of(pair)
        if both is None:
            continue
        done += 1
        for one in pair - beside - unseen:
            assert of(pair - {one}) != both, f"{one} does nothing with {pair - {one}}"
    return done


def taken(path: Path) -> bytes | None:
    """What was written there, which is gone then."""
    content = path.read_bytes() if path.exists() else None
    path.unlink(missing_ok=True)
    return content


def test_pairs_of_diff(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[object] = []

    def series(settings: str, *more: Any) -> int:
        seen.append((settings, more[:3]))
        diff_command._put(f"series as {more[3]}", more[4])
        return 0

    monkeypatch.setattr(diff_command, "_behaviour", lambda _, machine: seen.append(machine))
    monkeypatch.setattr(diff_command, "_series", series)
    files = [tmp_path / name for name in ("left.o", "right.o")]
    for file, text in zip(files, (LEFT, RIGHT), strict=True):
        file.write_bytes(write_rel(assemble(Unit.from_text("t.S", text), encoder().encode)))

    def effect(names: tuple[str, ...]) -> object:
        seen.clear()
        operands = () if "series" in names else map(str, files)
        result = cli("diff", *operands, *(word for name in names for word in DIFF[name]))
        written = taken(tmp_path / "file")
        return None if result.code == 2 else (result.code, result.out, written, tuple(seen))

    def needed(pair: set[str]) -> set[str]:
        return {"run"} if pair & {*OF_A_MACHINE} else set()

    assert try_pairs(DIFF, effect, needed, frozenset({"no_cache"})) >= 30


def test_pairs_of_judge(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a trace with a warning, which would not bite on some CPUs."""
    monkeypatch.chdir(tmp_path)
    assert cli("run", "--path", "crash", "--size", "4k", "--trace", "stored").code == 0

    def effect(names: tuple[str, ...]) -> object:
        result = cli("judge", "stored", *(word for name in names for word in JUDGE[name]))
        written = taken(tmp_path / "file"), taken(tmp_path / "results")
        return None if result.code == 2 else (result.code, result.out, written)

    def needed(pair: set[str]) -> set[str]:
        beside = {"trace"} if "trace_format" in pair else set()
        return beside | ({"form"} if "output" in pair else set())

    assert try_pairs(JUDGE, effect, needed) >= 11


def test_pairs_of_export(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for, beyond the command line: that a machine uses it is tried elsewhere."""
    asked: list[object] = []

    def export(output: object, target: object, **more: Any) -> Any:
        asked.append((target, more["kind"], more["job"]))
        return SimpleNamespace(size=1, virt=None, ram=None)

    def layout(options: dict[str, Any], files: object) -> Any:
        name, kernel = options.pop("layout"), options.pop("layout_from")
        found = real({"layout": name, "layout_from": None}, files)
        return found if kernel is None else replace(found, name="another")

    from relokit.cli import options as shared

    real = shared.layout_of
    monkeypatch.setattr("relokit.facade.export", export)
    monkeypatch.setattr(shared, "layout_of", layout)
    monkeypatch.setattr("relokit.cli.commands.export.emit_json", lambda _: None)

    def effect(names: tuple[str, ...]) -> object:
        asked.clear()
        # A CPU for 52-bit PAs is what comes with these.
        more = {"cpu_bits": ("--cpu-bits", "48")} if "pa_bits" in names else {}
        words = [word for name in names for word in (EXPORT | more)[name]]
        result = cli("export", "-o", tmp_path / "out", *words)
        return None if result.code == 2 else (result.out, tuple(asked))

    def needed(pair: set[str]) -> set[str]:
        beside = {"kind"} if pair - {"templates", "no_cache", "as_json"} else set()
        beside |= {"page_size"} if "pa_bits" in pair else set()
        return beside | ({"initrd"} if "initrd_at" in pair else set())

    assert try_pairs(EXPORT, effect, needed, frozenset({"no_cache"})) >= 200
