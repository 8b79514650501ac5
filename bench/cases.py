"""The cases: each yields its measurements after timing them in turn, round by round."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from guest import bootable, seconds_to_greeting
from measurement import MIB, Measurement, progress

import relokit
from relokit.codegen.facts import RELOCATION
from relokit.diffing.read.kernel_side import kernel_side
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.report import unified
from relokit.linker.kernel.kallsyms import read_kallsyms
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.linker.kernel.opened import OpenedKernel

PAGE = 4096
SMALL = PAGE
"""Size of the payload whose time is taken off in QEMU, in bytes."""
GNU = "aarch64-linux-gnu-"
COLD_BUILD = """
from time import perf_counter
import relokit
start = perf_counter()
relokit.build()
print(perf_counter() - start)
"""

DIFF = (sys.executable, "-m", "relokit", "diff")
DISASSEMBLE = (f"{GNU}objdump", "-D", "-b", "binary", "-m", "aarch64")
KERNELS = Path(__file__).resolve().parents[1] / "tests" / "oracles" / "kernels.py"


def relocation(size: int, rounds: int, work: Path) -> list[Measurement]:
    """Move the demo kernel and an initrd of ``size`` bytes: here, in QEMU, and by memcpy."""
    group = f"Relocation of {size / MIB:.0f} MiB in shuffled 4 KiB pages"
    large, small = work / "large", work / "small"
    large.write_bytes(os.urandom(size))
    small.write_bytes(os.urandom(SMALL))
    progress("relocation: exporting two machines")
    large_guest = bootable(work / "large.elf", "--initrd", str(large))
    small_guest = bootable(work / "small.elf", "--initrd", str(small))

    # The books on caches are apart from moving bytes.
    job = relokit.Job(initrd=large, plain=True)
    moved = relokit.run(job=job).relocation.bytes
    ours = Measurement(group, "relokit run", moved)
    qemu = Measurement(group, "QEMU", size - SMALL)
    pages = Measurement(group, "host: memcpy of shuffled pages", size)
    whole = Measurement(group, "host: memcpy in one piece", size)
    source = np.frombuffer(large.read_bytes(), dtype=np.uint8)
    target = np.zeros_like(source)
    order = np.random.default_rng(0).permutation(size // PAGE)
    rows, target_rows = source.reshape(-1, PAGE), target.reshape(-1, PAGE)
    for number in range(1, rounds + 1):
        ours.seconds.append(relokit.run(job=job).relocation.seconds)
        with_payload = seconds_to_greeting(large_guest)
        qemu.seconds.append(with_payload - seconds_to_greeting(small_guest))
        start = perf_counter()
        # With mode="raise" numpy copies twice.
        np.take(rows, order, axis=0, out=target_rows, mode="clip")
        pages.seconds.append(perf_counter() - start)
        start = perf_counter()
        np.copyto(target, source)
        whole.seconds.append(perf_counter() - start)
        progress(
            f"relocation {number}/{rounds}: relokit {ours.seconds[-1]:.3f} s, "
            f"QEMU {qemu.seconds[-1]:.3f} s"
        )
    return [ours, qemu, pages, whole]


def building(rounds: int, work: Path) -> list[Measurement]:
    """Text to linked program: ours, and GNU as (a process a unit) with GNU ld on the same text."""
    group = "Render, assemble and link the old kernel's routines"
    again = Measurement(group, "relokit, same text again")
    first = Measurement(group, "relokit, first build of a process")
    rendering = Measurement(group, "of which rendering, again")
    gnu = Measurement(group, "GNU as + ld, without rendering")
    starting = Measurement(group, "of which starting the processes")
    texts = relokit.generate(work / "text")
    units = [path for path in texts if path.suffix == ".S"]
    script = next(path for path in texts if path.suffix == ".lds")
    objects = [unit.with_suffix(".o") for unit in units]
    empty = work / "empty.S"
    empty.write_text("")
    assemble = [(f"{GNU}as", "-o", o, unit) for o, unit in zip(objects, units, strict=True)]
    link: Sequence[str | Path] = (f"{GNU}ld", "-T", script, "-o", work / "gnu.elf", *objects)
    start_only = [(f"{GNU}as", "-o", work / "empty.o", empty)] * len(units)
    relokit.build()
    for number in range(1, rounds + 1):
        first.seconds.append(float(_output(sys.executable, "-c", COLD_BUILD)))
        start = perf_counter()
        relokit.render()
        rendered = perf_counter()
        relokit.build()
        rendering.seconds.append(rendered - start)
        again.seconds.append(perf_counter() - rendered)
        gnu.seconds.append(_timed(*assemble, link))
        starting.seconds.append(_timed(*start_only, (f"{GNU}ld", "--version")))
        progress(
            f"building {number}/{rounds}: relokit {again.seconds[-1]:.3f} s, "
            f"GNU {gnu.seconds[-1]:.3f} s"
        )
    return [first, again, rendering, gnu, starting]


def two_routines(rounds: int, work: Path) -> list[Measurement]:
    """The relocation code of two shipped kernels compared: decoded, aligned, shown."""
    paths = kernels("6.1", "7")
    sides = [kernel_side(OpenedKernel(open_kernel(path)), RELOCATION) for path in paths]
    chosen = [replace(one, routines={RELOCATION: one.routines[RELOCATION]}) for one in sides]
    files = []
    for number, side in enumerate(chosen):
        files.append(work / f"{number}.bin")
        files[-1].write_bytes(side.routines[RELOCATION].code)
    group = "The relocation code of two kernels compared"
    names = "relokit, both read already", "relokit, whole command", "GNU objdump twice, and diff"
    measurements = [Measurement(group, name) for name in names]
    command = (*DIFF, *(f"{path}:{RELOCATION}" for path in paths))
    disassemble = [(*DISASSEMBLE, path) for path in files]
    unified(compare(chosen[0], chosen[1]))  # imports the decoder
    for number in range(1, rounds + 1):
        start = perf_counter()
        unified(compare(chosen[0], chosen[1]))
        measurements[0].seconds.append(perf_counter() - start)
        measurements[1].seconds.append(_timed(command))
        measurements[2].seconds.append(_timed(*disassemble, ("diff", *files)))
        progress(f"two routines {number}/{rounds}: relokit {measurements[0].seconds[-1]:.4f} s")
    return measurements


def whole_kernels(rounds: int, work: Path) -> list[Measurement]:
    """All functions of two shipped kernels compared, and objdump on one of them."""
    paths = kernels("6.1", "6.12")
    opened = [open_kernel(path) for path in paths]
    image = work / "Image"
    image.write_bytes(opened[0].image)
    symbols = read_kallsyms(opened[0].image, where=paths[0])
    start, end = symbols.offset("_stext"), symbols.offset("_etext")
    megabytes = " and ".join(f"{len(kernel.image) / MIB:.0f}" for kernel in opened)
    group = f"All functions of two kernels of {megabytes} MiB"
    limits = f"--start-address={start}", f"--stop-address={end}"
    commands: dict[str, Sequence[str | Path]] = {
        "relokit, both compared": (*DIFF, "--all", *paths),
        "relokit, one with itself": (*DIFF, "--all", paths[0], paths[0]),
        "GNU objdump, the smaller Image": (*DISASSEMBLE, image),
        "GNU objdump, its .text only": (*DISASSEMBLE, *limits, image),
    }
    measurements = [Measurement(group, name) for name in commands]
    for number in range(1, rounds + 1):
        for measurement, command in zip(measurements, commands.values(), strict=True):
            measurement.seconds.append(_timed(command))
        progress(
            f"whole kernels {number}/{rounds}: relokit {measurements[0].seconds[-1]:.3f} s, "
            f"objdump {measurements[2].seconds[-1]:.3f} s"
        )
    return measurements


def starting(rounds: int) -> list[Measurement]:
    """Whole commands, from the shell's point of view."""
    group = "Commands from start to end"
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "relokit --version": [sys.executable, "-m", "relokit", "--version"],
        "relokit run, whole command": [sys.executable, "-m", "relokit", "run"],
    }
    measurements = [Measurement(group, name) for name in commands]
    for number in range(1, rounds + 1):
        for measurement, command in zip(measurements, commands.values(), strict=True):
            measurement.seconds.append(_timed(command))
        progress(f"starting {number}/{rounds}: relokit run {measurements[-1].seconds[-1]:.3f} s")
    return measurements


def kernels(*versions: str) -> list[Path]:
    """Paths of shipped kernels, downloaded if need be."""
    return [Path(line) for line in _output(sys.executable, KERNELS, *versions).splitlines()]


def _timed(*commands: Sequence[str | Path]) -> float:
    """Seconds that ``commands`` take, one after the other; exit code 1 may be a verdict."""
    start = perf_counter()
    for command in commands:
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if done.returncode not in (0, 1):
            done.check_returncode()
    return perf_counter() - start


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
