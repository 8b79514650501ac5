"""``relokit export``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from relokit.cli.idle import refuse_idle
from relokit.cli.once import Command
from relokit.cli.options import (
    cache_option,
    job_options,
    json_option,
    make_job,
    make_target,
    target_options,
)
from relokit.cli.parameters import OutputFile
from relokit.cli.terminal.output import emit, emit_json, plain_lines
from relokit.codegen.target import MIB, WIDE, Regime, Target

# Pointer authentication as the architecture has it costs QEMU a third of a boot.
QEMU_MAX = "max,pauth-impdef=on"
QEMU_A72 = "cortex-a72"


@click.command(
    "export", cls=Command, help="Write an ELF: executable, relocatable, or bootable in QEMU."
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    required=True,
    metavar="FILE",
    help="File to write.",
)
@click.option(
    "--type",
    "kind",
    type=click.Choice(["exec", "rel", "bootable"]),
    default="exec",
    show_default=True,
    help="ET_EXEC as a kernel is linked; one ET_REL; or a machine about to kexec.",
)
@target_options
@job_options
@cache_option
@json_option
def command(output: Path, kind: str, as_json: bool, **options: Any) -> int:
    """Build, and write all or nothing. The payload options are for --type bootable."""
    refuse_idle()
    from relokit.linker.kernel.opened import Files

    files = Files()
    target = make_target(options, files)
    job = make_job(options)

    from relokit.cli.terminal.view import Bars
    from relokit.facade import export

    with Bars() as bars:
        done = export(output, target, kind=kind, job=job, files=files, progress=bars.progress)
    if as_json:
        emit_json(done)
        return 0
    lines = [f"{output}: {done.size:,} bytes, {target.name}"]
    if done.virt is False:
        lines.append("its memory is not where QEMU's virt board has it: no command line boots it")
    elif done.ram is not None:
        lines.append(f"boot it with: {_qemu(target, done.ram, output)}")
    emit(plain_lines(lines))
    return 0


def _qemu(target: Target, ram: int, output: Path) -> str:
    el2 = "off" if target.regime == "el1" else "on"
    beyond_a72 = target.regime is Regime.VHE or target.page_size == 16384 or target.cpu_bits == WIDE
    cpu = QEMU_MAX if beyond_a72 else QEMU_A72
    return (
        f"qemu-system-aarch64 -M virt,virtualization={el2},gic-version=3 -cpu {cpu} "
        f"-m {-(-ram // MIB)} -nographic -kernel {shlex.quote(str(output))}"
    )
