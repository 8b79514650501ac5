"""Text to a linked file: ours, and GNU as (a process a unit) with GNU ld on the same text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from measurement import Row, Table, progress
from usage import timed

import relokit
from relokit.codegen.base.atomic import write_atomic
from relokit.linker.elf.elf_writer import exec_chunks

GNU = "aarch64-linux-gnu-"
FIRST, AGAIN, RENDERING = "a process's first", "the same text again", "of which rendering"
AS_LD, STARTING = "GNU as + ld, without rendering", "of which starting them"
FIRST_OF_A_PROCESS = """
import sys
from time import perf_counter
start = perf_counter()
sys.path.insert(0, {bench!r})
from building import build_and_write
build_and_write(sys.argv[1])
print(perf_counter() - start)
"""


def gnu_commands(work: Path) -> list[Sequence[str | Path]]:
    """What assembles and links the old kernel's routines, whose text is written to ``work``."""
    texts = relokit.generate(work / "text")
    units = [path for path in texts if path.suffix == ".S"]
    script = next(path for path in texts if path.suffix == ".lds")
    objects = [unit.with_suffix(".o") for unit in units]
    commands: list[Sequence[str | Path]] = [
        (f"{GNU}as", "-o", o, unit) for o, unit in zip(objects, units, strict=True)
    ]
    return [*commands, (f"{GNU}ld", "-T", script, "-o", work / "gnu.elf", *objects)]


def build_and_write(path: str | Path) -> None:
    """All of the way, nothing of it out of a cache on disk."""
    write_atomic(Path(path), exec_chunks(relokit.build().image))


def building(rounds: int, work: Path) -> list[Table]:
    """Render, assemble, link and write an ELF."""
    row = Row("The old kernel's routines", "ms")
    commands = gnu_commands(work)
    empty, out = work / "empty.S", work / "ours.elf"
    empty.write_text("")
    starting: list[Sequence[str | Path]] = [(f"{GNU}as", "-o", work / "empty.o", empty)]
    starting = [*starting * (len(commands) - 1), (f"{GNU}ld", "--version")]
    script = FIRST_OF_A_PROCESS.format(bench=str(Path(__file__).parent))
    first: list[str | Path] = [sys.executable, "-c", script, out]
    build_and_write(out)
    for _ in range(rounds):
        seconds = subprocess.run(first, check=True, text=True, stdout=subprocess.PIPE).stdout
        row.add(FIRST, float(seconds) * 1000)
        start = perf_counter()
        build_and_write(out)
        row.add(AGAIN, (perf_counter() - start) * 1000)
        start = perf_counter()
        relokit.render()
        row.add(RENDERING, (perf_counter() - start) * 1000)
        row.add(AS_LD, timed(*commands) * 1000)
        row.add(STARTING, timed(*starting) * 1000)
        progress(row.told())
    return [Table("Render, assemble, link and write", [row])]
