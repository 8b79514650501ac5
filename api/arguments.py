"""What the verbs are given: a target, a job, a path, each as itself or refused by name."""

from __future__ import annotations

from pathlib import Path

from relokit.codegen.base.coercion import argument
from relokit.codegen.target import Target
from relokit.runtime.kexec.job import Job


def target_or_default(target: Target | None) -> Target:
    """``target``, by default nVHE with all patches. Raises RelokitError for anything else."""
    return Target() if target is None else argument("target", target, Target)


def job_or_default(job: Job | None) -> Job:
    """``job``, by default the demo kernel. Raises RelokitError for anything else."""
    return Job() if job is None else argument("job", job, Job)


def path_or_none(name: str, path: Path | None) -> Path | None:
    """``path``, which may come as text. Raises RelokitError for anything else."""
    return None if path is None else argument(name, path, Path)
