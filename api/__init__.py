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
    from relokit.codegen.base.errors import RelokitError
    from relokit.codegen.target import Regime, Target
    from relokit.diffs import diff
    from relokit.executed_diffs import behave
    from relokit.facade import export, generate, run
    from relokit.runtime.judge.outcome import Finding, Outcome
    from relokit.runtime.kexec.job import Job

_HOME = {
    "RelokitError": "relokit.codegen.base.errors",
    "Regime": "relokit.codegen.target",
    "Target": "relokit.codegen.target",
    "behave": "relokit.executed_diffs",
    "diff": "relokit.diffs",
    "build": "relokit.building",
    "build_programs": "relokit.building",
    "export": "relokit.facade",
    "generate": "relokit.facade",
    "render": "relokit.building",
    "run": "relokit.facade",
    "Job": "relokit.runtime.kexec.job",
    "Finding": "relokit.runtime.judge.outcome",
    "Outcome": "relokit.runtime.judge.outcome",
}

__all__ = [
    "Finding",
    "Job",
    "Outcome",
    "Regime",
    "RelokitError",
    "Target",
    "__version__",
    "behave",
    "build",
    "build_programs",
    "diff",
    "export",
    "generate",
    "render",
    "run",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'relokit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
