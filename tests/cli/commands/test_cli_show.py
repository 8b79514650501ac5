"""``relokit show``, by the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Cli = Callable[..., Any]


def test_memory_of_the_demo_by_name(cli: Cli) -> None:
    shown = cli("show", "memory", "--el", "el1", "--series", "9")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0] == "series:9,page=4k,va=48,el=el1: memory as machine_kexec is called"
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
