"""``relokit diff`` with --series, --all, --run, pages and files: what a person gets, or is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.series import COMPLETE, PATCHES

Cli = Callable[..., Any]

DOUBLE = """
	.text
	.globl	twice
	.type	twice, %function
twice:	add	x0, x0, x0
	ret
	.size	twice, . - twice
"""
SHIFT = DOUBLE.replace("add	x0, x0, x0", "lsl	x9, x0, #1\n	mov	x0, x9")
TRIPLE = DOUBLE.replace("add	x0, x0, x0", "add	x0, x0, x0, lsl #1")
CLEAN = DOUBLE.replace("ret", "dsb	sy\n	ret")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    texts = {"double": DOUBLE, "shift": SHIFT, "triple": TRIPLE, "clean": CLEAN}
    paths = {}
    for name, text in texts.items():
        paths[name] = tmp_path / f"{name}.S"
        paths[name].write_text(text)
    return paths


def test_two_routines_that_differ_in_every_line_and_do_the_same(
    cli: Cli, files: dict[str, Path]
) -> None:
    result = cli("diff", files["double"], files["shift"], "--run")
    assert result.code == 1  # of code, they are not the same
    assert "-add x0, x0, x0" in result.out
    assert "twice: behaves the same" in result.out
    document = cli("diff", files["double"], files["shift"], "--run", "--json").document
    assert document["same"] is False
    assert document["run"]["verdict"] == "same"


def test_two_routines_that_differ_in_an_operand_and_do_not_do_the_same(
    cli: Cli, files: dict[str, Path]
) -> None:
    result = cli("diff", files["double"], files["triple"], "--run")
    assert result.code == 1
    assert "twice: behaves differently" in result.out
    document = cli("diff", files["double"], files["triple"], "--run", "--json").document
    assert document["changed"] == 1
    assert document["run"]["verdict"] == "different"


def test_a_barrier_is_counted_and_left_to_judge(cli: Cli, files: dict[str, Path]) -> None:
    result = cli("diff", files["double"], files["clean"], "--run", "--only", "cache")
    # Nothing differs in the code that was asked for; the runs do.
    assert result.code == 1
    assert "same results, maintenance differs" in result.out
    assert "dsb sy 0 → " in result.out


def test_the_same_code_behaves_the_same(cli: Cli, files: dict[str, Path]) -> None:
    result = cli("diff", files["double"], files["double"], "--run")
    assert result.code == 0
    assert "behaves the same" in result.out


def test_the_series_has_fifteen_steps(cli: Cli) -> None:
    result = cli("diff", "--series")
    assert result.code == 1
    for patch in PATCHES:
        assert f"patch {patch.number}  {patch.subject}\n  {patch.change}\n" in result.out
    assert result.out.count("no instruction changes") == 4
    assert "routine renamed: __cpu_soft_restart → cpu_soft_restart" in result.out
    document = cli("diff", "--series", "page=16k,el=vhe", "--json").document
    assert document["same"] is False
    steps = document["steps"]
    assert [step["patch"] for step in steps] == list(range(1, COMPLETE + 1))
    assert all("page=16k" in step["diff"]["left"] for step in steps)
    # The first patch is a predicate, the last one takes away what nobody calls.
    assert steps[0]["diff"]["same"] is steps[-1]["diff"]["same"] is True
    assert steps[11]["diff"]["changed"] > 20


def test_a_gate_on_one_kind_of_the_series(cli: Cli) -> None:
    document = cli("diff", "--series", "--only", "tlb", "--json").document
    changed = [step["patch"] for step in document["steps"] if not step["diff"]["same"]]
    # 3 moves the switch of TTBR0 out of hibernation's code, 11 switches TTBR1.
    assert changed == [3, 11]


@pytest.mark.parametrize("form", ["html", "unified", "side"])
def test_a_file_is_written_whole_and_the_same_each_time(
    cli: Cli, tmp_path: Path, files: dict[str, Path], form: str
) -> None:
    contents = []
    for name in ("one", "two"):
        path = tmp_path / name
        result = cli("diff", files["double"], files["clean"], "--format", form, "-o", path)
        assert (result.code, result.out) == (1, "")
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    assert b"dsb sy" in contents[0]
    assert b"\x1b" not in contents[0]
    assert sorted(os.listdir(tmp_path)) == [
        "clean.S", "double.S", "one", "shift.S", "triple.S", "two",
    ]  # fmt: skip


def test_a_page_has_the_run_too(cli: Cli, files: dict[str, Path]) -> None:
    page = cli("diff", files["double"], files["triple"], "--run", "--format", "html").out
    assert page.startswith("<!DOCTYPE html>")
    assert "behaves differently" in page


def test_a_page_of_the_series(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "series.html"
    assert cli("diff", "--series", "--format", "html", "-o", path).code == 1
    text = path.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert all(patch.subject.replace("-", "") in text.replace("-", "") for patch in PATCHES)


def test_a_page_of_one_thing_twice_says_so(cli: Cli, files: dict[str, Path]) -> None:
    result = cli("diff", files["double"], files["double"], "--format", "html")
    assert result.code == 0
    assert '<p class="verdict">The same</p>' in result.out
    assert 'class="c ' not in result.out


def test_json_to_a_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "diff.json"
    assert cli("diff", "series:14", "series:15", "--json", "-o", path).code == 0
    assert json.loads(path.read_text())["same"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--series", "page=16k", "series:1"), ("--series takes no operands",)),
        (("--series", "page=8k"), ("no '8k' page size",)),
        (("--series", "colour"), ("no 'colour' in a target", "known: page")),
        (("--series", "--all"), ("--series and --all do not go together",)),
        (("series:1", "series:2", "--run", "--score"), ("--run and --score",)),
        (("series:1", "series:2", "--all", "--keep", "all"), ("--keep",)),
        (("series:1", "series:2", "--all", "--format", "side"), ("--all is an overview",)),
        (("series:1", "series:2", "--all"), ("only kernels are compared as a whole",)),
        (("series:1",), ("Missing argument 'RIGHT'",)),
        ((), ("Missing argument 'LEFT'",)),
        (("series:1", "series:2", "-o", "/nonexistent/x"), ("cannot be written", "/nonexistent")),
        (("series:1", "series:2", "-o", "/"), ("is a directory",)),
    ],
)
def test_what_does_not_go_together_is_refused(
    cli: Cli, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    result = cli("diff", *arguments)
    assert (result.code, result.out) == (2, "")
    for word in words:
        assert word in result.err
    assert "Traceback" not in result.err


def test_json_has_no_other_format(cli: Cli) -> None:
    result = cli("diff", "series:1", "series:2", "--json", "--format", "html")
    assert result.code == 2
    assert "leave --format out" in result.document["error"]["message"]


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"\x7fELF", b"MZ\0\0zimg" + bytes(99)])
def test_a_whole_kernel_that_is_none(cli: Cli, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(content)
    result = cli("diff", path, path, "--all")
    assert (result.code, result.out) == (2, "")
    assert "vmlinuz" in result.err
    assert "internal error" not in result.err
