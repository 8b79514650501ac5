"""relokit from a script: lazily imported, without ceremony, from any thread, again and again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import relokit
from relokit.codegen.base.errors import MachineError, RelokitError, TemplateError
from relokit.session import process_session


def script(path: Path, text: str) -> str:
    """Run ``text`` as a script of its own; returns what it prints."""
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_public_name_is_there_and_described() -> None:
    for name in relokit.__all__:
        value = getattr(relokit, name)
        assert value is not None
        if callable(value):
            assert value.__doc__, name
    with pytest.raises(AttributeError, match="nosuch"):
        relokit.nosuch  # noqa: B018
    assert set(relokit.__all__) <= set(dir(relokit))


def test_five_lines_in_a_script_without_a_guard(tmp_path: Path) -> None:
    text = (
        "import relokit\n"
        "target = relokit.Target(regime=relokit.Regime.VHE)\n"
        "outcome = relokit.run(target, relokit.Job(size=1 << 20))\n"
        "print(outcome.passed, outcome.relocation.pages)\n"
    )
    assert script(tmp_path / "five.py", text) == "True 257\n"


def test_one_child_serves_many_runs() -> None:
    assert relokit.run().passed
    process = process_session()._rooms[0]._process
    assert process is not None
    assert relokit.run(relokit.Target(regime=relokit.Regime.EL1)).passed
    assert process_session()._rooms[0]._process is process


def test_a_failed_request_leaves_the_child_usable(tmp_path: Path) -> None:
    with pytest.raises(RelokitError, match="no such file"):
        relokit.run(job=relokit.Job(kernel=tmp_path / "nowhere"))
    assert relokit.run().passed


def test_runs_in_threads() -> None:
    results: list[bool] = []

    def work(regime: relokit.Regime) -> None:
        results.append(relokit.run(relokit.Target(regime=regime)).passed)

    threads = [threading.Thread(target=work, args=(regime,)) for regime in relokit.Regime]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert results == [True, True, True]


def test_first_use_in_threads_of_a_script(tmp_path: Path) -> None:
    text = (
        "import threading, relokit\n"
        "out = []\n"
        "work = lambda: out.append(relokit.run().passed)\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(out)\n"
    )
    assert script(tmp_path / "threads.py", text) == "[True, True, True]\n"


def test_progress_comes_by_stage() -> None:
    seen: list[tuple[str, int, int]] = []
    job = relokit.Job(size=32 << 20)
    relokit.run(job=job, progress=lambda *report: seen.append(report))
    stages = list(dict.fromkeys(stage for stage, _, _ in seen))
    assert [stage for stage in stages if stage in ("prepare", "verify")] == ["prepare", "verify"]
    for stage in stages:
        done = [part for name, part, _ in seen if name == stage]
        assert done == sorted(done)
    assert all(0 <= done <= total for _, done, total in seen)


def test_progress_that_raises_does_not_confuse_the_next_run() -> None:
    def stop(*_: object) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        relokit.run(job=relokit.Job(size=8 << 20), progress=stop)
    assert relokit.run().passed


def test_verbs_give_their_nouns(tmp_path: Path) -> None:
    source = relokit.render()
    assert "arm64_relocate_new_kernel" in "".join(unit.text for unit in source.units)
    assert relokit.build().image.has_symbol("arm64_relocate_new_kernel")
    assert relokit.build_programs().demo.has_symbol("_end")
    done = relokit.export(tmp_path / "out.elf", kind="rel")
    assert done.size == (tmp_path / "out.elf").stat().st_size
    assert done.ram is None
    with pytest.raises(RelokitError, match="no 'elf' kind"):
        relokit.export(tmp_path / "other.elf", kind="elf")
    assert not (tmp_path / "other.elf").exists()


def test_templates_are_checked_by_every_verb(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    verbs = (
        lambda: relokit.render(templates=missing),
        lambda: relokit.build(templates=missing),
        lambda: relokit.build_programs(templates=missing),
        lambda: relokit.generate(tmp_path / "out", templates=missing),
        lambda: relokit.export(tmp_path / "out", job=relokit.Job(templates=missing)),
        lambda: relokit.run(job=relokit.Job(templates=missing)),
    )
    for verb in verbs:
        with pytest.raises(TemplateError, match="no such directory") as caught:
            verb()
        assert caught.value.where == str(missing)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "numbers",
    [
        {"size": 0},
        {"size": -1},
        {"memory": 0},
        {"memory": 1 << 48},
        {"kernel_at": -1},
        {"dtb_at": 1 << 52},
        {"seed": 1 << 32},
        {"timeout": 0.0},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"boot": float("nan")},
        {"max_instructions": 0},
    ],
    ids=str,
)
def test_a_job_with_an_impossible_number_is_no_job(numbers: dict[str, float]) -> None:
    (name,) = numbers
    with pytest.raises(MachineError, match=f"{name} is .*: out of range") as caught:
        relokit.Job(**numbers)  # type: ignore[arg-type]
    assert caught.value.hint


@pytest.mark.parametrize(
    ("call", "refusal"),
    [
        (lambda wrong: relokit.run(wrong), "target"),
        (lambda wrong: relokit.run(job=wrong), "job"),
        (lambda wrong: relokit.run(trace=wrong), "trace"),
        (lambda wrong: relokit.export(wrong), "path"),
        (lambda wrong: relokit.export(Path("x"), wrong), "target"),
        (lambda wrong: relokit.export(Path("x"), kind="bootable", job=wrong), "job"),
        (lambda wrong: relokit.generate(wrong), "directory"),
        (lambda wrong: relokit.generate(Path("x"), templates=wrong), "templates"),
        (lambda wrong: relokit.build(wrong), "target"),
        (lambda wrong: relokit.build_programs(wrong), "target"),
        (lambda wrong: relokit.render(wrong), "target"),
        (lambda wrong: list(relokit.run_matrix([], wrong)), "job"),
        (lambda wrong: relokit.diff(wrong, "series:1"), "operand"),
        (lambda wrong: relokit.behave("series:1", wrong), "operand"),
        (lambda wrong: relokit.behave("series:1", "series:1", job=wrong), "job"),
        (lambda wrong: relokit.Session().observe(wrong), "target"),
    ],
)
@pytest.mark.parametrize("wrong", [7, b"x", object()])
def test_what_a_verb_cannot_take_is_refused_by_name(
    call: Callable[[object], object], refusal: str, wrong: object
) -> None:
    with pytest.raises(RelokitError, match=rf"^{refusal} cannot be of type {type(wrong).__name__}"):
        call(wrong)


def test_text_is_a_path_but_no_target(tmp_path: Path) -> None:
    written = relokit.export(str(tmp_path / "code.elf"))  # type: ignore[arg-type]
    assert written.file == tmp_path / "code.elf"
    with pytest.raises(RelokitError, match=r"^target cannot be 'series:12'"):
        relokit.run("series:12")  # type: ignore[arg-type]
    assert relokit.diff(written.file, written.file).same  # type: ignore[arg-type]


def test_generated_files_are_not_written_through_links(tmp_path: Path) -> None:
    """Nobody named what a link in the folder leads to."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "Makefile").symlink_to(victim)
    with pytest.raises(RelokitError, match="is a link") as caught:
        relokit.generate(folder)
    assert caught.value.hint
    assert victim.read_text() == "mine"
    assert [one.name for one in folder.iterdir()] == ["Makefile"]
