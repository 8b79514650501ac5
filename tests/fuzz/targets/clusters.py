"""What a worker of a cluster sends back: a Reply, whatever is in it.

Dask unpickles it, so who sends it is trusted with code; what is tried is that a reply of another
shape (another version, a worker that was mended by hand) is one request's error, told at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future
from functools import cache
from typing import Any

from fuzz.door import Door, WrongError
from fuzz.mutations import documents
from fuzz.targets.stored import JSON, outcome_document
from relokit.cluster import Reply, answered
from relokit.codegen.base.errors import RelokitError
from relokit.runtime.judge.outcome import Outcome

ERROR = ["no such file", "where", "the line", "the way out"]


@cache
def _replies() -> Sequence[bytes]:
    outcome = json.loads(outcome_document())
    rows = (
        {"answer": outcome, "seconds": 1.5, "error": None, "crashed": False},
        {"answer": None, "seconds": 0.0, "error": ERROR, "crashed": True},
        {"answer": None, "seconds": 0.0, "error": [ERROR[0], None, None, None], "crashed": False},
    )
    return [json.dumps(row).encode() for row in rows]


def _reply(case: bytes) -> Any:
    try:
        row = json.loads(case)
    except (ValueError, RecursionError):
        return case
    if not isinstance(row, dict):
        return row
    answer = row.get("answer")
    if isinstance(answer, dict):
        answer = json.dumps(answer).encode()
    error = row.get("error")
    return Reply(answer, row.get("seconds"), tuple(error) if isinstance(error, list) else error,
                 row.get("crashed"))  # type: ignore[arg-type]  # fmt: skip


def _answer(case: bytes) -> object:
    done: Future[Any] = Future()
    done.set_result(_reply(case))
    found = answered(done, Outcome)
    if not isinstance(found.given, (Outcome, RelokitError)) or not found.seconds >= 0:
        raise WrongError("an answer that is none")
    return found.answer


DOORS = (
    Door("cluster", "replies of a cluster's workers", _replies,
         documents(JSON + " crashed seconds"), _answer, 0.3),
)  # fmt: skip
