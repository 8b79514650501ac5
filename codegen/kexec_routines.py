"""The routines that run between two kernels: what they are called, and whose they are in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import RELOCATION
from relokit.codegen.series import Feature
from relokit.codegen.target import Target

RELOCATION_SIZE = "arm64_relocate_new_kernel_size"
KEXEC_VECTORS = "trans_pgd_stub_vectors"
HYP_VECTORS = "__hyp_stub_vectors"
HIBERNATE_EXIT = "swsusp_arch_suspend_exit"
HIBERNATE_VECTORS = "hibernate_el2_vectors"
"""Up to patch 2, behind the exit and copied with it, since they branch out of their table."""
SOFT_RESTART = "cpu_soft_restart"
OLD_SOFT_RESTART = "__cpu_soft_restart"


class KexecRoutine(StrEnum):
    """What runs between two kernels."""

    RELOCATION = "relocation"
    VECTORS = "vectors"
    SOFT_RESTART = "soft-restart"
    HIBERNATE_EXIT = "hibernate-exit"
    HYP_STUB = "hyp-stub"


NAMES: Mapping[str, KexecRoutine] = {
    RELOCATION: KexecRoutine.RELOCATION,
    KEXEC_VECTORS: KexecRoutine.VECTORS,
    HIBERNATE_VECTORS: KexecRoutine.VECTORS,
    SOFT_RESTART: KexecRoutine.SOFT_RESTART,
    OLD_SOFT_RESTART: KexecRoutine.SOFT_RESTART,
    HIBERNATE_EXIT: KexecRoutine.HIBERNATE_EXIT,
    HYP_VECTORS: KexecRoutine.HYP_STUB,
}
"""The routines by the symbols that a kernel gives them."""
BESIDE: Mapping[str, str] = {
    RELOCATION_SIZE: RELOCATION,
    "__hyp_set_vectors": HYP_VECTORS,
    "__hyp_reset_vectors": HYP_VECTORS,
}
"""What goes with a routine, by its symbol."""


def symbol_of(routine: KexecRoutine, target: Target) -> str:
    """The name of ``routine`` in the state of the series that ``target`` is."""
    match routine:
        case KexecRoutine.RELOCATION:
            return RELOCATION
        case KexecRoutine.VECTORS:
            return KEXEC_VECTORS if target.has(Feature.COPY_EL2_VECTORS) else HIBERNATE_VECTORS
        case KexecRoutine.SOFT_RESTART:
            return SOFT_RESTART if target.has(Feature.NO_CPU_RESET_HEADER) else OLD_SOFT_RESTART
        case KexecRoutine.HIBERNATE_EXIT:
            return HIBERNATE_EXIT
        case KexecRoutine.HYP_STUB:
            return HYP_VECTORS


@dataclass(frozen=True, slots=True)
class CodePart:
    """A routine and whose it is: that of ``file``, or ours. ``sha256`` is of its ``bytes`` as the
    file has them, or of ours as they are linked; where no target is built, ours have none.
    ``runs`` says whether the way out leads there, where there is one.
    """

    routine: KexecRoutine
    foreign: bool
    symbol: str
    bytes: int | None = field(default=None, metadata=ABSENT)
    sha256: str | None = field(default=None, metadata=ABSENT)
    file: str | None = field(default=None, metadata=ABSENT)
    runs: bool | None = field(default=None, metadata=ABSENT)


INCLUDED = "included"
"""What a file is that assembly included."""


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file of ``--code-from``, or one that such a file INCLUDED, behind it: what it is
    (``kind``), and the SHA-256 of all of it.
    """

    file: str
    kind: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CodeUsed:
    """What a run, a matrix or a campaign says of ``--code-from``.

    ``layout`` is the struct kimage that the code of ``files`` was given.
    """

    files: tuple[CodeFile, ...]
    layout: str
    parts: tuple[CodePart, ...]
