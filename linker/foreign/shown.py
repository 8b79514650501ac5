"""What relocation code shows of the kernel that it is from: state, page size, struct kimage.

Only what holds for every way to write it, and for code that has something wrong: a run is there to
say that. Encodings: DDI 0487, C4.1.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator

from relokit.codegen.instruction_forms import BLR, BR, BRANCH_OR_CALL, InstructionForm
from relokit.codegen.kexec_routines import HIBERNATE_EXIT, HIBERNATE_VECTORS, RELOCATION_SIZE
from relokit.codegen.series import BEFORE, COMPLETE, Feature
from relokit.codegen.target import PAGE_SIZES
from relokit.linker.kernel.call_scan import written
from relokit.linker.kernel.shipped import LOAD_FROM_X0, LOAD_FROM_X0_MASK

LOAD_PAIR = InstructionForm(0xFFC003E0, 0xA9400000)
"""LDP of X registers from x0, with an offset."""
WRITES_TTBR1 = InstructionForm(0xFFFFFFE0, 0xD5182020)
WRITES_SCTLR_EL1 = InstructionForm(0xFFFFFFE0, 0xD5181000)
AND_IMMEDIATE = InstructionForm(0xFF800000, 0x92000000)
"""AND (immediate) of X registers: N, immr and imms in bits 22:10."""


FOLDS = InstructionForm(0xFFE0FC00, 0xAA40B800)
"""ORR of X registers, one of them shifted right by 46: PA[51:48] comes to bits 5:2, as in TTBR."""


def words_of(code: bytes) -> tuple[int, ...]:
    """The instructions in ``code``, whole ones."""
    return struct.unpack(f"<{len(code) // 4}I", code[: len(code) // 4 * 4])


def fields_read(words: Collection[int]) -> frozenset[int]:
    """Byte offsets that are loaded from where x0 points on entry, up to the first branch."""
    return frozenset(_offsets(words))


def _offsets(words: Collection[int]) -> Iterator[int]:
    for word in words:
        if BRANCH_OR_CALL.holds(word) or BR.holds(word) or BLR.holds(word):
            return
        if word & LOAD_FROM_X0_MASK == LOAD_FROM_X0:
            yield (word >> 10 & 0xFFF) * 8
        elif LOAD_PAIR.holds(word):
            first = (word >> 15 & 0x3F) * 8
            yield from (first, first + 8)
        if 0 in written(word):
            return


def folds_addresses(words: Collection[int]) -> bool:
    """Whether it is of a kernel for PAs of 52 bits, which puts them into TTBRs."""
    return any(FOLDS.holds(word) for word in words)


def states_of(words: Collection[int], names: Collection[str]) -> range:
    """The states of the series that relocation code with these symbols around it can be of.

    Its size is stored behind it up to patch 9; it gets struct kimage from patch 7 on; since 12 its
    MMU is on: it then switches TTBR1 and has to turn the MMU off, where before it does neither.
    Until patch 2 hibernation has EL2 vectors of its own.
    """
    first, last = BEFORE, COMPLETE
    copied = Feature.LINEAR_MAP_COPY.value
    if not fields_read(words):
        last = Feature.KIMAGE_ARGUMENT.value - 1
    else:
        first = Feature.KIMAGE_ARGUMENT.value
        switches = any(WRITES_TTBR1.holds(word) for word in words)
        turns_off = any(WRITES_SCTLR_EL1.holds(word) for word in words)
        if switches:
            first = Feature.MMU_ON.value if turns_off else copied
        elif not turns_off:
            last = copied - 1
    placed = Feature.LD_SCRIPT_PLACEMENT.value
    if RELOCATION_SIZE in names:
        last = min(last, placed - 1)
    else:
        first = max(first, placed)
    beside = states_beside(names)
    first, last = max(first, beside[0]), min(last, beside[-1])
    return range(min(first, last), last + 1)


def states_beside(names: Collection[str]) -> range:
    """The states that what else has these symbols can be of.

    Up to patch 2 the exit of hibernation has its vectors with it.
    """
    shared = Feature.COPY_EL2_VECTORS.value
    if HIBERNATE_VECTORS in names:
        return range(BEFORE, shared)
    return range(shared if HIBERNATE_EXIT in names else BEFORE, COMPLETE + 1)


def page_size_of(words: Collection[int]) -> int | None:
    """The page size whose mask the code takes list entries apart with; None if there is not one."""
    masks = {_page_mask(size): size for size in PAGE_SIZES.values()}
    found = {
        masks[field]
        for word in words
        if AND_IMMEDIATE.holds(word)
        if (field := word >> 10 & 0x1FFF) in masks
    }
    return found.pop() if len(found) == 1 else None


def _page_mask(size: int) -> int:
    """N, immr and imms of AND with ~(size - 1): 64 - n ones, rotated right by as many as that."""
    shift = size.bit_length() - 1
    return 1 << 12 | 64 - shift << 6 | 63 - shift
