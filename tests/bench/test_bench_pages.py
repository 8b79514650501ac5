"""What is made of measurements: bounds, ratios, the page, the history, and what got slower."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import compare
import history
import page
import pytest
import stages
import suite
from arguments import MOST_ROUNDS
from compare import compared
from measurement import Bound, Row, Table
from stages import Installation
from two_trees import Quantity, change, side_by_side
from usage import BenchError

COMMIT = {"commit": "a" * 40, "date": "2026-01-02", "changed": False}


def row(ours: list[float], other: list[float], *bounds: Bound) -> Row:
    return Row("r", "s", bounds, {"ours": ours, "QEMU": other})


def document(*tables: Table, of: dict[str, Any] | None = None) -> dict[str, Any]:
    """As the suite prints it."""
    host = {"machine": "x86_64", "cores": 2, "python": "3.11"}
    own = {"of": of or COMMIT, "host": host, "rounds": 3}
    return json.loads(json.dumps(own | {"tables": [table.to_json() for table in tables]}))


def test_bounds_are_kept_or_missed_at_the_median() -> None:
    bounds = (Bound("ours", 2.0, "QEMU"), Bound("ours", 2.0), Bound("ours", 0.5, "nobody"))
    kept, missed = row([3.0, 1.0, 9.0], [2.0], *bounds).verdicts()
    assert (kept.number, kept.kept, missed.number, missed.kept) == (1.5, True, 3.0, False)
    assert str(kept) == "ours 1.5 of QEMU, at most 2: kept"
    assert str(missed) == "ours 3, at most 2: MISSED"
    [least] = row([3.0], [2.0], Bound("ours", 2.0, "QEMU", more=True)).verdicts()
    assert str(least) == "ours 1.5 of QEMU, at least 2: MISSED"


def test_ratios_are_of_the_first_column_and_of_bounds() -> None:
    one = Row("r", "s", (Bound("b", 1.0, "c"),), {"a": [2.0], "b": [1.0], "c": [4.0]})
    assert one.ratios() == {"a / b": 2.0, "a / c": 0.5, "b / c": 0.25}
    assert Row("r", "s", (Bound("a", 1.0),), {"a": [2.0]}).ratios() == {}


def test_the_page_takes_tables_and_keeps_the_rest() -> None:
    text = "x\n<!-- bench: One -->\nold\n<!-- end -->\ny\n<!-- bench: Two -->\nkept\n<!-- end -->\n"
    one = Table("One", [row([1.0], [2000.0], Bound("ours", 2.0, "QEMU"))], "at hand")
    made = page.filled(text, page.merged({"tables": []}, document(one)))
    assert "| One (at hand) | ours | QEMU | bounds |\n| --- | ---: | ---: | --- |\n" in made
    assert "| r, s | 1 | 2,000 | ours 0.0005 of QEMU, at most 2: kept |\n" in made
    assert "Of aaaaaaaaaa of 2026-01-02: medians of 3 rounds, x86_64 with 2 cores" in made
    assert made.startswith("x\n<!-- bench: One -->\n| One")
    assert made.endswith("\n<!-- end -->\ny\n<!-- bench: Two -->\nkept\n<!-- end -->\n")
    with pytest.raises(ValueError, match="no place for the table 'Three'"):
        page.filled(text, page.merged({"tables": []}, document(Table("Three", []))))


def test_a_part_takes_the_place_of_its_tables_alone() -> None:
    whole = page.merged({"tables": []}, document(Table("A", []), Table("B", []), Table("C", [])))
    again = document(Table("B", [row([1.0], [1.0])]), of=COMMIT | {"changed": True})
    found = page.merged(whole, again)["tables"]
    assert [one["name"] for one in found] == ["A", "B", "C"]
    assert [one["of"]["changed"] for one in found] == [False, True, False]


def test_the_committed_page_is_what_its_json_gives() -> None:
    kept = json.loads(page.KEPT.read_text())
    text = page.PAGE.read_text()
    assert page.kept(kept) == page.KEPT.read_text()
    assert page.filled(text, kept) == text
    places = {found[2] for found in page.PLACE.finditer(text)}
    assert {one["name"] for one in kept["tables"]} <= places


def test_a_terminal_has_it_in_columns() -> None:
    one = Table("One", [row([1.0], [2.0], Bound("ours", 2.0)), Row("o", "s", (), {"ours": [3.0]})])
    head, first, *_ = page.plain(document(one)).splitlines()
    assert head.index("bounds") == first.index("ours 1, at most 2")


def test_the_history_has_ratios_of_commits() -> None:
    one, other = Table("T", [row([1.0], [4.0])]), Table("U", [row([1.0], [2.0])])
    first = history.entered([], document(one))
    assert first == [
        {"commit": "a" * 40, "date": "2026-01-02", "ratios": {"T: r: ours / QEMU": 0.25}}
    ]
    # A part of the same commit joins it, an older commit goes before it.
    both = history.entered(first, document(other))
    assert both[0]["ratios"] == {"T: r: ours / QEMU": 0.25, "U: r: ours / QEMU": 0.5}
    older = {"commit": "b" * 40, "date": "2025-01-02", "changed": False}
    assert [one["commit"][0] for one in history.entered(both, document(one, of=older))] == [
        "b",
        "a",
    ]


@pytest.mark.parametrize("of", [COMMIT | {"changed": True}, COMMIT | {"commit": None}])
def test_what_is_no_commit_has_no_history(of: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="commit the changes, and measure again"):
        history.entered([], document(of=of))


@pytest.mark.parametrize("text", ["", "{}", "[1]", "7", '{"tables": 1, "of": 2}', '"x"'])
@pytest.mark.parametrize("command", [history.main, page.main])
def test_another_file_is_refused(
    command: Any, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = page.PAGE.read_text(), history.HISTORY.exists()
    path = tmp_path / "x.json"
    path.write_text(text)
    assert command([str(path)]) == 2
    assert command([]) == 2
    assert command([str(tmp_path / "none")]) == 2
    assert "it takes one file, of bench/suite.py --json" in capsys.readouterr().err
    assert (page.PAGE.read_text(), history.HISTORY.exists()) == before


def test_the_committed_history_is_ascending_and_of_known_ratios() -> None:
    entries = json.loads(history.HISTORY.read_text())
    assert history.shown(entries) == history.HISTORY.read_text()
    assert entries == sorted(entries, key=lambda one: one["date"])
    assert len({one["commit"] for one in entries}) == len(entries)
    assert all(ratio > 0 for one in entries for ratio in one["ratios"].values())


@pytest.mark.parametrize(
    ("ours", "other", "more", "times"),
    [
        ([2.0, 2.0, 2.0], [1.0, 1.0, 1.0], False, 2.0),
        ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], False, 0.5),
        # A rate: half of it is twice as slow.
        ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], True, 2.0),
        # Within a twentieth.
        ([1.04, 1.04, 1.04], [1.0, 1.0, 1.0], False, 1.0),
        # The rounds contradict each other.
        ([2.0, 0.5, 2.0], [1.0, 1.0, 1.0], False, 1.0),
        # One of five may.
        ([2.0, 2.0, 0.5, 2.0, 2.0], [1.0] * 5, False, 2.0),
    ],
)
def test_a_change_is_beyond_noise(
    ours: list[float], other: list[float], more: bool, times: float
) -> None:
    assert change(row(ours, other), more=more) == times


OURS, BASE = (Installation(name, Path(), Path()) for name in ("this tree", "base"))


def case(slower: list[float], *, lacking: bool = False) -> Quantity:
    """This tree takes ``slower``, one after the other; the other one always 1."""
    values = iter(slower)

    def value(stage: Installation) -> float:
        if stage is BASE and lacking:
            raise BenchError("no such option")
        return next(values) if stage is OURS else 1.0

    return Quantity("c", "s", value)


def test_what_is_slower_is_so_twice() -> None:
    assert [one.slower for one in compared((OURS, BASE), [case([2.0] * 6)], 3)] == [True]
    busy = case([2.0] * 3 + [1.0] * 3)
    assert [one.times for one in compared((OURS, BASE), [busy], 3)] == [1.0]
    faster = compared((OURS, BASE), [case([0.5] * 3)], 3)
    assert [(one.slower, one.line()) for one in faster] == [
        (False, "c, s: this tree 0.5, base 1  better")
    ]


def test_what_the_other_does_not_have_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert side_by_side((OURS, BASE), [case([1.0], lacking=True)], 3) == []
    assert "c: base does not have that: no such option" in capsys.readouterr().err

    def broken(stage: Installation) -> float:
        raise BenchError("this tree does not work")

    with pytest.raises(BenchError, match="does not work"):
        side_by_side((OURS, BASE), [Quantity("c", "s", broken)], 3)


@pytest.mark.parametrize(
    ("slower", "code"), [([2.0] * 6, 1), ([1.0] * 3, 0)], ids=["slower", "as before"]
)
def test_the_exit_code_of_a_comparison(
    slower: list[float],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(compare, "installed", lambda *_: (BASE, OURS))
    monkeypatch.setattr(compare, "_chosen", lambda *_: [case(slower)])
    assert compare.main(["HEAD~1", "--rounds", "3"]) == code
    assert ("slower than HEAD~1, 1 of 1" in capsys.readouterr().err) == bool(code)


def test_a_commit_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["no-such-commit", "--rounds", "3"]) == 2
    assert "'no-such-commit' is no commit of this repository" in capsys.readouterr().err
    with pytest.raises(BenchError, match="is no commit"):
        stages.full_name("--all")


@pytest.mark.parametrize("number", ["2", "0", str(MOST_ROUNDS + 1), "x"])
def test_too_few_rounds_tell_no_noise(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        compare.main(["HEAD", "--rounds", number])
    assert ended.value.code == 2
    assert "needed to tell noise" in (err := capsys.readouterr().err) or "is no number" in err


def test_what_a_case_is_called_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare, "installed", lambda *_: (BASE, OURS))
    monkeypatch.setattr(compare, "kernels", lambda *_: [tmp_path / "vmlinuz"])
    monkeypatch.setattr(compare, "cases", lambda *_: [Quantity("A name", "s", len)])  # type: ignore[arg-type]
    monkeypatch.setattr(compare, "later_cases", lambda *_: [])
    monkeypatch.setattr(compare, "build_initrd", lambda *_: tmp_path)
    assert compare.main(["HEAD", "--only", "other"]) == 2
    assert "nothing has 'other' in its name; there are\n  A name\n" in capsys.readouterr().err


def test_a_commit_is_told_as_it_is() -> None:
    of = stages.described()
    known = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert of["commit"] == known.stdout.strip()
    assert set(of) == {"commit", "date", "changed"}


def test_every_part_is_of_the_suite_and_has_its_place() -> None:
    text = page.PAGE.read_text()
    assert all(f"`{part}`" in text for part in suite.PARTS)
