"""booting.rst and the calls of kexec, must by must: which rules judge each, and what nobody sees.

Documentation/arch/arm64/booting.rst; the stub's calls: arch/arm64/kernel/hyp-stub.S.
"""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class Must:
    """``rules`` judge it; where there are none, ``why`` says why not."""

    must: str
    rules: tuple[str, ...] = ()
    why: str = ""


MUSTS = (
    Must("x0 is the device tree, x1 to x3 are 0", tuple(
        f"handoff.{name}" for name in ("dtb", "x1", "x2", "x3"))),
    Must("the device tree is sound, aligned, of 2 MiB at most, in RAM", (
        "handoff.tree", "handoff.tree-place")),
    Must("CPUs have their enable-method, spin-tables their word", (
        "handoff.cpus", "handoff.spin-table")),
    Must("the Image lies text_offset past 2 MiB, its image_size is free, its pages are the CPU's", (
        "handoff.image-base", "handoff.image-range", "handoff.image-room", "handoff.image-pages")),
    Must("what an Image without bit 3 of its flags is given lies above it", (
        "handoff.image-above",)),
    Must("the initrd is within 32 GiB of the Image", ("handoff.initrd",)),
    Must("DMA is quiesced", why="no device here does any"),
    Must("the Image is entered at its first byte", ("handoff.entry",)),
    Must("DAIF is masked", ("handoff.daif", "handoff.nmi", "relocation.daif", "interrupt.masked")),
    Must("non-secure EL2 or EL1, the level it was booted at", ("handoff.el",)),
    Must("the MMU is off", ("handoff.mmu",)),
    Must("data is of the byte order that the flags of the Image have", ("handoff.byte-order",)),
    Must("the exact SCTLR", ("handoff.sctlr",), "a promise of the series, none of booting.rst"),
    Must("no stale instructions of the Image are cached", ("fetch.image", "fetch.in-place")),
    Must("the Image is cleaned to the PoC, by address", ("caches.image", "caches.completion",
                                                         "caches.set-way")),
    Must("system caches that ignore maintenance by address are off", why="not in the trace"),
    Must("CNTFRQ is set, CNTVOFF as it was, counters may be read", ("handoff.counter",)),
    Must("all CPUs are in one coherency domain", why="there is one CPU"),
    Must("all writable registers at or below the level are initialised", ("handoff.initialised",)),
    Must("SCR_EL3.HCE is 1, SCR_EL3.FIQ and PMHE are constant", (
        "handoff.hvc", "handoff.firmware")),
    Must("GICv3 or GICv5 is enabled for the level", ("handoff.gicv3", "handoff.gicv5")),
    Must("GICv3 in compatibility mode: SRE is 0", ("handoff.gicv2",)),
    Must("PAuth, AMU, FGT, HCX, FP, SVE, SME, MTE, BRBE, PMU, SPE, MOPS, TCR2, S1PIE, LS64 are "
         "trapped nowhere", tuple(f"handoff.{name}" for name in (
             "pauth", "amu", "fgt", "fp", "sve", "sme", "mte", "brbe", "pmu", "spe", "mops", "tcr2",
             "ls64"))),
    Must("vector lengths are the same on all CPUs", why="there is one CPU"),
    Must("guarded control stacks are off", ("handoff.gcs",)),
    Must("other CPUs are off, or in pens outside the kernel's memory", why="there is one CPU"),
    Must("protected RAM of a realm", why="no realm here"),
    Must("HVC asks the stub for what it has: 0 vectors, 1 restart, 2 reset, 3 finalise", (
        "call.hvc", "call.refused", "handoff.stub-error")),
    Must("a restart enters x1 at EL2, with x2 to x4 as x0 to x2", (
        "handoff.entry", "handoff.el", "handoff.dtb")),
)  # fmt: skip
"""In the order of booting.rst, the stub's calls last."""
