"""``relokit run``: what is recorded, what a plain run leaves out, and the effects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.base.version import VERSION
from relokit.runtime.judge.book import TRACE_SUBJECTS
from relokit.runtime.record.trace import TraceKind
from relokit.runtime.record.trace_file import read_trace
from support.run_document import OUTCOME, check_shape

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]

LOAD = "\tldr\tx28, [x0, #{{ kimage.start }}]\t\t// the new kernel's entry\n"

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
