"""``relokit diff`` as a command: operands, formats, exit codes, bad input."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Cli = Callable[..., Any]
ROUTINE = "arm64_relocate_new_kernel"
FORMATS = (("--format", "unified"), ("--format", "side"), ("--score",), ("--json",))

ONE = """
	.text
	.globl	first, second
	.type	first, %function
	.type	second, %function
first:	mrs	x9, ctr_el0
1:	dc	ivac, x2
	add	x2, x2, x9
	cmp	x2, x10
	b.lo	1b
	dsb	sy
	bl	outside
	ret
	.size	first, . - first
second:	isb
	ret
	.size	second, . - second
"""
OTHER = ONE.replace("dc	ivac", "dc	civac").replace("x2", "x19")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    left, right = tmp_path / "one.S", tmp_path / "other.S"
    left.write_text(ONE)
    right.write_text(OTHER)
    return left, right


def fails(result: Any, *words: str) -> None:
    assert result.code == 2, result
    assert result.out == ""
    assert result.err.count("relokit: ") == 1
    assert "Traceback" not in result.err
    assert "internal error" not in result.err
    for word in words:
        assert word in result.err


@pytest.mark.parametrize("options", FORMATS)
def test_nothing_to_say_of_one_thing_twice(
    cli: Cli, files: tuple[Path, Path], options: tuple[str, ...]
) -> None:
    result = cli("diff", files[0], files[0], *options)
    assert result.code == 0
    if options == ("--json",):
        document = result.document
        assert document["same"] is True
        assert document["changed"] == 0
        assert document["hunks"] == []
    else:
        assert result.out == ("100.00\n" if options == ("--score",) else "")


def test_one_operation_changed(cli: Cli, files: tuple[Path, Path]) -> None:
    result = cli("diff", *files)
    assert result.code == 1
    assert "-dc ivac, x2\n+dc civac, x19\n" in result.out
    assert result.out.endswith(
        "\n1 cache operation changed: dc ivac → dc civac; registers renamed in first x2→x19\n"
    )
    document = cli("diff", *files, "--json").document
    assert (document["same"], document["changed"]) == (False, 1)
    assert document["routines"] == ["first", "second"]
    assert document["registers"] == {"first": ["x2→x19"]}
    (hunk,) = document["hunks"]
    assert hunk["routine"] == "first"
    assert hunk["changes"][0]["kind"] == "cache"


def test_a_gate_on_some_kinds(cli: Cli, files: tuple[Path, Path]) -> None:
    assert cli("diff", *files, "--only", "barrier").code == 0
    assert cli("diff", *files, "--only", "barrier", "--only", "cache").code == 1
    assert cli("diff", *files, "--only", "barrier", "--json").document["changed"] == 0
    assert cli("diff", *files, "--keep", "registers", "--only", "arithmetic").code == 1


def test_one_routine(cli: Cli, files: tuple[Path, Path]) -> None:
    left, right = files
    assert cli("diff", f"{left}:second", right).code == 0
    assert cli("diff", left, f"{right}:second").code == 0
    assert cli("diff", f"{left}:first", f"{right}:first").code == 1
    different = cli("diff", f"{left}:first", f"{right}:second", "--json").document
    assert different["routines"] == ["first → second"]


def test_score(cli: Cli, files: tuple[Path, Path]) -> None:
    result = cli("diff", f"{files[0]}:first", files[1], "--score")
    assert result.code == 1
    assert result.out == "87.50\n"


def test_side_by_side_fits_80_columns(cli: Cli) -> None:
    result = cli("diff", f"series:11:{ROUTINE}", "series:12", "--format", "side")
    assert result.code == 1
    rows, last = result.out.rstrip("\n").rsplit("\n", 1)
    assert max(map(len, rows.split("\n"))) <= 80
    assert "\x1b" not in result.out
    assert " > " in rows
    assert any(line[39:42] == " < " or line.endswith(" <") for line in rows.split("\n"))
    assert "inserted" in last


def test_colours_and_word_marks_on_a_terminal(files: tuple[Path, Path]) -> None:
    from relokit.cli.terminal.diff_view import side_by_side
    from relokit.codegen.gas.instructions.encoder import Encoder
    from relokit.diffing.read.sides import read_sides
    from relokit.diffing.routines.compare import compare

    encoder = Encoder()
    try:
        found = compare(*read_sides(str(files[0]), str(files[1]), lambda: encoder))
    finally:
        encoder.close()
    shown = side_by_side(found, colour=True, width=80)
    # The operation alone is marked, not the mnemonic before it.
    assert "dc \x1b[1;7;31mivac\x1b[0m" in shown
    assert "dc \x1b[1;7;32mcivac\x1b[0m" in shown
    narrow = side_by_side(found, colour=False, width=44)
    assert max(map(len, narrow.split("\n"))) <= 44


def test_a_target_against_itself_as_an_elf(cli: Cli, tmp_path: Path) -> None:
    for kind in ("exec", "rel"):
        path = tmp_path / f"{kind}.elf"
        assert cli("export", "-o", path, "--type", kind, "--series", "12").code == 0
        result = cli("diff", "series:12", path)
        assert (result.code, result.out) == (0, ""), kind
        assert cli("diff", "series:11", path).code == 1


def test_a_target_against_its_rendered_text(cli: Cli, tmp_path: Path) -> None:
    assert cli("generate", "-o", tmp_path, "--page-size", "16k").code == 0
    result = cli("diff", "series:15,page=16k", tmp_path / "relocate_kernel.S")
    assert (result.code, result.out) == (0, "")
    assert cli("diff", "series:15,page=4k", tmp_path / "relocate_kernel.S").code == 1


def test_layouts_are_compared_by_field(cli: Cli) -> None:
    one, other = f"series:15,layout=6.1:{ROUTINE}", "series:15,layout=7.2"
    assert cli("diff", one, other).code == 0
    assert cli("diff", one, other, "--keep", "fields").code == 1


@pytest.mark.parametrize(
    ("operand", "words"),
    [
        ("series:16", ("no such state", "0 to 15")),
        ("series:", ("no such state",)),
        ("series:1,page=8k", ("no '8k' page size",)),
        ("series:1,colour=red", ("no 'colour' in a target", "known: page")),
        ("series:1,page=4k,page=4k", ("given twice",)),
        ("series:1,el=el7", ("no regime 'el7'", "nvhe")),
        ("series:1,va=many", ("no number of bits",)),
        ("series:1:nowhere", ("no routine 'nowhere'", "it has")),
        ("nothing-there.o", ("no such file",)),
        (":symbol", ("names no routine",)),
        ("", ("no such file",)),
    ],
)
def test_operands_that_are_none(
    cli: Cli, operand: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    if operand == "":
        fails(cli("diff", operand, "series:1"))
    else:
        fails(cli("diff", operand, "series:1"), *words)


def test_files_that_are_none(cli: Cli, tmp_path: Path) -> None:
    def file(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    fails(cli("diff", file("a.S", b"\xff\xfe"), "series:1"), "not UTF-8")
    fails(cli("diff", file("b.S", b"\tfrobnicate x0\n"), "series:1"), "b.S:1")
    fails(cli("diff", file("c.S", b"// nothing\n"), "series:1"), "has no routine to compare")
    fails(cli("diff", file("d.o", b"\x7fELF\2\1\1" + bytes(57)), "series:1"), "d.o")
    fails(cli("diff", file("e", b"garbage" * 100), "series:1"), "not an arm64 Image")
    fails(cli("diff", tmp_path, "series:1"), "directory")
    fails(cli("diff", "series:1"), "Missing argument")


@pytest.fixture(scope="session")
def some_object(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from relokit.cli.main import main

    path = tmp_path_factory.mktemp("diff") / "some.o"
    assert main(["export", "-o", str(path), "--type", "rel"]) == 0
    return path.read_bytes()


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_objects_are_an_error_or_a_diff(
    cli: Cli, some_object: bytes, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(some_object)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 8))
        value = data.draw(st.sampled_from([0, 1, 0xFF, 1 << 31, (1 << 64) - 1, 1 << 40]))
        content[at : at + 8] = struct.pack("<Q", value)
    del content[data.draw(st.integers(64, len(content))) :]
    path, whole = tmp_path / "damaged.o", tmp_path / "whole.o"
    path.write_bytes(content)
    whole.write_bytes(some_object)
    result = cli("diff", path, whole, "--json")
    if result.code == 2:
        assert "internal error" not in result.out
        assert result.document["status"] == "error"
    else:
        assert result.code == (0 if result.document["same"] else 1)
