"""Whatever is given for a field: it becomes the value it stands for, or is refused by name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.coercion import choice, choices
from relokit.codegen.base.errors import MachineError, RelokitError, TargetError
from relokit.codegen.kimage_layouts import LAYOUTS
from relokit.codegen.series import Feature
from relokit.codegen.target import Regime, Target
from relokit.diffing.instructions.normalise import Aspect
from relokit.runtime.campaign.cells import Payload, Selection, cells
from relokit.runtime.kexec.job import Job, KexecPath, Order, Shape, TraceFormat


class Foreign(StrEnum):
    """Spelled like members of others."""

    NVHE = "nvhe"
    SHUFFLED = "shuffled"
    CRASH = "crash"


ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=60)
    | st.binary(max_size=8)
    | st.lists(st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
    | st.sampled_from([*Regime, *KexecPath, *Order, *Shape, *Payload, *Foreign, *Feature])
    | st.sampled_from(["nvhe", "16k", "4K", "before", "15", "crash", "6.12", "one-page", "/x"])
    | st.sampled_from([Regime, object(), Path("/x"), np.int64(3), 3 + 0j, Target(), Job()])
)


def test_targets_are_spelled_as_on_the_command_line() -> None:
    spelled = Target(series="9", page_size="16k", regime="vhe", layout="6.12")  # type: ignore[arg-type]
    assert spelled == Target(9, 16384, regime=Regime.VHE, layout=LAYOUTS["6.12"])
    assert spelled.regime is Regime.VHE


def test_jobs_are_spelled_as_on_the_command_line() -> None:
    job = Job(path="purgatory", order="in-order", shape="gaps", kernel="/boot/vmlinuz")  # type: ignore[arg-type]
    assert (job.path, job.order, job.shape) == (KexecPath.PURGATORY, Order.IN_ORDER, Shape.GAPS)
    assert job.path is KexecPath.PURGATORY
    assert job.kernel == Path("/boot/vmlinuz")
    assert Job(dtb=PurePosixPath("/x")).dtb == Path("/x")  # type: ignore[arg-type]


def test_selections_are_spelled_as_on_the_command_line() -> None:
    spelled = Selection(
        series=["before", 15],  # type: ignore[arg-type,list-item]
        page_sizes=("64k",),  # type: ignore[arg-type]
        regimes=["el1"],  # type: ignore[arg-type,list-item]
        paths=("crash",),  # type: ignore[arg-type]
        payloads=("no-list",),  # type: ignore[arg-type]
        layout="6.1",  # type: ignore[arg-type]
    )
    meant = Selection(
        (0, 15), (65536,), None, (Regime.EL1,), (KexecPath.CRASH,), (Payload.NO_LIST,)
    )
    assert spelled == meant
    assert [cell.id for cell in cells(spelled)] == [cell.id for cell in cells(meant)]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("regime", "el7", ("no regime 'el7'", "el1, nvhe, vhe")),
        ("regime", Foreign.NVHE, ("no regime 'nvhe'",)),
        ("regime", 1, ("regime cannot be of type int", "el1, nvhe, vhe")),
        ("series", "16", ("no such state of the series: '16'",)),
        ("series", True, ("series cannot be of type bool", "whole number")),
        ("series", 15.0, ("series cannot be of type float",)),
        ("page_size", "8k", ("no '8k' page size",)),
        ("va_bits", "48", ("va_bits cannot be '48'", "whole number")),
        ("layout", "6.2", ("no kimage layout for kernel '6.2'", "6.12")),
        ("layout", None, ("layout cannot be of type NoneType", "KimageLayout")),
    ],
)
def test_a_target_refuses_by_name(field: str, value: object, words: tuple[str, ...]) -> None:
    with pytest.raises(TargetError) as raised:
        Target(**{field: value})  # type: ignore[arg-type]
    assert all(word in str(raised.value) for word in words)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("path", "crush", ("no path 'crush'", "normal, purgatory, in-place, crash, hibernate")),
        ("order", Foreign.SHUFFLED, ("no order 'shuffled'", "reversed")),
        ("shape", None, ("shape cannot be of type NoneType", "own-place")),
        ("kernel", b"/boot/vmlinuz", ("kernel cannot be of type bytes", "a path")),
        ("size", "84M", ("size cannot be '84M'", "whole number")),
        ("size", 1.5, ("size cannot be of type float",)),
        ("observe", 1, ("observe cannot be of type int", "True or False")),
        ("cmdline", Path("quiet"), ("cmdline cannot be of type", "text")),
        ("timeout", "soon", ("timeout cannot be 'soon'", "a number")),
        ("path", "x" * 1000, ("no path 'xxxx",)),
    ],
)
def test_a_job_refuses_by_name(field: str, value: object, words: tuple[str, ...]) -> None:
    with pytest.raises(MachineError) as raised:
        Job(**{field: value})  # type: ignore[arg-type]
    text = str(raised.value)
    assert all(word in text for word in words)
    assert len(text) < 300


@pytest.mark.parametrize("field", ["series", "paths", "regimes", "payloads"])
@pytest.mark.parametrize("value", ["crash", {"crash"}, 3, iter(())])
def test_many_are_a_tuple_or_a_list(field: str, value: object) -> None:
    with pytest.raises(TargetError, match=f"{field} cannot be"):
        Selection(**{field: value})  # type: ignore[arg-type]


def test_choices_of_a_diff_are_spelled_too() -> None:
    assert choices(Aspect, ["registers", Aspect.PADDING], "aspect") == (
        Aspect.REGISTERS,
        Aspect.PADDING,
    )
    assert choices(Aspect, "registers", "aspect") == (Aspect.REGISTERS,)
    with pytest.raises(RelokitError, match="no aspect 'register'"):
        choice(Aspect, "register", "aspect")


TARGET_TYPES = {"regime": Regime, "layout": type(LAYOUTS["6.1"])}
JOB_TYPES: dict[str, Any] = {
    "kernel": Path, "initrd": Path, "dtb": Path, "code_from": Path, "templates": Path,
    "cmdline": str, "profile": str, "order": Order, "path": KexecPath, "shape": Shape,
    "observe": bool,
    "trace_format": TraceFormat,
    "boot": (int, float), "timeout": (int, float),
}  # fmt: skip


@settings(deadline=None)
@given(field=st.sampled_from(sorted(Target.__dataclass_fields__)), value=ANYTHING)
def test_a_target_never_keeps_what_is_something_else(field: str, value: object) -> None:
    try:
        target = Target(**{field: value})  # type: ignore[arg-type]
    except TargetError:
        return
    assert type(getattr(target, field)) is TARGET_TYPES.get(field, int)
    assert hash(target) == hash(Target(**{field: getattr(target, field)}))


BOOLEANS = {name for name, field in Job.__dataclass_fields__.items() if field.type == "bool"}


@settings(deadline=None)
@given(field=st.sampled_from(sorted(Job.__dataclass_fields__)), value=ANYTHING)
def test_a_job_never_keeps_what_is_something_else(field: str, value: object) -> None:
    try:
        kept = getattr(Job(**{field: value}), field)  # type: ignore[arg-type]
    except MachineError:
        return
    assert (kept is None and value is None) or isinstance(kept, JOB_TYPES.get(field, int))
    assert isinstance(kept, bool) == (field in BOOLEANS)
    # A member of another enum that is spelled alike would be equal to ours, and not it.
    assert not isinstance(kept, StrEnum) or type(kept) is JOB_TYPES[field]
