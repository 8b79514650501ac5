"""``--code-from`` with shipped kernels: accepted where the target fits, refused where not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relokit.cli.main import main
from relokit.codegen.target import Regime, Target
from relokit.runtime.kexec.job import Job, Shape
from relokit.runtime.record.known import known
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu, prepare_machine
from relokit.runtime.run.verdict import run
from support.machines import programs, quiet

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


@pytest.mark.parametrize("path", ["normal", "crash"])
def test_its_own_soft_restart_is_what_turns_the_mmu_off(
    path: str, kernel_5_10: Path, kernel_6_1: Path
) -> None:
    for file, series in ((kernel_5_10, 0), (kernel_6_1, 15)):
        target, job = Target(series=series), Job(size=64 << 10, path=path, code_from=file)
        machine = prepare_machine(target, programs(target), job, quiet)
        try:
            record = execute(machine, open_cpu(machine), job, quiet)
        finally:
            machine.close()
        assert record.complete
        code = known(record.code)
        image = machine.routines.image
        names = {
            symbol[0]
            for at in code.words
            if (found := machine.locate(at)) and found[0] is image
            if (symbol := image.symbol_at(found[1]))
        }
        assert ("__cpu_soft_restart" in names) == (series == 0)
        assert ("cpu_soft_restart" in names) == (series == 15 and path == "crash")


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("shape", [Shape.OWN_PLACE, Shape.GAPS, Shape.OLD_KERNEL])
def test_shipped_code_has_no_error_in_any_shape(
    shape: Shape, regime: Regime, kernel_5_10: Path, kernel_6_1: Path
) -> None:
    for file, series in ((kernel_5_10, 0), (kernel_6_1, 15)):
        target = Target(series=series, regime=regime)
        job = Job(size=64 << 10, shape=shape, code_from=file)
        assert run(target, programs(target), job, quiet).passed
