"""``relokit.open``: what a path is, and what one can ask it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import relokit
from relokit.codegen.object import Object
from relokit.linker.image import Image
from relokit.machines import live_kexec
from relokit.runtime.record.known import known
from support.kernel_images import image

VHE = relokit.Target(regime="vhe")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, relokit.Outcome]:
    """A stored run, and what came of it."""
    path = tmp_path_factory.mktemp("opened") / "way.trace"
    return path, relokit.machine(VHE).run(trace=path)


def test_a_machine_is_asked_by_name() -> None:
    guest = relokit.machine(VHE)
    memory = guest.memory("kernel")
    assert {one.kind: one.changed for one in memory.pieces}["destination"]
    [walk] = (guest.walk("machine_kexec").walks or ())[:1]
    assert walk.va == guest.steps(last=0).steps[0].pc
    assert guest.page_list(first=1, last=2).rows[0].kind == "destination"
    assert guest.tables().ranges
    assert guest.vectors("jump").tables[0].register == "VBAR_EL2"
    assert guest.code("machine_kexec").pieces[0].address == walk.va
    steps = guest.steps(last=4).steps
    assert guest.steps(until=steps[2].pc).steps == steps[:2]
    with pytest.raises(relokit.RelokitError, match="at 'noon'"):
        guest.memory("noon")
    with pytest.raises(relokit.RelokitError, match="job"):
        relokit.machine(VHE, "crash")  # type: ignore[arg-type]


def test_a_trace_is_judged_and_shown_again(trace: tuple[Path, relokit.Outcome]) -> None:
    path, outcome = trace
    found = relokit.open(path)
    assert isinstance(found, relokit.StoredRecord)
    assert found.judge().findings == outcome.findings
    assert found.timeline().instructions == known(found.evidence.record.trace).instructions
    assert found.memory().moves[0].right == outcome.payload[0].bytes // 4096
    assert len(found.records) == outcome.trace.records  # type: ignore[union-attr]
    assert not found.records.flags.writeable
    with pytest.raises(relokit.FormatError, match=r"way\.trace: a trace has no guest memory"):
        found.page_list()


def test_a_trace_goes_to_another_format(trace: tuple[Path, relokit.Outcome]) -> None:
    found = relokit.open(trace[0])
    assert isinstance(found, relokit.StoredRecord)
    other = trace[0].with_suffix(".json")
    found.write(other, relokit.TraceFormat.PERFETTO)
    assert other.read_bytes().startswith(b"{")


def test_a_kernel_that_says_little_is_one(tmp_path: Path) -> None:
    path = tmp_path / "Image"
    path.write_bytes(image())
    found = relokit.open(path)
    assert isinstance(found, relokit.KernelImage)
    assert found.banner is None
    with pytest.raises(relokit.FormatError, match="Image"):
        found.address("_text")


@pytest.mark.parametrize(("kind", "unit"), [("rel", Object), ("exec", Image)])
def test_an_elf_file_runs_in_place_of_ours(tmp_path: Path, kind: str, unit: type) -> None:
    path = tmp_path / "code.elf"
    relokit.export(path, VHE, kind=kind)
    found = relokit.open(path)
    assert isinstance(found, relokit.ObjectFile)
    assert isinstance(found.unit, unit)
    assert "arm64_relocate_new_kernel" in found.symbols
    assert found.machine(VHE).job.code_files == (path,)
    with pytest.raises(relokit.MachineError, match="code of its own"):
        found.machine(VHE, relokit.Job(code_from=path))


def test_code_of_an_object_is_what_runs(tmp_path: Path) -> None:
    path = tmp_path / "code.o"
    relokit.export(path, VHE, kind="rel")
    found = relokit.open(path)
    assert isinstance(found, relokit.ObjectFile)
    outcome = found.machine(VHE).run()
    assert outcome.passed
    assert outcome.code is not None


def bad(directory: Path, what: str) -> Path:
    path = directory / what
    match what:
        case "empty":
            path.touch()
        case "text":
            path.write_text("hello\n")
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "elf":
            path.write_bytes(b"\x7fELF")
        case "x86":
            path.write_bytes(Path("/proc/self/exe").resolve().read_bytes()[:64])
        case "trace":
            path.write_bytes(b"relokit trace 2\n")
        case "trace of another version":
            path.write_bytes(b"relokit trace 9\n{}\n")
        case "cut image":
            path.write_bytes(image()[:32])
    return path


@pytest.mark.parametrize(
    "what",
    ["missing", "empty", "text", "directory", "fifo", "elf", "x86", "trace",
     "trace of another version", "cut image"],
)  # fmt: skip
def test_what_is_none_of_these_is_refused_by_name(tmp_path: Path, what: str) -> None:
    with pytest.raises(relokit.RelokitError) as error:
        relokit.open(bad(tmp_path, what))
    assert what in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize("path", [None, 3, b"bytes", ""])
def test_what_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(relokit.RelokitError):
        relokit.open(path)  # type: ignore[arg-type]


def test_only_a_snapshot_has_a_kernel_beside_it(trace: tuple[Path, relokit.Outcome]) -> None:
    with pytest.raises(relokit.MachineError, match="only a snapshot"):
        relokit.open(trace[0], kernel="vmlinuz")


def test_a_resume_of_hibernation_is_a_machine_to_ask() -> None:
    guest = relokit.machine(job=relokit.Job(path=relokit.KexecPath.HIBERNATE, size=1 << 16))
    assert guest.page_list().kimage is None
    assert guest.memory("kernel").moves[0].pages == 16
    assert (guest.walk("finalise_el2", "kernel").walks or ())[0].steps[0].owner == "resumed swapper"


def test_a_kernel_is_the_one_that_boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever kernel the job names."""
    path = tmp_path / "Image"
    path.write_bytes(image())
    seen: list[relokit.LiveJob] = []
    monkeypatch.setattr(live_kexec, "kexec", seen.append)
    found = relokit.open(path)
    assert isinstance(found, relokit.KernelImage)
    found.kexec()
    found.kexec(relokit.LiveJob(Path("other"), crash=True))
    assert [(one.kernel, one.crash) for one in seen] == [(path, False), (path, True)]


def test_rows_are_of_nouns() -> None:
    steps = relokit.machine().steps(last=1).steps
    assert [one["number"] for one in relokit.rows(steps)] == [0, 1]
    for other in ((1,), (relokit.Job,), ("text",)):
        with pytest.raises(relokit.RelokitError, match="is no noun"):
            relokit.rows(other)
