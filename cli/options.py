"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from relokit.cli.idle import fields_given
from relokit.cli.parameters import (
    Address,
    Bank,
    CountParam,
    MemoryMap,
    OutputFile,
    Seconds,
    Size,
    StateParam,
)
from relokit.codegen.kimage_layouts import LAYOUTS, KimageLayout, layout_named
from relokit.codegen.target import PAGE_SIZES, Regime, Target, parse_page_size
from relokit.runtime.guest.order import Order
from relokit.runtime.kexec.job import (
    DEFAULT_CMDLINE,
    DEFAULT_TIMEOUT,
    MAX_SEED,
    MAX_TIMEOUT,
    Job,
    KexecPath,
    Shape,
    TraceFormat,
)

if TYPE_CHECKING:
    from relokit.linker.kernel.opened import Files

F = TypeVar("F", bound=Callable[..., Any])

INPUT_FILE = click.Path(path_type=Path)

_STATE_OPTION = click.option(
    "--series",
    type=StateParam(),
    default="complete",
    show_default=True,
    metavar="N",
    help="State of the series: 0 to 15, 'before' or 'complete'.",
)

_LAYOUT_OPTION = click.option(
    "--layout",
    type=click.Choice(list(LAYOUTS)),
    default="6.1",
    show_default=True,
    help="struct kimage of this kernel version.",
)
_LAYOUT_FROM_OPTION = click.option(
    "--layout-from",
    type=INPUT_FILE,
    metavar="KERNEL",
    help="Read struct kimage out of the BTF of this kernel instead: an Image, vmlinuz or vmlinux.",
)
templates_option = click.option(
    "--templates",
    type=INPUT_FILE,
    metavar="DIR",
    help="Templates in DIR win over the built-in ones.",
)

_TARGET_OPTIONS = (
    click.option(
        "--page-size",
        type=click.Choice(list(PAGE_SIZES), case_sensitive=False),
        default="4k",
        show_default=True,
        help="Translation granule of the kernel we leave.",
    ),
    click.option(
        "--va-bits",
        type=CountParam(0, 64),
        default=48,
        show_default=True,
        help="VA size of the old kernel: 39, 48, 52 (4k), 36, 47, 48, 52 (16k), 42, 48, 52 (64k).",
    ),
    click.option(
        "--pa-bits",
        type=CountParam(1, 64),
        default=0,
        help="PA size of the old kernel, 48 or 52: with 64k pages a choice of its own. "
        "[default: 52 with 52-bit VA, else 48]",
    ),
    click.option(
        "--cpu-bits",
        type=CountParam(1, 64),
        default=0,
        help="Widest addresses of the CPU: 48, or 52 (LVA, LPA, LPA2). [default: the kernel's]",
    ),
    click.option(
        "--el",
        "regime",
        type=click.Choice([str(regime) for regime in Regime]),
        default="nvhe",
        show_default=True,
        help="EL1 only; entered at EL2 without VHE; or with VHE.",
    ),
    _LAYOUT_OPTION,
    _LAYOUT_FROM_OPTION,
    templates_option,
)

_JOB_OPTIONS: dict[str, dict[str, Any]] = {
    "--kernel": {
        "type": INPUT_FILE,
        "help": "Image or vmlinuz (gzip, zstd, EFI zboot). [default: the demo kernel]",
    },
    "--initrd": {"type": INPUT_FILE, "help": "Initial RAM disk."},
    "--dtb": {
        "type": INPUT_FILE,
        "help": "Device tree: says where RAM is and what of it is reserved, and is handed over. "
        "[default: QEMU virt's, made here]",
    },
    "--cmdline": {
        "help": "Command line for /chosen; '' for none. [default: what --dtb says; without it, "
        f"'{DEFAULT_CMDLINE}']",
    },
    "--size": {"type": Size(), "help": "Move a synthetic payload of this size instead."},
    "--memory": {
        "type": Size(),
        "help": "Guest RAM, of which a tree without memory is told. [default: 2G, more if needed]",
    },
    "--memory-map": {
        "type": MemoryMap(),
        "metavar": "SIZE@ADDRESS,...",
        "help": "Banks of guest RAM, in place of what the tree says.",
    },
    "--crashkernel": {
        "type": Bank(),
        "metavar": "SIZE[@ADDRESS]",
        "help": "Memory set aside for the kernel of --path crash. [default: half of the largest "
        "hole]",
    },
    "--kernel-at": {"type": Address(), "help": "PA of the kernel."},
    "--initrd-at": {"type": Address(), "help": "PA of the initrd."},
    "--dtb-at": {"type": Address(), "help": "PA of the device tree."},
    "--order": {
        "type": click.Choice([str(order) for order in Order]),
        "default": str(Order.SHUFFLED),
        "show_default": True,
        "help": "How source pages lie in memory.",
    },
    "--path": {
        "type": click.Choice([str(path) for path in KexecPath]),
        "default": str(KexecPath.NORMAL),
        "show_default": True,
        "help": "Way out: kexec_file, by way of a purgatory, image in place, crash kernel; or the "
        "resume side of hibernation.",
    },
    "--shape": {
        "type": click.Choice([str(shape) for shape in Shape]),
        "default": str(Shape.PLAIN),
        "show_default": True,
        "help": "What the list of pages looks like.",
    },
    "--seed": {
        "type": CountParam(0, MAX_SEED),
        "default": 0,
        "show_default": True,
        "help": "Decides the shuffling and the synthetic payload.",
    },
    "--code-from": {
        "type": INPUT_FILE,
        "multiple": True,
        "metavar": "FILE",
        "help": "Run the routines that this file has in place of ours: an object "
        "(relocate_kernel.o), a linked ELF or vmlinux, preprocessed .S, an archive, an Image or "
        "vmlinuz. Repeatable.",
    },
    "--include-dir": {
        "type": INPUT_FILE,
        "metavar": "DIR",
        "help": "Let a .S of --code-from include files below DIR (.include, .incbin), and no "
        "others.",
    },
}


def target_options(function: F) -> F:
    """Add the options that make a Target."""
    return _STATE_OPTION(every_state_options(function))


def every_state_options(function: F) -> F:
    """Add the options that make a Target, but for the state of the series."""
    for option in reversed(_TARGET_OPTIONS):
        function = option(function)
    return function


def layout_options(function: F) -> F:
    """Add ``--layout`` and ``--layout-from``; see :func:`layout_of`."""
    return _LAYOUT_OPTION(_LAYOUT_FROM_OPTION(function))


def job_options(function: F) -> F:
    """Add the options that say what to move, from where to where."""
    return some_job_options(*_JOB_OPTIONS)(function)


def some_job_options(*flags: str) -> Callable[[F], F]:
    """Add those of the job options."""

    def add(function: F) -> F:
        for flag in reversed(flags):
            function = click.option(flag, **_JOB_OPTIONS[flag])(function)
        return function

    return add


def plain_option(function: F) -> F:
    """Add ``--plain``."""
    return click.option(
        "--plain",
        is_flag=True,
        help="Do not record what the CPU does: faster, and the rules that need a trace judge "
        "nothing.",
    )(function)


def strict_option(function: F) -> F:
    """Add ``--strict``."""
    return click.option("--strict", is_flag=True, help="A warning fails, too.")(function)


def profile_option(function: F) -> F:
    """Add ``--profile``."""
    return click.option(
        "--profile",
        metavar="CPU",
        help="Say which findings would not bite on this CPU; the worst machine decides all the "
        "same. [default: the emulated one]",
    )(function)


def trace_options(help_text: str) -> Callable[[F], F]:
    """Add ``--trace`` with this help, and ``--trace-format``."""

    def add(function: F) -> F:
        function = click.option(
            "--trace-format",
            type=click.Choice([str(form) for form in TraceFormat]),
            help="Of the trace: ours, which 'judge' takes, a time line for ui.perfetto.dev, or for "
            "casemate-check. "
            f"[default: {TraceFormat.RELOKIT}]",
        )(function)
        return click.option("--trace", type=OutputFile(), help=help_text)(function)

    return add


def timeout_option(what: str, default: float = DEFAULT_TIMEOUT) -> Callable[[F], F]:
    """Add ``--timeout``; ``what`` says what comes of it."""
    return click.option(
        "--timeout",
        type=Seconds(MAX_TIMEOUT),
        default=default,
        help=f"{what} [default: {default:g}]",
    )


def verbose_option(function: F) -> F:
    """Add ``--verbose``."""
    return click.option("--verbose", is_flag=True, help="List what each rule answered.")(function)


def force_option(function: F) -> F:
    """Add ``--force``."""
    return click.option(
        "--force", is_flag=True, help="Write over files that are there, and do not ask."
    )(function)


def json_option(function: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(
        function
    )


def cache_option(function: F) -> F:
    """Add ``--no-cache``, which takes effect by itself; the command gets it to refuse it."""
    return click.option(
        "--no-cache",
        is_flag=True,
        callback=_set_cache,
        help="Build everything anew. [default: programs built before come from $RELOKIT_CACHE]",
    )(function)


def _set_cache(ctx: click.Context, _: click.Parameter, no_cache: bool) -> bool:
    if no_cache:
        from relokit.building import without_cache

        ctx.with_resource(without_cache())
    return no_cache


def make_target(options: dict[str, Any], files: Files) -> Target:
    """Take the target options out of ``options``, opening a kernel in ``files``.

    Raises TargetError, and FormatError for a kernel that has no layout to read.
    """
    return Target(
        series=options.pop("series"),
        page_size=parse_page_size(options.pop("page_size")),
        va_bits=options.pop("va_bits"),
        pa_bits=options.pop("pa_bits"),
        cpu_bits=options.pop("cpu_bits"),
        regime=Regime(options.pop("regime")),
        layout=layout_of(options, files),
    )


def layout_of(options: dict[str, Any], files: Files) -> KimageLayout:
    """What ``--layout`` and ``--layout-from`` say, taken out of ``options``.

    Both at once are refused, as is what ``--code-from`` a kernel with BTF says otherwise.
    """
    name, kernel = options.pop("layout"), options.pop("layout_from")
    context = click.get_current_context(silent=True)
    source = context and context.get_parameter_source("layout")
    named = source is ParameterSource.COMMANDLINE
    if named and kernel is not None:
        raise click.UsageError("--layout and --layout-from do not go together")
    from relokit.building import layout_in, opened_code

    layout = layout_named(name) if kernel is None else layout_in(kernel, files)
    if named or kernel is not None:
        code = opened_code(code_job(options), files)
        if code is not None and code.layout not in (None, layout):
            flag = "--layout" if named else "--layout-from"
            raise click.UsageError(f"{code.where} has BTF, which decides: leave {flag} out")
    return layout


def code_job(options: Mapping[str, Any]) -> Job:
    """A Job of nothing but whose code is to run, of these options."""
    return Job(code_from=options.get("code_from") or None, include_dir=options.get("include_dir"))


def make_job(options: dict[str, Any], *, later: Collection[str] = (), **more: Any) -> Job:
    """Take the job options (and ``templates``) out of ``options``; ``later`` fields come after."""
    names = (
        "kernel", "initrd", "dtb", "cmdline", "size", "memory", "memory_map", "kernel_at",
        "initrd_at", "dtb_at", "seed", "code_from", "include_dir",
        "templates",
    )  # fmt: skip
    fields = {name: options.pop(name) for name in names}
    fields["code_from"] = fields["code_from"] or None
    crash_size, crash_at = options.pop("crashkernel") or (None, None)
    return Job(
        **fields,
        crash_size=crash_size,
        crash_at=crash_at,
        order=Order(options.pop("order")),
        path=KexecPath(options.pop("path")),
        shape=Shape(options.pop("shape")),
        given=tuple(name for name in fields_given() if name not in later),
        **more,
    )
