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
from subprocess import CalledProcessError
from typing import Any

from arguments import folder, rounds, sizes
from building import GNU, building
from commands import booting, cold, starting
from comparing import comparing, kernels
from laying_out import laying_out
from many import many
from measurement import Table, progress
from moving import moving
from page import plain
from stages import FIRST_STAGE, ROOT, described, here, installed
from two_trees import cases, side_by_side
from usage import BenchError

import relokit

sys.path.insert(0, str(ROOT / "tests"))
from support.initrd import build_initrd

TOOLS = ("qemu-system-aarch64", f"{GNU}as", f"{GNU}ld", f"{GNU}objdump")
PARTS = (
    "relocation", "building", "cold", "layout", "diff", "many", "boot", "start", "stages",
)  # fmt: skip
SIZES = (25, 84, 400, 2048)


def main() -> int:
    """Measure, print the tables or one JSON document; 1 if a part fails, 2 if all do."""
    options = _options()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        progress(f"bench: not installed: {', '.join(missing)}; `make tools` installs them")
        return 2
    document: dict[str, Any] = {"of": described(), "host": _host(), "rounds": options.rounds}
    tables, failed = [], []
    for part in options.only:
        # Each with files of its own: what one leaves is no burden of the next.
        with tempfile.TemporaryDirectory(prefix="relokit-bench-", dir=options.scratch) as name:
            try:
                tables += [table.to_json() for table in _tables(part, options, Path(name))]
            except (BenchError, relokit.RelokitError, OSError, CalledProcessError) as error:
                progress(f"bench: {part}: {error}")
                failed.append(part)
    document["tables"] = tables
    if tables:
        print(json.dumps(document, indent=1) if options.json else plain(document))
    if failed:
        again = " ".join(f"--only {part}" for part in failed)
        progress(f"bench: nothing is known of {', '.join(failed)}; try again with {again}")
    return (1 if tables else 2) if failed else 0


def _tables(part: str, options: argparse.Namespace, work: Path) -> list[Table]:
    ours, number = here(work), options.rounds
    parts: dict[str, Callable[[], list[Table]]] = {
        "relocation": lambda: moving(ours, options.sizes, number, work),
        "building": lambda: building(number, work),
        "cold": lambda: cold(ours, number, work),
        "layout": lambda: laying_out(number),
        "diff": lambda: comparing(number, work),
        "many": lambda: many(ours, number),
        "boot": lambda: booting(ours, number, kernels("6.1")[0], build_initrd(work), work),
        "start": lambda: starting(ours, number),
        "stages": lambda: [_stages(options, work)],
    }
    return parts[part]()


def _stages(options: argparse.Namespace, work: Path) -> Table:
    first, this = installed()
    moved = [size for size in options.sizes if size in (84, 400)] or options.sizes[:1]
    chosen = cases(work, moved, kernels("6.1")[0], build_initrd(work))
    rows = side_by_side((this, first), chosen, options.rounds)
    return Table("Before and after", rows, f"the first stage is {FIRST_STAGE}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/suite.py", description=__doc__)
    parser.add_argument(
        "--sizes",
        type=sizes,
        default=SIZES,
        metavar="MIB,..",
        help="payloads to move [default: 25,84,400,2048]",
    )
    parser.add_argument(
        "--rounds", type=rounds, default=5, metavar="N", help="repetitions of each [default: 5]"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=PARTS,
        help="this part, may be given again [default: all]",
    )
    parser.add_argument(
        "--scratch",
        type=folder,
        metavar="DIR",
        help="for files of up to twice the largest payload [default: the host's temporary folder]",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    options = parser.parse_args()
    options.only = [part for part in PARTS if part in (options.only or PARTS)]
    if options.sizes is not SIZES and not {"relocation", "stages"}.intersection(options.only):
        parser.error("--sizes is of the parts relocation and stages: leave it out")
    return options


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
