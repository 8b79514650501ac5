"""Options that do nothing where they stand are refused; where the table is not, they do nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

from relokit.cli import idle
from relokit.cli.command_list import relokit as group
from relokit.cli.idle import IDLE_OPTIONS, IdleOption
from relokit.codegen.target import Target
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.kexec.job import IDLE, Job
from relokit.runtime.run.prepare import prepare_resume
from support.machines import programs
from support.touched import digest_of

VALUES = {
    "--kernel": "x", "--initrd": "x", "--dtb": "x", "--cmdline": "x", "--size": "1m",
    "--memory": "1g", "--memory-map": "1g@0x40000000", "--crashkernel": "64m",
    "--kernel-at": "0x40400000", "--initrd-at": "0x48000000", "--dtb-at": "0x48000000",
    "--order": "reversed", "--path": "crash", "--shape": "gaps", "--seed": "7", "--code-from": "x",
    "--cpu-bits": "52", "--layout": "6.12", "--layout-from": "x", "--trace-format": "perfetto",
    "--output": "x", "--keep": "all", "--el": "vhe", "--page-size": "16k", "--va-bits": "39",
    "--templates": "x", "--series": "3", "--pa-bits": "52", "--cache-line": "32",
    "--interrupts": "9",
    "--jobs": "1", "--cluster": "tcp://x:1", "--timeout": "9",
}  # fmt: skip
BASES: dict[str, tuple[tuple[str, ...], ...]] = {
    "run": (
        ("--json",),
        ("--path", "hibernate"),
        ("--snapshot", "x"),
        ("--report", "x", "--trace", "y"),
        ("--format", "ktap"),
    ),
    "judge": (("FILE", "--json"), ("FILE",), ("FILE", "--format", "ktap")),
    "show": (
        ("memory", "--snapshot", "x"),
        ("memory", "--record", "x"),
        ("tables",),
        ("trace",),
    ),
    "debug": (("--snapshot", "x"),),
    "kexec": (
        ("--kernel", "vmlinuz", "--json"),
        ("--kernel", "vmlinuz", "--format", "ktap"),
        ("--kernel", "vmlinuz"),
    ),
    "matrix": (
        ("--json",),
        ("--format", "sarif"),
        ("--list",),
        ("--payload", "shuffled"),
        ("--path", "hibernate"),
    ),
    "mutate": (
        ("--json",),
        ("--routine", "hibernate-exit"),
    ),
    "generate": (("-o", "out"),),
    "export": (("-o", "out", "--type", "rel"), ("-o", "out", "--type", "exec")),
    "diff": (
        ("--series", "page=16k"),
        ("a.o", "b.o", "--all"),
        ("a.o", "b.o", "--run"),
        ("a.o", "b.o", "--json"),
        ("a.o", "b.o", "--score"),
        ("a.o", "series:1", "--run"),
        ("a.o", "b.o", "--all", "--format", "side"),
        ("a.o", "b.o", "--format", "csv"),
        ("a.o", "b.o"),
    ),
}
"""By command, command lines that rows of the table are about."""
Cli = Callable[..., Any]
NARROW = ("--series", "15", "--page-size", "4k", "--va-bits", "48", "--el", "el1")


def command_of(name: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command


def words(command: click.Command, parameter: str) -> tuple[str, ...]:
    """The option, with a value if it takes one."""
    flag = next(one.opts[-1] for one in command.params if one.name == parameter)
    if flag == "--format":
        return flag, "side" if command.name == "diff" else "sarif"
    return (flag, VALUES[flag]) if flag in VALUES else (flag,)


def given(name: str, base: tuple[str, ...]) -> dict[str, Any]:
    with command_of(name).make_context(name, list(base)) as context:
        return dict(context.params)


@pytest.mark.parametrize(
    ("row", "name"),
    [(row, name) for row in IDLE_OPTIONS for name in row.commands],
    ids=lambda value: getattr(value, "says", value),
)
def test_each_row_refuses_each_of_its_options(cli: Cli, row: IdleOption, name: str) -> None:
    base = next(one for one in BASES[name] if row.when(given(name, one)))
    for parameter in row.parameters:
        asked = words(command_of(name), parameter)
        result = cli(name, *base, *asked)
        assert result.code == 2, (name, base, asked)
        assert asked[0] in result.err + result.out
        assert f"relokit {name} --help" in result.err + result.out


def test_where_one_layout_does_nothing_the_other_does_not_either() -> None:
    for row in IDLE_OPTIONS:
        for name in row.commands:
            both = {one.name for one in command_of(name).params} >= {"layout", "layout_from"}
            if both and "layout" in row.parameters:
                assert "layout_from" in row.parameters, (row.says, name)


def made(cli: Cli, directory: Path, name: str, *arguments: str) -> tuple[Any, bytes]:
    """What a command says and writes; where it wrote that does not count."""
    out = directory / "out"
    result = cli(name, "-o", out, *arguments)
    files = sorted(out.iterdir()) if out.is_dir() else [out]
    written = hashlib.blake2b(b"".join(file.read_bytes() for file in files)).digest()
    for file in files:
        file.unlink()
    return result, written


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("generate", ()),
        ("generate", ("--va-bits", "52")),
        ("export", ("--type", "rel", "--va-bits", "52")),
        ("export", ("--type", "exec")),
    ],
)
def test_the_cpu_changes_nothing_of_what_is_written(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, base: tuple[str, ...]
) -> None:
    plain = made(cli, tmp_path, name, *base)[1]
    monkeypatch.setattr(idle, "IDLE_OPTIONS", ())
    for bits in ("48", "52"):
        result, written = made(cli, tmp_path, name, *base, "--cpu-bits", bits)
        assert (result.code, written) == (0, plain)


def test_a_list_of_cells_is_the_same_whatever_runs_them(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = cli("matrix", "--list", *NARROW)
    named = cli("matrix", "--list", *NARROW, "--payload", "large,gaps")
    monkeypatch.setattr(idle, "IDLE_OPTIONS", ())
    for more in (("--jobs", "1"), ("--timeout", "9"), ("--seed", "7"), ("--strict",)):
        assert cli("matrix", "--list", *NARROW, *more).out == plain.out
    assert cli("matrix", "--list", *NARROW, "--full").out != plain.out
    assert cli("matrix", "--list", *NARROW, "--payload", "large,gaps", "--full").out == named.out


def test_hibernation_has_no_struct_kimage() -> None:
    def machine(layout: str) -> object:
        target = Target(series=3, layout=layout)
        resume, _ = prepare_resume(target, programs(target), Job(path="hibernate"))
        try:
            return digest_of(resume.memory), resume.state
        finally:
            resume.close()

    assert machine("5.10") == machine("6.1")


@pytest.mark.parametrize(
    ("arguments", "is_idle"),
    [
        (("--path", "hibernate", "--kernel", "x"), True),
        (("--payload", "one-page", "--kernel", "x"), True),
        (("--payload", "one-page", "--seed", "7"), False),
        (("--payload", "reversed", "--seed", "7", "--path", "normal"), True),
        (("--path", "in-place,crash", "--seed", "7"), True),
        (("--path", "in-place,normal", "--seed", "7"), False),
    ],
)
def test_what_no_cell_uses_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], is_idle: bool
) -> None:
    monkeypatch.setattr("relokit.cli.commands.matrix._run", lambda *_, **__: 0)
    result = cli("matrix", *NARROW, *arguments)
    assert (result.code == 2) == is_idle
    assert ("does nothing in any of these cells" in result.err) == is_idle


OF_A_JOB = ("--order", "shuffled"), ("--seed", "0")
"""Options of a Job that have a default, with that."""


def test_these_are_all_fields_that_could_do_nothing_and_have_a_default() -> None:
    defaults = {field.name: field.default for field in fields(Job)}
    named = {name for row in IDLE for name in row.fields if defaults[name] is not None}
    assert named == {flag.lstrip("-") for flag, _ in OF_A_JOB}
    assert all(str(defaults[flag.lstrip("-")]) == value for flag, value in OF_A_JOB)


@pytest.mark.parametrize("option", OF_A_JOB, ids=" ".join)
@pytest.mark.parametrize(
    "asked",
    [
        ("run", "--path", "crash"),
        ("run", "--path", "in-place"),
        ("export", "--type", "bootable", "-o", "x", "--path", "crash"),
        ("show", "list", "--path", "in-place"),
        ("time", "--path", "crash", "--kernel", "x"),
    ],
    ids=" ".join,
)
def test_a_default_that_is_said_and_does_nothing_is_refused(
    cli: Cli, asked: tuple[str, ...], option: tuple[str, str]
) -> None:
    result = cli(*asked, *option)
    assert result.code == 2
    assert f"leave {option[0]} out" in result.err


def test_and_in_shapes_cells_and_trees_that_have_no_use_for_it(cli: Cli, tmp_path: Path) -> None:
    tree = tmp_path / "dtb"
    tree.write_bytes(virt_dtb(0x8000_0000, 96 << 20))
    for asked in (
        ("run", "--shape", "one-page", "--order", "shuffled"),
        ("run", "--path", "hibernate", "--shape", "loaded", "--order", "shuffled"),
        ("matrix", *NARROW, "--path", "crash,in-place", "--payload", "no-list", "--seed", "0"),
        ("run", "--path", "in-place", "--dtb", str(tree), "--seed", "0"),
    ):
        result = cli(*asked)
        assert (result.code, f"{asked[-2]}" in result.err) == (2, True), asked


def test_a_default_that_a_project_says_is_only_a_default(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relokit.toml").write_text('[options]\norder = "shuffled"\nseed = 0\n')
    assert cli("run", "--path", "crash", "--size", "4k", "--plain").code == 0
