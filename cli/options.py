"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from relokit.codegen.errors import RelokitError
from relokit.codegen.layouts import LAYOUTS, layout_named
from relokit.codegen.series import parse_state
from relokit.codegen.target import PAGE_SIZES, Regime, Target, parse_page_size
from relokit.runtime.job import Job, Order

F = TypeVar("F", bound=Callable[..., Any])

_SIZE = re.compile(r"(0x[0-9a-f]+|[0-9]+)([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class Size(click.ParamType[int]):
    """Bytes: a number with an optional K, M, G or T (powers of 1024)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(value.strip())
        if not match:
            self.fail(f"{value!r} is not a size; give bytes, or a number with K, M, G or T")
        size = int(match[1], 0) * _UNITS[match[2].lower()]
        if not 0 < size < 1 << 48:
            self.fail(f"{value!r} is out of range; a size is between 1 byte and 256T")
        return size


class Address(click.ParamType[int]):
    """A physical address: hexadecimal with 0x, or decimal."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            address = int(value, 0)
        except ValueError:
            self.fail(f"{value!r} is not an address; give for example 0x40400000")
        if not 0 <= address < 1 << 48:
            self.fail(f"{value!r} is not a 48-bit physical address")
        return address


class State(click.ParamType[int]):
    """A state of the series."""

    name = "state"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_state(str(value))
        except RelokitError as error:
            self.fail(f"{error.message}; {error.hint}")


INPUT_FILE = click.Path(path_type=Path)

_TARGET_OPTIONS = (
    click.option(
        "--series",
        type=State(),
        default="complete",
        show_default=True,
        metavar="N",
        help="State of the series: 0 to 15, 'before' or 'complete'.",
    ),
    click.option(
        "--page-size",
        type=click.Choice(list(PAGE_SIZES), case_sensitive=False),
        default="4k",
        show_default=True,
        help="Translation granule of the kernel we leave.",
    ),
    click.option(
        "--va-bits", type=int, default=48, show_default=True, help="VA size of the old kernel."
    ),
    click.option(
        "--el",
        "regime",
        type=click.Choice([str(regime) for regime in Regime]),
        default="nvhe",
        show_default=True,
        help="EL1 only; entered at EL2 without VHE; or with VHE.",
    ),
    click.option(
        "--layout",
        type=click.Choice(list(LAYOUTS)),
        default="6.1",
        show_default=True,
        help="struct kimage of this kernel version.",
    ),
    click.option(
        "--templates",
        type=INPUT_FILE,
        metavar="DIR",
        help="Templates in DIR win over the built-in ones.",
    ),
)

_JOB_OPTIONS = (
    click.option("--kernel", type=INPUT_FILE, help="Image, vmlinuz (gzip, zstd, EFI zboot)."),
    click.option("--initrd", type=INPUT_FILE, help="Initial RAM disk."),
    click.option("--dtb", type=INPUT_FILE, help="Device tree [default: QEMU virt's, made here]."),
    click.option("--cmdline", help="Command line, put into /chosen."),
    click.option("--size", type=Size(), help="Move a synthetic payload of this size instead."),
    click.option("--memory", type=Size(), help="Guest RAM [default: 2G, more if needed]."),
    click.option("--kernel-at", type=Address(), help="PA of the kernel."),
    click.option("--initrd-at", type=Address(), help="PA of the initrd."),
    click.option("--dtb-at", type=Address(), help="PA of the device tree."),
    click.option(
        "--order",
        type=click.Choice([str(order) for order in Order]),
        default="shuffled",
        show_default=True,
        help="How source pages lie in memory.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Decides the shuffling and the synthetic payload.",
    ),
    click.option(
        "--code-from",
        type=INPUT_FILE,
        metavar="VMLINUZ",
        help="Run this shipped kernel's own relocation code and EL2 vectors.",
    ),
)


def target_options(function: F) -> F:
    """Add the options that make a Target."""
    for option in reversed(_TARGET_OPTIONS):
        function = option(function)
    return function


def job_options(function: F) -> F:
    """Add the options that say what to move, from where to where."""
    for option in reversed(_JOB_OPTIONS):
        function = option(function)
    return function


def json_option(function: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(
        function
    )


def make_target(options: dict[str, Any]) -> Target:
    """Take the target options out of ``options``; raises TargetError."""
    return Target(
        series=options.pop("series"),
        page_size=parse_page_size(options.pop("page_size")),
        va_bits=options.pop("va_bits"),
        regime=Regime(options.pop("regime")),
        layout=layout_named(options.pop("layout")),
    )


def make_job(options: dict[str, Any], **more: Any) -> Job:
    """Take the job options (and ``templates``) out of ``options``."""
    names = (
        "kernel", "initrd", "dtb", "cmdline", "size", "memory", "kernel_at", "initrd_at",
        "dtb_at", "seed", "code_from", "templates",
    )  # fmt: skip
    fields = {name: options.pop(name) for name in names}
    return Job(**fields, order=Order(options.pop("order")), **more)
