"""``relokit export`` and ``relokit generate``: the files, and what is said about them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.cli.terminal.view import summary
from relokit.codegen.target import Target
from relokit.runtime.guest.payload import PayloadKind, PayloadPart
from relokit.runtime.judge.outcome import (
    Finding,
    Handoff,
    JudgedTarget,
    Outcome,
    RelocationRun,
    Status,
)

pytestmark = pytest.mark.usefixtures("kept")

Cli = Callable[..., Any]


@pytest.mark.parametrize("kind", ["exec", "rel", "bootable"])
def test_a_process_that_exports_says_nothing_on_its_way_out(
    process: Cli, tmp_path: Path, kind: str
) -> None:
    """A native library reports what it holds at the end; that is no business of whoever exports."""
    result = process("export", "--type", kind, "-o", tmp_path / "out.elf")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(("kind", "type_"), [("exec", 2), ("rel", 1), ("bootable", 2)])
def test_export(cli: Cli, tmp_path: Path, kind: str, type_: int) -> None:
    out = tmp_path / "out.elf"
    result = cli("export", "--type", kind, "-o", out, "--json")
    assert (result.code, result.err) == (0, "")
    content = out.read_bytes()
    assert content[:7] == b"\x7fELF\2\1\1"
    assert int.from_bytes(content[16:18], "little") == type_
    document = result.document
    assert document["file"] == str(out)
    assert document["bytes"] == len(content)
    assert document["target"] == "series:15,page=4k,va=48,el=nvhe"
    assert ("ram" in document) == (kind == "bootable")
    assert document.get("virt", False) == (kind == "bootable")
    # The same again, byte for byte, in place of the old file.
    assert cli("export", "--type", kind, "-o", out).code == 0
    assert out.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.elf"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--el", "el1"], ["virtualization=off", "-cpu cortex-a72", "-m 2048"]),
        (["--el", "nvhe"], ["virtualization=on", "-cpu cortex-a72"]),
        (["--el", "vhe", "--memory", "1G"], ["virtualization=on", "-cpu max", "-m 1024"]),
        (["--page-size", "16k"], ["-cpu max"]),
        # QEMU takes whole MiB: rather more than what the tree says.
        (["--memory", "786436K"], ["-m 769"]),
    ],
)
def test_bootable_says_how_to_boot_it(
    cli: Cli, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    out = tmp_path / "my kernel.elf"
    result = cli("export", "--type", "bootable", "-o", out, *options)
    assert result.code == 0
    command = result.out.partition("boot it with: ")[2].strip()
    for word in words:
        assert word in command
    assert shlex.split(command)[-2:] == ["-kernel", str(out)]


@pytest.mark.parametrize("banks", ["256M@0x80000000", "256M@0x40000000,256M@0x80000000"])
def test_a_machine_that_qemu_has_not_gets_no_command(cli: Cli, tmp_path: Path, banks: str) -> None:
    out = tmp_path / "out.elf"
    result = cli("export", "--type", "bootable", "-o", out, "--memory-map", banks)
    assert result.code == 0
    assert "qemu-system" not in result.out
    assert "QEMU's virt board" in result.out
    result = cli("export", "--type", "bootable", "-o", out, "--memory-map", banks, "--json")
    assert result.document["virt"] is False
    assert result.document["ram"] == banks.count("@") << 28


def test_export_through_a_symbolic_link_keeps_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    assert cli("export", "-o", tmp_path / "link").code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes()[:4] == b"\x7fELF"


def test_generate(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    result = cli("generate", "-o", out, "--json", "--page-size", "64k")
    assert (result.code, result.err) == (0, "")
    files = [Path(name) for name in result.document["files"]]
    assert sorted(files) == sorted(out.iterdir())
    assert {"Makefile", "kernel.lds", "relocate_kernel.S"} <= {path.name for path in files}
    for path in files:
        text = path.read_text()
        assert text.endswith("\n")
        assert "{{" not in text
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", text)
    plain = cli("generate", "-o", out, "--page-size", "64k")
    assert plain.out.splitlines()[:-1] == [str(path) for path in files]
    assert f"make -C {out} CROSS_COMPILE=" in plain.out


def test_generate_with_templates_of_ones_own(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "hibernate.S.j2").write_text("// mine, {{ page_size }}\n")
    assert cli("generate", "-o", tmp_path / "out", "--templates", mine).code == 0
    assert (tmp_path / "out" / "hibernate.S").read_text() == "// mine, 4096\n"


def test_summary_does_not_let_a_guest_drive_the_terminal() -> None:
    outcome = Outcome(
        status=Status.FAIL,
        target=JudgedTarget.of(Target()),
        payload=(PayloadPart("a[bold]b\x1b[2J", PayloadKind.KERNEL, 0, 1, 4096),),
        relocation=RelocationRun(4096, 1, 1, True, 1, 2, 0.0),
        handoff=Handoff(0, 2, 0, 0, 0, 0, False, 0, 15),
        verified_bytes=4096,
        findings=(Finding("a.b", "message \x1b]0;title\x07", notes=("[/] \x9b31m",)),) * 2,
        console="hello\x1b[31m\r\nworld\x00[red]",
        ended="off\udc80",
    )
    text = summary(Target().name, outcome)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text)
    for part in ("a[bold]b", "world", "[red]", "message", "[/] ", "off", "FAIL  2 findings"):
        assert part in text
