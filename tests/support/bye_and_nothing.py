"""``python -m support.bye_and_nothing``: the recipe of docs/snapshot.md, typed line by line.

Debian's own kexec-tools put the next kernel over tables that an ITS goes on using: that is told,
and with ``its=off`` nothing is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from oracles.debian_tools import kexec_tools
from oracles.kernels import kernel

from support.committed import DOCS

KERNEL = "6.1"
BEGIN, END = "<!-- what `make bye-and-nothing` does -->\n", "<!-- end -->"
TOLD = (
    (0, "vmlinuz at its last branch"),
    (1, "around.tables  the kernel at PA 0x"),
    (0, "vmlinuz at its last branch"),
    (0, "PASS"),
)
"""Exit code and words of each line."""


def lines() -> list[str]:
    """As they are on the page."""
    text = (DOCS / "snapshot.md").read_text().partition(BEGIN)[2].partition(END)[0]
    return [one.strip() for one in text.splitlines() if one.strip()]


def main() -> int:
    """1 if a line is answered otherwise."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as name:
        folder, source = Path(name), kernel(KERNEL)
        (folder / "vmlinuz").write_bytes(source.read_bytes())
        (folder / "initrd").write_bytes(kexec_tools(source))
        for line, (code, words) in zip(lines(), TOLD, strict=True):
            print(f"$ {line}", flush=True)
            done = subprocess.run(
                line, shell=True, cwd=folder, env={**os.environ, "PATH": path},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip
            print(done.stdout, flush=True)
            if (done.returncode, words in done.stdout) != (code, True):
                print(f"exit code {done.returncode}: {code} and {words!r} were to come")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
