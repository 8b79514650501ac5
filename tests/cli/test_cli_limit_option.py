"""``--limit``: names and amounts, in a project's file too, and the clocks that end a command."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from relokit.codegen.base.budget import limits, set_limits
from support.kernels import kernel_image

from .conftest import Cli

SOURCE = ".text\n.globl f\n.type f, %function\nf: ret\n.size f, . - f\n"


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    yield
    set_limits({})


@pytest.mark.parametrize(
    ("given", "name", "amount"),
    [
        ("memory=8G", "memory", 8 << 30),
        ("memory=100000", "memory", 100_000),
        ("memory = 64 MiB", "memory", 64 << 20),
        ("cpu=10min", "cpu", 600),
        ("cpu=5s,time=2h", "time", 7200),
        ("lines=20k", "lines", 20_000),
    ],
)
def test_amounts(cli: Cli, given: str, name: str, amount: int) -> None:
    assert cli("templates", "--limit", given).code == 0
    assert limits()[name] == amount


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("memroy=8G", "did you mean 'memory'?"),
        ("nothing=1", "those are memory, cpu,"),
        ("memory", "memory= is no amount"),
        ("memory=8X", "with k, m, g, t behind it"),
        ("cpu=8G", "with s, min, h, d behind it"),
        ("cpu=0", "out of range"),
        ("cpu=-1", "is no amount"),
        ("memory=999999T", "out of range"),
        ("cpu=1,cpu=2", "cpu is given twice"),
        ("x" * 100_000, "is no limit"),
    ],
)
def test_what_is_no_limit_is_refused(cli: Cli, given: str, says: str) -> None:
    result = cli("run", "--limit", given)
    assert (result.code, result.out) == (2, "")
    assert says in result.err
    assert len(result.err) < 400


def test_the_same_limit_twice_is_refused(cli: Cli) -> None:
    result = cli("run", "--limit", "cpu=5", "--limit", "cpu=6")
    assert result.code == 2
    assert "--limit cpu is given twice" in result.err


def test_a_project_s_file_has_limits_too(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("relokit.toml").write_text('[options]\nlimit = ["lines=7", "cpu=1h"]\n')
    assert cli("templates").code == 0
    assert (limits()["lines"], limits()["cpu"]) == (7, 3600)
    assert cli("templates", "--limit", "lines=8").code == 0
    assert limits()["lines"] == 8


def test_each_command_begins_with_the_defaults(cli: Cli) -> None:
    assert cli("templates", "--limit", "lines=7").code == 0
    assert cli("templates").code == 0
    assert limits()["lines"] == 1 << 14


def test_what_many_sections_of_fill_ask_for_is_one_sum(cli: Cli, tmp_path: Path) -> None:
    """Each is within the bounds of one; all of them are 18 GiB, of which nothing is built."""
    sections = "".join(f".s{i} : {{ BYTE(1) FILL(0x90) . = . + 63M; }}\n" for i in range(300))
    (tmp_path / "kernel.lds.j2").write_text(f"SECTIONS {{\n{sections}}}\n")
    result = cli("export", "--templates", str(tmp_path), "-o", str(tmp_path / "elf"))
    assert result.code == 2
    assert "18.5 GiB of memory asked of 4 GiB: 18.5 GiB of fill in linked sections" in result.err
    assert "kernel.lds.j2:2: .s0" in result.err
    assert "--limit memory=32G allows it" in result.err


def test_sections_of_an_assembly_file_are_counted_together(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "x.S"
    path.write_text(SOURCE + "".join(f'.section .d{i}, "aw"\n.skip 3 << 20, 1\n' for i in range(4)))
    result = cli("diff", str(path), str(path), "--limit", "memory=10M")
    assert result.code == 2
    assert "12.2 MiB of memory asked of 10 MiB: 12.1 MiB of assembled sections" in result.err
    assert "x.S:13" in result.err
    assert cli("diff", str(path), str(path)).code == 0


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("statements", "nop\n" * 64),
        ("macros make more than", ".macro m\nnop\n.endm\n.rept 64\nm\n.endr\n"),
        ("assembled sections", ".data\n.fill 70 << 20, 1, 1\n"),
        ("files that assembly includes", '.data\n.incbin "big"\n'),
    ],
)
def test_what_an_error_says_of_a_file_lets_it_through(
    cli: Cli, tmp_path: Path, what: str, text: str
) -> None:
    """More than 64 MiB of a section, and 16 of files, had bounds that nothing raised."""
    path = tmp_path / "x.S"
    path.write_text(f"{SOURCE}{text}")
    with (tmp_path / "big").open("wb") as file:
        file.truncate(17 << 20)
    words = "diff", path, path, *(("--include-dir", tmp_path) if ".incbin" in text else ())
    limits, said = {"steps": "16", "memory": "32M"}, ""
    for _ in range(12):
        result = cli(*words, "--limit", ",".join(f"{one}={most}" for one, most in limits.items()))
        if result.code == 0:
            break
        assert result.code == 2
        said += result.err
        hint = re.search(r"--limit (\w+)=(\w+) allows", result.err)
        assert hint, result.err
        limits[hint[1]] = hint[2]
    assert result.code == 0
    assert what in said


def test_what_an_error_says_of_a_template_lets_it_through(cli: Cli, tmp_path: Path) -> None:
    script = cli("templates", "--show", "kernel.lds.j2").out
    loop = "{% for x in range(99) %}{% set y = x %}{% endfor %}"
    (tmp_path / "kernel.lds.j2").write_text(f"{loop}{script}")
    words = "export", "--templates", tmp_path, "-o", tmp_path / "elf"
    result = cli(*words, "--limit", "steps=150")
    assert "more than 150 steps" in result.err
    hint = re.search("give --limit (steps=[0-9]+)", result.err)
    assert hint
    assert cli(*words, "--limit", "steps=150k").code == 0


OVER = {
    "cpu": "more than 1 s of CPU time\nhint: --limit cpu=2s allows more",
    "time": "more than 1 s of time\nhint: --limit time=2s allows more",
    "host": "more CPU time than this host lets a process have\nhint: 'ulimit -t' says how much",
}


@pytest.mark.parametrize("clock", OVER)
def test_a_clock_ends_the_command(tmp_path: Path, clock: str) -> None:
    """With one line, its own exit code, and no process left."""
    path = tmp_path / "x.S"
    path.write_text(f"{SOURCE}.data\n.rept 240000\n.quad 1 + 2 * 3\n.endr\n")
    mark = uuid.uuid4().hex
    done = subprocess.run(
        [
            sys.executable, "-c", "from relokit.cli.main import main; raise SystemExit(main())",
            "diff", str(path), str(path), *(["--limit", f"{clock}=1"] if clock != "host" else []),
        ],
        capture_output=True, text=True, check=False, env=os.environ | {"MARK": mark},
        preexec_fn=(
            (lambda: resource.setrlimit(resource.RLIMIT_CPU, (1, 60))) if clock == "host" else None
        ),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"relokit: {OVER[clock]}\n"
    assert not [one for one in Path("/proc").glob("[0-9]*") if mark.encode() in environ(one)]


@pytest.mark.parametrize("words", [("matrix", "--series", "15", "--page-size", "4k"), ("mutate",)])
def test_a_campaign_says_which_limit_has_ended_it(process: Cli, words: tuple[str, ...]) -> None:
    """And what it has so far; it was called interrupted."""
    result = process(*words, "--jobs", "1", "--limit", "time=2")
    assert result.code == 3
    said = result.out + result.err
    assert "more than 2 s of time" in said
    assert "--limit time=4s allows more" in said
    assert "interrupted" not in said


LOUD = "".join(f'\tsay "line {n} {"x" * 40}\\n"\n' for n in range(200)) + "\toff\n"


@pytest.mark.parametrize(
    ("limit", "kept", "missing"),
    [
        ((), range(200), ()),
        (("lines=5",), range(5), range(6, 100)),
        (("console=200",), range(3), range(6, 100)),
        (("console=2M,lines=40k",), range(200), ()),
    ],
)
def test_a_console_is_kept_as_far_as_its_limits_say(
    process: Cli, tmp_path: Path, limit: tuple[str, ...], kept: range, missing: Iterable[int]
) -> None:
    """Beside its last 4 KiB, which are kept anyway."""
    path = tmp_path / "Image"
    path.write_bytes(kernel_image(LOUD))
    given = ("--limit", *limit) if limit else ()
    result = process("run", "--plain", "--kernel", path, "--boot", "5", "--json", *given)
    assert result.code == 0, result.err
    console = result.document["console"]
    assert all(f"line {n} " in console for n in kept)
    assert not any(f"line {n} " in console for n in missing)


def test_the_next_command_of_a_process_has_its_own(cli: Cli, tmp_path: Path) -> None:
    """The machine kept the limits of the command that it was started for."""
    path = tmp_path / "Image"
    path.write_bytes(kernel_image(LOUD))
    words = ("run", "--plain", "--kernel", path, "--boot", "5", "--json")
    few, all_of_them = cli(*words, "--limit", "lines=5"), cli(*words)
    assert "line 6 " not in few.document["console"]
    assert "line 6 " in all_of_them.document["console"]


def environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
