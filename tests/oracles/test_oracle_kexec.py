"""A shipped kernel kexecs: the same counts and bytes each time, judged by all that can be."""

from __future__ import annotations

import shutil
import struct
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from oracles import debian_tools

from relokit.cli.main import main
from relokit.codegen.base.budget import set_limits
from relokit.codegen.base.documents import document
from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.target import MIB, Regime
from relokit.linker.elf_format import EHDR, PHDR, PT_NOTE
from relokit.linker.kernel.kallsyms_tables import find_tables
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.linker.kernel.opened import OpenedKernel
from relokit.machines.live_kexec import kexec, programs
from relokit.runtime.arch.feature_id import ShownFeature
from relokit.runtime.found.loaded_image import LoadedImage
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.judge.outcome import Finding, Status
from relokit.runtime.live.live_job import LiveJob
from relokit.runtime.live.live_layout import LiveInputs, lay_out
from relokit.runtime.live.live_outcome import LiveOutcome
from relokit.runtime.live.live_stations import StationName
from relokit.runtime.live.live_verdict import run_live
from support.kexecs import COMMITTED, KERNELS, NOT_JUDGED, WAYS, row, table, trouble
from support.machines import quiet

DC_CIVAC, NOP = 0xD50B_7E20, 0xD503_201F
NT_PRSTATUS = 1
ENOSYS = struct.pack("<II", 0x9280_04A0, 0xD65F_03C0)
"""mov x0, #-38; ret."""


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


def test_kernels_that_the_board_has_no_room_or_no_pages_for_are_told(
    kernel_6_1: Path, kernel_6_12_16k: Path, kernel_7: Path
) -> None:
    """It has crashkernel= where its initrd is, and sets nothing aside; or it parks, silent."""
    with pytest.raises(MachineError, match="256 MiB of memory are too little") as told:
        lay_out(LiveJob(kernel=kernel_7, memory=256 * MIB, crash=True), inputs_of(kernel_7))
    assert "--memory" in (told.value.hint or "")
    large = LiveJob(kernel=kernel_6_1, next=kernel_6_12_16k, cpu="a72")
    into = replace(inputs_of(kernel_6_1), next=open_kernel(kernel_6_12_16k))
    with pytest.raises(MachineError, match="no pages of 16 KiB") as told:
        lay_out(large, into)
    assert "--cpu max" in (told.value.hint or "")


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
    assert first.why == "not within 0.02 s of the board (--boot; 5,000,000 instructions)"
    assert second.why == "after first user space"
    assert outcome.handover is None


def inputs_of(path: Path) -> LiveInputs:
    """For run_live, of a kernel that enters itself."""
    init, purgatory = programs()
    kernel = open_kernel(path)
    return LiveInputs(kernel, kernel, None, None, init, purgatory)


def reached(outcome: LiveOutcome) -> list[StationName]:
    """The stations that were."""
    return [one.name for one in outcome.stations if one.reached]


def errors(outcome: LiveOutcome) -> dict[str, Finding]:
    """The first finding of severity error by rule."""
    assert outcome.handover is not None
    return {one.rule: one for one in reversed(outcome.handover.findings) if one.is_error}


def test_a_list_that_is_broken_on_purpose_is_explained(kernel_6_1: Path) -> None:
    """An entry that leads to no RAM: the kernel dies, and the report says of what."""

    def spoil(memory: GuestMemory, loaded: LoadedImage) -> None:
        entry = loaded.kimage.list_pages[0].base + 2 * 8
        memory.write_u64(entry, memory.read_u64(entry) & 0xFFF | 0x900_0000)

    outcome = run_live(LiveJob(kernel=kernel_6_1), inputs_of(kernel_6_1), quiet, spoil=spoil)
    assert outcome.status is Status.FAIL
    assert outcome.load is not None
    assert [one.owner for one in outcome.load.changed] == ["kimage list"]
    assert reached(outcome) == [*StationName][:3]
    broken = errors(outcome)["setup.list"]
    assert "has a source that is not RAM" in broken.message
    assert "when the list was made" in broken.notes[0]
    assert any(rule.startswith("exception.") for rule in errors(outcome))


def test_another_ttbr1_is_explained(kernel_6_1: Path) -> None:
    """The move has no tables: it is told before the jump, at the write, and of the abort."""

    def spoil(memory: GuestMemory, loaded: LoadedImage) -> None:
        at = loaded.kimage.pa + loaded.kimage.layout.ttbr1
        memory.write_u64(at, memory.read_u64(at) + 0x2000_0000)

    outcome = run_live(LiveJob(kernel=kernel_6_1), inputs_of(kernel_6_1), quiet, spoil=spoil)
    assert outcome.status is Status.FAIL
    assert reached(outcome) == [*StationName][:3]
    found = errors(outcome)
    assert set(found) == {"setup.kimage", "setup.tables", "tlb.root", "exception.vector"}
    assert "ttbr1 is 0x67b42000, and has to be 0x47b42000" in found["setup.kimage"].message
    assert "msr ttbr1_el1" in found["tlb.root"].message


def test_a_tree_that_is_not_where_the_purgatory_says_is_explained(kernel_6_1: Path) -> None:
    """The next kernel waits for ever, silent: that is seen long before its time is over."""

    def spoil(memory: GuestMemory, loaded: LoadedImage) -> None:
        *_, purgatory = loaded.kimage.segments
        [source] = loaded.sources[loaded.targets == purgatory.mem].tolist()
        [tree] = [one.mem for one in loaded.kimage.segments if one.name == "device tree"]
        [at] = [at for at in range(source, source + 4096, 8) if memory.read_u64(at) == tree]
        memory.write_u64(at, tree + MIB)

    outcome = run_live(LiveJob(kernel=kernel_6_1), inputs_of(kernel_6_1), quiet, spoil=spoil)
    assert outcome.status is Status.FAIL
    assert outcome.load is not None
    assert [one.owner for one in outcome.load.changed] == ["source pages"]
    assert reached(outcome) == [*StationName][:4]
    why = "the console never came: branch to itself"
    assert [one.why for one in outcome.stations[4:]] == [
        why,
        "branch to itself",
        "after next banner",
    ]
    assert outcome.instructions < 1_200_000_000
    broken = errors(outcome)["handoff.dtb"]
    assert "x0 = 0x6ff00000, but the device tree is at 0x6fe00000" in broken.message
    assert "ldr x0" in broken.notes[0]


def test_a_kernel_that_does_not_clean_what_it_moves_is_explained(
    kernel_6_1: Path, tmp_path: Path
) -> None:
    """Without its dc civac what is moved is lost with --effects: the purgatory is not there."""
    image = bytearray(open_kernel(kernel_6_1).image)
    words = np.frombuffer(image, "<u4")
    # mov x1, x18; msr ttbr1_el1, x1: the relocation code alone has them.
    [at] = np.flatnonzero((words[:-1] == 0xAA12_03E1) & (words[1:] == 0xD518_2021)).tolist()
    near = words[at - 16 : at + 64]
    cleans = near & 0xFFFF_FFE0 == DC_CIVAC
    assert cleans.any()
    near[cleans] = NOP
    path = tmp_path / "Image"
    path.write_bytes(image)
    job = LiveJob(kernel=path, next=kernel_6_1, effects=True)
    outcome = run_live(job, replace(inputs_of(path), next=open_kernel(kernel_6_1)), quiet)
    assert outcome.status is Status.FAIL
    assert reached(outcome) == [*StationName][:3]
    found, handover = errors(outcome), outcome.handover
    assert "the first at PA 0x6fff0000" in found["caches.image"].message
    assert "undefined instruction, EL2 to EL2, ELR 0x6fff0000" in str(found["run.spin"].notes)
    assert handover is not None
    assert handover.effects is not None
    assert handover.effects.lost


def test_user_space_that_does_not_kexec_is_told(kernel_6_1: Path, tmp_path: Path) -> None:
    """Ours, without a table of what to hand in, powers off."""
    init = tmp_path / "init"
    init.write_bytes(programs()[0])
    init.chmod(0o755)
    outcome = kexec(LiveJob(kernel=kernel_6_1, userland=tmp_path))
    assert outcome.status is Status.FAIL
    assert reached(outcome) == [*StationName][:1]
    assert "SYSTEM_OFF" in (outcome.stations[1].why or "")
    assert outcome.handover is None
    assert "relokit: user space" in outcome.console


def test_a_kernel_that_says_no_is_told(kernel_6_1: Path, tmp_path: Path) -> None:
    """One that has the code, and not the system call."""
    opened = OpenedKernel(open_kernel(kernel_6_1))
    image = bytearray(opened.file.image)
    at = opened.symbols.offset("__arm64_sys_kexec_load")
    image[at : at + len(ENOSYS)] = ENOSYS
    path = tmp_path / "Image"
    path.write_bytes(image)
    outcome = kexec(LiveJob(kernel=path))
    assert outcome.status is Status.FAIL
    assert reached(outcome) == [*StationName][:1]
    assert outcome.stations[1].why is not None
    assert outcome.stations[1].why.startswith("/init says: ")
    assert outcome.handover is None


def test_a_kernel_without_kexec_is_refused_at_once(kernel_6_1: Path, tmp_path: Path) -> None:
    """All its other symbols are there: machine_kexec has another name."""
    opened = OpenedKernel(open_kernel(kernel_6_1))
    image = bytearray(opened.file.image)
    tables = find_tables(memoryview(image), len(image))
    assert tables is not None
    at, number = tables.names.start, opened.symbols.number("machine_kexec")
    assert number is not None
    for _ in range(number):
        at += 1 + image[at]
    # A name is a length and its tokens: the last one becomes the one before.
    image[at + image[at]] = image[at + image[at] - 1]
    path = tmp_path / "Image"
    path.write_bytes(image)
    with pytest.raises(FormatError, match="no machine_kexec in this kernel: it cannot") as told:
        kexec(LiveJob(kernel=path))
    assert "CONFIG_KEXEC" in (told.value.hint or "")


def test_features_are_of_a_cpu_that_has_them(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="a Cortex-A72 has no pauth, rndr"):
        LiveJob(kernel=tmp_path, cpu="a72", features=(ShownFeature.PAUTH, ShownFeature.RNDR))
    with pytest.raises(MachineError, match="effects in a plain run"):
        LiveJob(kernel=tmp_path, effects=True, plain=True)


def test_the_committed_kexecs_are_of_this_code() -> None:
    COMMITTED.check_age()


def test_every_kernel_kexecs_in_every_regime_and_by_a_crash() -> None:
    rows = COMMITTED.rows
    assert len(rows) == len(WAYS)
    assert [(one["el"], one["crash"], tuple(one["features"])) for one in rows] == [
        (way.el, way.crash, way.features) for way in WAYS
    ]
    assert len({one["kernel"] for one in rows}) == len(KERNELS)
    assert [wrong for one in rows if (wrong := trouble(one))] == []
    COMMITTED.check_page(table)


def test_a_longer_list_of_rules_that_are_not_judged_fails() -> None:
    for one in COMMITTED.rows:
        longer = one | {"not_judged": [*one["not_judged"], "own.store"]}
        assert trouble(longer) == "leaves out rules that were judged"


def test_a_kexec_is_the_same_everywhere(outcome: LiveOutcome) -> None:
    """By `make docs/kexec.json` after a change; another kernel than the committed one is judged."""
    found = row(document(outcome))
    assert trouble(found) is None
    same = ("kernel", "next", "el", "crash", "features")
    known = [one for one in COMMITTED.rows if all(one[name] == found[name] for name in same)]
    assert known in ([found], []), "the board is another than when docs/kexec.json was made"


def test_debians_own_tools_kexec_by_the_recipe(kernel_6_1: Path, tmp_path: Path) -> None:
    """As docs/kexec.md has it: their purgatory hashes, which is more than can be recorded."""
    text = COMMITTED.path.with_suffix(".md").read_text()
    packages = text.partition("    for one in ")[2].partition(";")[0].replace("\\", "").split()
    script = text.partition("    #!/bin/busybox sh\n")[2].partition("\n\n")[0]
    assert packages == [*debian_tools.PACKAGES]
    root = tmp_path / "tools"
    shutil.copytree(debian_tools.tools(), root, symlinks=True)
    for name in ("proc", "sys"):
        (root / name).mkdir()
    init = root / "init"
    init.write_text("#!/bin/busybox sh\n" + dedent(script) + "\n")
    init.chmod(0o755)
    outcome = kexec(LiveJob(kernel=kernel_6_1, userland=root))
    assert outcome.passed, (outcome.ended, outcome.console[-500:])
    handover = outcome.handover
    assert handover is not None
    assert set(handover.rules.not_judged) == {"purgatory"}
    assert "not recorded" in handover.rules.not_judged["purgatory"]
    assert len(handover.rules.applied) > 100
    assert [part.name for part in handover.payload] == [
        "kernel", "initrd", "device tree", "purgatory",
    ]  # fmt: skip


class SeenError(Exception):
    """What was to be seen was."""


def test_a_crash_kernel_finds_the_notes_of_the_crashed_one(kernel_6_1: Path) -> None:
    """Where the header has its PT_NOTEs is the CPU as it crashed, and what the kernel is."""

    def look(memory: GuestMemory, loaded: LoadedImage) -> None:
        [core] = [one.mem for one in loaded.kimage.segments if one.name == "ELF core header"]
        headers = EHDR.unpack(memory.read(core, EHDR.size))[-4]
        table = memory.read(core + EHDR.size, headers * PHDR.size)
        notes = [one for one in PHDR.iter_unpack(table) if one[0] == PT_NOTE]
        assert len(notes) == 2
        for number, (_, _, at, _, pa, size, bytes_of_memory, _) in enumerate(notes):
            assert at == pa
            assert 0 < size == bytes_of_memory < 1 << 16
            name_size, note_size, kind = struct.unpack("<3I", memory.read(pa, 12))
            name = memory.read(pa + 12, name_size).rstrip(b"\0")
            data = memory.read(pa + 12 + -(-name_size // 4) * 4, note_size)
            if number:
                assert (name, kind) == (b"VMCOREINFO", 0)
                assert data.startswith(b"OSRELEASE=6.1")
            else:
                assert (name, kind) == (b"CORE", NT_PRSTATUS)
                # elf_prstatus: pr_pid of /init, then x0 to x30, SP and PC: all of the kernel.
                assert struct.unpack_from("<I", data, 32) == (1,)
                sp, pc = struct.unpack_from("<2Q", data, 112 + 31 * 8)
                assert min(sp, pc) >> 47 == 0x1FFFF
        raise SeenError

    with pytest.raises(SeenError):
        run_live(LiveJob(kernel=kernel_6_1, crash=True), inputs_of(kernel_6_1), quiet, spoil=look)


def test_a_kernel_that_panics_is_told_at_once(kernel_6_1: Path, tmp_path: Path) -> None:
    """It waits for ever behind that: not for as long as it may run. Its initrd is one, though
    nothing in it says so. That it has begun is seen however little is kept of what it prints.
    """
    set_limits({"console": 64})
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"no archive")
    outcome = kexec(LiveJob(kernel=kernel_6_1, initrd=initrd, plain=True))
    assert outcome.status is Status.FAIL
    assert reached(outcome) == [*StationName][:5]
    why = outcome.stations[5].why or ""
    assert why.startswith("panicked: VFS: Unable to mount root fs"), why
    assert outcome.ended == why
    assert outcome.instructions < 2_000_000_000
    assert set(errors(outcome)) == {"boot.panic"}
    set_limits({})


def test_the_hosts_time_is_no_answer_and_has_its_own_exit_code(
    kernel_6_1: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a run: neither PASS nor FAIL, and what ended it is named."""
    assert main(["kexec", "--kernel", str(kernel_6_1), "--timeout", "0.05"]) == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("NO ANSWER  the host's time was over (--timeout 0.05)")
