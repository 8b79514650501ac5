"""Job: everything a person can ask of one run, as plain data (it crosses a process boundary)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, fields
from enum import StrEnum
from pathlib import Path

from relokit.codegen.base.coercion import coerce_fields
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import ASSEMBLY
from relokit.runtime.guest.order import Order

RAM_BASE = 0x4000_0000
"""PA where QEMU virt's RAM starts."""
CRASH_ALIGN = 2 << 20
"""What is set aside for a crash kernel begins and ends at a multiple of this."""
DEFAULT_TIMEOUT = 120.0

MAX_PA = (1 << 52) - 1
MAX_SIZE = (1 << 48) - 1
MAX_SEED = (1 << 32) - 1
MAX_BANKS = 64
"""Banks of memory that are looked at."""
MAX_TIMEOUT, MAX_BOOT = 3600.0, 600.0
MAX_INSTRUCTIONS = 1 << 62
LIMITS: Mapping[str, tuple[float, float, str]] = {
    "size": (1, MAX_SIZE, "bytes"),
    "memory": (1, MAX_SIZE, "bytes"),
    "kernel_at": (0, MAX_PA, "as physical address"),
    "initrd_at": (0, MAX_PA, "as physical address"),
    "dtb_at": (0, MAX_PA, "as physical address"),
    "crash_size": (1, MAX_SIZE, "bytes"),
    "crash_at": (0, MAX_PA, "as physical address"),
    "seed": (0, MAX_SEED, "as seed"),
    "boot": (1e-6, MAX_BOOT, "seconds"),
    "timeout": (1e-6, MAX_TIMEOUT, "seconds"),
    "max_instructions": (1, MAX_INSTRUCTIONS, "instructions"),
    "interrupts": (0, MAX_INSTRUCTIONS, "instructions"),
}
"""Least, most and unit of the numbers in a Job."""

BOARD_SPEED = 250_000_000
"""Instructions in a second of the board's: four for each tick of its 62.5 MHz counter."""
MAX_EXPECTED = 1024

DEFAULT_CMDLINE = "earlycon console=ttyAMA0"
"""Makes a kernel talk on the console of the device tree made here."""


class KexecPath(StrEnum):
    """Which way the old kernel leaves.

    NORMAL is kexec_file_load: segments moved, device tree in x0. PURGATORY is kexec_load: a
    purgatory of its own is entered and hands on. IN_PLACE and CRASH find every segment where it
    belongs (IND_DONE in the head). HIBERNATE is no kexec: the resume side of hibernation, which
    shares vectors and table switches with it.
    """

    NORMAL = "normal"
    PURGATORY = "purgatory"
    IN_PLACE = "in-place"
    CRASH = "crash"
    HIBERNATE = "hibernate"


class Shape(StrEnum):
    """What the list of pages looks like, beyond the order of its pages.

    ONE_PAGE moves a single page, GAPS adds small segments apart from each other, BOUNDARY ends
    the list in the very last word of a list page, OWN_PLACE has most source pages lie at their
    own destination already, as lists mostly do: a page that is allocated and turns out to be a
    destination becomes the source of that one (kimage_alloc_page), and of no other. OLD_KERNEL
    moves a segment to where the old kernel is: its image, its tables, the empty table and struct
    kimage lie in a destination, as kexec allows. EDGES has pages that end where RAM ends and where
    addresses turn over, at 4 GiB, what is pointed to begin there, and the EL2 stub asked for what
    it has not. LOADED has all pages of a hibernated kernel loaded where they belong: its list is
    empty.
    """

    PLAIN = "plain"
    ONE_PAGE = "one-page"
    GAPS = "gaps"
    BOUNDARY = "boundary"
    OWN_PLACE = "own-place"
    OLD_KERNEL = "old-kernel"
    EDGES = "edges"
    LOADED = "loaded"


_OF_A_MOVE = frozenset({Shape.OWN_PLACE, Shape.OLD_KERNEL, Shape.EDGES})
_OF_KEXEC = frozenset(Shape) - {Shape.LOADED}
SHAPES_OF: Mapping[KexecPath, frozenset[Shape]] = {
    KexecPath.NORMAL: _OF_KEXEC,
    KexecPath.PURGATORY: _OF_KEXEC,
    KexecPath.IN_PLACE: _OF_KEXEC - _OF_A_MOVE,
    KexecPath.CRASH: _OF_KEXEC - _OF_A_MOVE,
    KexecPath.HIBERNATE: frozenset({Shape.PLAIN, Shape.EDGES, Shape.LOADED}),
}
"""The shapes that mean something on a path."""


class TraceFormat(StrEnum):
    """Whose format a trace is written in: our own, which can be judged again, or another tool's."""

    RELOKIT = "relokit"
    PERFETTO = "perfetto"
    CASEMATE = "casemate"


@dataclass(frozen=True, slots=True)
class Idle:
    """Fields of a Job that would do nothing ``when`` it is such, which is ``where``; and why."""

    when: Callable[[Job], bool]
    where: str
    fields: tuple[str, ...]
    why: str


IDLE = (
    Idle(
        lambda job: job.path is KexecPath.HIBERNATE,
        "on path hibernate",
        (
            "kernel", "initrd", "cmdline", "kernel_at", "initrd_at", "dtb_at", "boot", "expect",
        ),
        "a kernel that is resumed finds its own pages, and none is loaded",
    ),
    Idle(
        lambda job: job.path in (KexecPath.IN_PLACE, KexecPath.CRASH),
        "where everything is loaded in its place",
        ("order",),
        "there is no list of pages",
    ),
    Idle(
        lambda job: job.shape is Shape.ONE_PAGE,
        "with shape one-page",
        ("kernel", "size", "initrd", "cmdline", "initrd_at", "order", "boot", "expect"),
        "a single page is moved, and no kernel",
    ),
    Idle(
        lambda job: job.shape is Shape.LOADED,
        "with shape loaded",
        ("order",),
        "the list is empty",
    ),
    Idle(
        lambda job: not (job.draws or job.dtb is not None),
        "where nothing is drawn",
        ("seed",),
        "it decides a shuffled list, what is synthetic and the seeds of a device tree",
    ),
    Idle(
        lambda job: not any(file.suffix in ASSEMBLY for file in job.code_files),
        "without a .S in code_from",
        ("include_dir",),
        "nothing else includes files",
    ),
    Idle(
        lambda job: job.initrd is None,
        "without an initrd",
        ("initrd_at",),
        "there is nothing to be put there",
    ),
    Idle(
        lambda job: job.size is not None,
        "with size",
        ("kernel", "boot", "expect"),
        "a synthetic payload is no kernel that could run on, and takes its place",
    ),
    Idle(
        lambda job: job.boot is None,
        "where no kernel is let run on (boot)",
        ("expect",),
        "nobody prints anything",
    ),
    Idle(
        lambda job: job.boot is not None,
        "where the new kernel is let run on (boot)",
        ("interrupts",),
        "an interrupt is of the move: no device of the new kernel has asked for it",
    ),
)  # fmt: skip
"""What goes with what, once: all else changes the machine, its run or what is told of it."""


_DRAWN = frozenset({Shape.ONE_PAGE, Shape.GAPS, Shape.EDGES, Shape.BOUNDARY})
"""The shapes whose pages are filled by the seed."""


def _refuse_idle(job: Job) -> None:
    for idle in IDLE:
        for name in idle.fields:
            said = name in job.given or getattr(job, name) != _DEFAULTS[name]
            if said and idle.when(job):
                flag = name.replace("_", "-")
                raise MachineError(
                    f"{flag} {idle.where}: it would do nothing there, since {idle.why}",
                    hint=f"leave --{flag} out",
                )


@dataclass(frozen=True, slots=True)
class Job:
    """Input files, places and limits of one run.

    ``kernel`` None means the demo kernel, unless ``size`` (bytes) asks for a synthetic payload.
    ``memory`` is guest RAM in bytes, None: chosen to fit. ``*_at`` are PAs, None: chosen by the
    boot protocol's rules. ``code_from`` is a file whose routines run in place of ours, or several:
    an object, a linked ELF, preprocessed assembly, a kernel; ``include_dir`` is a directory below
    which such assembly may include files, and no others. ``boot`` lets the new kernel run on
    after the hand-over for at most that many seconds of the board (BOARD_SPEED), ``expect`` until
    it has printed this; if it never does, the run fails. ``cmdline`` None keeps what ``dtb`` says,
    or is
    DEFAULT_CMDLINE without one. ``observe`` counts the maintenance instructions of the move;
    ``plain`` records no trace, so that the rules that read one judge nothing; ``strict`` has a
    warning fail it; ``effects`` has memory hold what caches were cleaned to it, and no more
    (docs/effects.md); ``trace_format`` is that of the trace, if one is written;
    ``max_instructions`` is what the move may take, None: many times what its list needs;
    ``timeout`` is the host's time for it in seconds, at which there is no answer; ``profile`` names
    a CPU on which some findings would not bite, the emulated one if None. ``interrupts`` raises an
    IRQ when so many instructions have been begun. Order, path and shape may be spelled, and files
    named as text. Raises MachineError for what is of another type, no such choice or a number out
    of range, whatever the files are. ``memory_map`` says where RAM is, a bank (PA, bytes), in place
    of the device tree. ``crash_size`` bytes, from the PA ``crash_at`` on or where there is room,
    were set aside for a crash kernel; None: half of the largest hole. ``given`` names fields that
    somebody has said: what does nothing is refused of these also where it is the default.

    >>> Job(path="purgatory", order="reversed").path
    <KexecPath.PURGATORY: 'purgatory'>
    """

    kernel: Path | None = None
    initrd: Path | None = None
    dtb: Path | None = None
    cmdline: str | None = None
    size: int | None = None
    memory: int | None = None
    memory_map: tuple[tuple[int, int], ...] | None = None
    crash_size: int | None = None
    crash_at: int | None = None
    kernel_at: int | None = None
    initrd_at: int | None = None
    dtb_at: int | None = None
    order: Order = Order.SHUFFLED
    path: KexecPath = KexecPath.NORMAL
    shape: Shape = Shape.PLAIN
    seed: int = 0
    code_from: Path | tuple[Path, ...] | None = None
    include_dir: Path | None = None
    templates: Path | None = None
    boot: float | None = None
    expect: str | None = None
    observe: bool = False
    plain: bool = False
    strict: bool = False
    profile: str | None = None
    effects: bool = False
    trace_format: TraceFormat = TraceFormat.RELOKIT
    timeout: float = DEFAULT_TIMEOUT
    max_instructions: int | None = None
    interrupts: int | None = None
    given: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        coerce_fields(self, MachineError)
        for name, (least, most, unit) in LIMITS.items():
            value = getattr(self, name)
            # Written so that NaN fails as well.
            if value is not None and not least <= value <= most:
                raise MachineError(
                    f"{name} is {value}: out of range", hint=f"give {least:,} to {most:,} {unit}"
                )
        self._check_memory()
        if self.shape not in SHAPES_OF[self.path]:
            raise MachineError(
                f"shape {self.shape} on path {self.path}: it would do nothing there",
                hint="leave --shape or --path out",
            )
        _refuse_idle(self)
        if self.expect is not None and not 0 < len(self.expect) <= MAX_EXPECTED:
            raise MachineError(
                "what is expected on the console is nothing, or too long",
                hint=f"give 1 to {MAX_EXPECTED} characters",
            )

    def _check_memory(self) -> None:
        """What says where memory is, and what of it is a crash kernel's."""
        banks = self.memory_map
        if banks is not None:
            if self.memory is not None:
                raise MachineError(
                    "an amount of memory and a map of it at once",
                    hint="leave --memory or --memory-map out",
                )
            if not 1 <= len(banks) <= MAX_BANKS:
                raise MachineError(
                    f"a memory map of {len(banks)} banks", hint=f"give 1 to {MAX_BANKS}"
                )
            for bank in banks:
                if len(bank) != 2 or not 0 <= bank[0] < bank[0] + bank[1] <= MAX_PA + 1:
                    raise MachineError(
                        f"memory_map has {bank}",
                        hint="give a physical address and bytes, within 52 bits",
                    )
        if self.crash_size is None and self.crash_at is not None:
            raise MachineError(
                "a crash kernel's memory has an address and no size", hint="give crash_size, too"
            )
        if self.crash_size is not None and self.path is not KexecPath.CRASH:
            raise MachineError(
                f"memory for a crash kernel on path {self.path}: it would do nothing there",
                hint="add --path crash, or leave --crashkernel out",
            )
        for name, value in (("size", self.crash_size), ("address", self.crash_at)):
            if value is not None and value % CRASH_ALIGN:
                raise MachineError(
                    f"the {name} of a crash kernel's memory is {value:#x}",
                    hint="give a multiple of 2 MiB, as the kernel sets it aside",
                )

    @property
    def code_files(self) -> tuple[Path, ...]:
        """The files of ``code_from``."""
        given = self.code_from
        if given is None:
            return ()
        return (given,) if isinstance(given, Path) else given

    @property
    def draws(self) -> bool:
        """Whether something depends on the seed, whatever the device tree has."""
        has_list = self.path not in (KexecPath.IN_PLACE, KexecPath.CRASH)
        shuffles = has_list and self.order is Order.SHUFFLED
        synthetic = self.size is not None or self.path is KexecPath.HIBERNATE
        return shuffles or synthetic or self.shape in _DRAWN

    @property
    def is_of_ram_alone(self) -> bool:
        """Whether the device tree is that of a machine, and handed over to nobody."""
        return self.path is KexecPath.HIBERNATE or self.shape is Shape.ONE_PAGE

    @property
    def moves_demo(self) -> bool:
        """Whether what arrives is the whole demo kernel, which can be let run on."""
        whole = self.shape is not Shape.ONE_PAGE and self.path is not KexecPath.HIBERNATE
        return self.kernel is None and self.size is None and whole


_DEFAULTS = {field.name: field.default for field in fields(Job)}
