"""From a Job to Inputs: how much memory, which tree, what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.board.devicetree import memory_of, virt_dtb
from relokit.runtime.board.fdt import parse
from relokit.runtime.guest.memory import host_limit
from relokit.runtime.kexec.guest_ram import DEFAULT_RAM
from relokit.runtime.kexec.inputs import Inputs, load_inputs
from relokit.runtime.kexec.job import DEFAULT_CMDLINE, RAM_BASE, Job
from relokit.runtime.kexec.opened_inputs import open_inputs

OLD_KERNEL = 64 << 10
SIZE = 1 * MIB


def load(job: Job, target: Target | None = None) -> Inputs:
    return load_inputs(target or Target(), job, open_inputs(job), None, OLD_KERNEL)


def tree_of(inputs: Inputs) -> bytes:
    (loaded,) = (part for part in inputs.segments if part.segment.name == "device tree")
    import numpy as np

    out = np.empty(loaded.content.size, dtype=np.uint8)
    loaded.content.read(0, out)
    return out.tobytes()


def board(tmp_path: Path, size: int, base: int = 1 << 30) -> Path:
    path = tmp_path / "board.dtb"
    path.write_bytes(virt_dtb(base, size))
    return path


def test_without_a_tree_it_is_virt_with_enough_memory() -> None:
    inputs = load(Job(size=SIZE))
    assert (inputs.ram.base, inputs.ram.size) == (RAM_BASE, DEFAULT_RAM)
    assert memory_of(tree_of(inputs)) == ((RAM_BASE, DEFAULT_RAM),)
    chosen = parse(tree_of(inputs)).root.child("chosen")
    assert chosen is not None
    assert chosen.properties["bootargs"] == DEFAULT_CMDLINE.encode() + b"\0"


def test_memory_grows_with_the_payload_and_no_further() -> None:
    size = 1500 * MIB
    inputs = load(Job(size=size))
    assert 2 * size < inputs.ram.size < 2 * size + 512 * MIB


def test_memory_as_asked() -> None:
    inputs = load(Job(size=SIZE, memory=256 * MIB))
    assert inputs.ram.size == 256 * MIB
    assert memory_of(tree_of(inputs)) == ((RAM_BASE, 256 * MIB),)


def test_a_tree_with_more_memory_than_the_host_is_clipped_to_what_is_needed(tmp_path: Path) -> None:
    limit, _ = host_limit()
    huge = 1 << 44
    assert huge > limit
    inputs = load(Job(size=SIZE, dtb=board(tmp_path, huge)))
    assert (inputs.ram.base, inputs.ram.size) == (1 << 30, DEFAULT_RAM)
    # The new kernel is told of all of it nevertheless: the tree is the board's.
    assert memory_of(tree_of(inputs)) == ((1 << 30, huge),)
    asked = load(Job(size=SIZE, dtb=board(tmp_path, huge), memory=512 * MIB))
    assert asked.ram.size == 512 * MIB


def test_a_tree_with_less_memory_than_the_default_is_obeyed(tmp_path: Path) -> None:
    inputs = load(Job(size=SIZE, dtb=board(tmp_path, 200 * MIB, base=0x8000_0000)))
    assert (inputs.ram.base, inputs.ram.size) == (0x8000_0000, 200 * MIB)
    for loaded in inputs.segments:
        assert loaded.segment.mem >= 0x8000_0000
        assert loaded.segment.mem + loaded.segment.memsz <= 0x8000_0000 + 200 * MIB


def test_memory_that_does_not_start_at_a_page(tmp_path: Path) -> None:
    inputs = load(
        Job(size=SIZE, dtb=board(tmp_path, 256 * MIB, base=(1 << 30) + 4096)),
        Target(page_size=65536),
    )
    assert inputs.ram.base == (1 << 30) + 65536
    assert inputs.ram.size % 65536 == 0
    assert inputs.ram.base + inputs.ram.size <= (1 << 30) + 4096 + 256 * MIB


def test_too_little_memory_names_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"300\.0 MiB to move need \d+ MiB .* 512 MiB") as caught:
        load(Job(size=300 * MIB, dtb=board(tmp_path, 512 * MIB)))
    assert "--memory" in (caught.value.hint or "")
    with pytest.raises(MachineError, match=r"1024 MiB .* device tree has 512 MiB"):
        load(Job(size=SIZE, memory=1024 * MIB, dtb=board(tmp_path, 512 * MIB)))


def test_a_sparse_initrd_counts_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    path.touch()
    os.truncate(path, 600 * MIB)
    with pytest.raises(MachineError, match=r"601\.0 MiB to move"):
        load(Job(size=SIZE, initrd=path, memory=1024 * MIB))


def test_initrd_is_named_in_the_tree_where_it_is_put(tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    path.write_bytes(os.urandom(5000))
    inputs = load(Job(size=SIZE, initrd=path, dtb=board(tmp_path, 256 * MIB), cmdline="quiet"))
    (initrd,) = (part.segment for part in inputs.segments if part.segment.name == "initrd")
    chosen = parse(tree_of(inputs)).root.child("chosen")
    assert chosen is not None
    assert int.from_bytes(chosen.properties["linux,initrd-start"], "big") == initrd.mem
    assert int.from_bytes(chosen.properties["linux,initrd-end"], "big") == initrd.mem + 5000
    assert chosen.properties["bootargs"] == b"quiet\0"


def test_a_tree_without_memory_is_named(tmp_path: Path) -> None:
    path = board(tmp_path, 0x1234_5000)
    path.write_bytes(path.read_bytes().replace(b"memory\0", b"memorx\0"))
    with pytest.raises(MachineError, match="no memory node") as caught:
        load(Job(size=SIZE, dtb=path))
    assert caught.value.where == str(path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("regime", "page_size", "cpu"),
    [
        (Regime.EL1, 4096, "a72"),
        (Regime.NVHE, 65536, "a72"),
        (Regime.NVHE, 16384, "max"),
        (Regime.VHE, 4096, "max"),
    ],
)
def test_cpu_that_has_what_is_asked(regime: Regime, page_size: int, cpu: str) -> None:
    assert load(Job(size=SIZE), Target(regime=regime, page_size=page_size)).cpu == cpu
