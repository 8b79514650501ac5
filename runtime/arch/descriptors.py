"""Stage 1 translation descriptors and MAIR, bit by bit.

Source: ARM DDI 0487, D8.3 (VMSAv8-64 descriptor formats, 48 and 52-bit output addresses). Bits
55 and 51 are used as Linux does: 55 is its software-dirty bit, 51 its write bit (DBM to hardware).
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.nouns import dataclass

PaOrPas = TypeVar("PaOrPas", int, NDArray[np.uint64])

VALID = 1 << 0
TYPE = 0b11
TABLE = 0b11  # levels -1 to 2
BLOCK = 0b01  # levels 0 to 2
PAGE = 0b11  # level 3


@dataclass(frozen=True, slots=True)
class AddressFormat:
    """How descriptors of tables, blocks and pages hold their output address.

    Address bits ``in_place`` are where they belong, the bits ``moved`` are ``down`` bits lower.
    ``shareable`` tells whether bits 9:8 are the shareability; otherwise TCR has it for all.
    """

    in_place: int
    moved: int
    down: int
    shareable: bool

    @property
    def bits(self) -> int:
        """How many bits an output address has."""
        return 52 if self.moved else 48

    def encode(self, pa: PaOrPas) -> PaOrPas:
        """The address bits of a descriptor that leads to ``pa``, one PA or an array of them."""
        word: Any = pa  # an array stays one of uint64: no mask is negative
        bits: PaOrPas = word & self.in_place | (word & self.moved) >> self.down
        return bits

    def decode(self, descriptor: PaOrPas) -> PaOrPas:
        """The PA that a descriptor, or each of an array, leads to."""
        word: Any = descriptor
        pa: PaOrPas = word & self.in_place | (word & self.moved >> self.down) << self.down
        return pa

    def attributes(self, bits: int) -> int:
        """``bits`` of this module without those that this format has another use for."""
        return bits if self.shareable else bits & ~SH


PLAIN = AddressFormat((1 << 48) - (1 << 12), 0, 0, shareable=True)
LPA = AddressFormat((1 << 48) - (1 << 16), 0xF << 48, 36, shareable=True)
"""64 KiB pages: OA[51:48] in bits 15:12."""
LPA2 = AddressFormat((1 << 50) - (1 << 12), 0b11 << 50, 42, shareable=False)
"""4 and 16 KiB pages with TCR.DS set: OA[49:48] in place, OA[51:50] in bits 9:8."""

# Lower and upper attributes of blocks and pages.
ATTR_INDEX_SHIFT = 2
ATTR_INDEX = 0b111 << ATTR_INDEX_SHIFT
NS = 1 << 5
AP_EL0 = 1 << 6  # AP[1]: EL0 may access
AP_READ_ONLY = 1 << 7  # AP[2]
SH_SHIFT = 8
SH = 0b11 << SH_SHIFT
SH_INNER = 0b11 << SH_SHIFT
AF = 1 << 10
NG = 1 << 11
GUARDED = 1 << 50  # GP, FEAT_BTI
DBM = 1 << 51
CONTIGUOUS = 1 << 52
PXN = 1 << 53
UXN = 1 << 54  # XN at EL2 with HCR_EL2.E2H = 0
XN_EL2 = UXN
WRITE = DBM
SOFTWARE_DIRTY = 1 << 55

# Attributes of table descriptors: limits on everything below.
TABLE_PXN = 1 << 59
TABLE_UXN = 1 << 60  # XNTable at EL2 with HCR_EL2.E2H = 0
TABLE_XN_EL2 = TABLE_UXN
TABLE_AP_NO_EL0 = 1 << 61
TABLE_AP_READ_ONLY = 1 << 62
TABLE_AF = 1 << 10  # an access flag of tables: only kernels with FEAT_HAFT set it

# MAIR indices and their bytes. Index 0 is normal memory, as kernels since 5.12 have it.
NORMAL, NORMAL_TAGGED, NORMAL_NC, DEVICE_NGNRNE, DEVICE_NGNRE = range(5)
MAIR_BYTES: dict[int, int] = {
    NORMAL: 0xFF,  # inner and outer write-back, allocating
    NORMAL_TAGGED: 0xFF,  # 0xf0 with MTE, which is not modelled
    NORMAL_NC: 0x44,
    DEVICE_NGNRNE: 0x00,
    DEVICE_NGNRE: 0x04,
}
MAIR = sum(byte << 8 * index for index, byte in MAIR_BYTES.items())

# What the kernel gives its own mappings (blocks and pages alike, without type and address).
KERNEL_RW = NORMAL << ATTR_INDEX_SHIFT | SH_INNER | AF | WRITE | PXN | UXN | SOFTWARE_DIRTY
KERNEL_RO = (KERNEL_RW & ~WRITE) | AP_READ_ONLY
KERNEL_RX = KERNEL_RO & ~PXN
DEVICE_RW = KERNEL_RW | DEVICE_NGNRE << ATTR_INDEX_SHIFT


def memory_type(mair_byte: int) -> str:
    """Short name of a MAIR byte: ``normal``, ``normal-nc`` or ``device``."""
    if mair_byte & 0xF0 == 0:
        return "device"
    return "normal-nc" if mair_byte == MAIR_BYTES[NORMAL_NC] else "normal"


def describe(descriptor: int, level: int, output: AddressFormat = PLAIN) -> str:
    """A descriptor of ``level`` (-1 to 3) in words, for diagnoses."""
    if not descriptor & VALID:
        return f"invalid ({descriptor:#x})"
    address = output.decode(descriptor)
    if level < 3 and descriptor & TYPE == TABLE:
        limits = [
            name
            for bit, name in (
                (TABLE_PXN, "PXNTable"),
                (TABLE_UXN, "UXNTable"),
                (TABLE_AP_NO_EL0, "no EL0"),
                (TABLE_AP_READ_ONLY, "read-only"),
            )
            if descriptor & bit
        ]
        return " ".join([f"table {address:#x}", *limits])
    if level == 3 and descriptor & TYPE != PAGE:
        return f"reserved ({descriptor:#x})"
    words = ["page" if level == 3 else "block", f"{address:#x}"]
    words.append("RO" if descriptor & AP_READ_ONLY else "RW")
    words += [
        name
        for bit, name in ((AP_EL0, "EL0"), (NG, "nG"), (PXN, "PXN"), (UXN, "UXN"))
        if descriptor & bit
    ]
    if not descriptor & AF:
        words.append("AF clear")
    words.append(f"attr {(descriptor & ATTR_INDEX) >> ATTR_INDEX_SHIFT}")
    return " ".join(words)
