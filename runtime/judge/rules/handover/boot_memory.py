"""What booting.rst asks of memory: where image, device tree and initrd lie, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.rules.handover.handoff import BOOTING, enters_a_kernel
from relokit.runtime.judge.rules.rule import Applies, Broken, Check, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.given import CpuNode, Extent, Given, ImageGiven, TreeGiven
from relokit.runtime.record.known import Unknown, UnknownFactError, known
from relokit.runtime.record.record import Record

MIB, GIB = 1 << 20, 1 << 30
BLOCK = 2 * MIB
"""What the kernel maps at once; an Image lies text_offset bytes past a multiple of it."""
TREE_ALIGN = 8
INITRD_WINDOW = 32 * GIB
PA_LIMIT = 1 << 48
PLACED_ANYWHERE = 1 << 3
"""Bit of an Image's flags."""
SPIN_TABLE = "spin-table"
OLD_TEXT_OFFSET = 0x80000
"""What an Image that does not say its size has, whatever its header says."""

# Flags bits 2:1 -> pages in KiB, where ID_AA64MMFR0_EL1 has them, and what that says if not.
_GRANULES = {1: (4, 28, {0xF}), 2: (16, 20, {0}), 3: (64, 24, {0xF})}
_MMFR0 = "ID_AA64MMFR0_EL1"


_LOOKED_AT = frozenset({PayloadKind.DEVICE_TREE, PayloadKind.KERNEL, PayloadKind.DEMO_KERNEL})


def given_of(record: Record) -> Given:
    """What the new kernel finds in RAM; UnknownFactError if nobody looked."""
    assert record.given is not None
    return known(record.given)


def _with(part: Callable[[Given], object], why: str) -> Applies:
    def applies(record: Record) -> str | None:
        if enters_a_kernel(record) is not None or record.given is None:
            return enters_a_kernel(record) or "no kernel is booted"
        if isinstance(record.given, Unknown):
            return None
        if not part(record.given):
            return why
        lost = _lost(record)
        return f"the {lost} is not what was loaded: memory.segment" if lost else None

    return applies


def _lost(record: Record) -> str | None:
    """What did not arrive of those that are looked at here: it says nothing of how it was made."""
    if isinstance(record.arrived, Unknown):
        return None
    wrong = (arrival for arrival in record.arrived if arrival.result.first is not None)
    return next((arrival.name for arrival in wrong if arrival.kind in _LOOKED_AT), None)


_HAS_IMAGE = _with(lambda given: given.image, "what is entered is no Image")
_HAS_TREE = _with(lambda given: given.tree, "no device tree is promised")
TREE_IS_SOUND = _with(
    lambda given: given.tree and not given.tree.problem, "there is no device tree to ask"
)

_SOME_SPIN = _with(
    lambda given: given.tree and any(cpu.method == SPIN_TABLE for cpu in given.tree.cpus),
    "no CPU spins",
)


def _of_tree(check: Callable[[TreeGiven], Iterator[Broken]]) -> Check:
    def checked(record: Record) -> Iterator[Broken]:
        tree = given_of(record).tree
        assert tree is not None
        yield from check(tree)

    return checked


def _of_image(check: Callable[[ImageGiven], Iterator[Broken]]) -> Check:
    def checked(record: Record) -> Iterator[Broken]:
        image = given_of(record).image
        assert image is not None
        yield from check(image)

    return checked


def _meets(first: Extent, others: Iterable[Extent]) -> Extent | None:
    """The first of ``others`` that has a byte in common with ``first``."""
    start, size = first
    return next((one for one in others if start < one[0] + one[1] and one[0] < start + size), None)


def within(extent: Extent, memory: Iterable[Extent]) -> bool:
    """Whether all of ``extent`` is in one of ``memory``."""
    start, size = extent
    return any(base <= start and start + size <= base + length for base, length in memory)


def text(extent: Extent) -> str:
    """``extent`` for a message."""
    return f"{extent[0]:#x}..{extent[0] + extent[1]:#x}"


# The device tree ----------------------------------------------------------------------------


def _sound(tree: TreeGiven) -> Iterator[Broken]:
    if tree.problem:
        yield Broken(f"there is no device tree at PA {tree.at:#x}: {tree.problem}", address=tree.at)
        return
    # A kernel that is told of a UEFI goes by its memory map, and by no node.
    if not tree.memory and not tree.uefi:
        yield Broken("the device tree has no memory", address=tree.at)
    if not tree.chosen:
        yield Broken("the device tree has no /chosen", address=tree.at)


def _tree_place(tree: TreeGiven) -> Iterator[Broken]:
    extent = tree.at, tree.size
    if tree.at % TREE_ALIGN:
        yield Broken(f"the device tree is at PA {tree.at:#x}, no multiple of 8", address=tree.at)
    if tree.size > BLOCK:
        yield Broken(
            f"the device tree has {tree.size:,} bytes, and may have 2 MiB", address=tree.at
        )
    if tree.memory and not within(extent, tree.memory):
        yield Broken(f"the device tree at {text(extent)} is not in its own RAM", address=tree.at)
    first = tree.at // BLOCK * BLOCK
    end = -(-(tree.at + tree.size) // BLOCK) * BLOCK
    unmapped = _meets((first, end - first), tree.unmapped)
    if unmapped:
        yield Broken(
            f"the device tree at {text(extent)} is in one block of 2 MiB with {text(unmapped)}, "
            "which may not be mapped",
            address=tree.at,
        )


def _cpus(tree: TreeGiven) -> Iterator[Broken]:
    for cpu in tree.cpus:
        if cpu.method is None and len(tree.cpus) > 1:
            yield Broken(f"the node {cpu.name} has no enable-method", address=tree.at)
        if cpu.method == "psci" and not tree.psci:
            yield Broken(
                f"{cpu.name} is enabled by psci, and there is no psci node", address=tree.at
            )


def _pens(tree: TreeGiven) -> Iterator[Broken]:
    for cpu in tree.cpus:
        if cpu.method == SPIN_TABLE:
            yield from _pen(tree, cpu)


def _pen(tree: TreeGiven, cpu: CpuNode) -> Iterator[Broken]:
    if cpu.release is None:
        yield Broken(f"{cpu.name} has no cpu-release-addr", address=tree.at)
        return
    where = f"the word that {cpu.name} waits for, at PA {cpu.release:#x},"
    if cpu.release % 8:
        yield Broken(f"{where} is not aligned", address=cpu.release)
    if not within((cpu.release, 8), tree.reserved):
        yield Broken(f"{where} is not reserved: the kernel takes its page", address=cpu.release)
    if cpu.held:
        yield Broken(f"{where} holds {cpu.held:#x}: it has left its pen", address=cpu.release)


# The image ----------------------------------------------------------------------------------


def _image_base(image: ImageGiven) -> Iterator[Broken]:
    offset = image.text_offset if image.image_size else OLD_TEXT_OFFSET
    if (image.at - offset) % BLOCK:
        yield Broken(
            f"the Image is at PA {image.at:#x}, which is not {offset:#x} past a multiple of 2 MiB",
            address=image.at,
        )


def _image_range(image: ImageGiven) -> Iterator[Broken]:
    if image.at + image.image_size > PA_LIMIT:
        yield Broken(f"the Image at PA {image.at:#x} is not within 48 bits", address=image.at)


def _image_room(record: Record) -> Iterator[Broken]:
    given = given_of(record)
    image, tree = given.image, given.tree
    assert image is not None
    extent = image.at, image.image_size
    others = {
        segment.name: (segment.base, segment.size)
        for segment in record.segments
        if segment.base != image.at
    }
    for name, other in others.items():
        if _meets(extent, [other]):
            yield Broken(
                f"the kernel claims {text(extent)}, and {name} lies at {text(other)}",
                address=other[0],
            )
    if tree is None or tree.problem:
        return
    if tree.memory and not within(extent, tree.memory):
        yield Broken(f"the kernel claims {text(extent)}, which is not all RAM", address=image.at)
    reserved = _meets(extent, tree.reserved)
    if reserved:
        yield Broken(
            f"the kernel claims {text(extent)}, and {text(reserved)} of it is reserved",
            address=reserved[0],
        )


def _image_pages(record: Record) -> Iterator[Broken]:
    image = given_of(record).image
    assert image is not None
    granule = _GRANULES.get(image.flags >> 1 & 3)
    if granule is None:
        return
    kib, low, absent = granule
    identity = known(record.platform).identity
    if _MMFR0 not in identity:
        raise UnknownFactError(f"{_MMFR0} was not recorded")
    value = identity[_MMFR0] >> low & 0xF
    if value in absent:
        yield Broken(
            f"the kernel has pages of {kib} KiB, and this CPU does not (ID_AA64MMFR0_EL1 bits "
            f"{low + 3}:{low} are {value})",
            address=image.at,
        )


def _image_above(record: Record) -> Iterator[Broken]:
    given = given_of(record)
    image, tree = given.image, given.tree
    assert image is not None
    if tree is None or tree.problem:
        return
    base = image.at - image.text_offset
    named = {"device tree": (tree.at, tree.size), "initrd": tree.initrd}
    for name, extent in named.items():
        if extent is not None and extent[0] < base:
            yield Broken(
                f"the {name} at {text(extent)} is below PA {base:#x}, and the kernel has only the "
                "memory above in its linear map",
                address=extent[0],
            )


def _initrd(record: Record) -> Iterator[Broken]:
    given = given_of(record)
    image, tree = given.image, given.tree
    assert tree is not None
    assert tree.initrd is not None
    if tree.memory and not within(tree.initrd, tree.memory):
        yield Broken(f"the initrd at {text(tree.initrd)} is not in RAM", address=tree.initrd[0])
    if image is None:
        return
    pieces = tree.initrd, (image.at, image.image_size)
    window = min(at for at, _ in pieces) // GIB * GIB
    if max(at + size for at, size in pieces) > window + INITRD_WINDOW:
        yield Broken(
            f"the initrd at {text(pieces[0])} and the Image at {text(pieces[1])} are not within "
            "32 GiB from a multiple of 1 GiB",
            address=tree.initrd[0],
        )


def _rule(
    name: str,
    must: str,
    applies: Applies,
    check: Check,
    cause: str,
    consequence: str,
    hint: str,
    *,
    executed: bool = True,
) -> Rule:
    return Rule(
        f"handoff.{name}",
        must,
        BOOTING,
        Severity.ERROR,
        applies,
        check,
        cause,
        consequence,
        hint,
        executed,
    )


_PLACED = "whoever loads the segments has placed it so: kexec-tools, or a --*-at here"

BOOT_MEMORY = (
    _rule(
        "tree",
        "at the address for x0 there is a device tree, with memory and /chosen",
        _HAS_TREE,
        _of_tree(_sound),
        "it was not moved, was overwritten since, or the tree that was given is not sound",
        "The kernel finds no memory, no console and no command line, and stops before it prints.",
        "hand over what dtc makes, with the memory node that firmware fills in",
    ),
    _rule(
        "tree-place",
        "the device tree is 8-byte aligned, of 2 MiB at most, in RAM, and shares no block of 2 MiB "
        "with memory that may not be mapped",
        TREE_IS_SOUND,
        _of_tree(_tree_place),
        _PLACED,
        "The fixmap has room for 2 MiB and maps whole blocks: what is beyond is not seen, and "
        "memory of a secure world is mapped cacheable with it.",
        "place it page aligned, away from /reserved-memory with no-map",
    ),
    _rule(
        "cpus",
        "each CPU of the tree says how it is enabled, and what that needs is there",
        TREE_IS_SOUND,
        _of_tree(_cpus),
        "the tree was not made for this machine, or a node was lost",
        "The kernel boots on one CPU and leaves the others where they are.",
        "hand over the tree of the old kernel (/sys/firmware/fdt)",
    ),
    _rule(
        "spin-table",
        "a CPU that spins waits for an aligned word, which is 0 and reserved",
        _SOME_SPIN,
        _of_tree(_pens),
        "kexec does not move spinning CPUs: their words must be kept as firmware had them",
        "The kernel uses the page for something else, and the CPU jumps to what it finds there.",
        "reserve the page of the pen with /memreserve/, and bring no CPU out of it before a kexec",
        executed=False,
    ),
    _rule(
        "image-base",
        "the Image lies text_offset bytes past a multiple of 2 MiB",
        _HAS_IMAGE,
        _of_image(_image_base),
        _PLACED,
        "Early tables map 2 MiB blocks from the base: code and data are found at other addresses "
        "than it was linked for, and the first page table is wrong.",
        "place it as the header says",
    ),
    _rule(
        "image-range",
        "the Image lies within 48 bits of physical address",
        _HAS_IMAGE,
        _of_image(_image_range),
        _PLACED,
        "Early tables have 48 bits of output address: the kernel maps other memory than its own.",
        "place it below 2^48",
    ),
    _rule(
        "image-room",
        "image_size bytes from the Image on are RAM, and neither reserved nor anyone else's",
        _HAS_IMAGE,
        _image_room,
        _PLACED,
        "The kernel clears its BSS before it looks at anything: what lies there is gone.",
        "claim image_size bytes of memory for the segment, not the size of the file",
    ),
    _rule(
        "image-above",
        "what an Image without bit 3 of its flags is given lies above its 2 MiB base",
        _with(
            lambda given: given.image and not given.image.flags & PLACED_ANYWHERE,
            "the Image may be placed anywhere",
        ),
        _image_above,
        _PLACED,
        "Such a kernel takes its own base for the start of memory: what is below has no address.",
        "place the Image as low as it goes, and the rest behind it",
    ),
    _rule(
        "image-pages",
        "the CPU has the page size that the Image is built for",
        _HAS_IMAGE,
        _image_pages,
        "a kernel for another machine",
        "The kernel parks itself in __no_granule_support, silently.",
        "take a kernel with another page size",
    ),
    _rule(
        "initrd",
        "the initrd is in RAM, and with the Image within 32 GiB from a multiple of 1 GiB",
        _with(lambda given: given.tree and given.tree.initrd, "the device tree names no initrd"),
        _initrd,
        _PLACED,
        "The linear map may not reach it: the kernel says so, and has no root to mount.",
        "place it right behind the Image",
    ),
)
