"""A question about a Machine, answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.show.memory_shown import MemoryShown, memory_shown
from relokit.runtime.show.question import Question, Topic


def _memory(machine: Machine, question: Question, job: Job) -> MemoryShown:
    return memory_shown(machine, question.moment, job)


_ANSWERS: Mapping[Topic, Callable[[Machine, Question, Job], Any]] = {
    Topic.MEMORY: _memory,
}
ANSWERS: Mapping[Topic, type[Any]] = {
    Topic.MEMORY: MemoryShown,
}
"""By topic, what the answer is."""


def answer(machine: Machine, question: Question, job: Job) -> Any:
    """What there is to see in ``machine``, one of ANSWERS; ``job`` has the limits.

    Raises MachineError where the moment never comes, and for what is not there.
    """
    return _ANSWERS[question.topic](machine, question, job)
