"""The rules that nothing but a trace can answer; imported only when there is one to judge."""

from __future__ import annotations

from relokit.runtime.judge.rules.traced.attributes import ATTRIBUTES
from relokit.runtime.judge.rules.traced.break_before_make import BREAK_BEFORE_MAKE
from relokit.runtime.judge.rules.traced.caches import CACHES
from relokit.runtime.judge.rules.traced.context import CONTEXT
from relokit.runtime.judge.rules.traced.fetch import FETCH
from relokit.runtime.judge.rules.traced.instructions import INSTRUCTIONS
from relokit.runtime.judge.rules.traced.interrupts import INTERRUPTS
from relokit.runtime.judge.rules.traced.landing import LANDING
from relokit.runtime.judge.rules.traced.ownership import OWNERSHIP
from relokit.runtime.judge.rules.traced.stack import STACK
from relokit.runtime.judge.rules.traced.stub_calls import CALLS
from relokit.runtime.judge.rules.traced.tlb import TLB

TRACE_BOOK = (
    *OWNERSHIP, *CACHES, *FETCH, *CONTEXT, *BREAK_BEFORE_MAKE, *TLB, *ATTRIBUTES,
    *INTERRUPTS, *CALLS, *STACK, *INSTRUCTIONS, *LANDING,
)  # fmt: skip
"""In the order in which findings are told; the subjects stand in ``book.TRACE_SUBJECTS``."""
