"""Advice on context, errata, interrupt, call, stack and code: see ``advice_caches.py``."""

from __future__ import annotations

from collections.abc import Mapping

_EITHER = (
    "Either value may be in force, for each use anew, until the context is synchronised. Many CPUs "
    "synchronise by themselves at this register; others do not, or not always."
)
_ISB = "an isb right behind the msr, before anything that depends on it"

ON_CONTEXT: Mapping[str, tuple[str, str]] = {
    "context.mmu": (
        _EITHER + " Code that is not mapped to itself is then fetched from nowhere.",
        "isb; msr sctlr_elx; isb, all of it at addresses where VA and PA are the same",
    ),
    "context.tables": (
        _EITHER + " Writes of TTBR are the ones that do fail in practice: a page is translated by "
        "the tables that were left.",
        _ISB + "; between two sets of tables also: an empty one, isb, tlbi, dsb",
    ),
    "context.hypervisor": (
        _EITHER + " By E2H one name is two registers, and an ERET may still read the old value.",
        "msr hcr_el2; isb; then the eret or the next system register",
    ),
    "context.traps": (
        _EITHER + " What should be allowed traps, to vectors that may not be there.",
        _ISB,
    ),
    "context.vectors": (
        "With FEAT_ExS an exception need not synchronise: it goes to the old vectors, whose memory "
        "may be somebody else's by then.",
        _ISB,
    ),
    "context.entry": (
        "The new kernel begins under the old value: its first fetches are still translated, or its "
        "first loads are in the other byte order.",
        "an isb between the last msr and the branch; an hvc does as well",
    ),
    "context.translation-result": (
        "PAR_EL1 may still hold the result of the AT before.",
        "at; isb; mrs par_el1",
    ),
    "context.host": (
        "E2H changes what tables, TCR and TTBR mean: with the MMU on, from one instruction to the "
        "next the same words say something else.",
        "turn the MMU of EL2 off, isb, write HCR_EL2, isb, set up the tables, turn it on",
    ),
    "context.endianness": (
        "Tables are read in the other byte order from some moment on. Arm advises against it; no "
        "kernel does it.",
        "change SCTLR.EE together with M going off, or while it is off",
    ),
    "errata.e1041": (
        "Falkor v1 may fetch by speculation from an address that is not mapped, and takes the "
        "machine down. No other CPU needs it.",
        "an isb right before the msr that turns the MMU off",
    ),
    "errata.e1003": (
        "Falkor may fill its TLB with the new tables under the old ASID.",
        "write a reserved ASID with the old tables, isb, then the new tables with theirs",
    ),
    "errata.thunderx2-219": (
        "ThunderX2 may raise an abort for a load that is right.",
        "msr ttbr; isb, with neither load, store nor prefetch between them",
    ),
    "errata.repeat-tlbi": (
        "Other CPUs of these models may go on with the old entry. A CPU that is alone, and tlbi "
        "without is, are not concerned.",
        "tlbi; dsb; tlbi; dsb where the work-around is on",
    ),
    "interrupt.masked": (
        "The first interrupt goes to vectors that are not mapped, or that were copied over: the "
        "machine raises one exception after the other, without a word. Rare on an idle machine.",
        "msr daifset, #0xf before the vectors are lost, and no daifclr until there are new ones",
    ),
    "interrupt.alignment": (
        "The low bits are not there: exceptions go to an address below the table.",
        ".balign 2048 before the vectors, and a copy that keeps it",
    ),
    "interrupt.routed": (
        "An interrupt that EL1 has masked is taken to EL2 all the same, and the stub spins in it.",
        "HCR_EL2.{IMO,FMO,AMO} = 0 while a stub waits at EL2",
    ),
    "call.hvc": (
        "HVC is undefined, or somebody else's hypervisor answers it: the code goes on as if the "
        "stub had done something, or falls into vectors that are not there.",
        "call the stub only if the kernel was entered at EL2 and runs at EL1 (is_hyp_nvhe); else "
        "branch",
    ),
    "call.refused": (
        "The stub returns 0xbadca11 and has done nothing. Code behind the HVC goes on at EL1.",
        "x0 = 0 (set vectors), 1 (soft restart), 2 (reset vectors) or 3 (finalise); a copy of the "
        "vectors for kexec knows 0 and 1 only",
    ),
    "call.resumes": (
        "The caller is not gone on with: what comes after its call never happens, or happens "
        "twice.",
        "leave ELR_EL2 alone between the exception and its eret",
    ),
    "call.return": (
        "An illegal return sets PSTATE.IL: the next instruction faults, at a level that has no "
        "vectors for it.",
        "set SPSR_ELx to the mode to return to, with DAIF masked, right before the eret",
    ),
    "stack.used": (
        "The stack is the old kernel's: its page may be a destination, and with the MMU off SP is "
        "no address at all.",
        "code that moves keeps everything in registers",
    ),
    "code.allocated": (
        "A CPU takes an exception as UNDEFINED, to vectors that may not be there. An emulator that "
        "does not look at the field goes on.",
        "eret is the word 0xd69f03e0",
    ),
    "code.landing": (
        "A CPU with BTI takes a Branch Target exception there, to vectors that may not be there. "
        "One without it, and an emulator that knows no guarded pages, goes on.",
        "bti c where a BLR comes, bti j where a BR comes; or a map without GP, as of the code that "
        "moves",
    ),
    "code.predictable": (
        "One CPU does what was meant, another nothing, a third leaves anything in the registers or "
        "takes an exception as UNDEFINED.",
        "take another register; what has no operand has 11111 in bits 4:0",
    ),
}
