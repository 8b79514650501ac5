"""Is there a stub at EL2 to go back to? The predicate of patch 1, its users, every case of it.

The kernel keeps two boot-mode words: a CPU that is entered at EL1 writes the first, one that is
entered at EL2 the second, each its own mode. Source: booting.rst, "Call the kernel image"; the
words' values and the test on both of them are read in shipped kernels (5.10 and 6.1,
machine_kexec and finalise_el2).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import BOOT_CPU_MODE_EL1, BOOT_CPU_MODE_EL2
from relokit.codegen.series import Feature
from relokit.codegen.target import Regime, Target


@dataclass(frozen=True, slots=True)
class BootMode:
    """What a kernel can ask: the two boot-mode words, CurrentEL (1 or 2), HCR_EL2.E2H."""

    boot: tuple[int, int]
    el: int
    e2h: bool


class User(StrEnum):
    """Who asks."""

    SOFT_RESTART = "soft restart"
    HIBERNATE = "hibernate"
    SDEI = "SDEI"


def is_hyp_mode_available(mode: BootMode) -> bool:
    """Whether every CPU was entered at EL2."""
    return mode.boot == (BOOT_CPU_MODE_EL2, BOOT_CPU_MODE_EL2)


def is_kernel_in_hyp_mode(mode: BootMode) -> bool:
    """Whether the kernel runs at EL2 itself, as it can with VHE only."""
    return mode.el == 2


def is_hyp_nvhe(mode: BootMode) -> bool:
    """Patch 1: entered at EL2, and not there any more."""
    return is_hyp_mode_available(mode) and not is_kernel_in_hyp_mode(mode)


SPELT_OUT: dict[User, Callable[[BootMode], bool]] = {
    User.SOFT_RESTART: lambda mode: not is_kernel_in_hyp_mode(mode) and is_hyp_mode_available(mode),
    User.HIBERNATE: lambda mode: is_hyp_mode_available(mode) and not is_kernel_in_hyp_mode(mode),
    User.SDEI: lambda mode: is_hyp_mode_available(mode) and not is_kernel_in_hyp_mode(mode),
}
"""How each user asked before patch 1, in its own order."""


def answer(user: User, mode: BootMode, target: Target) -> bool:
    """What ``user`` learns in ``target``'s state of the series."""
    if target.has(Feature.IS_HYP_NVHE):
        return is_hyp_nvhe(mode)
    return SPELT_OUT[user](mode)


MODE_OF: dict[Regime, BootMode] = {
    Regime.EL1: BootMode((BOOT_CPU_MODE_EL1, BOOT_CPU_MODE_EL1), el=1, e2h=False),
    Regime.NVHE: BootMode((BOOT_CPU_MODE_EL2, BOOT_CPU_MODE_EL2), el=1, e2h=False),
    Regime.VHE: BootMode((BOOT_CPU_MODE_EL2, BOOT_CPU_MODE_EL2), el=2, e2h=True),
}
"""The mode of a kernel in each of a Target's regimes."""


@dataclass(frozen=True, slots=True)
class Case:
    """A row of :data:`CASES`. ``impossible`` says why no running kernel is in this mode."""

    mode: BootMode
    nvhe: bool
    name: str
    impossible: str | None = None


_EL1, _EL2 = BOOT_CPU_MODE_EL1, BOOT_CPU_MODE_EL2
_NO_CPU = "the words' initial values: the first CPU to boot overwrites one of them"
_NEEDS_E2H = "a kernel runs at EL2 with E2H only: its code uses EL1 names and a TTBR1"
_FROM_EL1 = "a CPU that was entered at EL1 has no way up to EL2"
_REFUSED = "a CPU entered at EL1 is not brought up beside a kernel that runs at EL2"
_STUCK = "E2H is set by the call that moves the kernel to EL2, or stuck at 1 until that call"

# fmt: off
CASES: tuple[Case, ...] = (
    Case(BootMode((_EL1, _EL1), 1, False), False, "entered at EL1: no EL2, or a hypervisor's"),
    Case(BootMode((_EL1, _EL1), 1, True), False, "entered at EL1 under a VHE host, its E2H"),
    Case(BootMode((_EL1, _EL1), 2, False), False, "EL1 boot, at EL2", _FROM_EL1),
    Case(BootMode((_EL1, _EL1), 2, True), False, "EL1 boot, at EL2, E2H", _FROM_EL1),
    Case(BootMode((_EL2, _EL2), 1, False), True, "nVHE: entered at EL2, stub left there"),
    Case(BootMode((_EL2, _EL2), 1, True), True, "EL2 boot, at EL1, E2H", _STUCK),
    Case(BootMode((_EL2, _EL2), 2, False), False, "EL2 boot, at EL2, no E2H", _NEEDS_E2H),
    Case(BootMode((_EL2, _EL2), 2, True), False, "VHE: entered at EL2, and still there"),
    Case(BootMode((_EL1, _EL2), 1, False), False, "mismatched: no EL2 that all CPUs have"),
    Case(BootMode((_EL1, _EL2), 1, True), False, "mismatched, at EL1, E2H", _STUCK),
    Case(BootMode((_EL1, _EL2), 2, False), False, "mismatched, at EL2, no E2H", _NEEDS_E2H),
    Case(BootMode((_EL1, _EL2), 2, True), False, "mismatched, at EL2, E2H", _REFUSED),
    Case(BootMode((_EL2, _EL1), 1, False), False, "no CPU yet, at EL1", _NO_CPU),
    Case(BootMode((_EL2, _EL1), 1, True), False, "no CPU yet, at EL1, E2H", _NO_CPU),
    Case(BootMode((_EL2, _EL1), 2, False), False, "no CPU yet, at EL2", _NO_CPU),
    Case(BootMode((_EL2, _EL1), 2, True), False, "no CPU yet, at EL2, E2H", _NO_CPU),
)
# fmt: on
"""Every combination of boot mode, current level and E2H, with the answer."""
