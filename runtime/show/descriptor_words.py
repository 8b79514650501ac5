"""A translation descriptor in words, field by field, as its regime reads it.

Source: ARM DDI 0487, D8.3 (descriptor formats), D8.4 (permissions), D8.6 (memory types).
"""

from __future__ import annotations

from collections.abc import Iterator

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.descriptors import memory_type
from relokit.runtime.arch.geometry import LEAF_LEVEL

_SHAREABLE = ("non-shareable", "reserved", "outer shareable", "inner shareable")
_TABLE_BITS = ((d.TABLE_PXN, "PXNTable"), (d.TABLE_AP_READ_ONLY, "read-only below"))
_LIMITS_TWO = (*_TABLE_BITS, (d.TABLE_UXN, "UXNTable"), (d.TABLE_AP_NO_EL0, "no EL0 below"))
_LIMITS_ONE = ((d.TABLE_XN_EL2, "XNTable"), (d.TABLE_AP_READ_ONLY, "read-only below"))


def descriptor_words(
    descriptor: int, level: int, output: d.AddressFormat, *, two: bool, mair: int
) -> tuple[str, ...]:
    """What ``descriptor`` of ``level`` says, a field a text; ``two``: in a regime of two ranges.

    Bits that the regime does not read are left out.
    """
    kind = descriptor & d.TYPE
    if not descriptor & d.VALID:
        return (f"invalid: {descriptor:#x}",)
    if level == LEAF_LEVEL and kind != d.PAGE:
        return (f"reserved: {descriptor:#x}",)
    address = output.decode(descriptor)
    if level < LEAF_LEVEL and kind == d.TABLE:
        limits = _LIMITS_TWO if two else _LIMITS_ONE
        return (f"table at {address:#x}", *(name for bit, name in limits if descriptor & bit))
    words = "page" if level == LEAF_LEVEL else "block"
    attributes = leaf_words(descriptor, output, two=two, mair=mair)
    return (f"{words} at {address:#x}", *attributes)


def leaf_words(bits: int, output: d.AddressFormat, *, two: bool, mair: int) -> tuple[str, ...]:
    """The attributes ``bits`` of a page or block; see :func:`descriptor_words`."""
    return tuple(_leaf_words(bits, output, two=two, mair=mair))


def _leaf_words(bits: int, output: d.AddressFormat, *, two: bool, mair: int) -> Iterator[str]:
    index = (bits & d.ATTR_INDEX) >> d.ATTR_INDEX_SHIFT
    byte = mair >> 8 * index & 0xFF
    yield f"{memory_type(byte)} (Attr{index}: {byte:#04x})"
    yield "read-only" if bits & d.AP_READ_ONLY else "read-write"
    if two:
        yield "EL0 too" if bits & d.AP_EL0 else "no EL0"
        if bits & d.PXN:
            yield "PXN"
        if bits & d.UXN:
            yield "UXN"
        if bits & d.NG:
            yield "nG"
    elif bits & d.XN_EL2:
        yield "XN"
    if output.shareable:
        yield _SHAREABLE[(bits & d.SH) >> d.SH_SHIFT]
    if not bits & d.AF:
        yield "AF clear: an access faults"
    for bit, name in ((d.CONTIGUOUS, "contiguous"), (d.DBM, "DBM"), (d.GUARDED, "guarded (BTI)")):
        if bits & bit:
            yield name
