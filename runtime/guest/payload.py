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


@dataclass(frozen=True, slots=True)
class PayloadPart:
    """What the outcome says of a segment: ``bytes`` of content at PA ``at``, ``memory`` claimed."""

    name: str
    kind: PayloadKind
    at: int
    bytes: int
    memory: int
