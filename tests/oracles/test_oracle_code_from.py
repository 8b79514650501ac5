"""``--code-from`` with shipped kernels: accepted where the target fits, refused where not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relokit.cli.main import main
from relokit.codegen.target import Regime, Target
from relokit.linker.kernel.btf import MAGIC
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.runtime.judge.book import judge
from relokit.runtime.kexec.job import Job, Shape
from relokit.runtime.record.known import known
from relokit.runtime.record.trace import TraceKind
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu
from support.habits import HABITS, with_habit
from support.machines import prepared, quiet, run_linked

pytestmark = pytest.mark.oracle


def test_kernel_before_the_series_at_the_complete_state(
    kernel_5_10: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--json", "--code-from", str(kernel_5_10)]
    assert main(arguments) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["where"] == str(kernel_5_10)
    # Its relocation could be of more, but hibernation has EL2 vectors of its own.
    assert "is of states 0 to 1 of the series" in error["message"]
    # The hint is a way out.
    assert error["hint"] == "add --series 1, or what it is"
    assert main([*arguments, "--series", "1"]) == 0


def test_kernel_with_the_series_at_a_state_before_it(
    kernel_6_1: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--json", "--code-from", str(kernel_6_1)]
    assert main([*arguments, "--series", "before"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "is of states 12 to 15 of the series" in error["message"]
    assert error["hint"] == "leave --series out, or say what it is"
    assert main(arguments) == 0


def test_a_kernel_without_btf_takes_a_layout_by_its_name(
    kernel_6_12: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = bytearray(open_kernel(kernel_6_12).image)
    at = image.index(MAGIC)
    image[at : at + len(MAGIC)] = bytes(len(MAGIC))
    path = tmp_path / "Image"
    path.write_bytes(image)
    words = "run", "--json", "--size", "4k", "--code-from", str(path)
    assert main([*words, "--layout", "6.12"]) == 0
    assert json.loads(capsys.readouterr().out)["target"]["layout"] == "6.12"
    # Of none that its code can be of: the error names those that it can.
    assert main([*words, "--layout", "7.2"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "6.12" in error["message"] + error["hint"]


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
        with prepared(target, job) as machine:
            record = execute(machine, open_cpu(machine), job, quiet)
        assert record.complete
        code, where = known(record.code), str(file)
        names = {
            symbol[0]
            for at in code.words
            if (found := machine.locate(at))
            if (symbol := found[0].symbol_at(found[1]))
            if (line := found[0].line_at(found[1])) and line.file == where
        }
        assert ("__cpu_soft_restart" in names) == (series == 0)
        assert ("cpu_soft_restart" in names) == (series == 15 and path == "crash")
        assert {"elx_sync", "el1_sync"} & names, "its stub is what it calls"


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("shape", [Shape.OWN_PLACE, Shape.GAPS, Shape.OLD_KERNEL])
def test_shipped_code_has_no_error_in_any_shape(
    shape: Shape, regime: Regime, kernel_5_10: Path, kernel_6_1: Path
) -> None:
    for file, series in ((kernel_5_10, 0), (kernel_6_1, 15)):
        target = Target(series=series, regime=regime)
        job = Job(size=64 << 10, shape=shape, code_from=file)
        assert run_linked(target, job).passed


@pytest.mark.parametrize("regime", list(Regime))
def test_shipped_code_resumes_without_an_error(
    regime: Regime, kernel_5_10: Path, kernel_6_1: Path, kernel_6_12: Path, kernel_7: Path
) -> None:
    """5.10 calls vectors that hibernation has of its own: they look at no number in x0."""
    for file, series in ((kernel_5_10, 0), (kernel_6_1, 15), (kernel_6_12, 15), (kernel_7, 15)):
        job = Job(size=8 << 10, path="hibernate", code_from=file)
        outcome = run_linked(Target(series=series, regime=regime), job)
        assert outcome.passed, (file, outcome.findings)


def test_shipped_code_is_the_same_whatever_the_engine_does(
    kernel_5_10: Path, kernel_6_1: Path
) -> None:
    """Single steps, and translations forgotten at barriers or always: one trace but for fills."""
    for file, series in ((kernel_5_10, 0), (kernel_6_1, 15)):
        job = Job(size=16 << 10, code_from=file, max_instructions=1 << 30)
        told = set()
        for habit in (None, *HABITS.values()):
            with prepared(Target(series=series), job) as machine, with_habit(habit):
                record = execute(machine, open_cpu(machine), job, quiet)
                found = judge(record).findings
            records = known(record.trace).records
            told.add((found, records[records["kind"] != TraceKind.FILL].tobytes()))
        [(findings, _)] = told
        assert not any(one.is_error for one in findings), file
