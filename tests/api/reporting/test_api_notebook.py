"""Nouns as HTML in a notebook: whole, bounded, and nothing of others in it as markup."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import relokit
from relokit.codegen.base.nouns import drawn
from relokit.reporting import notebook
from relokit.runtime.show.shown.memory_shown import Moved, RamPiece

ROOT = Path(relokit.__file__).resolve().parents[1]
HOSTILE = "<script>alert('x')</script>&\"\x1b[2J\u202e\ud800"
MOST = 1 << 18


@pytest.fixture(scope="module")
def nouns() -> dict[str, Any]:
    """One of each, of one machine."""
    guest = relokit.machine(relokit.Target(regime="vhe"))  # type: ignore[arg-type]
    found = {
        "outcome": guest.run(), "memory": guest.memory(), "tables": guest.tables(),
        "walk": guest.walk("machine_kexec"), "list": guest.page_list(), "code": guest.code(),
        "steps": guest.steps(last=3), "vectors": guest.vectors(), "timeline": guest.timeline(),
    }  # fmt: skip
    wrong = relokit.Finding("caches.discard", "a line is lost", 0x40092058, place="a.S:1")
    found["finding"] = wrong
    found["failed"] = replace(
        found["outcome"], status=relokit.Status.FAIL, findings=(wrong,) * 3, console="hello"
    )
    found["kexec"] = relokit.LiveOutcome(
        relokit.Status.FAIL, "a", "b", relokit.Regime.NVHE, "cortex-a72", (), False, 5, (), "said",
        handover=found["failed"],
    )  # fmt: skip
    return found


def parsed(noun: Any) -> ElementTree.Element:
    """What a notebook is given of it, which is one element, within its bounds and of itself."""
    text = noun._repr_html_()
    assert len(text) < MOST
    loads = r"<(script|iframe|object|link|img|form)|https?://(?!www\.w3\.org)|url\("
    assert not re.search(loads, text)
    return ElementTree.fromstring(text)


def test_each_is_drawn(nouns: dict[str, Any]) -> None:
    told = {name: "".join(parsed(noun).itertext()) for name, noun in nouns.items()}
    assert "PASS" in told["outcome"]
    assert "control code page" in told["memory"]
    assert "66" in told["memory"]
    assert "TTBR1_EL2" in told["tables"]
    assert "0xffff800008000040 by TTBR1_EL2" in told["walk"]
    assert "struct kimage at 0x4004ec00" in told["list"]
    assert "arm64_relocate_new_kernel:" in told["code"]
    assert "msr daifset, #15" in told["steps"]
    assert "VBAR_EL2" in told["vectors"]
    assert "relocation code" in told["timeline"]
    assert "0x40092058" not in told["outcome"]
    assert "a line is lost" in told["finding"]
    assert told["failed"].count("a line is lost") == 3
    assert "FAIL" in told["kexec"]
    assert "a line is lost" in told["kexec"]
    assert set(notebook._CONTENT) == {type(one) for one in nouns.values()}


def test_rules_apply_to_what_is_ours_alone(nouns: dict[str, Any]) -> None:
    """A notebook has a page of its own around it, in light or in dark."""
    style = parsed(nouns["memory"]).findtext("style") or ""
    selectors = [
        one.strip() for rule in re.findall(r"([^{}]+)\{", style) for one in rule.split(",")
    ]
    assert selectors
    assert all(one.startswith(".relokit") for one in selectors)
    # Tints only: what is behind shows through, and text is that of the page.
    assert re.findall(r"#[0-9a-f]{3,8}\b|\bwhite\b|\bblack\b", style) == []
    for colour in re.findall(r"rgba\([^)]*\)", style):
        assert float(colour.rstrip(")").split(",")[3]) < 1


@pytest.mark.parametrize("name", ["memory", "tables", "failed", "code", "steps", "list", "kexec"])
def test_names_of_others_are_text(nouns: dict[str, Any], name: str) -> None:
    told = parsed(hostile(nouns[name]))
    assert "<script>alert('x')</script>&" in "".join(told.itertext())
    assert not any(one.tag.endswith("script") for one in told.iter())


def hostile(noun: Any) -> Any:
    """``noun`` with a text in it that would be markup."""
    if isinstance(noun, relokit.MemoryShown):
        return replace(noun, of=HOSTILE, pieces=(RamPiece(0, 1, HOSTILE, HOSTILE),), moves=())
    if isinstance(noun, relokit.Outcome):
        bad = relokit.Finding(HOSTILE, HOSTILE, place=HOSTILE, listing=(HOSTILE,), hint=HOSTILE)
        return replace(noun, findings=(bad,), profile=HOSTILE)
    if isinstance(noun, relokit.LiveOutcome):
        return replace(noun, kernel=HOSTILE, console=HOSTILE)
    return replace(noun, of=HOSTILE)


def test_however_much_there_is_it_stays_small(nouns: dict[str, Any]) -> None:
    pieces = tuple(RamPiece(n << 12, 4096, f"{n}" * 500, f"{n}") for n in range(5000))
    moves = tuple(Moved("x" * 9999, n << 12, 4096, 1) for n in range(5000))
    told = parsed(replace(nouns["memory"], pieces=pieces, moves=moves))
    assert "more rows" in "".join(told.itertext())
    finding = replace(nouns["finding"], message="m" * 100_000, listing=("l" * 9999,) * 9999)
    told = parsed(replace(nouns["outcome"], findings=(finding,) * 500))
    assert "The rest is left out" in "".join(told.itertext())
    steps = nouns["steps"].steps * 9999
    assert parsed(replace(nouns["steps"], steps=steps))


def test_without_somebody_who_draws_it_is_told_as_text() -> None:
    """Nouns know nobody: the facade says who draws, and nothing of that is imported before."""
    code = (
        "import sys; from relokit.runtime.judge.outcome import Finding; "
        "one = Finding('a.b', 'c'); print(one._repr_html_()); import relokit; relokit.Finding; "
        "print('relokit.reporting.notebook' in sys.modules, one._repr_html_()[:21])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["None", 'False <div class="relokit">']
    assert drawn.__doc__
