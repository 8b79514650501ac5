"""From one snapshot QEMU and our machine come to the next kernel alike; and what is told of it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import relokit
from relokit.cli.main import main
from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.target import Regime
from relokit.linker.kernel.opened import Files
from relokit.machines.snapshots import convert, record, started, take_up
from relokit.reporting.report_facts import inputs_of
from relokit.runtime.debug.debuggee import Debuggee
from relokit.runtime.debug.description import registers
from relokit.runtime.debug.halts import HaltCause, Ready
from relokit.runtime.debug.served import ready
from relokit.runtime.found.crash_memory import crash_memory
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from relokit.runtime.live.taken_up import living_kernel, machine_of, state_of
from relokit.runtime.snapshot.snapshot import GENERAL, Power
from relokit.runtime.snapshot.snapshot_reading import read_snapshot
from relokit.runtime.state.symbol_file import symbol_image
from support.hand_overs import Compared, compare, machine, see
from support.once import once

MACHINE = machine("6.1", Regime.NVHE)


@dataclass(frozen=True)
class Recorded:
    """A snapshot, QEMU's own dump of the same stop, and what QEMU and our machine made of it."""

    directory: Path
    vmcore: Path | None
    compared: Compared


@pytest.fixture(scope="session")
def seen(kernel_6_1: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    def make(folder: Path) -> Recorded:
        found = see(kernel_6_1, MACHINE, folder, dump=True)
        return Recorded(found.directory, found.vmcore, compare(found))

    return once(tmp_path_factory, "snapshot", make)


def test_qemu_and_our_machine_come_to_the_next_kernel_alike(seen: Recorded) -> None:
    """One of them; all by ``make docs/handovers.json``."""
    both = seen.compared
    assert {"X0", "X30", "SP", "PC", "CPSR", "TTBR1_EL1", "SCTLR_EL2"} <= set(both.registers)
    assert (both.other_registers, both.other_pages) == ((), ())
    assert both.pages == 131_072


TOLD_BY_A_DUMP = {*GENERAL, "VBAR_EL1", "TTBR1_EL1"}
ASID_AND_CNP = 0xFFFF << 48 | 1


def vmcore_of(seen: Recorded) -> Path:
    assert seen.vmcore is not None
    return seen.vmcore


def beside(seen: Recorded, path: Path, *lacks: str) -> Path:
    """A file of the registers that a dump has not."""
    value = json.loads((seen.directory / "registers.json").read_text())
    for one in value["cpus"]:
        own = one["registers"]
        one["registers"] = {
            name: own[name] for name in own if name not in {*TOLD_BY_A_DUMP, *lacks}
        }
    value["kimage"] = json.loads((seen.directory / "snapshot.json").read_text())["kimage"]
    path.write_text(json.dumps(value))
    return path


def test_a_dump_by_qemu_is_the_same_machine(
    seen: Recorded, kernel_6_1: Path, tmp_path: Path
) -> None:
    place = tmp_path / "converted"
    registers = beside(seen, tmp_path / "beside")
    convert(kernel_6_1, place, vmcore_of(seen), registers=registers, packed=True)
    mine, theirs = read_snapshot(place), read_snapshot(seen.directory)
    assert (mine.banks, mine.extents) == (theirs.banks, theirs.extents)
    assert mine.ram.content == theirs.ram.content
    assert (mine.cpu, mine.kimage, mine.devices) == (theirs.cpu, theirs.kimage, None)
    ours, own = ({**one.left_by.registers} for one in (mine, theirs))
    assert own.pop("TTBR1_EL1") & ~ASID_AND_CNP == ours.pop("TTBR1_EL1")
    assert ours == own
    told = take_up(place, Job(plain=True))
    assert told.passed
    assert "around.tables" in told.rules.not_judged


def test_what_a_dump_lacks_or_contradicts_is_named(
    seen: Recorded, kernel_6_1: Path, tmp_path: Path
) -> None:
    place = tmp_path / "converted"

    def refused(registers: Path | None, message: str) -> None:
        with pytest.raises(MachineError, match=message):
            convert(kernel_6_1, place, vmcore_of(seen), registers=registers)
        assert not place.exists()

    lacks = ("SCTLR_EL1", "TCR_EL1", "TTBR0_EL1", "MAIR_EL1")
    path = beside(seen, tmp_path / "beside", *lacks)
    refused(path, "has no SCTLR_EL1, TCR_EL1, TTBR0_EL1, MAIR_EL1")
    value = json.loads(beside(seen, path).read_text())
    own = value["cpus"][0]["registers"]
    for change, message in (
        ({"X3": "0x123456789"}, "X3 of CPU 0 is 0x123456789, and"),
        ({"TCR_EL1": hex(int(own["TCR_EL1"], 16) ^ 1 << 16)}, "T1SZ .* and VMCOREINFO says"),
    ):
        value["cpus"][0]["registers"] = own | change
        path.write_text(json.dumps(value))
        refused(path, message)
    value["cpus"][0]["registers"] = own
    del value["kimage"]
    path.write_text(json.dumps(value))
    refused(path, "nobody says where struct kimage is")


@pytest.fixture(scope="module")
def outcome(seen: Recorded) -> Outcome:
    return take_up(seen.directory)


def test_it_is_judged_by_all_that_can_be(
    seen: Recorded, outcome: Outcome, kernel_6_1: Path
) -> None:
    assert outcome.passed
    assert not [one for one in outcome.findings if one.is_error]
    assert (outcome.target.series, outcome.target.regime) == (15, Regime.NVHE)
    assert outcome.taken_up is not None
    assert outcome.taken_up.kernel == kernel_6_1.name
    assert outcome.taken_up.lacks == ()
    applied = set(outcome.rules.applied)
    assert {"around.tables", "around.prepared"} <= applied
    # Of QEMU's tree is known that it reserves nothing, and names no UEFI.
    assert not {"around.reserved", "around.firmware"} & {*applied, *outcome.rules.not_judged}
    assert {name.partition(".")[0] for name in outcome.rules.not_judged} == {"caches", "fetch"}
    cpus = read_snapshot(seen.directory).cpus
    assert [one.power for one in cpus] == [Power.ON, Power.OFF]


def test_the_memory_of_a_crash_kernel_is_found_by_its_name(seen: Recorded) -> None:
    kernel = Files().kernel(seen.directory / "kernel")
    taken, _ = machine_of(read_snapshot(seen.directory), kernel)
    try:
        snapshot = read_snapshot(seen.directory)
        living = living_kernel(state_of(snapshot, taken.memory), kernel)
        base, size = 0x5000_0000, 0x1000_0000
        # Nothing is set aside in this one.
        with pytest.raises(MachineError, match="no memory of a crash kernel"):
            crash_memory(taken.memory, living, base)
        words = taken.memory.u64(living.pa, living.file.header.image_size // 8)
        name = living.va + bytes(living.file.image).index(b"\0Crash kernel\0") + 1
        for slot in np.flatnonzero(words == np.uint64(name)).tolist():
            words[slot - 2 : slot] = base, base + size - 1
        assert crash_memory(taken.memory, living, base + size - 1) == (base, size)
        with pytest.raises(MachineError, match="no memory of a crash kernel"):
            crash_memory(taken.memory, living, base + size)
    finally:
        taken.close()


def test_it_is_debugged_like_a_machine_of_ours(seen: Recorded) -> None:
    kernel = Files().kernel(seen.directory / "kernel")
    snapshot, job = read_snapshot(seen.directory), Job()
    own = registers(has_el2=True, has_vhe=False)

    def build() -> Ready:
        return ready(machine_of(snapshot, kernel)[0], job)

    with closing(Debuggee(build, own, seconds=job.timeout)) as one:
        start = one.cpu.pc
        assert one.go_to_jump().cause is HaltCause.BREAKPOINT
        assert one.cpu.el == 1
        assert one.step_back().cause in (HaltCause.STEP, HaltCause.START)
        assert one.cpu.pc != one.jump
        names = {(symbol.value, symbol.name) for symbol in symbol_image(one.guest).symbols}
        assert (one.jump, "arm64_relocate_new_kernel") in names
        assert max(one for one in names if one[0] <= start)[1] == "machine_kexec"


Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def changed(seen: Recorded, tmp_path: Path) -> Callable[[str, Change], Path]:
    """The snapshot, with a file of it changed."""
    place = tmp_path / "changed"
    shutil.copytree(seen.directory, place, copy_function=lambda a, b: Path(b).hardlink_to(a))

    def change(name: str, how: Change) -> Path:
        path = place / name
        value = json.loads(path.read_text())
        how(value)
        path.unlink()
        path.write_text(json.dumps(value))
        return place

    return change


def _errors(outcome: Outcome) -> list[str]:
    return [f"{one.rule}: {one.message}" for one in outcome.findings if one.is_error]


def test_a_segment_over_the_table_of_lpis_is_told_before_the_jump(
    changed: Callable[[str, Change], Path], outcome: Outcome
) -> None:
    [kernel] = [one for one in outcome.payload if one.name == "kernel"]

    def over(value: dict[str, Any]) -> None:
        for one in value["redistributors"]:
            one["GICR_PROPBASER"] = hex(kernel.at + 0x10_0000 | 0x78F)

    told = take_up(changed("devices.json", over), Job(plain=True))
    [error] = _errors(told)
    assert error.startswith("around.tables: the kernel at PA")
    assert f"PA {kernel.at + 0x10_0000:#x}..{kernel.at + 0x10_E000:#x}, which is in use" in error
    place = changed("devices.json", lambda value: value["redistributors"].clear())
    # Nothing of the ITS is over a segment.
    assert _errors(take_up(place, Job(plain=True))) == []


def test_what_the_load_prepared_and_somebody_has_changed_is_told(
    changed: Callable[[str, Change], Path], seen: Recorded
) -> None:
    """Of pages that machine_kexec_post_load has stored to, most are the tables of the move."""
    stored = json.loads((seen.directory / "load.json").read_text())["stored"]
    size, base = max((int(size, 16), base) for base, size in stored)
    assert size > 100 * 4096
    place = changed("load.json", lambda value: value.update(changed=[[base, "0x1000"]]))
    [error] = _errors(take_up(place, Job(plain=True)))
    end = hex(int(base, 16) + 0x1000)
    assert error.startswith(f"around.prepared: PA {base}..{end} of the ")
    assert "copy is not what it was" in error


def test_a_cpu_that_is_parked_where_a_segment_goes_is_told(
    changed: Callable[[str, Change], Path], outcome: Outcome
) -> None:
    [kernel] = [one for one in outcome.payload if one.name == "kernel"]

    def parked(value: dict[str, Any]) -> None:
        value["cpus"][1]["power"] = "unknown"
        own = value["cpus"][1]["registers"]
        own |= {"PC": hex(kernel.at), "CPSR": "0x3c5", "SCTLR_EL1": "0x0"}

    [error] = _errors(take_up(changed("registers.json", parked), Job(plain=True)))
    place = f"executes at PA {kernel.at:#x}"
    assert error.startswith(f"around.cpus: CPU 1 is not switched off, and {place}")


def test_what_is_missing_or_of_another_machine_is_named(
    changed: Callable[[str, Change], Path], tmp_path: Path
) -> None:
    def registers(how: Change) -> Change:
        return lambda value: how(value["cpus"][0]["registers"])

    def without_el2(one: dict[str, Any]) -> None:
        for name in [name for name in one if name.endswith("_EL2")]:
            del one[name]

    place = changed("registers.json", registers(without_el2))
    with pytest.raises(MachineError, match="lacks HCR_EL2: its kernel came from EL2"):
        take_up(place)
    place = changed("registers.json", registers(lambda one: one.pop("TTBR1_EL1")))
    with pytest.raises(MachineError, match="lacks TTBR1_EL1"):
        take_up(place)
    whole = registers(lambda one: one.update(TTBR1_EL1="0x40000000", VBAR_EL1="0xffff800008000000"))
    with pytest.raises(MachineError, match="leads to no vectors of"):
        take_up(changed("registers.json", whole))
    place = changed("snapshot.json", lambda value: value["kernel"].update(sha256="0" * 64))
    with pytest.raises(FormatError, match="is not the kernel that ran"):
        take_up(place)
    place = changed("snapshot.json", lambda value: value["kernel"].update(included=False))
    with pytest.raises(FormatError, match="is not in the snapshot"):
        take_up(place)
    with pytest.raises(MachineError, match="a machine already"):
        take_up(place, Job(memory=1 << 30))


def test_a_qemu_that_does_not_start_or_never_gets_there_is_ended_and_told(
    kernel_6_1: Path, tmp_path: Path
) -> None:
    place = tmp_path / "snapshot"
    with pytest.raises(MachineError, match=r"ends at once: .*machine type"):
        record(kernel_6_1, place, ("-M", "nonsense"))
    with pytest.raises(MachineError, match=r"never .*, within 0.1 s"):
        record(kernel_6_1, place, MACHINE, seconds=0.1)
    with pytest.raises(MachineError, match="is no memory"):
        record(kernel_6_1, place, ("-m", "1"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_qemu_if_we_are_killed(
    kernel_6_1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with started(Files().kernel(kernel_6_1), MACHINE) as qemu:
        # It runs, with its RAM, which has no name.
        assert list(tmp_path.iterdir()) == []
        assert qemu.ram.size == qemu.memory == 512 << 20
        assert qemu.client.cpus()


def test_a_qemu_of_which_nothing_is_said_has_aarch64(kernel_6_1: Path) -> None:
    # That of its virt has not: no kernel came up, and the time was over.
    for arguments in ((), ("-M", "virt,gic-version=3")):
        with started(Files().kernel(kernel_6_1), ("-m", "256M", *arguments)) as qemu:
            assert {"x0", "cpsr"} <= set(qemu.client.registers())
    with pytest.raises(MachineError, match="ends at once"):
        started(Files().kernel(kernel_6_1), ("-M", "nonsense"))


def test_it_can_be_looked_at(seen: Recorded) -> None:
    """Where it stopped, by name: the branch, the list, the code that was copied."""
    found = read_snapshot(seen.directory)
    pc = found.left_by.registers["PC"]
    opened = relokit.open(seen.directory)
    assert isinstance(opened, relokit.StoppedMachine)
    listed = opened.page_list(last=3)
    assert listed.problem is None
    assert listed.rows[0].kind == "indirection"
    [walked] = [one for one in opened.walk(pc).walks or () if one.executable and one.steps]
    assert walked.owner == "old kernel"
    steps = opened.steps(last=1).steps
    assert steps[0].text.split()[0] in ("br", "blr")
    assert steps[0].pc == pc


def test_a_boot_engineer_finds_out_why_nothing_follows_bye(
    changed: Callable[[str, Change], Path],
    outcome: Outcome,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the snapshot to the rule, what it means, a look at it, and a page to hand on."""
    [kernel] = [one for one in outcome.payload if one.name == "kernel"]

    def over(value: dict[str, Any]) -> None:
        for one in value["redistributors"]:
            one["GICR_PROPBASER"] = hex(kernel.at + 0x10_0000 | 0x78F)

    def cli(*words: object) -> str:
        """What is printed; a finding ends it with 1."""
        code = main([*map(str, words)])
        told = capsys.readouterr().out
        assert code == (1 if words[0] in ("run", "judge") else 0), told
        return told

    snapshot, stored, page = changed("devices.json", over), tmp_path / "trace", tmp_path / "page"
    told = cli("run", "--snapshot", snapshot, "--trace", stored, "--report", page)
    assert "around.tables  the kernel at PA 0x" in told
    assert "FAIL  1 finding" in told
    assert "around.tables" in cli("judge", stored)
    assert "must hold" in cli("explain", "around.tables")
    assert "destination: kernel" in cli("show", "list", "--snapshot", snapshot, "--to", "3")
    assert "old kernel" in cli("show", "memory", "--snapshot", snapshot)
    text = page.read_text()
    assert '<p class="verdict bad">FAIL</p>' in text
    assert "around.tables" in text


def test_a_report_names_the_files_it_was_made_of(seen: Recorded) -> None:
    """It said that no file was read, and that kernel and code were made here."""
    found = list(inputs_of([("snapshot", seen.directory)], Files()))
    assert [one.role for one in found[:-1]] == ["snapshot"] * (len(found) - 1)
    assert {"snapshot.json", "registers.json", "ram"} <= {one.name for one in found}
    assert found[-1].role == "kernel"
    assert (found[-1].banner or "").startswith("Linux version 6.1.")
    assert found[-1].sha256 == read_snapshot(seen.directory).kernel.sha256
