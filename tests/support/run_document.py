"""The shape of the document that ``relokit run --json`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The shape of the document: a type, a tuple of types, a mapping of keys, or [shape] for a list.
Shape = Any
FINDING: Shape = {
    "rule": str,
    "message": str,
    "address?": int,
    "place?": str,
    "listing?": [str],
    "registers?": dict,
    "notes?": [str],
    "cause?": str,
    "consequence?": str,
    "hint?": str,
    "source?": str,
    "severity": str,
    "group?": int,
    "spared?": str,
    "made?": [
        {
            "how": str,
            "address": int,
            "text": str,
            "place?": str,
            "sets?": str,
            "used?": int,
        }
    ],
}
HANDOFF: Shape = {
    "pc": int,
    "el": int,
    "x0": int,
    "x1": int,
    "x2": int,
    "x3": int,
    "mmu": bool,
    "sctlr": int,
    "daif": int,
}
OUTCOME: Shape = {
    "schema": str,
    "status": str,
    "target": {
        "series": int,
        "page_size": int,
        "va_bits": int,
        "pa_bits": int,
        "cpu_bits": int,
        "regime": str,
        "cache_line": int,
        "layout": str,
    },
    "payload": [{"name": str, "kind": str, "at": int, "bytes": int, "memory": int}],
    "relocation": {
        "bytes": int,
        "pages": int,
        "el": int,
        "mmu": bool,
        "sctlr": int,
        "instructions": int,
        "seconds": float,
    },
    "handoff": HANDOFF,
    "verified_bytes": int,
    "findings": [FINDING],
    "rules": {"applied": [str], "not_applicable": dict, "not_judged": dict},
    "timings": {"build": float, "compare": float},
    "maintenance": [
        {
            "when": str,
            "what": str,
            "operation": str,
            "bytes": int,
            "lines": int,
            "instructions": int,
        }
    ],
    "operations?": dict,
    "undefined?": dict,
    "console?": (str, type(None)),
    "ended?": (str, type(None)),
    "profile": str,
    "effects?": dict.fromkeys(("line", "discarded", "overwritten", "stale", "absent"), int),
    "trace?": {"bytes": int, "records": int, "digest": str, "of": str, "version": str},
}


def check_shape(value: Any, shape: Shape, at: str = "") -> None:
    """Fail where ``value`` has another type, a key too few or a key too many."""
    if isinstance(shape, Mapping):
        assert isinstance(value, dict), at
        known = {key.rstrip("?"): part for key, part in shape.items()}
        assert value.keys() <= known.keys(), at
        assert {key for key in shape if not key.endswith("?")} <= value.keys(), at
        for key, part in value.items():
            check_shape(part, known[key], f"{at}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), at
        for number, part in enumerate(value):
            check_shape(part, shape[0], f"{at}[{number}]")
    else:
        assert isinstance(value, shape), at
        assert not (shape is int and isinstance(value, bool)), at
