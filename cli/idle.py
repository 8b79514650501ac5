"""Options of the command line that would do nothing where they stand: refused, from one table.

What a Job itself cannot use is in the table of :mod:`relokit.runtime.kexec.job`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import click
from click.core import ParameterSource

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import ASSEMBLY
from relokit.runtime.kexec.job import Job, KexecPath

MACHINE = (
    "kernel", "initrd", "dtb", "cmdline", "size", "memory", "memory_map", "crashkernel",
    "kernel_at", "initrd_at", "dtb_at", "order", "path", "shape", "seed", "code_from",
    "include_dir", "cpu_bits",
)  # fmt: skip
"""Parameters of what is moved, from where to where, on what CPU."""
_LAYOUT = ("layout", "layout_from")
_WITH_RESULTS = ("run", "kexec", "judge", "matrix", "mutate")


@dataclass(frozen=True, slots=True)
class IdleOption:
    """Parameters that would do nothing in ``commands`` ``when`` all of them are such.

    ``says`` it to whoever gave one; it may name ``{flag}`` and any parameter.
    """

    commands: tuple[str, ...]
    when: Callable[[Mapping[str, Any]], bool]
    parameters: tuple[str, ...]
    says: str


_DIFF_MACHINE = ("regimes", "page_size", "va_bits", "layout")
TARGET = "series:"
"""What an operand of diff that is a target begins with."""


def _has_target(given: Mapping[str, Any]) -> bool:
    return any(
        one is not None and one.startswith(TARGET) for one in (given["left"], given["right"])
    )


def _has_assembly(given: Mapping[str, Any]) -> bool:
    """Whether an operand of diff is assembly, or a symbol of it."""
    operands = [one or "" for one in (given["left"], given["right"])]
    operands += [one.rpartition(":")[0] for one in operands]
    return any(one.endswith(ASSEMBLY) and not one.startswith(TARGET) for one in operands)


def _only(name: str, value: object) -> Callable[[Mapping[str, Any]], bool]:
    """Whether the parameter ``name`` has this value, or, if it is a list, no other."""

    def check(given: Mapping[str, Any]) -> bool:
        return given[name] in (value, (value,))

    return check


IDLE_OPTIONS = (
    IdleOption(
        ("run",),
        lambda given: given["snapshot"] is not None,
        (
            *(name for name in MACHINE if name != "kernel"),
            *("series", "page_size", "va_bits", "pa_bits", "regime", "layout", "layout_from"),
            *(
                "baseline",
                "write_baseline",
                "templates",
                "cache_line",
                "interrupts",
                "effects",
                "no_cache",
            ),
        ),
        "a snapshot is a machine already: leave {flag} out",
    ),
    IdleOption(
        ("show", "debug"),
        lambda given: given["snapshot"] is not None,
        (
            *(name for name in MACHINE if name != "kernel"),
            *("series", "page_size", "va_bits", "pa_bits", "regime", "layout", "layout_from"),
            *("templates", "no_cache"),
        ),
        "a snapshot is a machine already: leave {flag} out",
    ),
    IdleOption(
        ("show",),
        lambda given: given["record"] is not None,
        (
            *MACHINE,
            *("series", "page_size", "va_bits", "pa_bits", "regime", "layout", "layout_from"),
            *("templates", "no_cache", "snapshot", "moment", "timeout", "until"),
        ),
        "a trace is shown as it is: leave {flag} out",
    ),
    IdleOption(
        ("show",),
        lambda given: given["record"] is not None and given["what"] != "tables",
        ("address",),
        "a trace shows all of its code: leave {flag} out",
    ),
    IdleOption(
        ("show",),
        lambda given: given["what"] not in ("tables", "code"),
        ("address",),
        "{flag} is of tables and code: 'show {what}' has no use for it",
    ),
    IdleOption(
        ("show",),
        lambda given: given["what"] not in ("list", "trace"),
        ("first", "last"),
        "{flag} is of 'show list' and 'show trace': leave it out",
    ),
    IdleOption(
        ("show",),
        lambda given: given["what"] not in ("memory", "tables", "timeline"),
        ("svg",),
        "{flag} draws memory, tables and the time line: 'show {what}' is text",
    ),
    IdleOption(
        ("show",),
        lambda given: given["what"] != "trace",
        ("until",),
        "{flag} is of 'show trace': leave it out",
    ),
    IdleOption(
        ("show",),
        lambda given: given["what"] in ("timeline", "trace"),
        ("moment",),
        "'show {what}' is of all of the way: leave {flag} out",
    ),
    IdleOption(
        ("show",),
        lambda given: given["moment"] == "start" and given["what"] not in ("timeline", "trace"),
        ("timeout",),
        "nothing is run for what is there at the start: leave {flag} out",
    ),
    IdleOption(
        ("run", "judge", "kexec"),
        lambda given: given["as_json"],
        ("verbose",),
        "--json has what each rule answered: leave {flag} out",
    ),
    IdleOption(
        ("run", "judge"),
        lambda given: given["trace"] is None,
        ("trace_format",),
        "{flag} is that of --trace FILE, which is not there",
    ),
    IdleOption(
        _WITH_RESULTS,
        lambda given: given["as_json"],
        ("form", "output"),
        "--json is a format of its own: leave {flag} out",
    ),
    IdleOption(
        _WITH_RESULTS,
        lambda given: given["form"] is None,
        ("output",),
        "{flag} is of --format, which is not there",
    ),
    IdleOption(
        ("matrix",),
        lambda given: given["form"] is None,
        ("timings",),
        "{flag} is of --format, which is not there",
    ),
    IdleOption(
        ("matrix",),
        lambda given: given["form"] in ("sarif", "github"),
        ("timings",),
        "--format {form} has no times: leave {flag} out",
    ),
    IdleOption(
        ("run", "kexec", "judge"),
        lambda given: given["form"] is not None and given["output"] is None,
        ("verbose",),
        "--format has what each rule answered: leave {flag} out",
    ),
    IdleOption(
        ("run",),
        lambda given: given["report"] is not None and given["trace"] is not None,
        ("trace_format",),
        "--report reads the trace, and our own form only: leave {flag} out ('judge --trace' writes "
        "it in another)",
    ),
    IdleOption(
        ("run",),
        _only("path", str(KexecPath.HIBERNATE)),
        _LAYOUT,
        "{flag} is of struct kimage, which hibernation has not: leave it out",
    ),
    IdleOption(
        ("matrix",),
        _only("paths", KexecPath.HIBERNATE),
        _LAYOUT,
        "{flag} is of struct kimage, which hibernation has not: leave it out",
    ),
    IdleOption(
        ("mutate",),
        _only("routines", "hibernate-exit"),
        _LAYOUT,
        "{flag} is of struct kimage, which hibernation has not: leave it out",
    ),
    IdleOption(
        ("matrix",),
        lambda given: given["only_list"],
        ("no_cache",),
        "--list builds nothing: leave {flag} out",
    ),
    IdleOption(
        ("matrix",),
        lambda given: given["only_list"],
        ("plain", "strict", "form", "baseline", "write_baseline", "fail_fast"),
        "--list judges nothing: leave {flag} out",
    ),
    IdleOption(
        ("matrix",),
        lambda given: given["only_list"],
        ("kernel", "templates", "seed", "jobs", "cluster", "timeout", "report"),
        "--list runs nothing: leave {flag} out",
    ),
    IdleOption(
        ("matrix",),
        lambda given: given["payloads"] is not None,
        ("full",),
        "--payload says which are wanted: leave {flag} out",
    ),
    IdleOption(
        ("generate",),
        lambda given: True,
        ("cpu_bits",),
        "{flag} is about a machine, and what is generated has none",
    ),
    IdleOption(
        ("export",),
        lambda given: given["kind"] != "bootable",
        MACHINE,
        "{flag} is about a machine, and --type {kind} has none",
    ),
    IdleOption(
        ("export",),
        _only("kind", "rel"),
        ("no_cache",),
        "--type rel is never cached: leave {flag} out",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["series"] is not None,
        ("left",),
        "--series takes no operands ({flag}); its settings follow it: page=16k,el=vhe",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["whole"] or not _has_assembly(given),
        ("include_dir",),
        "nothing but a .S includes files: leave {flag} out",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["series"] is not None,
        ("whole", "run", "score"),
        "--series and {flag} do not go together",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["whole"],
        ("run", "score"),
        "--all and {flag} do not go together",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["run"],
        ("score",),
        "--run and {flag} do not go together",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["as_json"],
        ("shape",),
        "--json is a format of its own: leave {flag} out",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["as_json"],
        ("score",),
        "--json has the score, too: leave {flag} out",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["score"],
        ("shape",),
        "--score prints a number: leave {flag} out",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["whole"],
        ("kept",),
        "--all compares words, of which {flag} knows nothing",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["whole"] and given["shape"] == "side",
        ("shape",),
        "--all is an overview: give --json, or one function for a diff; leave {flag} out",
    ),
    IdleOption(
        ("diff",),
        lambda given: not given["whole"] and given["shape"] in ("csv", "markdown"),
        ("shape",),
        "a list of functions is of --all: leave {flag} out",
    ),
    IdleOption(
        ("diff",),
        lambda given: not given["whole"] or given["shape"] not in ("html", "csv", "markdown"),
        ("top",),
        "{flag} is of --all as html, csv or markdown: leave it out",
    ),
    IdleOption(
        ("diff",),
        lambda given: not given["run"],
        _DIFF_MACHINE,
        "{flag} is of the machine that --run has: leave it out",
    ),
    IdleOption(
        ("diff",),
        _has_target,
        _DIFF_MACHINE,
        "a target says it itself: leave {flag} out, and give it there "
        "(series:15,page=16k,va=48,el=vhe,layout=6.1)",
    ),
    IdleOption(
        ("diff",),
        lambda given: given["series"] is None and not given["run"] and not _has_target(given),
        ("no_cache",),
        "nothing is built here: leave {flag} out",
    ),
)
"""What goes with what, once."""


def refuse_idle() -> None:
    """Refuse what the current command was given and would not use: click.UsageError."""
    context = click.get_current_context()
    given = context.params
    for idle in IDLE_OPTIONS:
        if context.command.name not in idle.commands or not idle.when(given):
            continue
        for name, flag in _named(context):
            if name in idle.parameters:
                raise click.UsageError(idle.says.format(flag=flag, **given))


def fields_given() -> tuple[str, ...]:
    """The fields of a Job that the command line names, whatever their values."""
    context = click.get_current_context(silent=True)
    if context is None:
        return ()
    known = {one.name for one in fields(Job)}
    return tuple(name for name, _ in _named(context) if name in known)


def refuse_idle_in_all(names: tuple[str, ...], used: Callable[[str], bool], says: str) -> None:
    """Refuse each of these parameters that was given, and that nothing of a list has ``used``."""
    for name, flag in _named(click.get_current_context()):
        if name in names and not used(name):
            raise click.UsageError(says.format(flag=flag))


def _named(context: click.Context) -> Iterator[tuple[str, str]]:
    """The parameters that were given on the command line, by name and as they are spelt there."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            yield name, parameter.opts[-1]
