"""``python -m support.kexecs``: each shipped kernel kexecs, everywhere and by a crash.

Every row is one ``relokit kexec``. Writes docs/kexec.json, and the table of it in docs/kexec.md:
what is found, how many instructions that takes, and digests of what is printed and recorded, which
are the same on every machine for the same kernels.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from oracles.kernels import kernel

from support.committed import Committed

KERNELS = ("5.10", "6.1", "6.12", "6.12-16k", "7")
REGIMES = ("el1", "nvhe", "vhe")
ACROSS = (("6.1", "7"), ("6.12", "6.12-16k"))
COMMITTED = Committed("kexec", "kexecs", "kexec.md")
NOT_JUDGED: frozenset[str] = frozenset()
"""Rules that may be left out, but for those of OF_CACHES by OLD_CRASH. A longer list fails."""
OLD_CRASH = "5.10"
"""It cleans a crash kernel where nothing is recorded (docs/kexec.md)."""
OF_CACHES = frozenset(
    {
        "caches.completion",
        "caches.data",
        "caches.device",
        "caches.discard",
        "caches.domain",
        "caches.hidden",
        "caches.image",
        "caches.masked-discard",
        "caches.mixed",
        "caches.optional",
        "caches.read-around",
        "caches.read-hidden",
        "caches.set-way",
        "caches.write-around",
        "fetch.alias",
        "fetch.code",
        "fetch.image",
        "fetch.in-place",
    }
)


@dataclass(frozen=True)
class Way:
    """One row: which kernel enters which, where, and how."""

    kernel: str
    next: str
    el: str
    crash: bool = False
    features: tuple[str, ...] = ()


WAYS = (
    *(Way(one, one, el) for one in KERNELS for el in REGIMES),
    *(Way(*pair, el) for pair in ACROSS for el in REGIMES),
    *(Way(one, one, el, crash=True) for one in KERNELS for el in REGIMES),
    *(Way("6.12", "6.12", el, features=("pauth", "rndr")) for el in REGIMES),
)


def row(found: Mapping[str, Any]) -> dict[str, Any]:
    """What of the document of a ``relokit kexec --trace`` is committed."""
    handover = found["handover"] or {}
    findings = handover.get("findings", ())
    printed = found["console"] + (handover.get("console") or "")
    return {
        "kernel": _release(found["kernel"]),
        "next": _release(found["next"]),
        "el": found["regime"],
        "crash": found["crash"],
        "features": found["features"],
        "status": found["status"],
        "reached": [one["name"] for one in found["stations"] if one["reached"]][-1:],
        "errors": sorted({one["rule"] for one in findings if one["severity"] == "error"}),
        "findings": sorted({one["rule"] for one in findings if one["severity"] != "error"}),
        "applied": len(handover["rules"]["applied"]) if handover else 0,
        "not_judged": sorted(handover["rules"]["not_judged"]) if handover else None,
        "instructions": found["instructions"],
        "stations": [one.get("instructions") for one in found["stations"]],
        "relocation": handover["relocation"]["instructions"] if handover else None,
        "console": blake2b(printed.encode(), digest_size=16).hexdigest(),
        "record": handover["trace"]["digest"] if handover.get("trace") else None,
    }


def trouble(each: Mapping[str, Any]) -> str | None:
    """What of a row is not as it has to be."""
    old = each["crash"] and each["kernel"].startswith(OLD_CRASH)
    if each["reached"] != ["power-off"]:
        return "does not come to power-off"
    if each["errors"] or each["status"] != "pass":
        return "does not pass"
    if not set(each["not_judged"]) <= (OF_CACHES if old else NOT_JUDGED):
        return "leaves out rules that were judged"
    return None


def table(rows: list[dict[str, Any]]) -> str:
    """That of docs/kexec.md."""
    lines = ["| | " + " | ".join(REGIMES) + " |", "|---" * (1 + len(REGIMES)) + "|"]
    for (left, entered, crash, features), some in groupby(rows, _group):
        name = left if left == entered else f"{left} into {entered}"
        by = ["by a crash"] if crash else []
        words = ", ".join([name, *by, *features])
        lines.append(f"| {words} | {' | '.join(_cell(one) for one in some)} |")
    return "\n".join(lines) + "\n"


def _group(each: dict[str, Any]) -> tuple[str, str, bool, list[str]]:
    return each["kernel"], each["next"], each["crash"], each["features"]


def _cell(each: dict[str, Any]) -> str:
    words = [each["status"].upper(), *(f"`{rule}`" for rule in each["errors"])]
    if each["not_judged"]:
        words.append(f"{len(each['not_judged'])} rules not judged")
    return f"{', '.join(words)}; {each['instructions'] / 1e9:.2f} G"


def _release(name: str) -> str:
    return Path(name).name.removeprefix("vmlinuz-")


def _run(way: Way, directory: Path) -> dict[str, Any]:
    trace = directory / str(WAYS.index(way))
    command = [
        sys.executable, "-m", "relokit", "kexec", "--json", "--trace", str(trace), "--el", way.el,
        "--kernel", str(kernel(way.kernel)), "--next", str(kernel(way.next)),
        *(["--crash"] if way.crash else ()),
        *(f"--cpu-feature={one}" for one in way.features),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    trace.unlink(missing_ok=True)
    try:
        found = row(json.loads(done.stdout))
    except (KeyError, ValueError):
        raise SystemExit(
            f"{way}: no document\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        ) from None
    wrong = trouble(found)
    print(json.dumps(found) + (f"\n{way} {wrong}" if wrong else ""), flush=True)
    return found


def all_rows(run: Callable[[Way], dict[str, Any]]) -> list[dict[str, Any]]:
    """In the order of WAYS, as many at a time as there are CPUs."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(run, WAYS))


def main() -> int:
    """Make the committed document and its table; 1 if a row is not as it has to be."""
    with TemporaryDirectory() as name:
        rows = COMMITTED.make(lambda: all_rows(lambda way: _run(way, Path(name))), table)
    return int(any(trouble(each) for each in rows))


if __name__ == "__main__":
    sys.exit(main())
