"""``relokit run``: the document, the screen, and what the options change."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.base.version import VERSION
from relokit.runtime.board.devicetree import virt_dtb, with_chosen
from relokit.runtime.board.fdt import parse
from relokit.runtime.judge.book import TRACE_SUBJECTS
from relokit.runtime.record.trace import TraceKind
from relokit.runtime.record.trace_file import read_trace

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]

LOAD = "\tldr\tx28, [x0, #{{ kimage.start }}]\t\t// the new kernel's entry\n"

# The shape of the document: a type, a tuple of types, a mapping of keys, or [shape] for a list.
Shape = Any
FINDING: Shape = {
    "rule": str,
    "message": str,
    "address?": int,
    "place?": str,
    "listing?": [str],
    "registers?": dict,
    "notes?": [str],
    "cause?": str,
    "consequence?": str,
    "hint?": str,
    "source?": str,
    "severity": str,
    "group?": int,
    "spared?": str,
}
HANDOFF: Shape = {
    "pc": int,
    "el": int,
    "x0": int,
    "x1": int,
    "x2": int,
    "x3": int,
    "mmu": bool,
    "sctlr": int,
    "daif": int,
}
OUTCOME: Shape = {
    "schema": str,
    "status": str,
    "target": {
        "series": int,
        "page_size": int,
        "va_bits": int,
        "pa_bits": int,
        "cpu_bits": int,
        "regime": str,
        "cache_line": int,
        "layout": str,
    },
    "payload": [{"name": str, "kind": str, "at": int, "bytes": int, "memory": int}],
    "relocation": {
        "bytes": int,
        "pages": int,
        "el": int,
        "mmu": bool,
        "sctlr": int,
        "instructions": int,
        "seconds": float,
    },
    "handoff": HANDOFF,
    "verified_bytes": int,
    "findings": [FINDING],
    "rules": {"applied": [str], "not_applicable": dict, "not_judged": dict},
    "timings": {"build": float, "compare": float},
    "maintenance": [
        {
            "when": str,
            "what": str,
            "operation": str,
            "bytes": int,
            "lines": int,
            "instructions": int,
        }
    ],
    "operations?": dict,
    "console?": (str, type(None)),
    "ended?": (str, type(None)),
    "profile": str,
    "effects?": dict.fromkeys(("line", "discarded", "overwritten", "stale", "absent"), int),
    "trace?": {"bytes": int, "records": int, "digest": str, "of": str, "version": str},
}


def check_shape(value: Any, shape: Shape, at: str = "") -> None:
    """Fail where ``value`` has another type, a key too few or a key too many."""
    if isinstance(shape, Mapping):
        assert isinstance(value, dict), at
        known = {key.rstrip("?"): part for key, part in shape.items()}
        assert value.keys() <= known.keys(), at
        assert {key for key in shape if not key.endswith("?")} <= value.keys(), at
        for key, part in value.items():
            check_shape(part, known[key], f"{at}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), at
        for number, part in enumerate(value):
            check_shape(part, shape[0], f"{at}[{number}]")
    else:
        assert isinstance(value, shape), at
        assert not (shape is int and isinstance(value, bool)), at


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


def test_terminal_without_colour_and_lines_left_to_the_terminal_to_wrap() -> None:
    shown = on_terminal("run", "--size", "1M", NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*3\dm", shown)
    summary = shown[shown.index("relokit ") :]
    assert any(len(line) > 60 for line in summary.splitlines())


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


# --trace ----------------------------------------------------------------------------------------


def test_a_run_is_recorded_into_a_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    result = cli("run", "--json", "--size", "256k", "--trace", path)
    assert (result.code, result.err) == (0, "")
    check_shape(result.document, OUTCOME)
    found = read_trace(path)
    trace = found.trace
    assert result.document["trace"] == {
        "bytes": path.stat().st_size,
        "records": len(trace.records),
        "digest": found.digest.hex(),
        "of": "series:15,page=4k,va=48,el=nvhe",
        "version": VERSION,
    }
    # From machine_kexec, which the move is a part of, to the new kernel's first instruction.
    assert trace.instructions > result.document["relocation"]["instructions"]
    handoff = result.document["handoff"]
    for segment in result.document["payload"]:
        inside = (trace.of(TraceKind.STORE)["pa"] >= segment["at"]) & (
            trace.of(TraceKind.STORE)["pa"] < segment["at"] + segment["bytes"]
        )
        assert int(trace.of(TraceKind.STORE)["length"][inside].sum()) >= segment["bytes"]
    assert not (trace.of(TraceKind.FETCH)["pa"] == handoff["pc"]).any()


@pytest.mark.parametrize("path", ["normal", "crash", "purgatory", "hibernate"])
def test_the_same_run_gives_the_same_trace(cli: Cli, tmp_path: Path, path: str) -> None:
    for name in ("first", "second"):
        assert cli("run", "--path", path, "--trace", tmp_path / name).code == 0
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert len(read_trace(tmp_path / "first").trace.of(TraceKind.ISB)) > 0


def test_a_run_is_the_same_with_a_trace_and_without(cli: Cli, tmp_path: Path) -> None:
    plain, traced = (
        cli("run", "--json", *options).document for options in ((), ("--trace", tmp_path / "trace"))
    )
    del traced["trace"]
    for document in (plain, traced):
        del document["timings"], document["relocation"]["seconds"]
    assert plain == traced


def test_the_trace_of_a_run_that_fails_ends_where_it_does(
    cli: Cli, edited: Edit, tmp_path: Path
) -> None:
    templates = edited("relocate_kernel.S.j2", LOAD, "\tudf\t#7\n" + LOAD)
    result = cli("run", "--json", "--templates", templates, "--trace", tmp_path / "trace")
    assert result.code == 1
    last = read_trace(tmp_path / "trace").trace.records[-1]
    assert last["kind"] == TraceKind.EXCEPTION
    assert last["pc"] == result.document["findings"][0]["address"]


def test_the_screen_tells_of_the_trace(cli: Cli, tmp_path: Path) -> None:
    lines = cli("run", "--trace", tmp_path / "trace").out.splitlines()
    records = len(read_trace(tmp_path / "trace").trace.records)
    assert any(line.split()[:3] == ["trace", f"{records:,}", "records,"] for line in lines)


@pytest.mark.parametrize("place", ["missing/trace", "."])
def test_a_trace_that_cannot_be_written_is_refused(cli: Cli, tmp_path: Path, place: str) -> None:
    result = cli("run", "--trace", tmp_path / place)
    assert result.code == 2
    assert str(tmp_path / place) in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_made_leaves_the_old_trace(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("old")
    result = cli("run", "--kernel", tmp_path / "no-kernel", "--trace", path)
    assert result.code == 2
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# --plain ----------------------------------------------------------------------------------------

CLEANS = 'dcache_by_line("civac"'


def test_invalidated_and_not_cleaned_is_found_where_it_is(cli: Cli, edited: Edit) -> None:
    """The line of v15's change log, and of the README's first screen."""
    mine = edited("relocate_kernel.S.j2", CLEANS, 'dcache_by_line("ivac"')
    result = cli("run", "--templates", mine)
    assert result.code == 1
    assert "caches.discard  `dc ivac, x10` discards" in result.out
    assert "arm64_relocate_new_kernel+0x8c (macros/cache.j2:17)" in result.out
    assert "stored by `stnp x0, x1, [x13]`" in result.out
    assert result.out.endswith("FAIL  1 finding\n")


def test_a_plain_run_says_what_it_has_not_judged(cli: Cli, edited: Edit) -> None:
    mine = edited("relocate_kernel.S.j2", CLEANS, 'dcache_by_line("ivac"')
    result = cli("run", "--plain", "--templates", mine)
    assert result.code == 0
    subjects = ", ".join(TRACE_SUBJECTS)
    assert result.out.endswith(f"PASS  not judged: {subjects} (not recorded: a plain run)\n")
    not_judged = cli("run", "--plain", "--json").document["rules"]["not_judged"]
    assert not_judged == dict.fromkeys(TRACE_SUBJECTS, "not recorded: a plain run")


def test_a_cache_line_of_any_length(cli: Cli, edited: Edit) -> None:
    """The stride of 64 bytes is right with lines of 64, and wrong with shorter ones."""
    fixed = edited("relocate_kernel.S.j2", '"x15", "x9", ".Lclean"', '"x15", "x9", ".Lclean"')
    mine = fixed / "relocate_kernel.S.j2"
    text = mine.read_text()
    line = '{{ dcache_line_size("x15", "x9") }}'
    assert line in text
    mine.write_text(text.replace(line, "\tmov\tx15, #64"))
    for size, status in (("128", "pass"), ("64", "pass"), ("32", "fail"), ("16", "fail")):
        document = cli("run", "--json", "--cache-line", size, "--templates", fixed).document
        assert document["target"]["cache_line"] == int(size)
        assert document["status"] == status, size


def test_a_plain_run_has_no_trace(cli: Cli, tmp_path: Path) -> None:
    result = cli("run", "--plain", "--trace", tmp_path / "trace")
    assert result.code == 2
    assert "a plain run has no trace" in result.err
    assert not (tmp_path / "trace").exists()


def test_a_warning_is_shown_and_does_not_fail(cli: Cli) -> None:
    result = cli("run", "--path", "crash")
    assert result.code == 0
    assert "fetch.in-place (warning)  kernel was loaded where it is entered" in result.out
    assert result.out.endswith("PASS  1 warning\n")


# --effects --------------------------------------------------------------------------------------


def test_with_effects_a_plain_run_loses_what_is_not_cleaned(cli: Cli, edited: Edit) -> None:
    templates = edited("relocate_kernel.S.j2", CLEANS, 'dcache_by_line("ivac"')
    assert cli("run", "--plain", "--templates", templates).code == 0
    result = cli("run", "--plain", "--effects", "--json", "--templates", templates)
    assert result.code == 1
    document = result.document
    check_shape(document, OUTCOME)
    assert document["verified_bytes"] == 0
    assert document["effects"]["absent"] > 4000
    assert "memory.segment" in {one["rule"] for one in document["findings"]}


def test_with_effects_a_good_run_says_that_nothing_was_lost(cli: Cli) -> None:
    result = cli("run", "--effects")
    assert result.code == 0
    assert "  effects      no line was lost" in result.out.splitlines()
    assert any(line.startswith("  console") for line in result.out.splitlines())
