"""Speed, side by side in one run: ``make bench``, or ``python bench/suite.py --help``.

Nothing is asserted about absolute times. docs/benchmarks.md says how to read the numbers.
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
from pathlib import Path

import cases
from guest import BenchError
from measurement import MIB, progress, table

import relokit

TOOLS = ("qemu-system-aarch64", f"{cases.GNU}as", f"{cases.GNU}ld", f"{cases.GNU}objdump")


def main() -> int:
    """Measure, print the table or one JSON document; 2 if that is not possible."""
    options = _options()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        progress(f"bench: not installed: {', '.join(missing)}; `make tools` installs them")
        return 2
    with tempfile.TemporaryDirectory(prefix="relokit-bench-") as name:
        work = Path(name)
        try:
            measurements = [
                *cases.relocation(options.size * MIB, options.rounds, work),
                *cases.building(options.rounds, work),
                *cases.two_routines(options.rounds, work),
                *cases.whole_kernels(options.rounds, work),
                *cases.starting(options.rounds),
            ]
        except (BenchError, relokit.RelokitError, subprocess.CalledProcessError) as error:
            progress(f"bench: {error}")
            return 2
    if options.json:
        document = {
            "host": _host(),
            "rounds": options.rounds,
            "measurements": [item.to_json() for item in measurements],
        }
        print(json.dumps(document, indent=2))
    else:
        print(table(measurements))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/suite.py", description=__doc__)
    parser.add_argument(
        "--size", type=_count, default=84, metavar="MIB", help="payload to move [default: 84]"
    )
    parser.add_argument(
        "--rounds", type=_count, default=7, metavar="N", help="repetitions of each [default: 7]"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args()


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
