"""Operand lists: cut at commas, registers and keywords told from expressions."""

from __future__ import annotations

import re
from functools import lru_cache

from relokit.codegen.base.errors import AssemblyError

REMEMBERED = 2048
"""Lines, and operands, that are not parsed again: more than the templates of a program have."""
_PIECE = re.compile(r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^\\])'?|[^"'\[\](){},]+)|(?P<mark>.)""")
_CLOSERS = {"(": ")", "[": "]", "{": "}"}

_REGISTER = re.compile(
    r"[xw](?:[0-9]|[12][0-9]|30|zr)|w?sp|[bhsdq](?:[0-9]|[12][0-9]|3[01])"
    r"|v(?:[0-9]|[12][0-9]|3[01])\.[0-9]{0,2}[bhsdq](?:\[[0-9]{1,2}\])?",
    re.ASCII,
)
_ALIASES = {"fp": "x29", "lr": "x30", "ip0": "x16", "ip1": "x17"}
_CONDITIONS = "eq ne cs hs cc lo mi pl vs vc hi ls ge lt gt le al nv"
_KEYWORD = re.compile(
    rf"(?:{_CONDITIONS.replace(' ', '|')}|c(?:[0-9]|1[0-5])|(?:pld|pli|pst)l[123](?:keep|strm))",
    re.ASCII,
)
SVE_CONDITIONS = {
    "none": "eq", "any": "ne", "nlast": "cs", "last": "cc", "first": "mi", "nfrst": "pl",
    "pmore": "hi", "plast": "ls", "tcont": "ge", "tstop": "lt", "ul": "cc",
}  # fmt: skip
"""What SVE calls a condition after what set it (ARM DDI 0487, C1.2.4), and GNU as's UL."""
CONDITIONS = frozenset(_CONDITIONS.split())
"""Condition codes (ARM DDI 0487, C1.2.4)."""
_BARRIERS = "oshld oshst osh nshld nshst nsh ishld ishst ish ld st sy"
BARRIERS = frozenset(_BARRIERS.split())
"""Barrier options (ARM DDI 0487, C6.2 DMB, DSB)."""


@lru_cache(maxsize=REMEMBERED)
def split_operands(text: str) -> tuple[str, ...]:
    """Cut at the commas outside brackets and quotes; blanks around operands go.

    An empty text has no operands; an empty operand (``a,,b``) is an AssemblyError.
    """
    text = text.strip(" \t")
    if not text:
        return ()
    if not any(c in text for c in "\"'[({])}"):
        operands = text.split(",")
    else:
        operands, operand = [], ""
        open_: list[str] = []
        for match in _PIECE.finditer(text):
            mark = match["mark"]
            if mark == "," and not open_:
                operands.append(operand)
                operand = ""
                continue
            if mark in _CLOSERS:
                open_.append(_CLOSERS[mark])
            elif mark not in (None, ",") and (not open_ or open_.pop() != mark):
                raise AssemblyError(f"unbalanced {mark}")
            operand += match[0]
        if open_:
            raise AssemblyError(f"missing `{open_[-1]}'")
        operands.append(operand)
    cut = tuple(operand.strip(" \t") for operand in operands)
    if not all(cut):
        raise AssemblyError("empty operand")
    return cut


def register(text: str) -> str | None:
    """Canonical lower-case spelling of a register name, None if it is not one."""
    lower = text.lower()
    if _REGISTER.fullmatch(lower):
        return lower
    return _ALIASES.get(lower)


def keyword(text: str) -> str | None:
    """Lower-case register, condition, prefetch operation or ``c<n>``; None for anything else."""
    lower = text.lower()
    if _KEYWORD.fullmatch(lower):
        return lower
    return SVE_CONDITIONS.get(lower) or register(text)


_LATER = (
    "add adds sub subs cmp cmn mov movz movk movn and ands orr eor tst bic svc hvc smc brk hlt "
    "dcps1 dcps2 dcps3"
)
# Of these GNU as 2.40 puts in the immediate when the unit is complete. Of others it wants it now.
_WAITING = frozenset(_LATER.split())
_AMOUNT = re.compile(r"(?:lsl|lsr|asr|ror|msl|[us]xt[bhwx])[ \t]*#?\Z", re.ASCII)


def may_wait(before: str) -> bool:
    """Whether the number behind ``before``, an instruction's text so far, may be known later.

    It is an immediate of some instructions, or an offset to an address; never how far to shift.
    """
    if _AMOUNT.search(before):
        return False
    address = "[" in before and "{" not in before
    return address or before.partition(" ")[0] in _WAITING
