"""``relokit export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from relokit.cli.options import job_options, json_option, make_job, make_target, target_options

QEMU_CPU = {"el1": "cortex-a72", "nvhe": "cortex-a72", "vhe": "max"}


@click.command("export", help="Write an ELF: executable, relocatable, or bootable in QEMU.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
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
@json_option
def command(output: Path, kind: str, as_json: bool, **options: Any) -> int:
    """Build, and write all or nothing. The payload options are for --type bootable."""
    target = make_target(options)
    job = make_job(options)

    from relokit.facade import export

    done = export(output, target, kind=kind, job=job)
    if as_json:
        import json

        document = {"file": str(output), "bytes": done.size, "target": target.name}
        if done.ram is not None:
            document["ram"] = done.ram
        click.echo(json.dumps(document))
        return 0
    click.echo(f"{output}: {done.size:,} bytes, {target.name}")
    if done.ram is not None:
        el2 = "off" if target.regime == "el1" else "on"
        cpu = "max" if target.page_size == 16384 else QEMU_CPU[target.regime]
        click.echo(
            f"boot it with: qemu-system-aarch64 -M virt,virtualization={el2},gic-version=3 "
            f"-cpu {cpu} -m {done.ram >> 20} -nographic -kernel {output}"
        )
    return 0
