"""The fifteen patches of "arm64: MMU enabled kexec relocation" (v15) as one ordered table.

Templates and runtime ask a Target for the *feature* a patch brings (``target.has(...)``); only
this module knows that features are numbers. Source: the cover letter and the mails of
``[PATCH v15 NN/15]``.
"""

from __future__ import annotations

from enum import Enum

from relokit.codegen.base.errors import TargetError
from relokit.codegen.base.nouns import dataclass


class Feature(Enum):
    """What one patch of the series brings; the value is the patch's number."""

    IS_HYP_NVHE = 1
    COPY_EL2_VECTORS = 2
    INSTALL_TTBR0 = 3
    FLUSH_AT_LOAD = 4
    SKIP_IN_PLACE = 5
    DCACHE_MACROS = 6
    KIMAGE_ARGUMENT = 7
    KEXEC_EL2_VECTORS = 8
    RELOCATE_AT_EL1 = 9
    LD_SCRIPT_PLACEMENT = 10
    LINEAR_MAP_COPY = 11
    MMU_ON = 12
    NO_POC_FLUSH = 13
    NO_CPU_RESET_HEADER = 14
    NO_MAP_PAGE = 15


@dataclass(frozen=True, slots=True)
class Patch:
    """One row of the series: ``change`` says what a build or a run can show of it."""

    number: int
    subject: str
    change: str

    @property
    def feature(self) -> Feature:
        """The feature this patch switches on."""
        return Feature(self.number)


PATCHES: tuple[Patch, ...] = (
    Patch(
        1,
        "arm64: kernel: add helper for booted at EL2 and not VHE",
        "one predicate, is_hyp_nvhe, for soft restart, hibernate and SDEI; no byte changes",
    ),
    Patch(
        2,
        "arm64: trans_pgd: hibernate: Add trans_pgd_copy_el2_vectors",
        "shared 2 KiB trans_pgd_stub_vectors (HVC_SET_VECTORS only), copied to a page of its own",
    ),
    Patch(
        3,
        "arm64: hibernate: abstract ttrb0 setup function",
        "cpu_install_ttbr0: reserved table, TLB flush, T0SZ, TTBR0, ISB as one routine",
    ),
    Patch(
        4,
        "arm64: kexec: flush image and lists during kexec load time",
        "list words and source pages are cleaned at load, not at the jump",
    ),
    Patch(
        5,
        "arm64: kexec: skip relocation code for inplace kexec",
        "IND_DONE in the head goes straight to the kernel; the code loses its own test",
    ),
    Patch(
        6,
        "arm64: kexec: Use dcache ops macros instead of open-coding",
        "the invalidate loop becomes a macro with the line size as its argument",
    ),
    Patch(
        7,
        "arm64: kexec: pass kimage as the only argument to relocation function",
        "x0 = PA of struct kimage; head, start and dtb_mem are read by offset",
    ),
    Patch(
        8,
        "arm64: kexec: configure EL2 vectors for kexec",
        "a safe copy of the EL2 vectors is installed; the stub learns HVC_SOFT_RESTART",
    ),
    Patch(
        9,
        "arm64: kexec: relocate in EL1 mode",
        "the copy runs at EL1 and leaves through HVC_SOFT_RESTART",
    ),
    Patch(
        10,
        "arm64: kexec: use ld script for relocation function",
        "section .kexec_relocate.text between start and end symbols, two ASSERTs",
    ),
    Patch(
        11,
        "arm64: kexec: install a copy of the linear-map",
        "TTBR1 is switched, break-before-make, to a copy of the linear map",
    ),
    Patch(
        12,
        "arm64: kexec: keep MMU enabled during kexec relocation",
        "virtual addresses, copy then dc civac, MMU off at the very end",
    ),
    Patch(
        13,
        "arm64: kexec: remove the pre-kexec PoC maintenance",
        "list words and source pages are not flushed at all any more",
    ),
    Patch(
        14,
        "arm64: kexec: remove cpu-reset.h",
        "cpu_soft_restart is called directly; no byte of the relocation changes",
    ),
    Patch(
        15,
        "arm64: trans_pgd: remove trans_pgd_map_page()",
        "the map-one-page helper is gone; no byte of the relocation changes",
    ),
)

BEFORE = 0
COMPLETE = len(PATCHES)
NAMES = {"before": BEFORE, "complete": COMPLETE}


def parse_state(text: str) -> int:
    """Return the state (0..15) that ``text`` names: a number, ``before`` or ``complete``."""
    if text in NAMES:
        return NAMES[text]
    # Python refuses to convert thousands of digits, and no state has more than two.
    if text.isascii() and text.isdigit() and len(text) <= 2 and int(text) <= COMPLETE:
        return int(text)
    raise TargetError(
        f"no such state of the series: {text[:20]!r}",
        hint=f"give 0 to {COMPLETE}, 'before' or 'complete'",
    )
