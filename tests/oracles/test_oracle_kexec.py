"""A shipped kernel kexecs: the same counts and bytes each time, judged by all that can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relokit.building import encoder
from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.build import PURGATORY, USER_SPACE
from relokit.codegen.target import MIB, Regime, Target
from relokit.linker.elf.elf_writer import write_exec
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.linker.link.image_cache import Sources, stored_images
from relokit.linker.stored_image import decode_image
from relokit.live_kexec import kexec
from relokit.runtime.found.loaded_image import LoadedImage
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.judge.outcome import Status
from relokit.runtime.live.live_job import LiveJob
from relokit.runtime.live.live_layout import LiveInputs
from relokit.runtime.live.live_outcome import LiveOutcome
from relokit.runtime.live.live_stations import StationName
from relokit.runtime.live.live_verdict import run_live
from support.machines import quiet

NOT_JUDGED: frozenset[str] = frozenset()
"""A longer list fails."""


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kexec") / "trace"


@pytest.fixture(scope="module")
def outcome(kernel_6_1: Path, trace: Path) -> LiveOutcome:
    return kexec(LiveJob(kernel=kernel_6_1), trace=trace)


def test_a_shipped_kernel_comes_to_the_next_user_space(outcome: LiveOutcome) -> None:
    assert outcome.passed, outcome.ended
    assert [one.name for one in outcome.stations] == list(StationName)
    assert all(one.reached for one in outcome.stations)
    counts = [one.instructions for one in outcome.stations if one.instructions is not None]
    assert counts == sorted(counts)
    assert counts[-1] == outcome.instructions
    assert "relokit: user space" in outcome.console
    handover = outcome.handover
    assert handover is not None
    assert "Linux version 6.1" in (handover.console or "")
    assert "relokit: user space" in (handover.console or "")


def test_its_hand_over_is_judged_and_what_is_not_is_a_committed_list(
    outcome: LiveOutcome, trace: Path
) -> None:
    handover, load = outcome.handover, outcome.load
    assert handover is not None
    assert load is not None
    assert not [one for one in handover.findings if one.is_error]
    assert set(handover.rules.not_judged) <= NOT_JUDGED
    assert len(handover.rules.applied) > 100
    assert (handover.target.series, handover.target.regime) == (15, Regime.NVHE)
    assert [part.name for part in handover.payload] == [
        "kernel", "initrd", "device tree", "purgatory",
    ]  # fmt: skip
    assert handover.verified_bytes == handover.relocation.bytes
    # All source pages, and the list, the code and the vectors.
    assert load.pages > handover.relocation.pages
    assert load.changed == ()
    assert handover.trace is not None
    assert handover.trace.bytes == trace.stat().st_size


def test_what_does_not_fit_or_cannot_kexec_is_told_before_anything_runs(
    kernel_6_1: Path, tmp_path: Path
) -> None:
    job = LiveJob(kernel=kernel_6_1)
    large = tmp_path / "initrd"
    with large.open("wb") as file:
        file.truncate(600 * MIB)
    with pytest.raises(MachineError, match="FITS") as told:
        kexec(replace(job, initrd=large))
    assert "--memory" in (told.value.hint or "")
    with pytest.raises(MachineError, match="no VHE"):
        replace(job, regime=Regime.VHE, cpu="a72")
    image = bytearray(kernel_6_1.read_bytes())
    with pytest.raises(FormatError, match="no kallsyms"):
        kexec(LiveJob(kernel=_without(image, tmp_path)))


def _without(image: bytearray, directory: Path) -> Path:
    """A kernel of zeros behind its header."""
    path = directory / "vmlinuz"
    path.write_bytes(bytes(image[:4096]) + bytes(len(image) - 4096))
    return path


def test_a_kernel_that_comes_nowhere_is_bounded_and_told(kernel_6_1: Path) -> None:
    outcome = kexec(LiveJob(kernel=kernel_6_1, boot=0.02, plain=True))
    assert outcome.status is Status.FAIL
    first, second, *_ = outcome.stations
    assert (first.reached, second.reached) == (False, False)
    assert first.why == "not within 0.02 s of the board (5,000,000 instructions)"
    assert second.why == "after first user space"
    assert outcome.handover is None


def test_a_list_that_is_broken_on_purpose_is_explained(kernel_6_1: Path) -> None:
    """An entry that leads to no RAM: the kernel dies, and the report says of what."""

    def spoil(memory: GuestMemory, loaded: LoadedImage) -> None:
        entry = loaded.kimage.list_pages[0].base + 2 * 8
        memory.write_u64(entry, memory.read_u64(entry) & 0xFFF | 0x900_0000)

    init, purgatory = stored_images((USER_SPACE, PURGATORY), Target(), encoder(), Sources())
    kernel = open_kernel(kernel_6_1)
    program = write_exec(decode_image(init))
    inputs = LiveInputs(kernel, kernel, None, None, program, decode_image(purgatory))
    outcome = run_live(LiveJob(kernel=kernel_6_1), inputs, quiet, spoil=spoil)
    assert outcome.status is Status.FAIL
    assert outcome.load is not None
    assert [one.owner for one in outcome.load.changed] == ["kimage list"]
    assert {one.name for one in outcome.stations if one.reached} == {
        StationName.USER_SPACE, StationName.LOADED, StationName.LEFT,
    }  # fmt: skip
    assert outcome.handover is not None
    [broken] = [one for one in outcome.handover.findings if one.rule == "setup.list"]
    assert "has a source that is not RAM" in broken.message
    assert "when the list was made" in broken.notes[0]
    assert any(one.rule.startswith("exception.") for one in outcome.handover.findings)
