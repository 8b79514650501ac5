"""The sources of the native library, and their digest.

The build reads this before relokit can be imported: standard library only.
"""

from __future__ import annotations

import zlib
from pathlib import Path

SOURCES = (
    "codegen/base/native.h",
    "codegen/base/native.c",
    "codegen/base/bus_errors.c",
    "codegen/base/last_clock.c",
    "linker/kernel/alternatives.c",
    "linker/kernel/btf.c",
    "linker/kernel/finding.c",
    "linker/kernel/kallsyms.c",
    "linker/kernel/pointers.c",
    "diffing/read/references.c",
    "diffing/kernels/whole_align.c",
    "diffing/kernels/whole_match.c",
    "diffing/kernels/whole_places.c",
    "diffing/kernels/whole_tally.c",
    "runtime/guest/content.c",
    "runtime/engine/native_hooks.h",
    "runtime/engine/native_hooks.c",
    "runtime/engine/walker.h",
    "runtime/engine/walker.c",
    "runtime/engine/effects.h",
    "runtime/engine/effects.c",
    "runtime/engine/mmu.h",
    "runtime/engine/tlb_fill.c",
    "runtime/engine/maintenance.c",
    "runtime/engine/clock.c",
    "runtime/engine/timers.c",
    "runtime/engine/undefined.c",
    "runtime/engine/answers.c",
    "runtime/engine/interruption.c",
    "runtime/engine/observing/decode.h",
    "runtime/engine/observing/decode.c",
    "runtime/engine/observing/decode_access.c",
    "runtime/engine/observing/decode_registers.h",
    "runtime/engine/observing/decode_registers.c",
    "runtime/engine/observing/recorder.h",
    "runtime/engine/observing/recorder.c",
    "runtime/engine/observing/recorder_streams.c",
    "runtime/engine/observing/recorder_events.c",
    "runtime/engine/observing/recorder_pages.c",
    "runtime/engine/observing/recorder_loops.c",
    "runtime/engine/observing/path.c",
    "runtime/board/board.h",
    "runtime/board/board.c",
    "runtime/board/gic.c",
    "runtime/board/gic_cpu.c",
    "runtime/board/gic_mmio.c",
    "runtime/board/pl011.c",
)
"""Paths from the top of the tree."""


def digest(top: Path) -> int:
    """32 bits over names and contents below ``top``; OSError where one cannot be read.

    It tells an edited source from the one that was built, and guards against nobody's intent.
    """
    value = 0
    for name in SOURCES:
        value = zlib.crc32(name.encode() + b"\0" + (top / name).read_bytes(), value)
    return value
