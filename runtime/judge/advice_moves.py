"""Advice on how a move begins, ends, and what it leaves: see ``advice_caches.py``."""

from __future__ import annotations

from collections.abc import Mapping

_HANGS = "The machine hangs without a word: the console is the old kernel's, and there is no new "
"one."
_LATE = "The new kernel comes up and fails later, wherever it uses the wrong bytes."
_OWN_PAGE = (
    "What comes after goes by whatever lies there now: pages go astray, or code runs that was "
    "never written."
)
_ALLOCATED = "take its pages from kimage_alloc_control_pages, which keeps off all destinations"

ON_MOVES: Mapping[str, tuple[str, str]] = {
    "resume.el": (
        "The resumed kernel uses registers of the level it remembers: the first access is "
        "undefined.",
        "leave by branch at the level of the exit code; HVC only to set vectors, and come back",
    ),
    "resume.ttbr1": (
        "It goes on by temporary tables, whose pages are free memory to it: it fails when they are "
        "used for something else.",
        "the empty table, isb, tlbi, dsb, then swapper_pg_dir of the resumed kernel, isb",
    ),
    "resume.mmu": (
        "The next instruction is at a virtual address, and is not there.",
        "leave SCTLR alone: the exit code runs with the MMU on from its first to its last "
        "instruction",
    ),
    "resume.caches": (
        "What was restored is in caches, and not in memory: the resumed kernel reads what was "
        "there before, code as well as data, until it has its own SCTLR back.",
        "leave SCTLR alone: the exit code runs with caches on from its first to its last "
        "instruction",
    ),
    "resume.masked": (
        "The first interrupt is taken before the resumed kernel has its stack and its registers "
        "back: what it saves goes to wherever SP leads.",
        "msr daifset, #0xf before the exit code, and nothing in there that clears it again",
    ),
    "resume.vectors": (
        "The next HVC goes to a copy in a page that is free memory by now.",
        "HVC_SET_VECTORS with the PA of __hyp_stub_vectors, after the copy",
    ),
    "exception.instruction-abort": (
        _HANGS,
        "map what runs, executable, at its own PA where the MMU goes off, and branch to PAs then",
    ),
    "exception.data-abort": (
        _HANGS,
        "use linear-map addresses with the MMU on and PAs with it off, and map all pages of the "
        "list",
    ),
    "exception.undefined": (
        _HANGS,
        "code that any CPU has at this level; and copied code that is whole",
    ),
    "exception.stray": (_HANGS, "no svc, smc or brk on the way; hvc only for the stub"),
    "exception.vector": (
        "The exception raises the next one, for ever.",
        "VBAR to a table that is 2 KiB aligned, mapped (a PA with the MMU off) and not a "
        "destination",
    ),
    "bus.unassigned": (
        "An external abort, or an SError that the next kernel dies of.",
        "addresses from the list and from kimage only, in the form that the regime has",
    ),
    "run.spin": (
        _HANGS,
        "only unused slots of a vector table branch to themselves",
    ),
    "run.limit": (
        _HANGS,
        "a loop over the list ends at IND_DONE, one over a page at its end",
    ),
    "run.timeout": (
        "Nothing is known: this host was too slow, or the code has no end.",
        "give more --timeout",
    ),
    "run.halted": (_HANGS, "no wfi or wfe on the way: what would wake the CPU is masked"),
    "run.off": ("The machine is off.", "no call to PSCI between machine_kexec and the new kernel"),
    "run.engine": (
        "Nothing is known: the emulator cannot run it.",
        "the message says which part is not emulated",
    ),
    "relocation.el": (
        "Registers of another level are written than meant: tables and MMU stay as they were.",
        "since patch 9 the code moves at EL1 and goes back to EL2 only at its end",
    ),
    "relocation.mmu": (
        "Addresses are taken for what they are not: with the MMU off a linear-map address is none.",
        "since patch 12 call the control page by the identity map; before, by the soft restart",
    ),
    "relocation.vectors": (
        "The HVC at the end of the move goes to vectors that may lie in a destination: the stub's "
        "code has become a page of the new kernel.",
        "set el2_vectors to the copy in a page of its own, and have machine_kexec install it",
    ),
    "memory.segment": (
        _LATE,
        "each source page whole to its destination, in the list's order, none of them twice",
    ),
    "memory.resumed": (
        "The resumed kernel goes on with memory that is not its own.",
        "each page of restore_pblist from its address to its orig_address",
    ),
    "setup.kimage": (
        "The move does something else than was asked: another entry, another tree, other tables.",
        "set it in machine_kexec_post_load, as this state of the series reads it",
    ),
    "setup.code": (
        "It runs as it is there, and not as it was linked.",
        "copy from the first to the last symbol, and clean it; nobody else's page",
    ),
    "setup.list": (
        "Pages stay behind, go astray, or the code that moves overwrites itself.",
        "an IND_DESTINATION before the first IND_SOURCE of a segment, IND_INDIRECTION at the end "
        "of each list page, IND_DONE at the very end",
    ),
    "setup.zero-page": (
        "Between the two tables the CPU may translate by an entry that is garbage: speculation "
        "reads from anywhere.",
        "a page that is zero, and stays so until TTBR1 has its next value",
    ),
    "setup.tables": (
        "A load or a store goes to another page, or nowhere.",
        "copy every valid entry of the linear map, writable; identity-map the control page, "
        "executable",
    ),
    "damage.kimage": (_OWN_PAGE, "read struct kimage before the first page is written"),
    "damage.code": (_OWN_PAGE, _ALLOCATED),
    "damage.list": (_OWN_PAGE, _ALLOCATED),
    "damage.zero-page": (
        "What was stored is a live translation as long as TTBR1 holds the page.",
        "it is read only: nothing stores to it while TTBR1 has it",
    ),
    "damage.tables": (_OWN_PAGE, _ALLOCATED),
    "own.source": (
        "The new kernel gets a page that is another one, or half of one.",
        "copy a source page before anything else is stored to it, as kexec's list has it",
    ),
    "own.list": (
        "What lies behind is taken for entries.",
        "test each entry for IND_DONE before it is used, and end there",
    ),
    "own.stray-read": (
        "What is read is the old kernel's on this machine, the new one's on the next.",
        "keep what is needed later in registers",
    ),
    "own.code": (
        "The CPU executes whatever the new kernel has there.",
        "run from the control page, and have vectors in a page of their own",
    ),
    "own.tables": (
        "Any access may go anywhere.",
        "copy the linear map to control pages, and switch to the copy before the first page moves",
    ),
    "own.unwritten": (
        "The new kernel finds what the old one had there.",
        "a source for each page of a segment, of zeros where the file has none",
    ),
    "own.order": (
        "That page is overwritten before it is copied.",
        "swap such a page for another when the segment is loaded, as kimage_alloc_page does",
    ),
    "own.safe": ("The move overwrites itself.", _ALLOCATED),
    "own.reserved": (
        "Firmware, a spin table or preserved data is overwritten.",
        "keep segments off /memreserve/, /reserved-memory and what KHO preserves",
    ),
    "own.others": (
        "It executes the new kernel's data, or overwrites it.",
        "bring other CPUs down with CPU_OFF and devices with their shutdown before machine_kexec",
    ),
    "boot.demo": (
        "A kernel that is less forgiving does not come up.",
        "what the demo kernel prints says what it has found",
    ),
}
