"""relokit: generate, assemble, link and run the arm64 kexec relocation, and judge it; imports
codegen.*, linker.*, diffing.*, runtime.*.

    >>> import relokit
    >>> outcome = relokit.run(relokit.Target(regime=relokit.Regime.VHE))
    >>> outcome.passed
    True

Names are imported when they are first used: ``import relokit`` costs nothing.
"""

from __future__ import annotations

from relokit.codegen.base.version import VERSION

__version__ = VERSION

# Not typing's, which takes longer to import than all that stands here. Type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from relokit.building import build, build_programs, render
    from relokit.codegen.base.errors import (
        AssemblyError,
        FormatError,
        LinkError,
        MachineError,
        NativeCrashError,
        RelokitError,
        TargetError,
        TemplateError,
    )
    from relokit.codegen.kimage_layouts import KimageLayout
    from relokit.codegen.target import Regime, Target
    from relokit.diffing.instructions.normalise import Aspect
    from relokit.diffing.routines.classify import ChangeKind
    from relokit.diffs import diff, series_diff
    from relokit.executed_diffs import behave
    from relokit.explanations import explain
    from relokit.facade import export, generate, judge, run
    from relokit.machines.live_kexec import kexec
    from relokit.machines.looking import BuiltMachine, StoppedMachine, StoredRecord, machine
    from relokit.machines.opening import KernelImage, ObjectFile, open
    from relokit.machines.showing import show, show_record
    from relokit.machines.snapshots import Attached, Recorded, convert, record, take_up
    from relokit.matrix import CellResult, CellStatus, run_matrix
    from relokit.noun_rows import rows
    from relokit.runtime.campaign.cells import Cell, Payload, Selection, cells
    from relokit.runtime.guest.order import Order
    from relokit.runtime.judge.outcome import Finding, Outcome, Status
    from relokit.runtime.kexec.job import Job, KexecPath, Shape, TraceFormat
    from relokit.runtime.live.live_job import LiveJob
    from relokit.runtime.live.live_outcome import LiveOutcome
    from relokit.runtime.show.shown.code_shown import CodeShown, VectorsShown
    from relokit.runtime.show.shown.list_shown import ListShown
    from relokit.runtime.show.shown.memory_shown import MemoryShown
    from relokit.runtime.show.shown.question import Moment, Question, Topic
    from relokit.runtime.show.shown.steps_shown import StepsShown
    from relokit.runtime.show.shown.tables_shown import TablesShown
    from relokit.runtime.show.shown.timeline_shown import TimelineShown
    from relokit.session import Exported, Session

_EXPORTS = {
    "relokit.building": ("build", "build_programs", "render"),
    "relokit.codegen.base.errors": (
        "AssemblyError", "FormatError", "LinkError", "MachineError", "NativeCrashError",
        "RelokitError", "TargetError", "TemplateError",
    ),
    "relokit.codegen.kimage_layouts": ("KimageLayout",),
    "relokit.codegen.target": ("Regime", "Target"),
    "relokit.diffing.instructions.normalise": ("Aspect",),
    "relokit.diffing.routines.classify": ("ChangeKind",),
    "relokit.diffs": ("diff", "series_diff"),
    "relokit.executed_diffs": ("behave",),
    "relokit.explanations": ("explain",),
    "relokit.facade": ("export", "generate", "judge", "run"),
    "relokit.machines.live_kexec": ("kexec",),
    "relokit.machines.looking": ("BuiltMachine", "StoppedMachine", "StoredRecord", "machine"),
    "relokit.machines.opening": ("KernelImage", "ObjectFile", "open"),
    "relokit.machines.showing": ("show", "show_record"),
    "relokit.machines.snapshots": ("Attached", "Recorded", "convert", "record", "take_up"),
    "relokit.matrix": ("CellResult", "CellStatus", "run_matrix"),
    "relokit.noun_rows": ("rows",),
    "relokit.runtime.campaign.cells": ("Cell", "Payload", "Selection", "cells"),
    "relokit.runtime.judge.outcome": ("Finding", "Outcome", "Status"),
    "relokit.runtime.guest.order": ("Order",),
    "relokit.runtime.kexec.job": ("Job", "KexecPath", "Shape", "TraceFormat"),
    "relokit.runtime.live.live_job": ("LiveJob",),
    "relokit.runtime.live.live_outcome": ("LiveOutcome",),
    "relokit.runtime.show.shown.memory_shown": ("MemoryShown",),
    "relokit.runtime.show.shown.list_shown": ("ListShown",),
    "relokit.runtime.show.shown.tables_shown": ("TablesShown",),
    "relokit.runtime.show.shown.code_shown": ("CodeShown", "VectorsShown",),
    "relokit.runtime.show.shown.timeline_shown": ("TimelineShown",),
    "relokit.runtime.show.shown.steps_shown": ("StepsShown",),
    "relokit.runtime.show.shown.question": ("Moment", "Question", "Topic"),
    "relokit.session": ("Exported", "Session"),
}  # fmt: skip
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "Aspect",
    "AssemblyError",
    "Attached",
    "BuiltMachine",
    "Cell",
    "CellResult",
    "CellStatus",
    "ChangeKind",
    "CodeShown",
    "Exported",
    "Finding",
    "FormatError",
    "Job",
    "KernelImage",
    "KexecPath",
    "KimageLayout",
    "LinkError",
    "ListShown",
    "LiveJob",
    "LiveOutcome",
    "MachineError",
    "MemoryShown",
    "Moment",
    "NativeCrashError",
    "ObjectFile",
    "Order",
    "Outcome",
    "Payload",
    "Question",
    "Recorded",
    "Regime",
    "RelokitError",
    "Selection",
    "Session",
    "Shape",
    "Status",
    "StepsShown",
    "StoppedMachine",
    "StoredRecord",
    "TablesShown",
    "Target",
    "TargetError",
    "TemplateError",
    "TimelineShown",
    "Topic",
    "TraceFormat",
    "VectorsShown",
    "__version__",
    "behave",
    "build",
    "build_programs",
    "cells",
    "convert",
    "diff",
    "explain",
    "export",
    "generate",
    "judge",
    "kexec",
    "machine",
    "open",
    "record",
    "render",
    "rows",
    "run",
    "run_matrix",
    "series_diff",
    "show",
    "show_record",
    "take_up",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'relokit' has no attribute {name!r}")
    from importlib import import_module

    from relokit.codegen.base.nouns import draw_by

    # In a notebook nouns are drawn by what makes pages, once there is one to draw.
    draw_by(lambda noun: import_module("relokit.reporting.notebook").html_of(noun))
    return getattr(import_module(_HOME[name]), name)
