"""``relokit record``."""

from __future__ import annotations

from pathlib import Path

import click

from relokit.cli.once import Command
from relokit.cli.options import INPUT_FILE, json_option
from relokit.cli.parameters import Address, Seconds
from relokit.cli.terminal.output import emit, emit_json
from relokit.runtime.kexec.job import MAX_TIMEOUT

DEFAULT_TIMEOUT = 300.0


@click.command(
    "record",
    cls=Command,
    help="Drive a QEMU to where its kernel leaves by kexec, and keep that as a snapshot. "
    "Arguments behind -- are for qemu-system-aarch64.",
)
@click.option(
    "--kernel", type=INPUT_FILE, required=True, help="The kernel that boots: Image or vmlinuz."
)
@click.option(
    "-o", "--output", type=INPUT_FILE, required=True, metavar="DIR", help="A new directory."
)
@click.option(
    "--crash",
    is_flag=True,
    help="Have it crash into a crash kernel. [default: it kexecs, unless -initrd says otherwise]",
)
@click.option(
    "--attach",
    metavar="HOST:PORT",
    help="Start no QEMU: speak to the GDB stub of one that is there.",
)
@click.option(
    "--ram",
    type=INPUT_FILE,
    help="With --attach: the file that its RAM is (memory-backend-file, share=on).",
)
@click.option(
    "--ram-base", type=Address(), help="With --attach: PA of its first byte. [default: 0x40000000]"
)
@click.option(
    "--vmcore",
    type=INPUT_FILE,
    help="Start no QEMU: take the machine from an ELF dump (/proc/vmcore, dump-guest-memory).",
)
@click.option(
    "--registers",
    type=INPUT_FILE,
    help="With --vmcore: what a dump has not, as in registers.json (docs/snapshot.md).",
)
@click.option("--zstd", is_flag=True, help="Keep RAM compressed. [default: as it is]")
@click.option(
    "--timeout",
    type=Seconds(MAX_TIMEOUT),
    help=f"Give up after so many seconds. [default: {DEFAULT_TIMEOUT:g}]",
)
@json_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- QEMU-ARGUMENT...]")
def command(
    as_json: bool,
    kernel: Path,
    output: Path,
    crash: bool,
    attach: str | None,
    ram: Path | None,
    ram_base: int | None,
    vmcore: Path | None,
    registers: Path | None,
    zstd: bool,
    timeout: float | None,
    arguments: tuple[str, ...],
) -> int:
    """Arguments in, one call of the facade, a view out; the result is the exit code."""
    if attach is None and (ram is not None or ram_base is not None):
        raise click.UsageError("--ram and --ram-base are of a QEMU to --attach to")
    if attach is not None and crash:
        raise click.UsageError("--crash is of a QEMU that is started here")
    if attach is not None and ram is None:
        raise click.UsageError(
            "--attach needs --ram, too: a GDB stub is too slow to read all of it"
        )

    if vmcore is None and registers is not None:
        raise click.UsageError("--registers are of a --vmcore")
    if vmcore is not None and (attach is not None or crash or timeout is not None or arguments):
        raise click.UsageError(
            "--vmcore is a machine already: leave --attach, --crash, --timeout and what is behind "
            "-- out"
        )

    from relokit.cli.terminal.view import Bars
    from relokit.machines.snapshots import Attached, convert, record

    stopped = None
    if attach is not None and ram is not None:
        stopped = Attached(attach, ram, *(() if ram_base is None else (ram_base,)))
    if vmcore is not None:
        recorded = convert(kernel, output, vmcore, registers=registers, packed=zstd)
    else:
        with Bars() as bars:
            recorded = record(
                kernel,
                output,
                arguments,
                attach=stopped,
                crash=crash,
                packed=zstd,
                seconds=DEFAULT_TIMEOUT if timeout is None else timeout,
                progress=bars.progress,
            )
    if as_json:
        emit_json(recorded)
        return 0
    emit(
        f"{recorded.directory}: {recorded.kernel} at its last branch, {recorded.pc:#x}; "
        f"{recorded.ram:,} bytes of RAM, {recorded.cpus} CPUs ({recorded.running} not off), "
        + ("GICv3" if recorded.devices else "no registers of an interrupt controller")
    )
    return 0
