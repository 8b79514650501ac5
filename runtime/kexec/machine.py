"""Inputs to Machine: the moment before machine_kexec, as kernel C has prepared it.

What C does at load time (the list, the tables, the copies) is done here on guest memory, by the
state of the series; what kernel assembly does is executed later by the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from relokit.codegen.base.bits import MASK64, round_up
from relokit.codegen.base.errors import LinkError, MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import HVC_NO_FUNCTION, POISON
from relokit.codegen.series import Feature
from relokit.codegen.target import Regime, Target
from relokit.linker.image import Image
from relokit.runtime.guest.content import Progress, scatter_into
from relokit.runtime.guest.ledger import PageAllocator, Region
from relokit.runtime.guest.memory import GuestMemory, Words
from relokit.runtime.guest.owner import Owner, OwnerKind, destination
from relokit.runtime.kexec import trans_pgd
from relokit.runtime.kexec.arrange import OVER_OLD_KERNEL, Stage, add_over
from relokit.runtime.kexec.edges import Edges, edges_of
from relokit.runtime.kexec.inputs import Inputs
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.kexec.kimage import Kimage, build_kimage, destination_pages, write_field
from relokit.runtime.kexec.old_kernel import CpuState, OldKernel, load_old_kernel
from relokit.runtime.kexec.routines import Routines

if TYPE_CHECKING:
    # A machine that is built here has nothing around it.
    from relokit.runtime.guest.around import Around

# kimage.type and file_mode, by path: bit 0 a crash image, bit 2 loaded by kexec_file_load.
IMAGE_FLAGS = {
    KexecPath.NORMAL: 1 << 2,
    KexecPath.PURGATORY: 0,
    KexecPath.IN_PLACE: 1 << 2,
    KexecPath.CRASH: 1 << 2 | 1 << 0,
}


IDMAP_SIZE = 4096
"""What is mapped to itself for the soft restart (the ld script's ASSERT)."""
OWN_PLACE_TURN = 8
"""Of so many pages, one is not at its destination already in Shape.OWN_PLACE."""


@dataclass(frozen=True, slots=True)
class History:
    """What is known of caches where a Machine was found: ranges of PAs, one to the other.

    ``clean`` was cleaned and not written since, ``unfetchable`` is copied code for which no I-cache
    was invalidated.
    """

    clean: tuple[tuple[int, int], ...]
    unfetchable: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Found:
    """What is known of a Machine that was found, and not built here.

    ``words`` are those of struct kimage by KimageLayout's names, as the load had left them.
    ``history`` is what was done to caches before, or why nobody knows. ``tables`` are its kernel's,
    PAs from one to the other, wherever they lie: a destination may have some. ``around`` is what
    goes on beside the CPU that leaves, None where there is nothing.
    """

    words: Mapping[str, int]
    history: History | str
    tables: tuple[tuple[int, int], ...]
    around: Around | None = None


@dataclass(frozen=True)
class Machine:
    """Guest RAM with everything in it, and where the CPU starts (machine_kexec, by its VA).

    ``jump`` is the PA at which relocation code is entered, None if there is nothing to move
    and it is skipped (patch 5). ``stages`` are entered after it, the new kernel last.
    ``el_at_jump`` and ``el_at_start`` are the exception levels the series promises there.
    ``found`` is None for a Machine that was built here.
    """

    target: Target
    inputs: Inputs
    routines: Routines
    old: OldKernel
    kimage: Kimage
    state: CpuState
    jump: int | None
    stages: tuple[Stage, ...]
    el_at_jump: int
    el_at_start: int
    found: Found | None = None

    @property
    def memory(self) -> GuestMemory:
        """Guest RAM."""
        return self.old.memory

    @property
    def allocator(self) -> PageAllocator:
        """The ledger of who owns which pages."""
        return self.old.allocator

    @property
    def start(self) -> int:
        """PA of what is entered first after the relocation."""
        return self.stages[0].pc

    def close(self) -> None:
        """Give guest RAM back."""
        self.memory.close()

    def locate(self, pc: int) -> tuple[Image, int] | None:
        """The image and link-time VA of the code a program counter is in, if it is ours."""
        control = self.kimage.control_page
        if control <= pc < control + len(self.routines.relocation):
            return self.routines.image, pc - control + self.routines.va
        owner = self.allocator.owner(pc)
        vectors = self.routines.vectors
        if owner is not None and owner.owner.kind is OwnerKind.EL2_VECTORS and vectors:
            if pc - owner.base >= len(vectors):
                return None
            va = self.routines.image.symbol("trans_pgd_stub_vectors")
            return self.routines.image, pc - owner.base + va
        return self.old.locate(pc)


def build_machine(
    target: Target,
    image: Image,
    routines: Routines,
    inputs: Inputs,
    stages: tuple[Stage, ...],
    job: Job,
    progress: Progress | None = None,
) -> Machine:
    """Set up guest RAM as the old kernel leaves it when it calls machine_kexec.

    ``image`` is the old kernel (ours, and its hyp-stub), ``routines`` what it copies to safe
    pages; of ``job``, order, seed, shape and path count here. Raises MachineError for what does
    not fit.
    """
    memory = GuestMemory.of(inputs.ram.banks)
    allocator = PageAllocator(memory, target.page_size, inputs.ram.closed)
    inputs, left = _leave(target, image, inputs, allocator, over=job.shape is Shape.OLD_KERNEL)
    old = left.kernel
    segments = tuple(loaded.segment for loaded in inputs.segments)
    in_place = job.path in (KexecPath.IN_PLACE, KexecPath.CRASH)
    destinations = destination_pages(segments, target.page_size)
    sources = allocator.scatter(
        Owner(OwnerKind.SOURCES),
        0 if in_place else len(destinations),
        target.page_size,
        job.seed,
        job.order,
        # Where pages are at their destination already, some of these are left as they are.
        zero=job.shape in (Shape.OWN_PLACE, Shape.EDGES),
    )
    if job.shape is Shape.OWN_PLACE and not in_place:
        moved = np.arange(len(sources)) % OWN_PLACE_TURN == OWN_PLACE_TURN - 1
        sources = np.where(moved, sources, destinations)
    edges = None
    if job.shape is Shape.EDGES:
        edges = edges_of(inputs.ram)
        # A page ends at an edge both as a source and as a destination.
        own = np.isin(destinations, edges.last_pages(target.page_size)[:-1])
        sources = np.where(own, destinations, sources)
    kimage = build_kimage(
        memory,
        allocator,
        target.layout,
        segments,
        sources,
        target.page_size,
        start=stages[0].pc,
        linear_offset=old.linear_offset,
        dtb_mem=stages[0].x0,
        flags=IMAGE_FLAGS[job.path],
        in_place=in_place,
        page=left.kimage,
    )
    where = destinations if in_place else sources
    if not in_place:
        _poison(memory, allocator, inputs)
    _scatter(memory, inputs, where, target.page_size, progress)
    skipped = in_place and target.has(Feature.SKIP_IN_PLACE)
    if not skipped:
        _post_load(old, routines, kimage, edges)

    simple = target.has(Feature.NO_CPU_RESET_HEADER)
    restart = old.pa("cpu_soft_restart" if simple else "__cpu_soft_restart")
    arguments = (
        kimage.va,
        kimage.pa,
        old.zero_page,
        left.idmap,
        left.t0sz,
        int(target.regime is Regime.NVHE),
        kimage.control_page + routines.entry,
        stages[0].x0,
        restart,
        HVC_NO_FUNCTION if edges else 0,
    )
    return Machine(
        target=target,
        inputs=inputs,
        routines=routines,
        old=old,
        kimage=kimage,
        state=old.state("machine_kexec", arguments),
        jump=None if skipped else kimage.control_page + routines.entry,
        stages=stages,
        el_at_jump=el_at_jump(target),
        el_at_start=1 if target.regime is Regime.EL1 else 2,
    )


@dataclass(frozen=True, slots=True)
class _Left:
    """What is left behind: the kernel, the map its soft restart runs by, where kimage is."""

    kernel: OldKernel
    idmap: int
    t0sz: int
    kimage: Region


def _leave(
    target: Target, image: Image, inputs: Inputs, allocator: PageAllocator, *, over: bool
) -> tuple[Inputs, _Left]:
    """Put the old kernel and what it needs itself into RAM, and reserve the destinations.

    With ``over``, a segment more goes over all of that: the first one of the Inputs returned.
    """
    page = target.page_size
    whole = region = inputs.old_kernel
    if over:
        used = round_up(image.symbol("_end") - image.symbol("_text"), page)
        region = Region(whole.owner, whole.base, used)
    allocator.reserve(region.owner, region.base, region.size)
    for number, loaded in enumerate(inputs.segments, int(over)):
        segment = loaded.segment
        size = segment.pages(page) * page
        allocator.reserve(destination(number, segment.name), segment.mem, size)
    with allocator.confined(region.end, whole.end) if over else nullcontext():
        old = load_old_kernel(target, image, region, allocator, inputs.ram)
        idmap, t0sz = trans_pgd.idmap_page(
            allocator.memory,
            allocator,
            target,
            old.pa("__idmap_text_start") & -page,
            OwnerKind.RESTART_IDMAP,
        )
        left = _Left(old, idmap, t0sz, allocator.alloc(Owner(OwnerKind.KIMAGE), target.layout.size))
        if over:
            rest = allocator.alloc(destination(0, OVER_OLD_KERNEL), page)
            inputs = add_over(inputs, region.base, rest.end - region.base, page)
    return inputs, left


def el_at_jump(target: Target) -> int:
    """The exception level relocation runs at: EL2 before patch 9 where there is a stub."""
    if target.regime is Regime.NVHE:
        return 1 if target.has(Feature.RELOCATE_AT_EL1) else 2
    return 2 if target.regime is Regime.VHE else 1


def _poison(memory: GuestMemory, allocator: PageAllocator, inputs: Inputs) -> None:
    """What the move leaves out must not look like the zeros that belong there."""
    for region in allocator.regions:
        number = region.owner.segment
        if region.owner.is_destination and number is not None:
            memory.fill(region.base, region.size)
            loaded = inputs.segments[number]
            first = max(region.base, loaded.segment.mem + loaded.content.without_zeros)
            if first < region.end:
                memory.u64(first, (region.end - first) // 8).fill(POISON)


def _scatter(
    memory: GuestMemory,
    inputs: Inputs,
    sources: Words,
    page_size: int,
    progress: Progress | None,
) -> None:
    done = 0
    total = len(sources) * page_size
    for loaded in inputs.segments:
        pages = loaded.segment.pages(page_size)
        at = done // page_size

        def report(part: int, _: int, before: int = done) -> None:
            if progress:
                progress(before + part, total)

        scatter_into(memory, sources[at : at + pages], page_size, loaded.content, report)
        done += pages * page_size


def _post_load(old: OldKernel, routines: Routines, kimage: Kimage, edges: Edges | None) -> None:
    """machine_kexec_post_load, as far as the target's state of the series has it."""
    target, memory, allocator = old.target, old.memory, old.allocator
    if len(routines.relocation) > target.page_size:
        raise LinkError(
            f"the relocation code has {len(routines.relocation)} bytes and its page "
            f"{target.page_size}"
        )
    if target.has(Feature.KEXEC_EL2_VECTORS) and target.regime is Regime.NVHE:
        if routines.vectors is None:
            raise MachineError(
                f"{routines.image.name} has no trans_pgd_stub_vectors to install at EL2",
                hint="choose a state of the series before patch 8, or another kernel's code",
            )
        at = (edges.pa, edges.va) if edges else (memory.base, memory.end)
        with allocator.confined(*at):
            vectors = trans_pgd.copy_el2_vectors(memory, allocator, routines.vectors)
        write_field(memory, kimage, "el2_vectors", vectors)
    if target.has(Feature.LINEAR_MAP_COPY):
        copy = trans_pgd.create_copy(
            memory,
            allocator,
            old.swapper,
            target,
            target.linear_start,
            target.page_end,
            rule=trans_pgd.copy_rule(routines.version),
        )
        write_field(memory, kimage, "ttbr1", copy)
        write_field(memory, kimage, "zero_page", old.zero_page)
    memory.write(kimage.control_page, routines.relocation)
    if kimage.layout.arch is not None:
        write_field(memory, kimage, "kern_reloc", kimage.control_page + routines.entry)
    if target.has(Feature.MMU_ON):
        ttbr0, t0sz = trans_pgd.idmap_page(memory, allocator, target, kimage.control_page)
        write_field(memory, kimage, "ttbr0", ttbr0)
        write_field(memory, kimage, "t0sz", t0sz)
        write_field(memory, kimage, "phys_offset", -old.linear_offset & MASK64)
