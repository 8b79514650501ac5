"""A question about a Machine, answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.show.read_code import code_shown, vectors_shown
from relokit.runtime.show.read_list import list_shown
from relokit.runtime.show.read_memory import memory_shown
from relokit.runtime.show.read_steps import steps_shown
from relokit.runtime.show.read_tables import tables_shown
from relokit.runtime.show.shown.question import Question, Topic

_ANSWERS: Mapping[Topic, Callable[[Machine | Resume, Question, Job], Any]] = {
    Topic.MEMORY: memory_shown,
    Topic.LIST: list_shown,
    Topic.TABLES: tables_shown,
    Topic.VECTORS: vectors_shown,
    Topic.CODE: code_shown,
    Topic.TRACE: steps_shown,
}


def answer(machine: Machine | Resume, question: Question, job: Job) -> Any:
    """What there is to see in ``machine``, of the topic's noun; ``job`` has the limits.

    Raises MachineError where the moment never comes, and for what is not there.
    """
    return _ANSWERS[question.topic](machine, question, job)
