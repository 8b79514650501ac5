"""Job to Inputs: the files opened and checked, guest RAM chosen, every segment placed."""

from __future__ import annotations

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import WIDE, Regime, Target
from relokit.linker.kernel.kernel_file import ImageHeader, KernelFile, parse_header
from relokit.runtime.board import boot_protocol, chosen, devicetree
from relokit.runtime.guest.content import BytesContent, Content, FileContent, PatternContent
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.memory import check_host
from relokit.runtime.guest.payload import PayloadKind, PayloadPart
from relokit.runtime.kexec.guest_ram import GuestRam, board_memory, guest_ram
from relokit.runtime.kexec.job import DEFAULT_CMDLINE, Job
from relokit.runtime.kexec.kimage import KexecSegment
from relokit.runtime.kexec.opened_inputs import OpenedInputs


@dataclass(frozen=True, slots=True)
class Loaded:
    """A segment, its content, and what that is."""

    kind: PayloadKind
    segment: KexecSegment
    content: Content


@dataclass(frozen=True, slots=True)
class Inputs:
    """What one run moves, and the RAM it happens in.

    ``description`` is what the outcome document says of each segment.
    """

    ram: GuestRam
    old_kernel: Region
    segments: tuple[Loaded, ...]
    start: int
    dtb_at: int
    cpu: str
    description: tuple[PayloadPart, ...]


def load_inputs(
    target: Target, job: Job, opened: OpenedInputs, demo: bytes | None, old_kernel_size: int
) -> Inputs:
    """Open what ``job`` names and place it. ``demo`` is the demo kernel's file.

    Raises RelokitError subclasses naming the file or the rule that is broken.
    """
    kind, name, header, kernel = _kernel(job, opened.kernel, demo)
    initrd = None
    if opened.initrd is not None:
        initrd = FileContent(opened.initrd)
    dtb = None
    if opened.dtb is not None:
        dtb = devicetree.check_dtb(opened.dtb.content, where=opened.dtb.where)
        _refuse_idle_tree(job, dtb)

    moved = max(kernel.size, header.image_size) + (initrd.size if initrd else 0)
    memory = board_memory(job, dtb)
    if dtb is not None:
        dtb = chosen.without_old(dtb, seed=job.seed)
        if memory is not None:
            dtb = devicetree.with_memory(dtb, memory)
    ram = guest_ram(target, job, dtb, moved)
    if dtb is None:
        first, *more = ram.banks
        dtb = devicetree.virt_dtb(*first, regime=target.regime, more=tuple(more))
    old_kernel = ram.old_kernel(old_kernel_size)
    core = None
    if ram.crash is not None:
        from relokit.runtime.kexec.core_header import core_header

        core = BytesContent(core_header(ram))

    given = dtb

    def owner_of(pa: int) -> str | None:
        if old_kernel.base <= pa < old_kernel.base + old_kernel.size:
            return "the old kernel"
        return devicetree.reserved_by(given, pa, target.page_size)

    def placed(tree: bytes) -> boot_protocol.Placement:
        return boot_protocol.place(
            header,
            kernel.size,
            initrd.size if initrd else 0,
            len(tree),
            ram.destinations,
            [*ram.reserved, (old_kernel.base, old_kernel.size)],
            target.page_size,
            unmapped=ram.unmapped,
            owner_of=owner_of,
            core_size=core.size if core else 0,
            kernel_at=job.kernel_at,
            initrd_at=job.initrd_at,
            dtb_at=job.dtb_at,
        )

    cmdline = job.cmdline
    if cmdline is None and job.dtb is None:
        cmdline = DEFAULT_CMDLINE

    def filled(tree: bytes, initrd_at: int, core_at: int) -> bytes:
        """``tree`` with its /chosen, of a size that does not depend on where things are."""
        crash = None
        if ram.crash is not None and core is not None:
            crash = chosen.CrashMemory(ram.crash, (core_at, core.size))
        named = None if initrd is None else (initrd_at, initrd_at + initrd.size)
        tree = chosen.with_chosen(tree, cmdline=cmdline, initrd=named, crash=crash)
        # The last page that is copied: its last words stay in registers, and must be no zeros.
        return devicetree.in_whole_pages(tree, target.page_size)

    draft = placed(filled(dtb, 0, 0))
    spots = (0 if part is None else part.at for part in (draft.initrd, draft.core))
    dtb = filled(dtb, *spots)
    placement = placed(dtb)

    contents: dict[PayloadKind, Content] = {
        PayloadKind.KERNEL: kernel,
        PayloadKind.DEVICE_TREE: BytesContent(dtb),
    }
    if initrd is not None:
        contents[PayloadKind.INITRD] = initrd
    if core is not None:
        contents[PayloadKind.CORE_HEADER] = core
    segments = tuple(
        Loaded(
            kind if part.kind is PayloadKind.KERNEL else part.kind,
            KexecSegment(part.name, part.at, part.memsz, part.size),
            contents[part.kind],
        )
        for part in placement.segments
    )
    # Of the engine's two CPUs only one has VHE and admits to 16 KiB pages, and wider addresses
    # than a Cortex-A72's go with it.
    pages = (target.page_size, header.page_size)
    wide = target.cpu_bits == WIDE
    cpu = "max" if target.regime is Regime.VHE or 16384 in pages or wide else "a72"
    return Inputs(
        ram=ram,
        old_kernel=old_kernel,
        segments=segments,
        start=placement.kernel.at,
        dtb_at=placement.dtb.at,
        cpu=cpu,
        description=tuple(
            PayloadPart(name, kind, part.at, part.size, part.memsz)
            if part.kind is PayloadKind.KERNEL
            else PayloadPart(part.name, part.kind, part.at, part.size, part.memsz)
            for part in placement.segments
        ),
    )


def _refuse_idle_tree(job: Job, dtb: bytes) -> None:
    """What of ``job`` would do something with another device tree, and does nothing with this."""
    said = job.seed or "seed" in job.given
    if said and not job.draws and (job.is_of_ram_alone or not chosen.has_seeds(dtb)):
        raise MachineError(
            "seed where nothing is drawn: it would do nothing there, since the tree has no seeds",
            where=str(job.dtb),
            hint="leave --seed out",
        )
    if job.memory_map and job.is_of_ram_alone and not devicetree.reserved_of(dtb):
        raise MachineError(
            "dtb with memory-map where no tree is handed over: it would do nothing there, since it "
            "reserves nothing",
            where=str(job.dtb),
            hint="leave --dtb or --memory-map out",
        )


def _kernel(
    job: Job, file: KernelFile | None, demo: bytes | None
) -> tuple[PayloadKind, str, ImageHeader, Content]:
    if job.size is not None:
        # Before anything is made of it.
        check_host(job.size)
        header = ImageHeader(
            code0=0, code1=0, text_offset=0, image_size=job.size, flags=1 << 3, pe_offset=0
        )
        name = f"{PayloadKind.SYNTHETIC.value} (seed {job.seed})"
        return PayloadKind.SYNTHETIC, name, header, PatternContent(job.size, job.seed)
    if job.kernel is not None:
        assert file is not None, "a job whose kernel is not opened"
        return PayloadKind.KERNEL, file.name, file.header, BytesContent(file.image)
    kind = PayloadKind.DEMO_KERNEL
    assert demo is not None, "programs without a demo kernel for a job that moves it"
    return kind, kind.value, parse_header(demo, where=kind.value), BytesContent(demo)
