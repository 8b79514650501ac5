"""What would do nothing is refused by name, and what is not refused changes the machine."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import MIB, Target
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.kexec.job import IDLE, Job
from relokit.runtime.run.prepare import prepare_machine, prepare_resume
from support.kernels import kernel_file
from support.machines import programs, quiet

ELSEWHERE = 0x8000_0000
PATHS = ("normal", "in-place", "crash", "hibernate")
WAYS: tuple[dict[str, Any], ...] = (
    *({"path": path} for path in PATHS),
    {"shape": "one-page"},
    {"size": 1 * MIB},
)
FIELDS = (
    "kernel", "initrd", "cmdline", "kernel_at", "initrd_at", "dtb_at", "dtb", "order",
)  # fmt: skip


def _value(name: str, directory: Path) -> Any:
    initrd, tree = directory / "initrd", directory / "dtb"
    initrd.write_bytes(b"initrd" * 1000)
    tree.write_bytes(virt_dtb(ELSEWHERE, 96 * MIB))
    return {
        "kernel": kernel_file("off"),
        "initrd": initrd,
        "cmdline": "x",
        "kernel_at": 0x4500_0000,
        "initrd_at": 0x4520_0000,
        "dtb_at": 0x4400_0000,
        "dtb": tree,
        "order": "reversed",
        "boot": 1.0,
        "expect": "x",
        "interrupts": 1,
    }[name]


def _machine(way: dict[str, Any]) -> tuple[bytes, object]:
    job, target = Job(**way), Target()
    if way.get("path") == "hibernate":
        guest: Any = prepare_resume(target, programs(target), job)[0]
    else:
        guest = prepare_machine(target, programs(target), job, quiet)
    try:
        memory = guest.memory
        return blake2b(memory.view(memory.base, memory.size).data).digest(), guest.state
    finally:
        guest.close()


def _refusal(asked: dict[str, Any]) -> MachineError | None:
    try:
        Job(**asked)
    except MachineError as error:
        return error
    return None


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_each_pair_changes_the_machine_or_is_refused_by_name(
    way: dict[str, Any], tmp_path: Path
) -> None:
    base = {"memory": 96 * MIB} | way
    plain = _machine(base)
    for name in FIELDS:
        asked = base | {name: _value(name, tmp_path)}
        if name == "dtb":
            del asked["memory"]
        if error := _refusal(asked):
            flag = name.replace("_", "-")
            assert (error.message.split()[0], error.hint) == (flag, f"leave --{flag} out")
        else:
            assert _machine(asked) != plain, (way, name)


@pytest.mark.parametrize("idle", IDLE, ids=lambda idle: idle.where)
def test_the_table_is_of_fields_that_there_are(idle: Any, tmp_path: Path) -> None:
    for name in idle.fields:
        assert getattr(Job(), name, "none") is None or name == "order"
        assert _value(name, tmp_path) is not None
