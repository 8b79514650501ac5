"""What a run moves, as far as anything depends on it."""

from __future__ import annotations

from enum import Enum

from relokit.codegen.base.nouns import dataclass


class PayloadKind(Enum):
    """What a segment holds; the value is how that is shown. Never told by a file's name."""

    KERNEL = "kernel"
    DEMO_KERNEL = "demo kernel"
    SYNTHETIC = "synthetic payload"
    INITRD = "initrd"
    DEVICE_TREE = "device tree"
    CORE_HEADER = "ELF core header"
    PURGATORY = "purgatory"
    PATTERN = "pattern"


ARCHIVES = (
    b"070701", b"070702", b"\x1f\x8b", b"\x1f\x9e", b"BZh", b"\x5d\x00\x00", b"\xfd7zXZ",
    b"\x89LZO", b"\x02\x21\x4c\x18", b"\x28\xb5\x2f\xfd",
)  # fmt: skip
"""How an initrd begins: cpio, or what it is compressed by (init/initramfs.c, lib/decompress.c)."""


@dataclass(frozen=True, slots=True)
class PayloadPart:
    """What the outcome says of a segment: ``bytes`` of content at PA ``at``, ``memory`` claimed."""

    name: str
    kind: PayloadKind
    at: int
    bytes: int
    memory: int
