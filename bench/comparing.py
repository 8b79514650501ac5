"""Code of shipped kernels compared: one routine of two, and all of them, against GNU objdump."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from building import GNU
from measurement import MIB, Bound, Row, Table, progress
from usage import timed

from relokit.codegen.facts import RELOCATION
from relokit.diffing.read.kernel_side import kernel_side
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.report import unified
from relokit.linker.kernel.kallsyms import read_kallsyms
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.linker.kernel.opened import OpenedKernel

DIFF = (sys.executable, "-m", "relokit", "diff")
DISASSEMBLE = (f"{GNU}objdump", "-D", "-b", "binary", "-m", "aarch64")
KERNELS = Path(__file__).resolve().parents[1] / "tests" / "oracles" / "kernels.py"
COLD, READ = "relokit, whole command", "relokit, both read already"
BOTH, ITSELF = "relokit, two kernels", "relokit, one with itself"
OBJDUMP = "GNU objdump, one of them"


def kernels(*versions: str) -> list[Path]:
    """Paths of shipped kernels, downloaded if need be."""
    command: list[str | Path] = [sys.executable, KERNELS, *versions]
    out = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
    return [Path(line) for line in out.splitlines()]


def comparing(rounds: int, work: Path) -> list[Table]:
    """Both tables."""
    return [_two_routines(rounds, work), _whole_kernels(rounds, work)]


def _two_routines(rounds: int, work: Path) -> Table:
    """The relocation code of two: the whole command, and decoded, aligned and shown."""
    paths = kernels("6.1", "7")
    sides = [kernel_side(OpenedKernel(open_kernel(path)), RELOCATION) for path in paths]
    chosen = [replace(one, routines={RELOCATION: one.routines[RELOCATION]}) for one in sides]
    files = []
    for number, side in enumerate(chosen):
        files.append(work / f"{number}.bin")
        files[-1].write_bytes(side.routines[RELOCATION].code)
    command = (*DIFF, *(f"{path}:{RELOCATION}" for path in paths))
    theirs: list[Sequence[str | Path]] = [
        *((*DISASSEMBLE, path) for path in files),
        ("diff", *files),
    ]
    row = Row("The relocation code of two", "s", (Bound(COLD, 0.4),))
    unified(compare(chosen[0], chosen[1]))  # imports the decoder
    for _ in range(rounds):
        row.add(COLD, timed(command, verdict=True))
        start = perf_counter()
        unified(compare(chosen[0], chosen[1]))
        row.add(READ, perf_counter() - start)
        row.add("GNU objdump twice, and diff", timed(*theirs, verdict=True))
        progress(row.told())
    return Table("Two kernels' routine", [row], _names(paths))


def _whole_kernels(rounds: int, work: Path) -> Table:
    """All functions of two."""
    paths = kernels("6.1", "6.12")
    opened = [open_kernel(path) for path in paths]
    image = work / "Image"
    image.write_bytes(opened[0].image)
    symbols = read_kallsyms(opened[0].image, where=str(paths[0]))
    start, end = symbols.offset("_stext"), symbols.offset("_etext")
    limits = f"--start-address={start}", f"--stop-address={end}"
    commands: Mapping[str, Sequence[str | Path]] = {
        BOTH: (*DIFF, "--all", *paths),
        ITSELF: (*DIFF, "--all", paths[0], paths[0]),
        OBJDUMP: (*DISASSEMBLE, image),
        "its .text only": (*DISASSEMBLE, *limits, image),
    }
    row = Row("All functions", "s", (Bound(BOTH, 0.5, OBJDUMP),))
    for _ in range(rounds):
        for column, command in commands.items():
            row.add(column, timed(command, verdict=True))
        progress(row.told())
    sizes = " and ".join(f"{len(kernel.image) / MIB:.0f}" for kernel in opened)
    return Table("Two whole kernels", [row], f"{_names(paths)}: {sizes} MiB")


def _names(paths: list[Path]) -> str:
    return " and ".join(path.name.removeprefix("vmlinuz-") for path in paths)
