"""``relokit kexec``."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from relokit.cli.exit_codes import EXIT_OF
from relokit.cli.idle import refuse_idle
from relokit.cli.once import Command
from relokit.cli.options import (
    INPUT_FILE,
    json_option,
    plain_option,
    profile_option,
    strict_option,
    timeout_option,
    verbose_option,
)
from relokit.cli.parameters import OutputFile, Seconds, Size
from relokit.cli.result_options import (
    judging_given,
    report_option,
    results_options,
    wanted_results,
)
from relokit.cli.terminal.output import emit, emit_json
from relokit.codegen.target import MIB, Regime
from relokit.runtime.kexec.job import DEFAULT_CMDLINE, MAX_BOOT
from relokit.runtime.live.live_job import (
    DEFAULT_BOOT,
    DEFAULT_MEMORY,
    DEFAULT_TIMEOUT,
    FEATURES,
    MODELS,
    LiveJob,
)

NO_FILE_LOAD = (
    "no Debian kernel for arm64 has kexec_file_load (CONFIG_KEXEC_FILE): what is handed in here "
    "goes by kexec_load; 'relokit run' has the other way, with our own kernel"
)


@click.command(
    "kexec", cls=Command, help="Boot a shipped kernel, have it kexec, and judge it doing that."
)
@click.option(
    "--kernel", type=INPUT_FILE, required=True, help="The kernel that boots: Image or vmlinuz."
)
@click.option(
    "--next", type=INPUT_FILE, help="The kernel that it enters. [default: the same again]"
)
@click.option(
    "--initrd",
    type=INPUT_FILE,
    help="What the next kernel finds. [default: a user space of ours, which powers off]",
)
@click.option(
    "--dtb", type=INPUT_FILE, help="Tree for the next kernel. [default: that of the board]"
)
@click.option(
    "--cmdline",
    help=f"Command line of the next kernel. [default: '{DEFAULT_CMDLINE}']",
)
@click.option(
    "--userland",
    type=INPUT_FILE,
    metavar="DIR|CPIO",
    help="The first kernel's user space, which does the kexec itself; it finds /next and "
    "/next-initrd. [default: ours]",
)
@click.option("--crash", is_flag=True, help="Load a crash kernel, and crash.")
@click.option("--file-load", is_flag=True, help="Load by kexec_file_load: refused, and told why.")
@click.option(
    "--el",
    "regime",
    type=click.Choice([str(regime) for regime in Regime]),
    default="nvhe",
    show_default=True,
    help="EL1 only; entered at EL2 without VHE; or with VHE.",
)
@click.option(
    "--cpu", type=click.Choice(MODELS), help="CPU model. [default: the smallest that serves]"
)
@click.option(
    "--cpu-feature",
    "features",
    type=click.Choice(FEATURES),
    multiple=True,
    help="Tell the kernels of this, too: pointer authentication, which is slow here, or random "
    "numbers, which are the same each time. Repeatable.",
)
@click.option(
    "--memory",
    type=Size(),
    default=DEFAULT_MEMORY,
    help=f"RAM of the board. [default: {DEFAULT_MEMORY // MIB}M]",
)
@click.option(
    "--boot",
    type=Seconds(MAX_BOOT),
    default=DEFAULT_BOOT,
    help=f"Seconds of the board that each kernel gets. [default: {DEFAULT_BOOT:g}]",
)
@timeout_option("There is no answer if all of it takes this host so many seconds.", DEFAULT_TIMEOUT)
@plain_option
@click.option(
    "--effects",
    is_flag=True,
    help="Let caches take effect from machine_kexec to the next kernel: what was not cleaned is "
    "not in memory.",
)
@click.option(
    "--trace",
    type=OutputFile(),
    metavar="FILE",
    help="Write what the CPU does from machine_kexec to the next kernel to this file.",
)
@report_option
@strict_option
@profile_option
@verbose_option
@results_options
@json_option
def command(
    as_json: bool, verbose: bool, trace: Path | None, file_load: bool, **options: Any
) -> int:
    """Arguments in, one call of the facade, a view out; the result is the exit code."""
    refuse_idle()
    if file_load:
        raise click.UsageError(NO_FILE_LOAD)
    wanted, judging = wanted_results(options), judging_given(options)
    report = options.pop("report")
    job = LiveJob(**options)

    from relokit.cli.terminal.kexec_view import kexec_summary
    from relokit.cli.terminal.view import Bars
    from relokit.machines.live_kexec import kexec

    with nullcontext() if wanted is None else wanted.with_failures(), Bars() as bars:
        if report is None:
            outcome = kexec(job, trace=trace, progress=bars.progress)
            outcome = outcome if judging is None else judging.live(outcome)
        else:
            from relokit.cli.report_story import reported

            with reported(report, trace, options) as story:
                outcome = kexec(job, trace=story.trace, progress=bars.progress)
                if trace is None and outcome.handover is not None:
                    handover = replace(outcome.handover, trace=None)
                    outcome = replace(outcome, handover=handover)
                outcome = outcome if judging is None else judging.live(outcome)
                story.tell_kexec(outcome)
    if judging is not None:
        judging.finish()
    if as_json:
        emit_json(outcome)
    elif wanted is None or wanted.leaves_terminal:
        emit(kexec_summary(outcome, verbose=verbose))
    if wanted is not None:
        from relokit.cli.results.kexec_results import kexec_results

        wanted.put(kexec_results(wanted.command, outcome))
    return EXIT_OF[outcome.status]
