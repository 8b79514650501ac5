"""The rules that nothing but a trace can answer; imported only when there is one to judge."""

from __future__ import annotations

from relokit.runtime.judge.rules.break_before_make import BREAK_BEFORE_MAKE
from relokit.runtime.judge.rules.caches import CACHES
from relokit.runtime.judge.rules.context import CONTEXT
from relokit.runtime.judge.rules.fetch import FETCH
from relokit.runtime.judge.rules.interrupts import INTERRUPTS
from relokit.runtime.judge.rules.ownership import OWNERSHIP
from relokit.runtime.judge.rules.stack import STACK
from relokit.runtime.judge.rules.stub_calls import CALLS
from relokit.runtime.judge.rules.tlb import TLB

TRACE_BOOK = (
    *OWNERSHIP, *CACHES, *FETCH, *CONTEXT, *BREAK_BEFORE_MAKE, *TLB, *INTERRUPTS, *CALLS, *STACK,
)  # fmt: skip
"""In the order in which findings are told; the subjects stand in ``book.TRACE_SUBJECTS``."""
