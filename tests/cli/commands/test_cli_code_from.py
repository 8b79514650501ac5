"""``--code-from`` at the command line: what is shown, what is chosen by itself, what is refused."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relokit.building import build, build_image, render
from relokit.cli.main import main
from relokit.cli.terminal.matrix_view import Shared, reproduce
from relokit.codegen.built_in import TEMPLATES
from relokit.codegen.gas.lexer import without_block_comments
from relokit.codegen.kimage_layouts import LAYOUTS, layout_named
from relokit.codegen.object import SectionFlag
from relokit.codegen.target import Target
from relokit.linker.elf.elf_reader import read_object
from relokit.linker.elf.elf_writer import exec_chunks, rel_chunks
from relokit.runtime.campaign.cells import Selection, cells
from relokit.runtime.kexec.job import Job

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """A command: its exit code, what it prints, what it says beside that."""

    def run(*words: object) -> tuple[int, str, str]:
        status = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def routine(path: Path, target: Target) -> Path:
    """Our relocation routine for ``target``, as an object."""
    made = next(one for one in build(target).objects if one.name == "relocate_kernel.S")
    path.write_bytes(b"".join(bytes(one) for one in rel_chunks(made)))
    return path


def test_what_is_whose_is_shown_and_in_the_document(tmp_path: Path, say: Say) -> None:
    path = routine(tmp_path / "mine.o", Target())
    words = "run", "--size", "4k", "--code-from", path
    status, shown, _ = say(*words)
    assert status == 0
    document = json.loads(say(*words, "--json")[1])["code"]
    (file,) = document["files"]
    assert (file["file"], file["kind"]) == (str(path), "object")
    assert f"code         {path}: object, sha256 {file['sha256'][:16]}" in shown
    assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    # Of its bytes in the file, which have nothing of a link.
    made = read_object(path.read_bytes(), path.name)
    (code,) = (one.data for one in made.sections if one.flags & SectionFlag.EXEC and one.size)
    relocation = next(one for one in document["parts"] if one["routine"] == "relocation")
    assert relocation["sha256"] == hashlib.sha256(code).hexdigest()
    for part in document["parts"]:
        assert f"{part['routine']} ({part['bytes']} bytes, {part['sha256'][:16]})" in shown
        assert part.get("file") == (str(path) if part["foreign"] else None)
        assert part["runs"] == (part["routine"] in ("relocation", "vectors", "hyp-stub"))
        assert part["foreign"] == (part["routine"] == "relocation")
    assert shown.index("its relocation") < shown.index("ours: vectors")
    assert "code" not in json.loads(say("run", "--size", "4k", "--json")[1])
    # Whoever gets the trace sees it, too.
    assert say(*words, "--trace", tmp_path / "trace")[0] == 0
    assert json.loads(say("judge", tmp_path / "trace", "--json")[1])["code"] == document


def test_a_matrix_is_of_the_state_and_the_pages_that_the_code_is_of(
    tmp_path: Path, say: Say
) -> None:
    path = routine(tmp_path / "mine.o", Target(series=0, page_size=16384))
    chosen = "--va-bits", "48", "--el", "el1", "--path", "normal", "--payload", "shuffled", "-j", 1
    status, shown, _ = say("matrix", "--code-from", path, *chosen)
    assert status == 0
    assert "pass         series6/16k/va48/el1/normal/shuffled" in shown
    assert f"code: {path}: object" in shown
    status, shown, _ = say("matrix", "--code-from", path, "--series", "6,7", *chosen)
    assert (status, shown.count("unsupported  series7/")) == (0, 1)
    assert "is of states 0 to 6 of the series" in shown
    listed = say("matrix", "--code-from", path, "--list", *chosen[:-2])[1]
    assert listed.splitlines() == ["series6/16k/va48/el1/normal/shuffled"]


def test_a_failed_cell_is_reproduced_with_the_same_code(tmp_path: Path, say: Say) -> None:
    made = next(one for one in build(Target()).objects if one.name == "relocate_kernel.S")
    number = next(at for at, one in enumerate(made.sections) if one.size)
    section = made.sections[number]
    # mov x3, xzr: to x3, x4
    data = section.data.replace(bytes.fromhex("e3031faa"), bytes.fromhex("e30304aa"))
    sections = (*made.sections[:number], replace(section, data=data), *made.sections[number + 1 :])
    path = tmp_path / "mine.o"
    path.write_bytes(b"".join(bytes(one) for one in rel_chunks(replace(made, sections=sections))))
    chosen = "--va-bits", "48", "--el", "el1", "--path", "normal", "--payload", "shuffled", "-j", 1
    status, shown, _ = say("matrix", "--code-from", path, *chosen)
    assert (status, "handoff.x3" in shown) == (1, True)
    (command,) = (one.strip() for one in shown.splitlines() if one.strip().startswith("relokit "))
    assert f"--code-from {path}" in command
    assert say(*command.split()[1:])[0] == 1


def test_a_layout_of_a_file_is_in_the_line_that_reproduces_a_cell() -> None:
    layout = replace(LAYOUTS["6.1"], name="mine", size=LAYOUTS["6.1"].size + 64)
    [cell, *_] = cells(Selection(series=(15,), layout=layout))
    line = reproduce(cell, Shared(Job(), Path("my vmlinux")))
    assert "--layout-from 'my vmlinux' " in line
    assert "--layout mine" not in line


def test_what_is_mutated_is_what_the_file_has(tmp_path: Path, say: Say) -> None:
    path = routine(tmp_path / "mine.o", Target())
    words = "mutate", "--code-from", path, "--el", "el1", "--operator", "flags", "-j", 1
    report = json.loads(say(*words, "--json")[1])
    assert list(report["routines"]) == ["relocation"]
    assert [one["routine"] for one in report["code"]["parts"] if one["foreign"]] == ["relocation"]
    status, _, error = say(*words, "--routine", "vectors")
    assert (status, "has no vectors for state 15" in error) == (2, True)
    assert "choose of relocation" in error


@pytest.mark.parametrize("command", ["run", "matrix", "mutate"])
def test_both_layouts_at_once_are_refused(command: str, tmp_path: Path, say: Say) -> None:
    words = "--layout", "6.1", "--layout-from", tmp_path / "vmlinux"
    status, _, error = say(command, *words)
    assert (status, "do not go together" in error) == (2, True)


def test_code_of_another_layout_says_which(tmp_path: Path, say: Say) -> None:
    path = routine(tmp_path / "mine.o", Target(layout=layout_named("7.2")))
    words = "run", "--size", "4k", "--code-from", path
    status, _, error = say(*words)
    assert (status, "add --layout 7.2" in error) == (2, True)
    assert say(*words, "--layout", "7.2")[0] == 0


@pytest.mark.parametrize(
    "name", ["relocate_kernel.S.j2", "trans_pgd.S.j2", "cpu_reset.S.j2", "hyp_stub.S.j2"]
)
def test_templates_of_what_does_not_run_are_refused(name: str, tmp_path: Path, say: Say) -> None:
    path = tmp_path / "all.elf"
    path.write_bytes(b"".join(bytes(one) for one in exec_chunks(build_image())))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / name).write_bytes((TEMPLATES / name).read_bytes())
    status, _, error = say("run", "--size", "4k", "--code-from", path, "--templates", mine)
    assert (status, f"{mine / name}: does nothing" in error) == (2, True)
    (mine / name).rename(mine / "machine_kexec.S.j2")
    (mine / "machine_kexec.S.j2").write_bytes((TEMPLATES / "machine_kexec.S.j2").read_bytes())
    assert say("run", "--size", "4k", "--code-from", path, "--templates", mine)[0] == 0


def test_a_routine_that_does_not_fit_its_page_is_named(tmp_path: Path, say: Say) -> None:
    made = next(one for one in build(Target()).objects if one.name == "relocate_kernel.S")
    number = next(at for at, one in enumerate(made.sections) if one.size)
    section = made.sections[number]
    data = section.data + bytes(4096)
    changed = replace(section, data=data, size=len(data))
    path = tmp_path / "mine.o"
    sections = (*made.sections[:number], changed, *made.sections[number + 1 :])
    path.write_bytes(b"".join(bytes(one) for one in rel_chunks(replace(made, sections=sections))))
    status, _, error = say("run", "--code-from", path)
    assert status == 2
    assert f"bigger than 4 KiB or misaligned (linked with {path})" in error


def several(folder: Path, *names: str) -> list[Path]:
    """Our own units as objects."""
    made = {one.name: one for one in build(Target()).objects}
    paths = [folder / f"{name}.o" for name in names]
    for path, name in zip(paths, names, strict=True):
        path.write_bytes(b"".join(bytes(one) for one in rel_chunks(made[name])))
    return paths


def test_several_files_are_told_apart(tmp_path: Path, say: Say) -> None:
    first, second = several(tmp_path, "relocate_kernel.S", "hibernate.S")
    words = [word for path in (first, second) for word in ("--code-from", path)]
    status, shown, _ = say("run", "--size", "4k", *words)
    assert status == 0
    lines = [line.strip() for line in shown.splitlines()]
    at = next(n for n, line in enumerate(lines) if line.startswith("code "))
    assert lines[at].startswith(f"code         {first}: object, sha256 ")
    assert lines[at + 1].startswith("its relocation (")
    assert lines[at + 2].startswith(f"{second}: object, sha256 ")
    assert lines[at + 3].startswith("its hibernate-exit (")
    assert lines[at + 3].endswith("does not run here)")
    assert lines[at + 4].startswith("ours: vectors (")
    chosen = "--va-bits", "48", "--el", "el1", "--payload", "shuffled,no-list", "-j", 1
    status, shown, _ = say("matrix", *words, *chosen)
    assert status == 0
    assert shown.count("pass         series15/") == 3, "normal, by a purgatory, hibernate"
    assert f"code: {first}: object" in shown
    assert f"{second}: object" in shown
    # What is in no place of the move is not run there.
    assert "nothing of it runs on path crash in regime el1" in shown
    status, shown, _ = say("mutate", *words, "--el", "el1", "--operator", "flags", "-j", 1)
    assert status in (0, 1)
    assert f"{second}: object" in shown


@pytest.mark.parametrize(
    ("name", "words", "way"),
    [
        ("hibernate.S", (), "--path hibernate"),
        ("trans_pgd.S", ("--el", "vhe"), "--el nvhe"),
        ("trans_pgd.S", ("--path", "crash"), "--path normal"),
        ("trans_pgd.S", ("--el", "el1", "--path", "crash"), "--el nvhe --path normal"),
        ("relocate_kernel.S", ("--path", "in-place"), "--path normal"),
        ("cpu_reset.S", (), "--path in-place"),
        ("hyp_stub.S", ("--el", "el1", "--path", "hibernate"), "--el nvhe"),
    ],
)
def test_code_that_no_cpu_comes_to_is_refused(
    name: str, words: tuple[str, ...], way: str, tmp_path: Path, say: Say
) -> None:
    (path,) = several(tmp_path, name)
    status, _, message = say("run", "--size", "4k", "--code-from", path, *words)
    assert status == 2
    assert f"{path}: nothing of it runs on path" in message
    assert f"hint: add {way}\n" in message
    # And that is a way out.
    kept = dict(zip(words[::2], words[1::2], strict=True))
    kept |= dict(zip(way.split()[::2], way.split()[1::2], strict=True))
    again = [word for pair in kept.items() for word in pair]
    assert say("run", "--size", "4k", "--code-from", path, *again)[0] == 0


def test_code_of_another_state_is_not_what_runs(tmp_path: Path, say: Say) -> None:
    (path,) = several(tmp_path, "cpu_reset.S")
    words = "run", "--code-from", path, "--path", "crash", "--size", "4k"
    status, _, message = say(*words, "--series", "13")
    assert status == 2
    assert "it has cpu_soft_restart" in message
    assert "another state of the series" in message
    assert say(*words, "--series", "14")[0] == 0


@pytest.fixture
def split(tmp_path: Path) -> tuple[Path, Path]:
    """Our relocation routine as assembly of which half is in another file; the directory of it."""
    source = next(one for one in render(Target()).units if one.name == "relocate_kernel.S")
    lines = without_block_comments(source.text).split("\n")
    middle = len(lines) // 2
    (tmp_path / "inc" / "asm").mkdir(parents=True)
    (tmp_path / "inc" / "asm" / "half.inc").write_text("\n".join(lines[middle:]) + "\n")
    path = tmp_path / "relocate_kernel.S"
    path.write_text("\n".join([*lines[:middle], '.include "asm/half.inc"', ""]))
    return path, tmp_path / "inc"


def test_what_assembly_includes_is_told_with_its_digest(split: tuple[Path, Path], say: Say) -> None:
    path, directory = split
    words = "run", "--size", "4k", "--code-from", path, "--include-dir", directory
    status, shown, _ = say(*words)
    assert status == 0
    operands = f"{path}:arm64_relocate_new_kernel", "series:15"
    assert say("diff", *operands, "--include-dir", directory)[0] == 0
    included = directory / "asm" / "half.inc"
    digest = hashlib.sha256(included.read_bytes()).hexdigest()
    assert f"             {included}: included, sha256 {digest[:16]}\n" in shown
    files = json.loads(say(*words, "--json")[1])["code"]["files"]
    assert files[1] == {"file": str(included), "kind": "included", "sha256": digest}
    # Another text there is another program, whatever was built before.
    half = included.read_text()
    included.write_text(half.replace("x3, xzr", "x3, x4", 1))
    assert included.read_text() != half
    status, shown, _ = say(*words)
    assert status == 1
    assert re.search(rf"{re.escape(str(included))}:[0-9]", shown)


def test_a_cell_that_includes_is_reproduced_so(split: tuple[Path, Path]) -> None:
    path, directory = split
    job = Job(code_from=path, include_dir=directory)
    [cell, *_] = cells(Selection(series=(15,)))
    assert f"--code-from {path} --include-dir {directory}" in reproduce(cell, Shared(job))


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "--code-from", "mine.o"),
        ("matrix", "--code-from", "mine.o"),
        ("mutate",),
        ("export", "--type", "bootable", "-o", "x"),
        ("export", "--type", "exec", "-o", "x"),
        ("show", "tables"),
        ("time",),
        ("diff", "a.o", "b.o"),
        ("diff", "a.S", "b.S", "--all"),
        ("diff", "series:1", "series:2"),
        ("diff", "--series"),
    ],
    ids=" ".join,
)
def test_a_directory_that_nothing_includes_from_is_refused(
    words: tuple[str, ...], tmp_path: Path, say: Say
) -> None:
    status, _, err = say(*words, "--include-dir", tmp_path)
    assert status == 2
    assert "leave --include-dir out" in err or "--include-dir is about a machine" in err


def test_nothing_included_is_refused_at_the_file(split: tuple[Path, Path], say: Say) -> None:
    path, directory = split
    whole = path.read_text().replace(
        '.include "asm/half.inc"', (directory / "asm" / "half.inc").read_text()
    )
    path.write_text(whole)
    for words in (("run", "--code-from", path), ("diff", path, path)):
        status, _, err = say(*words, "--include-dir", directory)
        assert (status, f"{directory}: nothing is included from it" in err) == (2, True)
    assert say("diff", path, path)[0] == 0
