"""The child process in which guests run: Unicorn may abort or hang it, and only it.

A request is pickled by the parent (which trusts itself); answers are JSON, so that nothing a
guest could have got hold of is ever unpickled.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass

from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.runtime.job import Job


@dataclass(frozen=True, slots=True)
class Request:
    """One run: the old kernel's Image, the demo kernel's bytes and what is asked."""

    target: Target
    image: Image
    demo: bytes
    job: Job


def prepare() -> None:
    """Import what every run needs, while the parent still renders and assembles."""
    import relokit.runtime.run  # noqa: F401


def serve(request: bytes, progress: Callable[[bytes], None]) -> bytes:
    """Carry out a pickled Request; the answer is the Outcome's JSON document."""
    from relokit.runtime.run import run

    asked = pickle.loads(request)
    assert isinstance(asked, Request)

    def report(stage: str, done: int, total: int) -> None:
        progress(json.dumps([stage, done, total]).encode())

    outcome = run(asked.target, asked.image, asked.demo, asked.job, report)
    return json.dumps(outcome.to_json()).encode()
