"""relokit: generate, assemble, link and run the arm64 kexec relocation, and judge it; imports
codegen.*, linker.*, diffing.*, runtime.*.

    >>> import relokit
    >>> outcome = relokit.run(relokit.Target(regime=relokit.Regime.VHE))
    >>> outcome.passed
    True

Names are imported when they are first used: ``import relokit`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relokit.codegen.base.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
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
    from relokit.matrix import CellResult, CellStatus, run_matrix
    from relokit.runtime.campaign.cells import Cell, Payload, Selection, cells
    from relokit.runtime.guest.order import Order
    from relokit.runtime.judge.outcome import Finding, Outcome, Status
    from relokit.runtime.kexec.job import Job, KexecPath, Shape, TraceFormat
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
    "relokit.matrix": ("CellResult", "CellStatus", "run_matrix"),
    "relokit.runtime.campaign.cells": ("Cell", "Payload", "Selection", "cells"),
    "relokit.runtime.judge.outcome": ("Finding", "Outcome", "Status"),
    "relokit.runtime.guest.order": ("Order",),
    "relokit.runtime.kexec.job": ("Job", "KexecPath", "Shape", "TraceFormat"),
    "relokit.session": ("Exported", "Session"),
}  # fmt: skip
_HOME = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "Aspect",
    "AssemblyError",
    "Cell",
    "CellResult",
    "CellStatus",
    "ChangeKind",
    "Exported",
    "Finding",
    "FormatError",
    "Job",
    "KexecPath",
    "KimageLayout",
    "LinkError",
    "MachineError",
    "NativeCrashError",
    "Order",
    "Outcome",
    "Payload",
    "Regime",
    "RelokitError",
    "Selection",
    "Session",
    "Shape",
    "Status",
    "Target",
    "TargetError",
    "TemplateError",
    "TraceFormat",
    "__version__",
    "behave",
    "build",
    "build_programs",
    "cells",
    "diff",
    "explain",
    "export",
    "generate",
    "judge",
    "render",
    "run",
    "run_matrix",
    "series_diff",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'relokit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
