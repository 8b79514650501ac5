"""The resume side of hibernation, set up like kexec: the moment before swsusp_arch_resume.

A kernel has loaded the image of a hibernated one into spare pages. Its exit routine, copied to a
safe page, puts every page back where it was, the loading kernel's own included, and goes on in
the resumed kernel. It needs what kexec needs since the series: EL2 vectors that survive, a copy
of the linear map, and TTBR switches (patches 1 to 3).
"""

from __future__ import annotations

import numpy as np

from relokit.codegen.base.bits import round_up
from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import LinkError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import HVC_NO_FUNCTION, POISON, VECTOR_TABLE_SIZE
from relokit.codegen.series import Feature
from relokit.codegen.target import Regime, Target
from relokit.linker.image import Image
from relokit.runtime.guest.content import BytesContent, PatternContent, scatter_into
from relokit.runtime.guest.ledger import PageAllocator, Region
from relokit.runtime.guest.memory import WORD, GuestMemory, Words
from relokit.runtime.guest.owner import Owner, OwnerKind, destination
from relokit.runtime.kexec import trans_pgd
from relokit.runtime.kexec.edges import Edges, edges_of
from relokit.runtime.kexec.inputs import Inputs
from relokit.runtime.kexec.job import Job, Shape
from relokit.runtime.kexec.old_kernel import CpuState, OldKernel, load_old_kernel, page_tables

ENTRY_WORDS = 3
"""Words of a list entry: where the page is, where it belongs, the next entry (VAs)."""
ENTRY_SIZE = ENTRY_WORDS * WORD
ROW_BYTES = 64
"""What an entry of the list takes, written and before."""
DEFAULT_SIZE = 1 << 20
HOME = "resumed pages"
RESUME_ENTRY = "finalise_el2"
"""A routine of the resumed kernel that stands for cpu_resume: it is reached, not run."""


@dataclass(frozen=True)
class Resume:
    """The moment before swsusp_arch_resume.

    ``jump`` is the PA of the exit routine's copy, ``entry`` the VA at which the resumed kernel
    goes on, ``tables`` the PA of its tables, ``vectors`` the PA of its EL2 vectors (0: none).
    ``listed`` are the PAs of the list's entries, in its order. ``home`` is where the restored
    pages belong; ``restored`` are the pages of its tables, which are restored as well, and what
    they hold then. ``cpu`` is the model that it runs on, ``left_out`` what is said of memory that
    the kernel leaves out.
    """

    target: Target
    old: OldKernel
    state: CpuState
    exit_code: bytes
    jump: int
    entry: int
    tables: int
    vectors: int
    listed: tuple[tuple[int, int], ...]
    home: Region
    content: PatternContent
    restored: tuple[tuple[Region, bytes], ...]
    cpu: str
    left_out: str | None

    @property
    def memory(self) -> GuestMemory:
        """Guest RAM."""
        return self.old.memory

    @property
    def filled(self) -> tuple[tuple[int, int], ...]:
        """PAs of what is restored, from one to the other."""
        if not self.listed:
            return ()
        regions = (self.home, *(region for region, _ in self.restored))
        return tuple((region.base, region.end) for region in regions)

    @property
    def allocator(self) -> PageAllocator:
        """The ledger of who owns which pages."""
        return self.old.allocator

    def locate(self, pc: int) -> tuple[Image, int] | None:
        """The image and VA of the code at ``pc``, if it is ours."""
        if self.jump <= pc < self.jump + len(self.exit_code):
            start = self.old.image.symbol("__hibernate_exit_text_start")
            return self.old.image, pc - self.jump + start
        owned = self.allocator.owner(pc)
        if owned is not None and owned.owner.kind is OwnerKind.EL2_VECTORS:
            offset = pc - owned.base
            if offset >= VECTOR_TABLE_SIZE:
                return None
            return self.old.image, self.old.image.symbol(_vectors_name(self.target)) + offset
        return self.old.locate(pc)

    def close(self) -> None:
        """Give guest RAM back."""
        self.old.memory.close()


def build_resume(target: Target, image: Image, inputs: Inputs, job: Job) -> Resume:
    """Set up guest RAM as the loading kernel leaves it when it calls swsusp_arch_resume.

    The restored pages are ``job.size`` bytes of pattern; of ``inputs``, RAM and the old
    kernel's place count.
    """
    page = target.page_size
    ram = inputs.ram
    memory = GuestMemory.of(ram.banks)
    allocator = PageAllocator(memory, page, ram.closed)
    region = inputs.old_kernel
    allocator.reserve(region.owner, region.base, region.size)
    content = PatternContent(-(-(job.size or DEFAULT_SIZE) // page) * page, job.seed)
    edges = None
    if job.shape is Shape.EDGES:
        edges = edges_of(ram)
    owner = destination(0, HOME)
    if edges:
        home = allocator.reserve(owner, edges.end - content.size, content.size)
    else:
        # The hibernated kernel's pages: above the loading kernel, if there is room.
        home = allocator.place(owner, content.size, region.end)
    count = 0 if job.shape is Shape.LOADED else content.size // page
    listed = _listed(allocator, count, edges)
    old = load_old_kernel(target, image, region, allocator, ram)
    # The resumed kernel is the same build at the same place, with tables of its own.
    tables = page_tables(target, image, region, allocator, ram, OwnerKind.RESUMED_SWAPPER)

    safe_pages = Owner(OwnerKind.SAFE_PAGES)
    last = [allocator.reserve(safe_pages, edges.va - page, page).base] if edges else []
    spare = allocator.scatter(safe_pages, count - len(last), page, job.seed, job.order, zero=False)
    spare = np.append(spare, np.array(last, np.uint64))
    scatter_into(memory, spare if count else _pages(home, page), page, content)
    targets = _pages(home, page)
    restored = _set_aside(allocator) if count else ()
    if restored:
        apart = allocator.scatter(
            safe_pages, _page_count(restored, page), page, job.seed, zero=False
        )
        scatter_into(memory, apart, page, BytesContent(b"".join(held for _, held in restored)))
        # Before the last of the list's pieces: at the edges the first and the last have their own.
        at = count - (listed[-1][1] - listed[-1][0]) // ENTRY_SIZE
        spare = np.insert(spare, at, apart)
        targets = np.insert(targets, at, np.concatenate([_pages(one, page) for one, _ in restored]))
        listed = (*listed[:-1], *_listed(allocator, len(apart), None), listed[-1])
    _write_list(old, spare, targets, listed)

    exit_code = _exit_code(image, page)
    safe = allocator.alloc(Owner(OwnerKind.EXIT_CODE), page)
    memory.write(safe.base, exit_code)
    entry_offset = image.symbol("swsusp_arch_suspend_exit") - image.symbol(
        "__hibernate_exit_text_start"
    )
    ttbr0, t0sz = trans_pgd.idmap_page(memory, allocator, target, safe.base)
    copy = trans_pgd.create_copy(
        memory, allocator, old.swapper, target, target.linear_start, target.page_end
    )
    nvhe = target.regime is Regime.NVHE
    vectors = old.stub_vectors if nvhe else 0
    if nvhe and edges:
        vectors = _vectors_at(edges.pa, old)
    safe_vectors = _safe_vectors(old, safe) if nvhe else 0
    entry = image.symbol(RESUME_ENTRY)
    arguments = (
        safe.base + entry_offset,
        ttbr0,
        t0sz,
        old.zero_page,
        safe_vectors,
        tables,
        copy,
        entry,
        listed[0][0] + old.linear_offset if listed else 0,
        vectors,
        HVC_NO_FUNCTION if edges else 0,
    )
    return Resume(
        target=target,
        old=old,
        state=old.state("swsusp_arch_resume", arguments),
        exit_code=exit_code,
        jump=safe.base + entry_offset,
        entry=entry,
        tables=tables,
        vectors=vectors,
        listed=listed,
        home=home,
        content=content,
        restored=restored,
        cpu=inputs.cpu,
        left_out=ram.left_out,
    )


def _set_aside(allocator: PageAllocator) -> tuple[tuple[Region, bytes], ...]:
    """The pages of the resumed kernel's tables, and what they hold; no more: it is restored, too.

    What is there until then is the loading kernel's, and no table.
    """
    memory, found = allocator.memory, []
    for region in allocator.regions:
        if region.owner.kind is OwnerKind.RESUMED_SWAPPER:
            words = memory.u64(region.base, region.size // WORD)
            found.append((region, words.tobytes()))
            words.fill(POISON)
    return tuple(found)


def _page_count(restored: tuple[tuple[Region, bytes], ...], page: int) -> int:
    return sum(region.size // page for region, _ in restored)


def _listed(
    allocator: PageAllocator, count: int, edges: Edges | None
) -> tuple[tuple[int, int], ...]:
    """Where ``count`` entries are, in safe pages of their own: PAs, in the order of the list."""
    if not count:
        return ()
    owner = Owner(OwnerKind.PAGE_LIST)
    if edges is None or count == 1:
        region = allocator.alloc(owner, count * ENTRY_SIZE)
        return ((region.base, region.base + count * ENTRY_SIZE),)
    size = (count - 1) * ENTRY_SIZE
    allocator.reserve(owner, edges.va, round_up(size, allocator.page_size))
    allocator.reserve(owner, edges.begin, allocator.page_size)
    return ((edges.va, edges.va + size), (edges.begin, edges.begin + ENTRY_SIZE))


def _write_list(
    old: OldKernel, spare: Words, targets: Words, listed: tuple[tuple[int, int], ...]
) -> None:
    """Write the list of pages: ``spare`` to ``targets``, an entry a page."""
    if not listed:
        return
    offset = np.uint64(old.linear_offset)
    spend(ROW_BYTES * len(spare), "lists of a hibernation image")
    at = np.concatenate(
        [np.arange(begin, end, ENTRY_SIZE, dtype=np.uint64) for begin, end in listed]
    )
    onward = np.append(at[1:] + offset, np.uint64(0))
    rows = np.stack((spare + offset, targets + offset, onward), axis=1)
    done = 0
    for begin, end in listed:
        words = old.memory.u64(begin, (end - begin) // WORD)
        words[:] = rows.reshape(-1)[done : done + len(words)]
        done += len(words)


def _pages(region: Region, page: int) -> Words:
    return np.arange(region.base, region.end, page, dtype=np.uint64)


def _vectors_at(pa: int, old: OldKernel) -> int:
    """A copy at ``pa`` of the EL2 vectors: there, too, a kernel may have its own."""
    code = old.image.read(old.image.symbol("__hyp_stub_vectors"), VECTOR_TABLE_SIZE)
    old.allocator.reserve(old.region.owner, pa, old.allocator.page_size)
    old.memory.write(pa, code)
    return pa


def _exit_code(image: Image, page: int) -> bytes:
    start = image.symbol("__hibernate_exit_text_start")
    size = image.symbol("__hibernate_exit_text_end") - start
    if size > page:
        raise LinkError(f"the hibernate exit text has {size} bytes and its page {page}")
    return image.read(start, size)


def _safe_vectors(old: OldKernel, safe: Region) -> int:
    """PA of the EL2 vectors for the time of the copy.

    Before patch 2 they are hibernate's own, behind the exit code and in its copy at ``safe``.
    """
    at = old.image.symbol(_vectors_name(old.target))
    if not old.target.has(Feature.COPY_EL2_VECTORS):
        return safe.base + at - old.image.symbol("__hibernate_exit_text_start")
    vectors = old.image.read(at, VECTOR_TABLE_SIZE)
    return trans_pgd.copy_el2_vectors(old.memory, old.allocator, vectors)


def _vectors_name(target: Target) -> str:
    shared = target.has(Feature.COPY_EL2_VECTORS)
    return "trans_pgd_stub_vectors" if shared else "hibernate_el2_vectors"
