"""``relokit run``: the document, the screen, and what the options change."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.runtime.board.chosen import with_chosen
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.board.fdt import parse
from support.run_document import OUTCOME, check_shape

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]

LOAD = "\tldr\tx28, [x0, #{{ kimage.start }}]\t\t// the new kernel's entry\n"


def test_document_of_a_run_that_passes(cli: Cli) -> None:
    result = cli("run", "--json", "--el", "nvhe")
    assert (result.code, result.err) == (0, "")
    document = result.document
    check_shape(document, OUTCOME)
    assert document["status"] == "pass"
    assert document["findings"] == []
    assert document["target"] == {
        "series": 15,
        "page_size": 4096,
        "va_bits": 48,
        "pa_bits": 48,
        "cpu_bits": 48,
        "regime": "nvhe",
        "cache_line": 64,
        "layout": "6.1",
    }
    relocation, handoff = document["relocation"], document["handoff"]
    assert (relocation["el"], relocation["mmu"], relocation["sctlr"] & 1) == (1, True, 1)
    assert relocation["bytes"] == relocation["pages"] * 4096
    assert document["verified_bytes"] == relocation["bytes"]
    assert (handoff["el"], handoff["mmu"], handoff["sctlr"] & 1) == (2, False, 0)
    kernel, tree = document["payload"]
    assert handoff["pc"] == kernel["at"]
    assert handoff["x0"] == tree["at"]
    assert "PASS" in document["console"]


def test_document_of_a_run_that_never_arrives(cli: Cli, edited: Edit) -> None:
    mine = edited("relocate_kernel.S.j2", LOAD, "\tudf\t#7\n" + LOAD)
    result = cli("run", "--json", "--templates", mine)
    assert (result.code, result.err) == (1, "")
    check_shape(result.document, {**OUTCOME, "handoff": type(None)})
    assert result.document["status"] == "fail"
    assert result.document["verified_bytes"] == 0
    assert len(result.document["findings"]) == 1


def test_document_of_a_run_that_arrives_wrong(cli: Cli, edited: Edit) -> None:
    mine = edited("relocate_kernel.S.j2", "\tmov\tx2, xzr\n", "\tmov\tx2, #9\n")
    result = cli("run", "--json", "--templates", mine, "--el", "el1")
    assert result.code == 1
    check_shape(result.document, OUTCOME)
    assert [finding["rule"] for finding in result.document["findings"]] == ["handoff.x2"]
    assert result.document["handoff"]["x2"] == 9


@pytest.mark.parametrize("page_size", ["4k", "16k", "64k"])
@pytest.mark.parametrize("regime", ["el1", "nvhe", "vhe"])
def test_every_regime_and_page_size(cli: Cli, page_size: str, regime: str) -> None:
    document = cli("run", "--json", "--el", regime, "--page-size", page_size).document
    assert document["status"] == "pass"
    assert document["handoff"]["el"] == (1 if regime == "el1" else 2)
    assert document["target"]["page_size"] == {"4k": 4096, "16k": 16384, "64k": 65536}[page_size]


def test_screen_of_a_run_that_passes(cli: Cli) -> None:
    result = cli("run")
    assert (result.code, result.err) == (0, "")
    assert "\x1b" not in result.out
    lines = result.out.splitlines()
    assert re.fullmatch(r"relokit \S+  series:15,page=4k,va=48,el=nvhe", lines[0])
    assert lines[-1] == "PASS"
    for pattern in (
        r"  payload +demo kernel, [\d,]+ bytes to 0x40000000",
        r"  relocation +67 pages at EL1, MMU on: [\d,]+ instructions in [\d.]+ s, [\d,]+ MiB/s",
        r"  hand-over +EL2 at 0x40000000, x0 = 0x\w+, MMU off, DAIF 0xf, SCTLR 0x\w+",
        r"  verified +274,432 bytes where they belong",
        r"  console +relokit demo kernel: PASS",
    ):
        assert any(re.fullmatch(pattern, line) for line in lines), pattern


def test_screen_of_a_run_that_fails(cli: Cli, edited: Edit) -> None:
    mine = edited("relocate_kernel.S.j2", LOAD, "\tudf\t#7\n" + LOAD)
    result = cli("run", "--templates", mine)
    assert result.code == 1
    assert "never: the new kernel was not reached" in result.out
    assert "MiB/s" not in result.out
    assert re.search(r"^    > 0x\w+: 00000007  .*relocate_kernel\.S\.j2:\d+$", result.out, re.M)
    assert re.search(r"^ +x0 [0-9a-f]{16} +x1 [0-9a-f]{16}", result.out, re.M)
    assert result.out.splitlines()[-1].startswith("FAIL  1 finding; not judged: ")


def on_terminal(*arguments: str, **environment: str) -> str:
    """What a terminal of 40 columns shows of ``relokit arguments``."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "relokit", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "40"} | environment,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 1 << 16):
                shown += data
        except OSError:  # EIO: nobody has the other end any more
            pass
        assert process.wait(60) == 0
    os.close(ours)
    return shown.decode()


def test_terminal_shows_progress_and_colour() -> None:
    shown = on_terminal("run", "--size", "32M")
    for stage in ("Scattering", "Comparing"):
        assert stage in shown
    # The bars are gone before the verdict, which is green.
    assert shown.rindex("\x1b[2K") < shown.index("relokit ")
    assert "\x1b[1;32mPASS\x1b[0m" in shown


def test_terminal_without_colour_and_lines_that_end_between_words() -> None:
    shown = on_terminal("run", "--size", "1M", NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*3\dm", shown)
    summary = shown[shown.index("relokit ") :]
    assert max(map(len, summary.splitlines())) <= 40
    # Every word is whole: together they are the line that a wider terminal shows.
    assert "hand-over EL2 at 0x40000000, x0 = 0xbfe00000, MMU off" in " ".join(summary.split())


def test_piped_output_has_no_progress(process: Cli) -> None:
    result = process("run", "--size", "32M")
    assert result.err == ""
    assert "\x1b" not in result.out
    assert result.out.splitlines()[-1] == "PASS"


def test_synthetic_payload(cli: Cli) -> None:
    document = cli("run", "--json", "--size", "3M", "--seed", "7").document
    assert document["status"] == "pass"
    assert document["payload"][0]["name"] == "synthetic payload (seed 7)"
    assert document["payload"][0]["bytes"] == 3 << 20
    # It is not run.
    assert "console" not in document


@pytest.mark.parametrize("order", ["shuffled", "in-order", "reversed"])
def test_orders(cli: Cli, order: str) -> None:
    assert cli("run", "--size", "1M", "--order", order).code == 0


def test_places_by_hand(cli: Cli, tmp_path: Path) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(os.urandom(70000))
    places = {"--kernel-at": 0x5000_0000, "--initrd-at": 0x4800_0000, "--dtb-at": 0x6000_0000}
    options = [part for name, at in places.items() for part in (name, hex(at))]
    document = cli("run", "--json", "--initrd", initrd, *options).document
    assert document["status"] == "pass"
    assert [part["at"] for part in document["payload"]] == list(places.values())
    assert document["handoff"]["pc"] == 0x5000_0000
    assert document["handoff"]["x0"] == 0x6000_0000


def console_of_demo(cli: Cli, *arguments: str | Path) -> Any:
    result = cli("run", "--json", *arguments)
    assert result.code == 0
    return result.document


def test_kernel_from_a_file_runs_on_only_if_asked(cli: Cli, tmp_path: Path) -> None:
    from relokit.building import build_programs
    from relokit.runtime.kexec.programs import demo_kernel

    kernel = tmp_path / "Image"
    kernel.write_bytes(demo_kernel(build_programs().demo))
    assert "console" not in console_of_demo(cli, "--kernel", kernel)
    document = console_of_demo(cli, "--kernel", kernel, "--boot", "20")
    assert "relokit demo kernel: PASS" in document["console"]
    assert "SYSTEM_OFF" in document["ended"]


def bootargs(blob: bytes) -> bytes | None:
    chosen = parse(blob).root.child("chosen")
    return chosen.properties.get("bootargs") if chosen else None


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        ("quiet", None, b"quiet\0"),
        ("quiet", "debug", b"debug\0"),
        ("quiet", "", None),
        (None, None, None),
        (None, "debug", b"debug\0"),
    ],
)
def test_command_line_of_a_tree_given(
    cli: Cli, tmp_path: Path, own: str | None, given: str | None, expected: bytes | None
) -> None:
    path = tmp_path / "board.dtb"
    path.write_bytes(with_chosen(virt_dtb(1 << 30, 1 << 28), cmdline=own))
    out = tmp_path / "out.elf"
    options = [] if given is None else ["--cmdline", given]
    assert cli("export", "--type", "bootable", "-o", out, "--dtb", path, *options).code == 0
    assert bootargs(tree_in(out.read_bytes())) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, b"earlycon console=ttyAMA0\0"), ("root=/dev/vda", b"root=/dev/vda\0"), ("", None)],
)
def test_command_line_of_the_tree_made_here(
    cli: Cli, tmp_path: Path, given: str | None, expected: bytes | None
) -> None:
    out = tmp_path / "out.elf"
    options = [] if given is None else ["--cmdline", given]
    assert cli("export", "--type", "bootable", "-o", out, *options).code == 0
    assert bootargs(tree_in(out.read_bytes())) == expected


def tree_in(elf: bytes) -> bytes:
    """The one device tree in a bootable ELF; it is a page at most, so scattering keeps it whole."""
    assert elf.count(b"\xd0\x0d\xfe\xed") == 1
    at = elf.index(b"\xd0\x0d\xfe\xed")
    (size,) = struct.unpack_from(">I", elf, at + 4)
    assert size <= 4096
    return elf[at : at + size]


@pytest.mark.parametrize("path", ["normal", "hibernate"])
def test_memory_that_is_left_out_is_told_by_run_and_judge(
    cli: Cli, tmp_path: Path, path: str
) -> None:
    banks = ("--va-bits", "39", "--memory-map", "1g@0x40000000,1g@0x8040000000")
    trace = tmp_path / "trace"
    result = cli("run", *banks, "--size", "4k", "--path", path, "--trace", trace)
    said = "1,024 MiB from PA 0x8040000000 on left out, as the kernel does"
    assert f"  memory       {said}" in result.out
    assert cli("judge", trace, "--json").document["left_out"].startswith(said)
    assert "left_out" not in cli("run", "--size", "4k", "--plain", "--json").document


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--expect", "demo kernel: PASS"], 0),
        (["--boot", "1", "--expect", "demo kernel: PASS"], 0),
        (["--boot", "1", "--expect", "demo kernel: FAIL"], 1),
    ],
)
def test_what_the_new_kernel_has_to_print(cli: Cli, options: list[str], code: int) -> None:
    """Also where the demo kernel runs on without being told to."""
    result = cli("run", *options)
    assert (result.code, result.err) == (code, "")
    assert ("boot.expect" in result.out) is (code == 1)
