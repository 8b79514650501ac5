"""Memory at the peak, against what comes in: the page has all kinds, some are tried here."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.peaks import BOUND, KINDS, MIB, Kind, measured, rows

TRIED = ("EFI zboot", "two Images", "two vmlinux", "judge", "snapshot", "results")


@pytest.mark.parametrize(
    "kind",
    [one for one in KINDS if any(name in one.name for name in TRIED)],
    ids=lambda one: one.name,
)
def test_a_command_needs_eight_times_its_input_at_most(kind: Kind, tmp_path: Path) -> None:
    found = measured(kind, 12 * MIB, tmp_path)
    assert found.size > 5 * MIB
    assert found.factor <= BOUND, f"{found.factor:.2f}"


def test_assembly_needs_as_little_where_it_is_in_routines(tmp_path: Path) -> None:
    (kind,) = (one for one in KINDS if one.name == "`diff` of two assembly files")
    found = measured(kind, MIB, tmp_path)
    assert found.size > MIB // 2
    assert found.factor <= BOUND, f"{found.factor:.2f}"


def test_the_page_has_every_kind_within_its_bound() -> None:
    assert rows().keys() == {kind.name for kind in KINDS}
    for kind in KINDS:
        assert rows()[kind.name] <= kind.bound
        assert kind.bound == BOUND or "of one routine each" in kind.name
