"""The options of long commands in groups, for ``--help``; by parameter name."""

from __future__ import annotations

from collections.abc import Iterator

import click

LEAST = 12
"""Options of a command that are shown in groups."""
OTHERS = "Options"

GROUPS = {
    "The code": (
        "series", "page_size", "page_sizes", "va_bits", "pa_bits", "cpu_bits", "regime", "regimes",
        "layout", "layout_from", "templates", "code_from", "include_dir", "routines", "operators",
    ),
    "What is moved": (
        "kernel", "next", "initrd", "dtb", "cmdline", "userland", "size", "order", "path", "paths",
        "shape", "payloads", "full", "seed", "crash", "file_load", "snapshot",
    ),
    "The machine": (
        "memory", "memory_map", "crashkernel", "kernel_at", "initrd_at", "dtb_at", "cache_line",
        "cpu", "features", "interrupts", "effects",
    ),
    "How far it goes": (
        "boot", "expect", "timeout", "max_instructions", "jobs", "cluster", "port", "limit",
    ),
    "What is judged": ("plain", "strict", "profile", "baseline", "write_baseline", "fail_fast"),
    "What is told": (
        "verbose", "trace", "trace_format", "form", "output", "symbols", "timings", "as_json",
        "only_list", "results",
    ),
}  # fmt: skip


def grouped_options(
    command: click.Command, ctx: click.Context
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Headings, and the rows below each; what is in no group comes last, with ``--help``."""
    records = {one.name: one.get_help_record(ctx) for one in command.get_params(ctx)}
    rows = {name: record for name, record in records.items() if record is not None}
    if len(rows) < LEAST:
        yield OTHERS, list(rows.values())
        return
    for heading, names in GROUPS.items():
        found = [rows.pop(name) for name in names if name in rows]
        if found:
            yield heading, found
    yield "Others", list(rows.values())
