"""docs/recipes.md, carried out: with files of Debian's 6.1, assembled by GNU as; and by LLVM."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracles.kernel_source import preprocessed

from relokit.cli.main import main

pytestmark = pytest.mark.oracle
PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"
UNITS = ("relocate_kernel", "hyp-stub", "cpu-reset", "trans_pgd-asm", "hibernate-asm")
LEFT_OUT = (
    "id_aa64pfr0_override", "id_aa64pfr1_override", "id_aa64smfr0_override", "id_aa64mmfr1_override"
)  # fmt: skip
"""What finalise_el2 reads."""
LINK = [
    "-e",
    "0",
    "-Ttext=0xffff800008000000",
    *(f"--defsym={one}=0xffff800008001000" for one in LEFT_OUT),
]


def tool(*words: object, cwd: Path) -> None:
    subprocess.run([str(word) for word in words], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, kernel_6_1: Path, kernel_6_12: Path) -> Path:
    """A directory with what a person has who has built a kernel, and what is downloaded."""
    folder = tmp_path_factory.mktemp("tree")
    for unit in UNITS:
        tool("aarch64-linux-gnu-as", "-o", f"{unit}.o", preprocessed(f"{unit}.S"), cwd=folder)
    source = preprocessed("relocate_kernel.S").read_text()
    shutil.copy(preprocessed("relocate_kernel.S"), folder / "relocate_kernel.s")
    head, old, tail = source.rpartition("mov x3, xzr")
    assert old
    (folder / "broken.s").write_text(f"{head}mov x3, x4{tail}")
    tool("aarch64-linux-gnu-as", "-o", "broken.o", "broken.s", cwd=folder)
    (folder / "include" / "asm").mkdir(parents=True)
    (folder / "include" / "asm" / "exit.inc").write_text(f"{old}{tail}")
    (folder / "mine.S").write_text(f'{head}\n.include "asm/exit.inc"\n')
    objects = [f"{unit}.o" for unit in UNITS]
    # The ELF that a link of the kernel's objects gives; the linker warns of its permissions.
    tool("aarch64-linux-gnu-ld", *LINK, "-o", "vmlinux", *objects, cwd=folder)
    (folder / "vmlinuz-6.1").symlink_to(kernel_6_1)
    (folder / "vmlinuz-6.12").symlink_to(kernel_6_12)
    return folder


def recipes() -> Iterator[tuple[str, list[str]]]:
    """Command lines, and what each prints."""
    command, printed = "", list[str]()
    for line in PAGE.read_text().splitlines():
        if line.startswith("    $ "):
            if command:
                yield command, printed
            command, printed = line.removeprefix("    $ "), []
        elif line.startswith("    "):
            printed.append(line.strip())
    yield command, printed


def test_each_recipe_does_what_it_says(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tree)
    ran = 0
    for command, printed in recipes():
        words = shlex.split(command, comments=True)
        if words[0] == "make":
            assert (tree / Path(words[1]).name).is_file()
            continue
        ran += 1
        if words[0] != "relokit":
            tool(*words, cwd=tree)
            continue
        status = main(words[1:])
        out = capsys.readouterr().out
        at = 0
        for line in printed:
            at = out.find(line, at)
            assert at >= 0, f"{command}: no {line!r} in {out[-2000:]}"
        assert status in (0, 1), command
        assert status == 0 or "PASS" not in printed, command
        assert status == 1 or "FAIL" not in printed, command
    assert ran >= 13


def code_of(path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """Digests of the file's routines, by name, in a run that passes."""
    assert main(["run", "--json", "--size", "4k", "--code-from", str(path), *words]) == 0
    code = json.loads(capsys.readouterr().out)["code"]
    return {part["routine"]: part["sha256"] for part in code["parts"] if part["foreign"]}


def test_a_routine_is_the_same_by_every_door(
    tree: Path, kernel_6_1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """GNU as, LLVM's assembler, ours; GNU ld, LLVM's; and Debian's own Image of that source."""
    objects = [tree / f"{unit}.o" for unit in UNITS]
    tool("aarch64-linux-gnu-ld", "-r", "-o", tmp_path / "all.o", *objects, cwd=tree)
    tool("ld.lld", *LINK, "-o", tmp_path / "vmlinux-lld", *objects, cwd=tree)
    llvm = "llvm-mc", "-triple=aarch64-linux-gnu", "-filetype=obj"
    source = tree / "relocate_kernel.s"
    tool(*llvm, "-o", tmp_path / "llvm.o", source, cwd=tree)
    image = code_of(kernel_6_1, capsys)
    # What linking does not touch; Debian's own is of the headers' release, give or take one.
    copied = ("relocation", "vectors", "soft-restart")
    for path in (tree / "vmlinux", tmp_path / "vmlinux-lld", tmp_path / "all.o"):
        found = code_of(path, capsys)
        assert set(found) == {"relocation", "vectors", "soft-restart", "hibernate-exit", "hyp-stub"}
        assert {one: found[one] for one in copied} == {one: image[one] for one in copied}
    for path in (tree / "relocate_kernel.o", tmp_path / "llvm.o", source):
        assert code_of(path, capsys) == {"relocation": image["relocation"]}


def test_the_layout_of_a_vmlinux_is_that_of_its_btf(
    tree: Path, kernel_7: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """6.1's routine in a kernel whose struct kimage is 7's: what it reads is something else."""
    from relokit.linker.kernel.btf import HEADER, MAGIC
    from relokit.linker.kernel.kernel_file import open_kernel

    image = bytes(open_kernel(kernel_7).image)
    start = image.index(MAGIC)
    header = HEADER.unpack_from(image, start)
    end = start + header[1] + header[4] + header[5]
    (tmp_path / "btf").write_bytes(image[start:end])
    made = tmp_path / "vmlinux"
    add = "--add-section", f".BTF={tmp_path / 'btf'}"
    tool("aarch64-linux-gnu-objcopy", *add, tree / "vmlinux", made, cwd=tree)
    assert main(["run", "--json", "--size", "4k", "--code-from", str(made)]) == 1
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["target"]["layout"] == outcome["code"]["layout"] != "6.1"
    assert main(["run", "--code-from", str(made), "--layout", "6.1"]) == 2
    assert "has BTF, which decides" in capsys.readouterr().err
    # And for an object, it is what --layout-from reads, and believed.
    words = "--layout-from", str(made), "--code-from", str(tree / "relocate_kernel.o")
    assert main(["run", "--json", "--size", "4k", *words]) == 1
    assert json.loads(capsys.readouterr().out)["code"]["layout"] == outcome["code"]["layout"]


def test_what_is_no_code_says_what_would_be(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool("aarch64-linux-gnu-strip", "-o", tmp_path / "stripped", "vmlinux", cwd=tree)
    debug = tmp_path / "vmlinux.debug"
    tool("aarch64-linux-gnu-objcopy", "--only-keep-debug", "vmlinux", debug, cwd=tree)
    for words, said in (
        (("--code-from", tmp_path / "stripped"), "not stripped"),
        (("--code-from", debug), "only symbols are left"),
        (("--kernel", tree / "vmlinux"), "objcopy -O binary vmlinux Image"),
    ):
        assert main(["run", *map(str, words)]) == 2
        message = capsys.readouterr().err
        assert said in message
        assert re.search("^hint: ", message, re.MULTILINE)


TABLE = """
    .text
    .globl pick
    .type pick, %function
pick:
    adrp x1, table
    add x1, x1, :lo12:table
    ldr w0, [x1, x0, lsl #2]
    ret
    .size pick, . - pick
    .section .rodata, "a"
    .globl table
    .type table, %object
table:
    .word 1, 2, {}
    .size table, . - table
"""


@pytest.mark.parametrize("changed", ["nothing", "an instruction", "a constant"])
def test_two_builds_of_a_vmlinux_are_compared(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: str
) -> None:
    """Whole, and by routine; what is the same is not told of."""
    for name, relocation, last in (
        ("old", "relocate_kernel.o", 3),
        (
            "new",
            "broken.o" if changed == "an instruction" else "relocate_kernel.o",
            4 if changed == "a constant" else 3,
        ),
    ):
        (tmp_path / f"{name}.s").write_text(TABLE.format(last))
        made = tmp_path / f"{name}.o"
        tool("aarch64-linux-gnu-as", "-g", "-o", made, tmp_path / f"{name}.s", cwd=tmp_path)
        objects = [tree / relocation, *(tree / f"{unit}.o" for unit in UNITS[1:]), made]
        tool("aarch64-linux-gnu-ld", *LINK, "-o", tmp_path / name, *objects, cwd=tmp_path)
    sides = str(tmp_path / "old"), str(tmp_path / "new")
    # Of a constant whoever uses it is told, or it is itself.
    changes = {"an instruction": "arm64_relocate_new_kernel", "a constant": "pick|table"}
    for words in (("--all",), ()):
        assert main(["diff", *sides, *words]) == (changed in changes)
        told = capsys.readouterr().out
        for what, name in changes.items():
            assert bool(re.search(rf"\b({name})\b", told)) == (what == changed), (words, told)
