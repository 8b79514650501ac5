"""``--code-from`` with shipped kernels: accepted where the target fits, refused where not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relokit.cli.main import main

pytestmark = pytest.mark.oracle


def test_kernel_before_the_series_at_the_complete_state(
    kernel_5_10: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--json", "--code-from", str(kernel_5_10)]
    assert main(arguments) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["where"] == str(kernel_5_10)
    assert "from before the series" in error["message"]
    # The hint is a way out.
    assert error["hint"] == "add --series 0"
    assert main([*arguments, "--series", "0"]) == 0


def test_kernel_with_the_series_at_a_state_before_it(
    kernel_6_1: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--json", "--code-from", str(kernel_6_1)]
    assert main([*arguments, "--series", "before"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "has the whole series" in error["message"]
    assert error["hint"] == "leave --series out"
    assert main(arguments) == 0


def test_kernel_with_other_pages(kernel_6_1: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--code-from", str(kernel_6_1), "--page-size", "64k"]) == 2
    message = capsys.readouterr().err
    assert "built for 4k pages" in message
    assert "add --page-size 4k" in message
