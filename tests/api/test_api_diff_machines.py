"""``diff --run`` of two files: in every regime, in the machine that their code is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relokit.building import build
from relokit.cli.main import main
from relokit.codegen.kimage_layouts import layout_named
from relokit.codegen.target import Regime, Target
from relokit.diff_machines import DiffMachine
from relokit.executed_diffs import behave
from relokit.linker.elf.elf_writer import rel_chunks

MOV_X3_XZR, MOV_X3_X4 = 0xAA1F03E3, 0xAA0403E3


def written(path: Path, target: Target, *, spoilt: bool = False) -> str:
    """The relocation routine for ``target`` as an object; ``spoilt`` on the way out at EL1."""
    made = next(one for one in build(target).objects if one.name == "relocate_kernel.S")
    if spoilt:
        number = next(at for at, one in enumerate(made.sections) if one.size)
        section = made.sections[number]
        at = section.data.rindex(MOV_X3_XZR.to_bytes(4, "little"))
        data = section.data[:at] + MOV_X3_X4.to_bytes(4, "little") + section.data[at + 4 :]
        changed = replace(section, data=data)
        made = replace(
            made, sections=(*made.sections[:number], changed, *made.sections[number + 1 :])
        )
    path.write_bytes(b"".join(bytes(one) for one in rel_chunks(made)))
    return str(path)


def test_a_change_on_the_way_out_at_el1_is_no_longer_the_same(tmp_path: Path) -> None:
    good = written(tmp_path / "good.o", Target())
    bad = written(tmp_path / "bad.o", Target(), spoilt=True)
    (found,) = behave(good, bad).routines
    assert {one.trial for one in found.left} == {str(regime) for regime in Regime}
    (x3,) = (one for one in found.differences if one.what == "x3")
    # With a stub at EL2 the code leaves by HVC, and does not come there.
    assert set(x3.trials) == {"el1", "vhe"}
    nvhe = DiffMachine(regimes=(Regime.NVHE,))
    assert behave(good, bad, machine=nvhe).same
    assert behave(good, good).same


@pytest.mark.parametrize(
    "target",
    [
        Target(page_size=65536),
        Target(layout=layout_named("7.2")),
        Target(series=8),
        Target(series=0),
    ],
    ids=str,
)
def test_the_machine_is_the_one_that_the_code_is_for(target: Target, tmp_path: Path) -> None:
    """In another machine neither side gets anywhere, and they would fail alike."""
    path = written(tmp_path / "a.o", target)
    (found,) = behave(path, path).routines
    assert all(one.verdict == "passes" for one in found.left), [one.verdict for one in found.left]


def test_the_machine_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = written(tmp_path / "good.o", Target())
    bad = written(tmp_path / "bad.o", Target(), spoilt=True)
    words = ["diff", good, bad, "--run", "--va-bits", "39", "--page-size", "4k", "--layout", "6.12"]
    assert main([*words, "--el", "vhe"]) == 1
    assert "verdict passes" in capsys.readouterr().out
    # No machine runs code for other pages well; both fail alike, and that is shown.
    assert main(["diff", good, good, "--run", "--page-size", "64k", "--el", "el1"]) == 0
    assert "fails" in capsys.readouterr().out


def test_a_routine_that_is_called_has_no_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = next(one for one in build(Target()).objects if one.name == "cpu_reset.S")
    path = tmp_path / "a.o"
    path.write_bytes(b"".join(bytes(one) for one in rel_chunks(made)))
    words = ["diff", f"{path}:cpu_soft_restart", str(path), "--run"]
    assert main(words) == 0
    assert main([*words, "--el", "vhe"]) == 2
    assert "leave --el" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--el", "vhe"), "--el is of the machine that --run has"),
        (("--layout", "7.2"), "--layout is of the machine that --run has"),
        (("--run", "--page-size", "16k"), "a target says it itself: leave --page-size out"),
        (("--run", "--va-bits", "39"), "a target says it itself: leave --va-bits out"),
    ],
)
def test_options_of_no_machine_are_refused(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", "series:15", "series:14", *words]) == 2
    assert said in capsys.readouterr().err
