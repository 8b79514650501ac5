"""``python -m support.boots``: each shipped kernel comes up on the board in each regime.

Writes docs/boots.json: how many instructions that takes and what is printed, as a digest. Both are
the same on every machine, for the same kernels.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from contextlib import closing
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

from oracles.kernels import kernel

from relokit.codegen.target import Regime, Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.record.record import BootFacts
from relokit.runtime.run.console import run_on
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu, prepare_machine
from relokit.source_digest import source_digest
from support.initrd import REACHED, build_initrd
from support.machines import programs, quiet

KERNELS = ("5.10", "6.1", "6.12", "6.12-16k", "7")
REGIMES = (Regime.EL1, Regime.NVHE, Regime.VHE)
COMMITTED = Path(__file__).parents[2] / "docs" / "boots.json"
SECONDS = 16.0
"""Of the board's, which is twice what the slowest takes."""


def plain_initrd(folder: Path) -> Path:
    """Not compressed: how small it becomes is a matter of the host's zlib."""
    path = build_initrd(folder)
    path.write_bytes(gzip.decompress(path.read_bytes()))
    return path


def boot(path: Path, regime: Regime, initrd: Path) -> BootFacts:
    """What becomes of the kernel at ``path`` when relokit's has moved it, and handed over."""
    size = 16384 if path.name.endswith("16k") else 4096
    target = Target(regime=regime, page_size=size)
    job = Job(kernel=path, initrd=initrd, plain=True, boot=SECONDS)
    with closing(prepare_machine(target, programs(target), job, quiet)) as machine:
        cpu = open_cpu(machine)
        execute(machine, cpu, job, quiet)
        return run_on(machine, cpu, job, quiet)


def row(path: Path, regime: Regime, initrd: Path) -> dict[str, Any]:
    """A boot, as it is committed."""
    facts = boot(path, regime, initrd)
    return {
        "kernel": path.name.removeprefix("vmlinuz-"),
        "el": str(regime),
        "user_space": REACHED in facts.console,
        "ended": facts.ended,
        "instructions": facts.stop.instructions,
        "exceptions": facts.stop.exceptions,
        "undefined": facts.undefined,
        "console": blake2b(facts.console.encode(), digest_size=16).hexdigest(),
    }


def main() -> int:
    """Make the committed document; 1 if a kernel does not come up."""
    with tempfile.TemporaryDirectory() as name:
        initrd = plain_initrd(Path(name))
        rows = []
        for version, regime in product(KERNELS, REGIMES):
            rows.append(row(kernel(version), regime, initrd))
            print(json.dumps(rows[-1]), flush=True)
    found = {"command": "make docs/boots.json", "code": source_digest().hex(), "boots": rows}
    COMMITTED.write_text(json.dumps(found, indent=1) + "\n")
    return int(not all(each["user_space"] for each in rows))


if __name__ == "__main__":
    sys.exit(main())
