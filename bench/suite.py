"""Speed, side by side in one run: ``make bench``, or ``python bench/suite.py --help``.

Nothing is asserted about absolute times. docs/benchmarks.md says how to read the numbers;
bench/page.py fills its tables from the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cases
from before_after import Plan, before_and_after
from measurement import MIB, Measurement, progress
from mutants import mutants
from page import plain
from stages import FIRST_STAGE, ROOT, installed
from usage import BenchError

import relokit

sys.path.insert(0, str(ROOT / "tests"))
from support.initrd import build_initrd

TOOLS = ("qemu-system-aarch64", f"{cases.GNU}as", f"{cases.GNU}ld", f"{cases.GNU}objdump")

PARTS = ("stages", "relocation", "building", "routines", "kernels", "commands", "mutants")


def main() -> int:
    """Measure, print the table or one JSON document; 2 if that is not possible."""
    options = _options()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        progress(f"bench: not installed: {', '.join(missing)}; `make tools` installs them")
        return 2
    document: dict[str, Any] = {"host": _host(), "rounds": options.rounds}
    with tempfile.TemporaryDirectory(prefix="relokit-bench-") as name:
        work = Path(name)
        try:
            if "stages" in options.only:
                document["stages"] = _stages(options, work)
            document["measurements"] = [item.to_json() for item in _cases(options, work)]
        except (BenchError, relokit.RelokitError, subprocess.CalledProcessError) as error:
            progress(f"bench: {error}")
            return 2
    print(json.dumps(document, indent=2) if options.json else plain(document))
    return 0


def _cases(options: argparse.Namespace, work: Path) -> list[Measurement]:
    parts: dict[str, Callable[[], list[Measurement]]] = {
        "relocation": lambda: cases.relocation(options.size * MIB, options.rounds, work),
        "building": lambda: cases.building(options.rounds, work),
        "routines": lambda: cases.two_routines(options.rounds, work),
        "kernels": lambda: cases.whole_kernels(options.rounds, work),
        "commands": lambda: cases.starting(options.rounds),
        "mutants": lambda: mutants(options.rounds),
    }
    return [one for name, part in parts.items() if name in options.only for one in part()]


def _stages(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    plan = Plan(sizes=(options.size, options.large), rounds=options.rounds)
    rows = before_and_after(
        installed(options.before), plan, cases.kernels("6.1")[0], build_initrd(work), work
    )
    return {"before": options.before, "rows": [row.to_json() for row in rows]}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/suite.py", description=__doc__)
    parser.add_argument(
        "--size", type=_count, default=84, metavar="MIB", help="payload to move [default: 84]"
    )
    parser.add_argument(
        "--large", type=_count, default=400, metavar="MIB", help="a second one [default: 400]"
    )
    parser.add_argument(
        "--rounds", type=_count, default=7, metavar="N", help="repetitions of each [default: 7]"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=PARTS,
        help="this part, may be given again [default: all]",
    )
    parser.add_argument(
        "--before",
        default=FIRST_STAGE,
        metavar="COMMIT",
        help="what this tree is measured against [default: the end of the first stage]",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args()
    options.only = options.only or PARTS
    return options


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1024:
        raise ValueError(text)
    return value


def _host() -> dict[str, object]:
    """What the numbers depend on most."""
    versions = {}
    for tool in TOOLS:
        done = subprocess.run([tool, "--version"], check=True, text=True, stdout=subprocess.PIPE)
        versions[tool] = done.stdout.partition("\n")[0]
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "relokit": relokit.__version__,
        "tools": versions,
    }


if __name__ == "__main__":
    sys.exit(main())
