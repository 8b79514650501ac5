"""The rules that nothing but a trace can answer; imported only when there is one to judge."""

from __future__ import annotations

from relokit.runtime.judge.rules.caches import CACHES
from relokit.runtime.judge.rules.context import CONTEXT
from relokit.runtime.judge.rules.fetch import FETCH

TRACE_BOOK = (*CACHES, *FETCH, *CONTEXT)
"""In the order in which findings are told; the subjects stand in ``book.TRACE_SUBJECTS``."""
