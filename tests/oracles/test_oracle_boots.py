"""Shipped kernels on the board: the committed table, and a boot that has to be the same here."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

from relokit.codegen.target import Regime
from support.boots import COMMITTED, KERNELS, REGIMES, plain_initrd, row


def committed() -> list[dict[str, object]]:
    """Its rows."""
    rows: list[dict[str, object]] = json.loads(COMMITTED.read_text())["boots"]
    return rows


def test_every_kernel_came_up_in_every_regime() -> None:
    rows = committed()
    assert len(rows) == len(list(product(KERNELS, REGIMES)))
    assert len({(each["kernel"], each["el"]) for each in rows}) == len(rows)
    for each in rows:
        assert each["user_space"] is True, each
        assert each["ended"] == "powered off: PSCI SYSTEM_OFF", each


def test_a_boot_is_the_same_everywhere(kernel_5_10: Path, tmp_path: Path) -> None:
    """That of 5.10 needs every timer interrupt. By ``make docs/boots.json`` after a change."""
    found = row(kernel_5_10, Regime.VHE, plain_initrd(tmp_path))
    assert found["user_space"]
    known = [one for one in committed() if (one["kernel"], one["el"]) == (found["kernel"], "vhe")]
    assert known in ([found], []), "the board is another than when docs/boots.json was made"
