"""``relokit show``, by the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import relokit
from relokit.runtime.evidence.evidence_file import evidence_chunks, parse_evidence
from relokit.runtime.record.trace_file import read_trace

Cli = Callable[..., Any]


def test_memory_of_the_demo_by_name(cli: Cli) -> None:
    shown = cli("show", "memory", "--el", "el1", "--series", "9")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0] == "series:9,page=4k,va=48,el=el1: memory before the first step"
    assert any(line.endswith("control code page") for line in lines)
    assert any(line.startswith("device tree") for line in lines)
    assert max(map(len, lines)) <= 80
    assert not any("changed" in line for line in lines)


def test_the_pieces_of_a_map_follow_each_other(cli: Cli) -> None:
    banks = "256M@0x40000000,256M@0x80000000"
    document = cli("show", "memory", "--memory-map", banks, "--json").document
    ends = {one["base"] + one["bytes"] for one in document["banks"]}
    at = document["banks"][0]["base"]
    for piece in document["pieces"]:
        assert piece["base"] == at or at in ends
        at = piece["base"] + piece["bytes"]
    assert at == max(ends)


def test_after_the_move_destinations_have_changed_and_the_list_has_not(cli: Cli) -> None:
    document = cli("show", "memory", "--at", "kernel", "--json").document
    changed = {one["kind"]: one["changed"] for one in document["pieces"] if "changed" in one}
    assert changed["destination"] is True
    assert (changed["list"], changed["control_page"], changed["sources"]) == (False, False, False)


def test_an_image_in_place_has_no_sources(cli: Cli) -> None:
    document = cli("show", "memory", "--path", "in-place", "--json").document
    assert {one["low"] for one in document["moves"]} == {None}
    jump = cli("show", "memory", "--path", "in-place", "--at", "jump")
    assert jump.code == 2
    assert "nothing is moved on this path" in jump.err


def test_a_moment_that_never_comes_is_an_error(cli: Cli, edited: Callable[..., Any]) -> None:
    templates = edited("relocate_kernel.S.j2", "\tldr\tx28, [x0", "\tudf\t#7\n\tldr\tx28, [x0")
    assert cli("show", "memory", "--templates", templates).code == 0
    shown = cli("show", "memory", "--templates", templates, "--at", "kernel")
    assert shown.code == 2
    assert "the machine never comes to where the new kernel is entered" in shown.err


@pytest.mark.parametrize("words", [("memory", "--timeout", "3"), ("colours",), ()])
def test_what_would_do_nothing_is_refused(words: tuple[str, ...], cli: Cli) -> None:
    assert cli("show", *words).code == 2


def test_a_time_line_ends_where_the_run_does(cli: Cli) -> None:
    run = cli("run", "--json", "--series", "11").document
    shown = cli("show", "timeline", "--json", "--series", "11").document
    stations = {one["station"]: one for one in shown["entries"] if "station" in one}
    moved = stations["kernel"]["at"] - stations["relocation code"]["at"]
    assert moved == run["relocation"]["instructions"]
    assert shown["instructions"] == stations["kernel"]["at"]
    then = stations["kernel"]["then"]
    assert (then["el"], then["mmu"]) == (run["handoff"]["el"], run["handoff"]["mmu"])
    jump = stations["relocation code"]["then"]
    assert (jump["el"], jump["mmu"]) == (run["relocation"]["el"], run["relocation"]["mmu"])
    text = cli("show", "timeline", "--series", "11").out
    # A line of its own, and not of a line's text: what breaks lines there is spelt out.
    assert "\n    TTBR0 0x" in text
    assert "\ufffd" not in text
    assert "HVC #0x0" in text


@pytest.mark.parametrize("path", ["in-place", "crash", "purgatory", "hibernate"])
def test_every_path_has_a_time_line(path: str, cli: Cli) -> None:
    shown = cli("show", "timeline", "--json", "--path", path).document
    assert shown["entries"][0]["station"] in ("machine_kexec", "the last steps")
    last = "resumed kernel" if path == "hibernate" else "kernel"
    assert shown["entries"][-1]["station"] == last


def test_a_stored_trace_has_the_same(cli: Cli, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    run = cli("run", "--el", "vhe", "--trace", trace, "--json").document
    live = cli("show", "timeline", "--el", "vhe").out
    assert cli("show", "timeline", "--record", trace).out == live
    code = cli("show", "code", "--record", trace, "--json").document
    carried_out = sum(line["times"] for piece in code["pieces"] for line in piece["lines"])
    entries = cli("show", "timeline", "--record", trace, "--json").document["instructions"]
    assert carried_out == entries
    memory = cli("show", "memory", "--record", trace, "--json").document
    assert memory["pieces"] == cli("show", "memory", "--el", "vhe", "--json").document["pieces"]
    assert sum(one["right"] for one in memory["moves"]) == run["relocation"]["pages"]
    upper = "0xffff800008000040"
    tables = cli("show", "tables", upper, "--record", trace, "--json").document
    machine = cli("show", "tables", upper, "--el", "vhe", "--json").document
    assert machine["walks"][0]["pa"] in [one["pa"] for one in tables["walks"]]
    steps = cli("show", "trace", "--record", trace, "--from", "10", "--to", "90").out
    assert "msr" in steps


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("list", "--record", "TRACE"), "a trace has no guest memory"),
        (("vectors", "--record", "TRACE"), "a trace has no guest memory"),
        (("tables", "main", "--record", "TRACE"), "is no address"),
        (("memory", "--record", "TRACE", "--el", "el1"), "a trace is shown as it is"),
        (("memory", "--record", __file__), "relokit run --trace"),
        (("memory", "0x1000"), "has no use for it"),
        (("memory", "--from", "3"), "leave it out"),
        (("trace", "--from", "30", "--to", "3"), "is before"),
        (("trace", "--at", "jump"), "of all of the way"),
        (("code", "99999999999999999999"), "not an address"),
        (("code", "a b"), "no address and no symbol"),
        (("timeline", "--path", "normal", "--timeout", "0"), "out of range"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(
    words: tuple[str, ...], why: str, cli: Cli, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    if "TRACE" in words:
        assert cli("run", "--trace", trace).code == 0
    result = cli("show", *(str(trace) if word == "TRACE" else word for word in words))
    assert (result.code, result.out) == (2, "")
    assert why in result.err


@pytest.mark.parametrize("what", ["memory", "tables", "code", "timeline", "trace"])
def test_facts_that_contradict_each_other_end_nothing(what: str, cli: Cli, tmp_path: Path) -> None:
    """Each by itself is of its type: regions that overlap, banks of no bytes, tables of nobody."""
    trace = relokit.run(trace=tmp_path / "trace")
    assert trace.passed
    stored = read_trace(tmp_path / "trace")
    evidence, _ = parse_evidence(stored, where="")
    record = evidence.record
    region = record.regions[0]
    odd = replace(
        record,
        regions=(replace(region, size=-4096), *record.regions, replace(region, base=1 << 63)),
        banks=((0, 0), (1 << 63, 1 << 63)),
        legs=record.legs[:1],
        promises=(),
    )
    path = tmp_path / "odd"
    path.write_bytes(b"".join(evidence_chunks(replace(evidence, record=odd))))
    result = cli("show", what, "--record", path)
    assert result.code in (0, 2)
    assert "Traceback" not in result.err


@pytest.mark.parametrize("what", ["memory", "tables", "timeline"])
def test_a_picture_is_a_file_by_itself(what: str, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    shown = cli("show", what, "--svg", path)
    assert shown.out == cli("show", what).out
    root = ElementTree.parse(path).getroot()
    texts = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts
    if what == "memory":
        assert "control code page" in texts
        assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 2
    again = tmp_path / "b.svg"
    cli("show", what, "--svg", again)
    assert again.read_bytes() == path.read_bytes()
    assert "http" not in path.read_text().replace("http://www.w3.org/2000/svg", "")


def test_what_is_no_picture_is_refused(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    for words in (("code", "--svg", path), ("tables", "machine_kexec", "--svg", path)):
        assert cli("show", *words).code == 2
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("memory",), "hibernate exit code"),
        (("list", "--to", "2"), "and 20 more: --from 3"),
        (("tables", "finalise_el2", "--at", "kernel"), "resumed swapper"),
        (("code",), "swsusp_arch_suspend_exit:"),
        (("vectors", "--at", "jump"), "VBAR_EL2"),
        (("trace", "--to", "2"), "swsusp_arch_resume:"),
    ],
)
def test_the_resume_side_of_hibernation_is_shown(
    cli: Cli, words: tuple[str, ...], line: str
) -> None:
    """It was refused as no machine about to kexec."""
    arguments = ("--path", "hibernate", "--size", "64K")
    shown = cli("show", *words, *arguments)
    assert (shown.code, shown.err) == (0, "")
    assert line in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80 or words[0] in ("code", "vectors", "tables")
    document = cli("show", *words, *arguments, "--json").document
    assert document["schema"] == f"relokit.show.{words[0]}/1"
    if words[0] == "list":
        assert (document["kimage"], document["fields"]) == (None, {})
        assert {one["kind"] for one in document["rows"]} == {"page"}


def test_memory_of_a_resume_is_drawn(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "map.svg"
    assert cli("show", "memory", "--path", "hibernate", "--size", "64K", "--svg", file).code == 0
    told = " ".join(ElementTree.parse(file).getroot().itertext())
    assert "destination: resumed pages" in told
    assert "16 pages of resumed pages" in told
