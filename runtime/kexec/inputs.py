"""Job to Inputs: the files opened and checked, guest RAM chosen, every segment placed."""

from __future__ import annotations

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import MIB, WIDE, Regime, Target
from relokit.linker.kernel.kernel_file import ImageHeader, KernelFile, parse_header
from relokit.runtime.board import boot_protocol, devicetree
from relokit.runtime.guest.content import BytesContent, Content, PatternContent
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.guest.payload import PayloadKind, PayloadPart
from relokit.runtime.kexec.address_space import cpu_pa_bits
from relokit.runtime.kexec.job import DEFAULT_CMDLINE, RAM_BASE, Job, KexecPath
from relokit.runtime.kexec.kimage import KexecSegment
from relokit.runtime.kexec.opened_inputs import OpenedInputs

DEFAULT_RAM = 2048 * MIB
OLD_KERNEL_ALIGN = 2 * MIB
CRASH_ALIGN = 2 * MIB
MEMSTART_ALIGN = 1 << 30
"""Where the linear map starts is rounded to this, so that it can use blocks."""
# Tables, list pages, control page, vectors and the harness, with room to spare: the list needs
# 8 bytes and page tables at most 8 bytes for each 4 KiB page.
OVERHEAD = 64 * MIB


@dataclass(frozen=True, slots=True)
class Loaded:
    """A segment, its content, and what that is."""

    kind: PayloadKind
    segment: KexecSegment
    content: Content


@dataclass(frozen=True, slots=True)
class Inputs:
    """What one run moves, and the RAM it happens in (PA, bytes).

    ``reserved`` is what the device tree reserves, (PA, bytes). ``description`` is what the outcome
    document says of each segment.
    """

    ram_base: int
    ram_size: int
    old_kernel: Region
    segments: tuple[Loaded, ...]
    start: int
    dtb_at: int
    cpu: str
    reserved: tuple[tuple[int, int], ...]
    description: tuple[PayloadPart, ...]

    @property
    def memstart(self) -> int:
        """PA that PAGE_OFFSET maps."""
        return self.ram_base // MEMSTART_ALIGN * MEMSTART_ALIGN


def load_inputs(
    target: Target, job: Job, opened: OpenedInputs, demo: bytes | None, old_kernel_size: int
) -> Inputs:
    """Open what ``job`` names and place it. ``demo`` is the demo kernel's file.

    Raises RelokitError subclasses naming the file or the rule that is broken.
    """
    kind, name, header, kernel = _kernel(job, opened.kernel, demo)
    initrd = None
    if opened.initrd is not None:
        initrd = BytesContent(opened.initrd.content)
    dtb = None
    if opened.dtb is not None:
        dtb = devicetree.check_dtb(opened.dtb.content, where=opened.dtb.where)

    moved = max(kernel.size, header.image_size) + (initrd.size if initrd else 0)
    ram_base, ram_size = _ram(target, job, dtb, moved)
    if dtb is None:
        dtb = devicetree.virt_dtb(ram_base, ram_size, regime=target.regime)
    old_kernel = Region(
        Owner(OwnerKind.OLD_KERNEL),
        -(-ram_base // OLD_KERNEL_ALIGN) * OLD_KERNEL_ALIGN + OLD_KERNEL_ALIGN,
        -(-old_kernel_size // OLD_KERNEL_ALIGN) * OLD_KERNEL_ALIGN,
    )
    # A crash kernel is loaded into memory that was set aside for it at boot.
    destination = (ram_base, ram_size)
    if job.path is KexecPath.CRASH:
        half = ram_size // 2 // CRASH_ALIGN * CRASH_ALIGN
        destination = (ram_base + half, ram_size - half)
    reserved = devicetree.reserved_of(dtb)

    def placed(tree: bytes) -> boot_protocol.Placement:
        return boot_protocol.place(
            header,
            kernel.size,
            initrd.size if initrd else 0,
            len(tree),
            [destination],
            [*reserved, (old_kernel.base, old_kernel.size)],
            target.page_size,
            kernel_at=job.kernel_at,
            initrd_at=job.initrd_at,
            dtb_at=job.dtb_at,
        )

    # /chosen names the initrd's place, and the tree's size does not depend on where that is.
    cmdline = job.cmdline
    if cmdline is None and job.dtb is None:
        cmdline = DEFAULT_CMDLINE
    if initrd is not None:
        sized = devicetree.with_chosen(dtb, cmdline=cmdline, initrd=(0, initrd.size))
        spot = placed(sized).initrd
        assert spot is not None
        dtb = devicetree.with_chosen(dtb, cmdline=cmdline, initrd=(spot.at, spot.at + initrd.size))
    else:
        dtb = devicetree.with_chosen(dtb, cmdline=cmdline)
    placement = placed(dtb)

    contents: dict[PayloadKind, Content] = {
        PayloadKind.KERNEL: kernel,
        PayloadKind.DEVICE_TREE: BytesContent(dtb),
    }
    if initrd is not None:
        contents[PayloadKind.INITRD] = initrd
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
        ram_base=ram_base,
        ram_size=ram_size,
        old_kernel=old_kernel,
        segments=segments,
        start=placement.kernel.at,
        dtb_at=placement.dtb.at,
        cpu=cpu,
        reserved=reserved,
        description=tuple(
            PayloadPart(name, kind, part.at, part.size, part.memsz)
            if part.kind is PayloadKind.KERNEL
            else PayloadPart(part.name, part.kind, part.at, part.size, part.memsz)
            for part in placement.segments
        ),
    )


def _kernel(
    job: Job, file: KernelFile | None, demo: bytes | None
) -> tuple[PayloadKind, str, ImageHeader, Content]:
    if job.size is not None:
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


def _ram(target: Target, job: Job, dtb: bytes | None, moved: int) -> tuple[int, int]:
    """Guest RAM: the device tree's, or QEMU virt's, large enough for source and destination."""
    needed = 2 * moved + moved // 128 + OVERHEAD
    wanted = job.memory or max(DEFAULT_RAM, -(-needed // (256 * MIB)) * 256 * MIB)
    if dtb is None:
        base, size = RAM_BASE, wanted
    else:
        tree = devicetree.memory_of(dtb, where=str(job.dtb))
        base, available = max(tree, key=lambda entry: entry[1])
        if job.memory is not None and job.memory > available:
            raise MachineError(
                f"{job.memory / MIB:.0f} MiB of guest memory, but the device tree's largest range "
                f"has {available / MIB:.0f} MiB",
                where=str(job.dtb),
                hint="leave --memory out, or give another tree",
            )
        # The rest of a large machine's memory is never touched and need not be there.
        size = min(available, wanted)
    first = -(-base // target.page_size) * target.page_size
    size = (base + size) // target.page_size * target.page_size - first
    cpu_pa_bits(target, first + size, where=str(job.dtb) if job.dtb else None)
    if needed > size + OVERHEAD // 2:
        raise MachineError(
            f"{moved / MIB:.1f} MiB to move need {needed / MIB:.0f} MiB of guest memory for source "
            f"and destination, and there are {size / MIB:.0f} MiB",
            hint="give more with --memory, or a smaller payload",
        )
    return first, size
