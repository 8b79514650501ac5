"""What there is to see in a machine, as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from relokit.cli.terminal.output import plain_lines
from relokit.cli.terminal.show_code_view import (
    code_lines,
    steps_lines,
    timeline_lines,
    vectors_lines,
)
from relokit.cli.terminal.show_map_view import list_lines, memory_lines, tables_lines
from relokit.runtime.show.shown.question import Topic

_VIEWS: Mapping[Topic, Callable[[Any], Iterator[str]]] = {
    Topic.MEMORY: memory_lines,
    Topic.LIST: list_lines,
    Topic.TABLES: tables_lines,
    Topic.VECTORS: vectors_lines,
    Topic.CODE: code_lines,
    Topic.TIMELINE: timeline_lines,
    Topic.TRACE: steps_lines,
}


def text_of(topic: Topic, found: Any) -> str:
    """All of the answer of ``relokit.show`` about ``topic``."""
    return plain_lines(_VIEWS[topic](found))
