"""Bad code: a finding and exit code 1; without an answer in time, exit code 3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]

LOAD = "\tldr\tx28, [x0, #{{ kimage.start }}]\t\t// the new kernel's entry\n"
"""First instruction of the relocation when the series is complete."""


def test_endless_relocation_ends_by_the_instruction_limit(cli: Cli, edited: Edit) -> None:
    spin = ".Lspin:\n\tadd\tx9, x9, #1\n\tb\t.Lspin\n" + LOAD
    mine = edited("relocate_kernel.S.j2", LOAD, spin)
    result = cli("run", "--templates", mine, "--max-instructions", "100000")
    assert result.code == 1
    assert "no end after 100,000 instructions, the limit (--max-instructions 100000)" in result.out
    assert "relocate_kernel.S.j2:" in result.out
    assert result.out.splitlines()[-1].startswith("FAIL  1 finding")


def test_endless_relocation_ends_after_many_times_what_its_list_needs(
    cli: Cli, edited: Edit
) -> None:
    """A loop of 15 G instructions was waited for."""
    spin = "\tmov\tx9, #0x380000000\n.Lspin:\n\tsubs\tx9, x9, #1\n\tb.ne\t.Lspin\n" + LOAD
    mine = edited("relocate_kernel.S.j2", LOAD, spin)
    result = cli("run", "--templates", mine, "--size", "64K", "--plain", "--json")
    assert result.code == 1
    (finding,) = result.document["findings"]
    assert finding["rule"] == "run.limit"
    assert "such a list takes some 16,321" in finding["message"]
    assert "does not come to an end" in finding["cause"]
    assert result.document["relocation"]["instructions"] < 1 << 23


@pytest.mark.parametrize("given", [1000, 100_000])
def test_a_limit_that_is_too_low_blames_itself(cli: Cli, given: int) -> None:
    result = cli("run", "--size", "1M", "--max-instructions", str(given), "--json")
    assert result.code == 1
    (finding,) = result.document["findings"]
    assert finding["rule"] == "run.limit"
    assert f"the limit (--max-instructions {given})" in finding["message"]
    assert finding["cause"] == "the limit is too low for this list"
    enough = finding["hint"].split()[-1]
    assert "list without" not in finding["cause"] + finding["hint"] + finding["consequence"]
    assert cli("run", "--size", "1M", "--max-instructions", enough, "--plain").code == 0


def test_the_hosts_time_gives_no_answer(cli: Cli, edited: Edit) -> None:
    """Neither PASS nor FAIL: what a slower host would have said is no verdict."""
    spin = ".Lspin:\n\tadd\tx9, x9, #1\n\tb\t.Lspin\n" + LOAD
    mine = edited("relocate_kernel.S.j2", LOAD, spin)
    arguments = ("run", "--templates", mine, "--timeout", "0.3", "--max-instructions", str(1 << 60))
    text = cli(*arguments)
    assert text.code == 3
    assert text.out.splitlines()[-1].startswith("NO ANSWER  timeout; 1 note; ")
    result = cli(*arguments, "--strict", "--json")
    assert (result.code, result.document["status"]) == (3, "no answer")
    assert result.document["unanswered"] == "timeout"
    (finding,) = result.document["findings"]
    assert (finding["rule"], finding["severity"]) == ("run.timeout", "note")
    assert "--timeout 0.3" in finding["message"]
    assert 0.3 <= result.document["relocation"]["seconds"] < 5
    assert result.document["handoff"] is None


def test_faulting_relocation_is_diagnosed(cli: Cli, edited: Edit) -> None:
    mine = edited("relocate_kernel.S.j2", LOAD, "\tmov\tx9, #64\n\tldr\tx9, [x9]\n" + LOAD)
    document = cli("run", "--templates", mine, "--json").document
    assert document["status"] == "fail"
    (finding,) = document["findings"]
    assert finding["rule"] == "exception.data-abort"
    assert "0x40" in finding["message"]
    assert "translation fault" in finding["message"]
    assert "relocate_kernel.S.j2" in finding["place"]
    assert finding["registers"]["x9"] == 64


def test_clobbered_register_is_found(cli: Cli, edited: Edit) -> None:
    mine = edited("relocate_kernel.S.j2", "\tmov\tx1, xzr\n", "\tmov\tx1, #1\n")
    result = cli("run", "--el", "el1", "--templates", mine)
    assert result.code == 1
    assert "handoff.x1" in result.out
    assert "x1 = 0x1" in result.out


def test_wrong_bytes_are_found(cli: Cli, edited: Edit) -> None:
    # Every page is copied from 8 bytes after its start.
    mine = edited("relocate_kernel.S.j2", "{{ copy_page(", "\tadd\tx12, x12, #8\n{{ copy_page(")
    result = cli("run", "--templates", mine, "--json")
    assert result.code == 1
    rules = [finding["rule"] for finding in result.document["findings"]]
    assert "memory.segment" in rules
