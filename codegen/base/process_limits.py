"""What a process may map (``ulimit -v``): libraries that run into it say everything but that."""

from __future__ import annotations

import resource
from pathlib import Path

from relokit.codegen.base.errors import RelokitError

ROOMY = 1 << 30
"""Bytes with which every library starts in any case."""


def shortage() -> str | None:
    """What to do about a library that did not start; None if addresses are not what it lacked."""
    limit = _limit()
    if limit is None or limit >= ROOMY:
        return None
    return f"ulimit -v leaves a process {limit >> 20} MiB of addresses: raise it"


def check_space(size: int, what: str) -> None:
    """Raise RelokitError if ``what`` needs ``size`` bytes of addresses more than there are."""
    limit = _limit()
    if limit is not None and _used() + size > limit:
        raise RelokitError(f"no room for {what}, which takes {size >> 20} MiB", hint=shortage())


def _limit() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def _used() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
