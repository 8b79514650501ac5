"""The benchmark's own parts: what is counted, and what is compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from usage import peak_memory
from verdicts import SPOILS, CellVerdict, compare, verdicts

import relokit.templates

BENCH = Path(__file__).resolve().parents[2] / "bench"
PASS, FAIL = CellVerdict("pass", None), CellVerdict("fail", "hash.payload")
REFUSED = CellVerdict("unsupported", None)

MEASURE = """
import os, sys
from pathlib import Path
sys.path.insert(0, {bench!r})
from usage import BenchError, measure
try:
    usage = measure([sys.executable, "-c", {script!r}], os.environ, Path("/"))
except BenchError as error:
    print("refused:", error)
else:
    print(usage.cpu, usage.out)
"""


STAGE = """
import sys
from pathlib import Path
sys.path.insert(0, {bench!r})
from stages import Installation
stage = Installation("x", Path(sys.executable), Path({cache!r}))
stage.forget()
print(stage.peak("--version").all, stage.run("--version").out)
"""


def alone(code: str) -> str:
    """What ``code`` prints in a process of its own: a measurement waits for all children it has,
    and this process has machine rooms."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def measured(script: str) -> str:
    """What measuring ``script`` says."""
    return alone(MEASURE.format(bench=str(BENCH), script=script))


def test_processes_that_nobody_waits_for_are_counted() -> None:
    script = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        while time.process_time() < 0.5: pass\n"
        "    os._exit(0)\n"
        "os.wait(); print('done')"
    )
    cpu, out = measured(script).split()
    assert (float(cpu) > 0.5, out) == (True, "done")


def test_processes_that_were_there_before_are_not_waited_for() -> None:
    """Those of this program's own: they go on, and their time is not the command's."""
    begun = "import subprocess, sys; own = subprocess.Popen(['sleep', '100'])\n"
    ended = "own.kill()\n"
    code = MEASURE.format(bench=str(BENCH), script="print('done')")
    cpu, out = alone(begun + code + ended).split()
    assert (float(cpu) < 1, out) == (True, "done")


def test_memory_at_its_peak_of_all_processes_and_of_the_largest() -> None:
    """A parent of 64 MiB that waits for a child of 128: neither is seen in a process of 256."""
    ours = bytearray(b"x") * (256 << 20)
    hold = "import subprocess, sys, time; held = bytearray(b'x') * ({size} << 20); "
    inner = hold.format(size=128) + "time.sleep(0.2)"
    outer = hold.format(size=64) + f"subprocess.run([sys.executable, '-c', {inner!r}])"
    peak = peak_memory([sys.executable, "-c", outer], os.environ, Path("/"))
    del ours
    assert 192 << 20 < peak.all < 250 << 20
    assert 128 << 20 < peak.largest < 180 << 20


def test_a_command_that_fails_is_no_measurement() -> None:
    assert "refused" in measured("raise SystemExit(2)")
    assert "refused" not in measured("raise SystemExit(1)")


def test_the_peak_of_all_processes(tmp_path: Path) -> None:
    peak, *out = alone(STAGE.format(bench=str(BENCH), cache=str(tmp_path / "cache"))).split()
    assert int(peak) > 4 << 20
    assert out[0] == "relokit"


def test_cells_are_compared_by_status_and_first_rule() -> None:
    before = {"a": PASS, "b": FAIL, "c": PASS, "d": FAIL}
    after = {"a": PASS, "b": FAIL, "c": FAIL, "d": CellVerdict("fail", "handoff.x1")}
    found = compare(before, after)
    assert [name for name, *_ in found.differing] == ["c", "d"]
    assert (found.same, found.gone, found.new, found.agrees) == (2, (), (), False)
    assert compare(before, before).agrees


def test_what_was_refused_before_is_apart_and_what_is_gone_is_not() -> None:
    before = {"s/va52": REFUSED, "s/va48/a": PASS, "s/va48/b": PASS}
    after = {"s/va52/a": PASS, "s/va52/b": FAIL, "s/va48/a": PASS}
    found = compare(before, after)
    assert sorted(found.new) == [("s/va52/a", PASS), ("s/va52/b", FAIL)]
    assert found.gone == ("s/va48/b",)
    assert not found.agrees
    assert "2 cells the first stage did not run: 1 fail (hash.payload), 1 pass" in found.lines()
    assert compare(before, before | {"s/va52": PASS}).new == (("s/va52", PASS),)


def test_verdicts_out_of_a_matrix() -> None:
    cells = [
        {"id": "a", "status": "fail", "findings": [{"rule": "one"}, {"rule": "two"}]},
        {"id": "b", "status": "pass", "findings": []},
        {"id": "c", "status": "pass", "findings": [{"rule": "of a warning"}]},
    ]
    assert verdicts({"cells": cells}) == {"a": CellVerdict("fail", "one"), "b": PASS, "c": PASS}


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.name)
def test_faults_fit_the_templates(spoil: object) -> None:
    text = (Path(relokit.templates.__path__[0]) / spoil.template).read_text()  # type: ignore[attr-defined]
    assert spoil.old in text  # type: ignore[attr-defined]
