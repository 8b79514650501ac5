"""``relokit diff``."""

from __future__ import annotations

import click

from relokit.cli.options import json_option
from relokit.cli.output import emit, emit_json, plain

KINDS = (
    "barrier", "cache", "tlb", "system", "memory", "control", "arithmetic", "hint", "data",
)  # fmt: skip
ASPECTS = ("addresses", "registers", "padding", "encodings", "fields")

HELP = """Compare machine code: what changed, and what it is about.

LEFT and RIGHT are a target (series:12,page=16k,va=48,el=vhe,layout=6.1), assembly (.S), an object
or ELF file, or a kernel (Image or vmlinuz); with :SYMBOL, one routine of it. Without, the routines
that both have are compared.
"""


@click.command("diff", help=HELP, epilog="Exit codes: 0 same, 1 different, 2 trouble.")
@click.argument("left")
@click.argument("right")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["auto", "unified", "side"]),
    default="auto",
    show_default=True,
    help="As diff -u, or side by side; auto is side by side on a terminal.",
)
@click.option(
    "--keep",
    "kept",
    type=click.Choice([*ASPECTS, "all"]),
    multiple=True,
    help="Do not normalise this: it counts as a difference. Repeatable.",
)
@click.option(
    "--only",
    type=click.Choice(KINDS),
    multiple=True,
    help="Nothing else counts or is shown. Repeatable.",
)
@click.option("--score", is_flag=True, help="Print only the likeness in percent.")
@json_option
def command(
    left: str,
    right: str,
    shape: str,
    kept: tuple[str, ...],
    only: tuple[str, ...],
    score: bool,
    as_json: bool,
) -> int:
    """Read both sides, compare them, show it; 0 if they are the same, 1 if not."""
    import sys

    from relokit.codegen.encoder import Encoder
    from relokit.diffing.classify import Kind
    from relokit.diffing.compare import compare
    from relokit.diffing.normalise import Aspect
    from relokit.diffing.report import summary, unified
    from relokit.diffing.sides import read_sides

    aspects = [*Aspect] if "all" in kept else [Aspect(name) for name in kept]
    encoders: list[Encoder] = []

    def encoder() -> Encoder:
        if not encoders:
            encoders.append(Encoder())
        return encoders[0]

    try:
        sides = read_sides(left, right, encoder)
    finally:
        for one in encoders:
            one.close()
    diff = compare(*sides, kept=aspects, kinds=[Kind(name) for name in only] or Kind)
    if as_json:
        emit_json(diff.to_json())
    elif score:
        emit(f"{diff.score:.2f}")
    else:
        terminal = sys.stdout is not None and sys.stdout.isatty()
        if shape == "side" or (shape == "auto" and terminal):
            from relokit.cli.diff_view import side_by_side

            body = side_by_side(diff, colour=terminal)
        else:
            body = plain(unified(diff))
        parts = [part for part in (body, plain(summary(diff))) if part]
        if parts:
            emit("\n".join(parts))
    return 0 if diff.same else 1
