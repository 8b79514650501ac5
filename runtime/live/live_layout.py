"""LiveJob to LiveLayout: what lies where when the first kernel is entered, what it hands over.

All is decided here, before anything runs: /init only hands in what it is given.
"""

from __future__ import annotations

from relokit.codegen import user_space
from relokit.codegen.base.bits import round_up
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.host_file import HostFile
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import MIB, Regime
from relokit.linker.image import Image
from relokit.linker.kernel.kernel_file import KernelFile
from relokit.runtime.board import boot_protocol, chosen, devicetree
from relokit.runtime.board.boot_protocol import Placement
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.kexec.core_header import NOTES_AT, core_header
from relokit.runtime.kexec.guest_ram import GuestRam
from relokit.runtime.kexec.job import DEFAULT_CMDLINE, RAM_BASE
from relokit.runtime.live import cpio
from relokit.runtime.live.live_job import LiveJob
from relokit.runtime.live.userland import NEXT, NEXT_INITRD, NEXT_TREE, with_next

LARGEST_PAGE = 1 << 16
"""Segments are of whole pages, whatever the size of the first kernel's."""
WINDOW_ALIGN = 2 * MIB
NOTES = 2
"""Of the one CPU, and of the kernel: /init fills in where they are."""
NO_VHE = "id_aa64mmfr1.vh=0"
"""What keeps a kernel on a CPU with VHE from using it."""


@dataclass(frozen=True)
class LiveInputs:
    """The files of a LiveJob, opened, and the programs of ours: /init as an ELF, the purgatory."""

    kernel: KernelFile
    next: KernelFile
    initrd: HostFile | None
    dtb: HostFile | None
    init: bytes
    purgatory: Image
    userland: bytes | None = None


@dataclass(frozen=True, slots=True)
class LivePiece:
    """``data`` for ``memory`` bytes at PA ``at``."""

    kind: PayloadKind
    at: int
    data: bytes | memoryview
    memory: int


@dataclass(frozen=True)
class LiveLayout:
    """``ram`` with what is in it when the first kernel is entered at ``entry`` with ``tree`` in x0.

    ``pieces`` lie there then; ``segments`` are handed to kexec_load, the purgatory last: none if
    that is done by a user space that is not ours.
    """

    ram: GuestRam
    model: str
    entry: int
    tree: int
    pieces: tuple[LivePiece, ...]
    segments: tuple[LivePiece, ...]


def lay_out(job: LiveJob, inputs: LiveInputs, crash_at: int | None = None) -> LiveLayout:
    """Raises RelokitError naming what does not fit, and where.

    ``crash_at`` is the least PA of a crash kernel's memory, else it is a quarter into the RAM.
    """
    model = _model(job, inputs)
    base, size = RAM_BASE, job.memory
    window = base + size // 4, size // 2
    crash = None
    if job.crash:
        first = window[0] // WINDOW_ALIGN * WINDOW_ALIGN
        if crash_at is not None:
            first = round_up(crash_at, WINDOW_ALIGN)
        window = crash = first, size // 4
    ram = GuestRam(banks=((base, size),), crash=crash)
    segments: tuple[LivePiece, ...] = ()
    if inputs.userland is None:
        segments = _segments(job, inputs, ram, window, model)
        archive = cpio.user_space(
            inputs.init, hand_over(segments, segments[-1].at, crash=job.crash)
        )
    else:
        archive = with_next(inputs.userland, _next_files(job, inputs))
    words = [DEFAULT_CMDLINE]
    if crash is not None:
        words.append(f"crashkernel={crash[1]:#x}@{crash[0]:#x}")
    placed, tree = _placed(
        inputs.kernel,
        archive,
        devicetree.virt_dtb(base, size, regime=job.regime),
        " ".join([*words, *_regime_words(job, model)]),
        ((base, size),),
        inputs.kernel.header.page_size or LARGEST_PAGE,
    )
    assert placed.initrd is not None
    # A kernel sets nothing aside where its own initrd lies.
    theirs = crash[0] if crash else min((one.at for one in segments), default=base + size)
    if theirs < placed.initrd.end:
        raise _too_little(job, "the first kernel and what it hands over")
    return LiveLayout(
        ram=ram,
        model=model,
        entry=placed.kernel.at,
        tree=placed.dtb.at,
        pieces=(
            LivePiece(
                PayloadKind.KERNEL, placed.kernel.at, inputs.kernel.image, placed.kernel.memsz
            ),
            LivePiece(PayloadKind.INITRD, placed.initrd.at, archive, placed.initrd.memsz),
            LivePiece(PayloadKind.DEVICE_TREE, placed.dtb.at, tree, placed.dtb.memsz),
        ),
        segments=segments,
    )


def _next_files(job: LiveJob, inputs: LiveInputs) -> dict[str, bytes | memoryview]:
    """What a user space that is not ours finds of the next kernel."""
    files: dict[str, bytes | memoryview] = {NEXT: inputs.next.image}
    initrd = None if inputs.initrd is None else inputs.initrd.content
    files[NEXT_INITRD] = cpio.user_space(inputs.init) if initrd is None else initrd
    if inputs.dtb is not None:
        files[NEXT_TREE] = inputs.dtb.content
    return files


def hand_over(segments: tuple[LivePiece, ...], entry: int, *, crash: bool) -> bytes:
    """The file that /init hands to kexec_load."""
    flags = user_space.KEXEC_ARCH_AARCH64 | (user_space.KEXEC_ON_CRASH if crash else 0)
    rows, offset, notes = [], user_space.TABLE_SIZE, 0
    for one in segments:
        if one.kind is PayloadKind.CORE_HEADER:
            notes = offset + NOTES_AT
        rows.append(user_space.SEGMENT.pack(offset, len(one.data), one.at, one.memory))
        offset += len(one.data)
    head = user_space.HEADER.pack(entry, len(segments), flags, offset, notes) + b"".join(rows)
    return b"".join((head.ljust(user_space.TABLE_SIZE, b"\0"), *(one.data for one in segments)))


def _segments(
    job: LiveJob,
    inputs: LiveInputs,
    ram: GuestRam,
    window: tuple[int, int],
    model: str,
) -> tuple[LivePiece, ...]:
    """Kernel, initrd, tree and purgatory, within ``window``; of a crash kernel, its core header."""
    first, size = window
    room = first, size - LARGEST_PAGE
    purgatory = first + size - LARGEST_PAGE
    initrd: bytes | memoryview = cpio.user_space(inputs.init)
    if inputs.initrd is not None:
        initrd = inputs.initrd.content
    if inputs.dtb is not None:
        tree = chosen.without_old(devicetree.check_dtb(inputs.dtb.content, where=inputs.dtb.where))
    else:
        tree = devicetree.virt_dtb(*ram.banks[0], regime=job.regime)
    core = core_header(ram, NOTES) if ram.crash else None
    cmdline = job.cmdline
    if cmdline is None:
        cmdline = " ".join([DEFAULT_CMDLINE, *_regime_words(job, model)])
    try:
        placed, tree = _placed(inputs.next, initrd, tree, cmdline, (room,), LARGEST_PAGE, ram, core)
    except MachineError as error:
        error.hint = f"give more --memory than {job.memory // MIB}M, or a smaller initrd"
        raise
    code = _purgatory(inputs.purgatory, placed)
    found = [(PayloadKind.KERNEL, placed.kernel, inputs.next.image)]
    if placed.initrd is not None:
        found.append((PayloadKind.INITRD, placed.initrd, memoryview(initrd)))
    if placed.core is not None and core is not None:
        found.append((PayloadKind.CORE_HEADER, placed.core, memoryview(core)))
    found.append((PayloadKind.DEVICE_TREE, placed.dtb, memoryview(tree)))
    return (
        *(LivePiece(kind, part.at, data, part.memsz) for kind, part, data in found),
        LivePiece(PayloadKind.PURGATORY, purgatory, code, LARGEST_PAGE),
    )


def _placed(
    kernel: KernelFile,
    initrd: bytes | memoryview,
    bare: bytes,
    cmdline: str,
    banks: tuple[tuple[int, int], ...],
    page: int,
    ram: GuestRam | None = None,
    core: bytes | None = None,
) -> tuple[Placement, bytes]:
    """Where ``kernel`` and what it is given go in ``banks``, and its tree, which says so."""

    def filled(initrd_at: int, core_at: int) -> bytes:
        crash = None
        if ram is not None and ram.crash is not None and core is not None:
            crash = chosen.CrashMemory(ram.crash, (core_at, len(core)))
        named = (initrd_at, initrd_at + len(initrd)) if len(initrd) else None
        return devicetree.in_whole_pages(
            chosen.with_chosen(bare, cmdline=cmdline, initrd=named, crash=crash), page
        )

    def placed(tree: bytes) -> Placement:
        return boot_protocol.place(
            kernel.header,
            len(kernel.image),
            len(initrd),
            len(tree),
            banks,
            (),
            page,
            core_size=len(core) if core else 0,
        )

    draft = placed(filled(0, 0))
    tree = filled(*(0 if part is None else part.at for part in (draft.initrd, draft.core)))
    return placed(tree), tree


def _purgatory(purgatory: Image, placed: Placement) -> bytes:
    code = bytearray(purgatory.flat)
    data = purgatory.symbol("purgatory_kernel") - purgatory.entry
    code[data : data + 8] = placed.kernel.at.to_bytes(8, "little")
    code[data + 8 : data + 16] = placed.dtb.at.to_bytes(8, "little")
    return bytes(code)


def _model(job: LiveJob, inputs: LiveInputs) -> str:
    """The smallest CPU that serves: VHE, 16 KiB pages, features are in the larger one only."""
    pages = (inputs.kernel.header.page_size, inputs.next.header.page_size)
    if job.cpu == "a72" and 16384 in pages:
        raise MachineError(
            "a Cortex-A72 has no pages of 16 KiB, and one of these kernels has no others",
            hint="give --cpu max",
        )
    if job.cpu is not None:
        return job.cpu
    return "max" if job.regime is Regime.VHE or job.features or 16384 in pages else "a72"


def _regime_words(job: LiveJob, model: str) -> list[str]:
    return [NO_VHE] if job.regime is Regime.NVHE and model == "max" else []


def _too_little(job: LiveJob, what: str) -> MachineError:
    return MachineError(
        f"{job.memory // MIB} MiB of memory are too little for {what}",
        hint="give more with --memory",
    )
