"""The child process in which guests run: Unicorn may abort or hang it, and only it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from relokit.codegen.base.documents import to_json
from relokit.codegen.base.host_file import unpack
from relokit.runtime.room.requests import Request


def prepare() -> None:
    """Import what every run needs, while the parent still renders and assembles."""
    import relokit.runtime.run.verdict  # noqa: F401


def serve(
    request: bytes, progress: Callable[[bytes], None], descriptors: tuple[int, ...] = ()
) -> bytes:
    """Carry out a packed Request; the answer is its document."""
    asked: Request[Any] = unpack(request, descriptors)

    def report(stage: str, done: int, total: int) -> None:
        progress(json.dumps([stage, done, total]).encode())

    return to_json(asked.carry_out(report))
