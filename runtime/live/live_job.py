"""LiveJob: everything a person can ask of ``relokit kexec``, as plain data."""

from __future__ import annotations

from pathlib import Path

from relokit.codegen.base.coercion import coerce_fields
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import MIB, Regime
from relokit.runtime.arch.feature_id import ShownFeature
from relokit.runtime.kexec.job import MAX_BOOT, MAX_SIZE, MAX_TIMEOUT

DEFAULT_MEMORY = 1024 * MIB
LEAST_MEMORY = 256 * MIB
DEFAULT_BOOT = 20.0
DEFAULT_TIMEOUT = 300.0
MODELS = ("a72", "max")
FEATURES = tuple(map(str, ShownFeature))


@dataclass(frozen=True, slots=True)
class LiveJob:
    """``kernel`` boots and enters ``next`` (itself if None) by kexec; with ``crash``, by a crash.

    ``userland`` is a folder or an archive that takes the place of our user space, and does itself
    what a kexec takes. ``initrd``, ``dtb`` and ``cmdline`` are what the next kernel is given: by
    default a user space of ours, the board's tree and a console. ``regime`` is where both run,
    ``cpu`` the model (by default the smallest that serves); ``features`` of it are shown to both,
    which they are not told of else. ``memory`` in bytes, ``boot`` in seconds of the board for each
    kernel, ``timeout`` in seconds of the host. ``plain`` records and judges nothing of what only a
    trace shows; ``effects`` has memory hold what caches were cleaned to it, and no more
    (docs/effects.md). Raises MachineError for what cannot be.
    """

    kernel: Path
    next: Path | None = None
    initrd: Path | None = None
    dtb: Path | None = None
    userland: Path | None = None
    cmdline: str | None = None
    crash: bool = False
    regime: Regime = Regime.NVHE
    cpu: str | None = None
    features: tuple[ShownFeature, ...] = ()
    memory: int = DEFAULT_MEMORY
    boot: float = DEFAULT_BOOT
    timeout: float = DEFAULT_TIMEOUT
    plain: bool = False
    effects: bool = False
    strict: bool = False
    profile: str | None = None

    def __post_init__(self) -> None:
        coerce_fields(self, MachineError, {})
        if not LEAST_MEMORY <= self.memory <= MAX_SIZE or self.memory % (2 * MIB):
            raise MachineError(
                f"{self.memory / MIB:g} MiB of memory for two kernels",
                hint=f"give a multiple of 2 MiB, {LEAST_MEMORY // MIB} at least",
            )
        for name, value, most in (
            ("boot", self.boot, MAX_BOOT), ("timeout", self.timeout, MAX_TIMEOUT),
        ):  # fmt: skip
            if not 0 < value <= most:
                raise MachineError(
                    f"{name} of {value:g} seconds", hint=f"up to {most:g} are possible"
                )
        if self.cpu not in (None, *MODELS):
            raise MachineError(f"no CPU model {self.cpu!r}", hint=f"one of {', '.join(MODELS)}")
        if self.userland is not None and self.cmdline is not None:
            raise MachineError(
                "cmdline with userland: it would do nothing there",
                hint="a user space of your own gives the next kernel its command line",
            )
        if self.effects and self.plain:
            raise MachineError(
                "effects in a plain run: what the load has cleaned would not be seen",
                hint="leave one of them out",
            )
        if self.cpu == "a72" and self.regime is Regime.VHE:
            raise MachineError("a Cortex-A72 has no VHE", hint="give --cpu max, or another --el")
        if self.cpu == "a72" and self.features:
            raise MachineError(
                f"a Cortex-A72 has no {', '.join(self.features)}", hint="give --cpu max"
            )
