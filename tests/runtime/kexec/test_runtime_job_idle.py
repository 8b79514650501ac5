"""What would do nothing is refused by name, and what is not refused changes the machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError, RelokitError
from relokit.codegen.target import MIB, Target
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.kexec.job import IDLE, Job, KexecPath, Shape
from relokit.runtime.run.prepare import prepare_machine, prepare_resume
from support.kernels import kernel_file
from support.machines import programs, quiet
from support.touched import digest_of

ELSEWHERE = 0x8000_0000
MOST = 4
"""Options at once that are tried."""
Options = dict[str, Any]


@pytest.fixture(scope="module", name="choices")
def _choices(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[str, Any], ...]:
    """Every option of the machine with a value that is not its default, each path and shape."""
    directory = tmp_path_factory.mktemp("inputs")
    initrd, tree, seeded = (directory / name for name in ("initrd", "dtb", "seeded"))
    initrd.write_bytes(b"initrd" * 1000)
    tree.write_bytes(virt_dtb(ELSEWHERE, 96 * MIB))
    seeded.write_bytes(_with_seed(tree.read_bytes()))
    values: dict[str, tuple[Any, ...]] = {
        "kernel": (kernel_file("off"),),
        "initrd": (initrd,),
        "dtb": (tree, seeded),
        "cmdline": ("x",),
        "size": (3 * MIB,),
        "memory": (80 * MIB,),
        "memory_map": (((0x4000_0000, 96 * MIB),),),
        "crash_size": (32 * MIB,),
        "kernel_at": (0x4500_0000,),
        "initrd_at": (0x4520_0000,),
        "dtb_at": (0x4400_0000,),
        "order": ("reversed",),
        "path": tuple(path for path in KexecPath if path is not KexecPath.NORMAL),
        "shape": tuple(shape for shape in Shape if shape is not Shape.PLAIN),
        "seed": (7,),
    }
    return tuple((name, value) for name, choice in values.items() for value in choice)


def _with_seed(tree: bytes) -> bytes:
    import libfdt

    fdt = libfdt.Fdt(bytearray(tree))
    fdt.resize(len(tree) + 4096)
    fdt.setprop(fdt.path_offset("/chosen"), "kaslr-seed", bytes(range(8)))
    fdt.pack()
    return bytes(fdt.as_bytearray())


class Machines:
    """Machines by what was asked for, each made once: what is in RAM and in the CPU."""

    def __init__(self) -> None:
        self._found: dict[tuple[tuple[str, str], ...], object] = {}

    def of(self, asked: Options) -> object:
        """The machine, or the error that it cannot be."""
        key = tuple(sorted((name, str(value)) for name, value in asked.items()))
        if key not in self._found:
            try:
                self._found[key] = _machine(asked)
            except RelokitError as error:
                self._found[key] = error
        return self._found[key]


def _machine(asked: Options) -> object:
    job, target = Job(**asked), Target()
    if job.path is KexecPath.HIBERNATE:
        guest: Any = prepare_resume(target, programs(target), job)[0]
    else:
        guest = prepare_machine(target, programs(target), job, quiet)
    try:
        return digest_of(guest.memory), guest.memory.banks, guest.state
    finally:
        guest.close()


@cache
def machines() -> Machines:
    return Machines()


def _check(asked: Options, name: str, value: Any) -> None:
    """One option more is refused, or changes what is asked for."""
    plain, more = machines().of(asked), machines().of(asked | {name: value})
    if isinstance(plain, RelokitError):
        return
    if isinstance(more, RelokitError):
        assert more.hint
        return
    assert more != plain, (name, value, asked)


def test_of_each_pair_the_one_changes_what_the_other_asks_for(
    choices: tuple[tuple[str, Any], ...],
) -> None:
    for name, value in choices:
        _check({}, name, value)
    for one, other in combinations(choices, 2):
        if one[0] != other[0]:
            _check(dict([one]), *other)
            _check(dict([other]), *one)
    answers = machines()._found.values()
    assert sum(not isinstance(answer, RelokitError) for answer in answers) > 150


@settings(max_examples=150)
@given(data=st.data())
def test_and_of_several(choices: tuple[tuple[str, Any], ...], data: st.DataObject) -> None:
    picked = data.draw(st.lists(st.sampled_from(choices), min_size=3, max_size=MOST))
    asked = dict(picked)
    name, value = data.draw(st.sampled_from(sorted(asked.items(), key=str)))
    _check({one: kept for one, kept in asked.items() if one != name}, name, value)


@pytest.mark.parametrize("idle", IDLE, ids=lambda idle: idle.where)
def test_each_row_refuses_by_name(idle: Any, choices: tuple[tuple[str, Any], ...]) -> None:
    values = dict(choices) | {"boot": 1.0, "expect": "x", "interrupts": 1, "include_dir": "d"}
    way = _way(idle.when, choices)
    for name in idle.fields:
        with pytest.raises(MachineError) as caught:
            Job(**way | {name: values[name]})
        flag = name.replace("_", "-")
        assert caught.value.message.startswith(f"{flag} "), way
        assert caught.value.hint == f"leave --{flag} out"


def _way(when: Callable[[Job], bool], choices: tuple[tuple[str, Any], ...]) -> Options:
    """Options of a Job that a row of the table is about: one that is, or is not, the default."""
    loaded = {"path": KexecPath.HIBERNATE, "shape": Shape.LOADED}
    ways = ({}, {"boot": 1.0}, loaded, *(dict([choice]) for choice in choices))
    return next(way for way in ways if _is(when, way))


def _is(when: Callable[[Job], bool], way: Options) -> bool:
    try:
        return when(Job(**way))
    except MachineError:
        return False
