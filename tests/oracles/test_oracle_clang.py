"""Objects that clang makes, of C and of the kernel's assembly, by ``--code-from`` and ``diff``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from oracles.kernel_source import preprocessed

from relokit.cli.main import main

pytestmark = pytest.mark.oracle
C = """
static const unsigned short costs[] = { 3, 5, 7, 9 };
unsigned long seen;
int cost(unsigned int kind)
{
	switch (kind) {
	case 0: return 11;
	case 1: seen++; return 7;
	case 2: return 23;
	case 3: return 2;
	case 4: seen += 5; return 99;
	}
	return costs[kind & 3];
}
"""


def clang(folder: Path, name: str, text: str, *options: str) -> Path:
    (folder / name).write_text(text)
    made = (folder / name).with_suffix(".o")
    command = ["clang", "--target=aarch64-linux-gnu", "-ffreestanding", *options, "-c", name]
    subprocess.run([*command, "-o", made.name], cwd=folder, check=True, capture_output=True)
    return made


def diff(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    status = main(["diff", *map(str, words)])
    return status, capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("7, 9", "7, 8", "1 data word changed"),
        ("seen += 5", "seen += 6", "add x9, x9, #5 → add x9, x9, #6"),
        ("return 23", "return 24", "changed"),
        ("{ 3, 5,", "{ 5, 3,", "data word"),
    ],
)
def test_c_by_clang_differs_where_its_source_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, shown: str
) -> None:
    one = clang(tmp_path, "one.c", C, "-O2")
    other = clang(tmp_path, "other.c", C.replace(old, new), "-O2")
    debug = clang(tmp_path, "debug.c", C, "-O2", "-g", "-fdata-sections")
    for words in ((), ("--all",)):
        status, out = diff(capsys, *words, one, other)
        assert status == 1
        assert words or shown in out
    assert diff(capsys, one, one)[0] == 0
    assert diff(capsys, one, debug)[0] == 0


def test_the_kernels_assembly_by_clang_runs_and_is_gnus(
    tmp_path: Path, kernel_6_1: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = preprocessed("relocate_kernel.S").read_text()
    made, gnu, both = clang(tmp_path, "r.s", text), tmp_path / "gnu.o", tmp_path / "both.o"
    work = clang(tmp_path, "work.c", C, "-O2")
    for command in (
        ["as", "-o", gnu, tmp_path / "r.s"],
        ["ld", "-r", "-o", both, made, work],
    ):
        command[0] = f"aarch64-linux-gnu-{command[0]}"
        subprocess.run(command, check=True)
    assert diff(capsys, made, gnu)[0] == 0
    assert diff(capsys, "--all", made, gnu)[0] == 0
    digests = set()
    for path in (made, both, kernel_6_1):
        assert main(["run", "--json", "--size", "4k", "--code-from", str(path)]) == 0
        parts = json.loads(capsys.readouterr().out)["code"]["parts"]
        (found,) = (one for one in parts if one["routine"] == "relocation")
        assert found["foreign"]
        digests.add(found["sha256"])
    assert len(digests) == 1
    broken = clang(tmp_path, "broken.s", text.replace("mov x3, xzr", "mov x3, x4", 1))
    assert main(["run", "--size", "4k", "--code-from", str(broken)]) == 1


TABLES = """
static const int own[] = { 31, 52, 73, 94, 11, 4, 99 };
const int shared[] = { 1, 2, 3, 4 };
int changing[] = { 5, 6, 7 };
static int counts[] = { 1, 2, 3, 4, 5, 6 };
int get(unsigned i) { return own[i % 7] + counts[i % 6]++; }
"""


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("3, 4 }", "3, 5 }", "shared"),
        ("6, 7 }", "6, 8 }", "changing"),
        ("5, 6 }", "5, 7 }", "counts"),
    ],
)
def test_variables_beside_those_that_the_code_takes_are_not_the_same_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, name: str
) -> None:
    """Others read them: of objects they are compared, of linked files the verdict names them."""
    one = clang(tmp_path, "one.c", TABLES, "-O2")
    other = clang(tmp_path, "other.c", TABLES.replace(old, new), "-O2")
    status, out = diff(capsys, one, other)
    assert status == 1
    assert "1 data word changed" in out
    assert diff(capsys, one, one) == (0, "")
    for path in (one, other):
        command = ["aarch64-linux-gnu-ld", "-e", "0", "-o", path.with_suffix(".elf"), path]
        subprocess.run(command, check=True)
    linked = one.with_suffix(".elf"), other.with_suffix(".elf")
    status, out = diff(capsys, *linked)
    assert out == "data not compared: counts, changing, shared\n"
    status, out = diff(capsys, "--all", *linked)
    section = ".rodata" if name == "shared" else ".data"
    assert "no code takes it: " in out
    assert f"{section} (1 of 2 symbols)" in out
