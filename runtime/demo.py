"""The demo kernel as an Image file: flat bytes with the checksum it verifies itself by."""

from __future__ import annotations

import numpy as np

from relokit.linker.flat import flatten
from relokit.linker.image import Image


def demo_kernel(image: Image) -> bytes:
    """Flatten the linked demo kernel, pad it to its image_size and fill in ``__checksum``.

    The checksum is the sum of 64-bit word i times 2i+1, modulo 2^64, over all words before it.
    """
    base = min(section.va for section in image.sections)
    flat = bytearray(flatten(image))
    flat += bytes(image.symbol("_end") - base - len(flat))
    at = image.symbol("__checksum") - base
    words = np.frombuffer(flat, dtype="<u8", count=at // 8)
    weights = np.arange(1, 2 * len(words), 2, dtype=np.uint64)
    flat[at : at + 8] = int((words * weights).sum(dtype=np.uint64)).to_bytes(8, "little")
    return bytes(flat)
