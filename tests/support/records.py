"""Records made by hand: a good one of each kind, and ways to spoil it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from relokit.codegen import facts
from relokit.codegen.target import Regime
from relokit.runtime.arch.exceptions import ExceptionClass, ExceptionEvent
from relokit.runtime.arch.translation import WalkRegisters
from relokit.runtime.guest.content import Mismatch, Verification
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.owner import Owner, OwnerKind, destination
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.record.claims import Ownership
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.given import CpuNode, Given, ImageGiven, TreeGiven
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.memory_facts import (
    Arrival,
    CodeCopy,
    Damage,
    EmptyTable,
    KimageWord,
    ListFacts,
    Prepared,
)
from relokit.runtime.record.platform_facts import IDENTITY, PlatformFacts
from relokit.runtime.record.prehistory import Prehistory
from relokit.runtime.record.record import (
    BootFacts,
    JumpFacts,
    Leg,
    LegName,
    Record,
    SegmentPlace,
)
from relokit.runtime.record.scene import Scene, SeenWord
from relokit.runtime.record.stations import SYSTEM, CpuFacts, Promise, StationRole
from relokit.runtime.record.stop import BusAccess, Stop, StopReason
from support.tables import NOTHING, Maps, tables_of
from support.traces import Story

KERNEL, DTB, CONTROL, KIMAGE, ZERO_PAGE = (
    0x4000_0000, 0x4800_0000, 0x5000_0000, 0x5001_0000, 0x5002_0000,
)  # fmt: skip
EL1H, EL2H, ALL_MASKED = 0b0101, 0b1001, 0xF << 6
MASKED_BUT_I = ALL_MASKED & ~(1 << 7) | EL1H


PROVIDED_REGISTERS = {
    "CNTFRQ_EL0": 62_500_000,
    "CNTVOFF_EL2": 0,
    "CNTHCTL_EL2": 3,
    "CPTR_EL2": 0,
    "MDCR_EL2": 0,
    "SCR_EL3": 0x531,
    "CPTR_EL3": 0,
    "MDCR_EL3": 0,
}
"""What firmware has set up, on a CPU that has EL2, EL3 and floating point, and nothing else."""
PLATFORM = PlatformFacts(
    identity=dict.fromkeys(IDENTITY, 0)
    | {"ID_AA64PFR0_EL1": 0x1111, "MIDR_EL1": 0x410F_D083, "CTR_EL0": 0x8444_C004},
    provided=PROVIDED_REGISTERS,
)


TREE = TreeGiven(
    at=DTB,
    size=0x600,
    memory=((KERNEL, 1 << 31),),
    chosen=True,
    cpus=(CpuNode("cpu@0", "psci"),),
    psci=True,
)
IMAGE = ImageGiven(KERNEL, text_offset=0, image_size=0x4000, flags=0b1010)
"""A kernel with pages of 4 KiB that may be placed anywhere."""


CACHES = 1 << 12 | 1 << 2
"""SCTLR_ELx.I and C."""


def cpu(
    *,
    el: int = 2,
    pc: int = KERNEL,
    daif: int = 0xF,
    mmu: bool = False,
    x: Mapping[int, int] = {},
    system: Mapping[str, int] = {},
    sctlr: int = 0,
) -> CpuFacts:
    """A CPU, by default as booting.rst wants it at EL2; ``sctlr`` are bits that are set besides."""
    off = {1: facts.SCTLR_EL1_MMU_OFF, 2: facts.SCTLR_EL2_MMU_OFF}
    sctlr |= off[max(el, 1)] | int(mmu)
    registers = dict.fromkeys(SYSTEM, 0) | {
        "SCTLR_EL1": facts.SCTLR_EL1_MMU_OFF,
        "SCTLR_EL2": facts.SCTLR_EL2_MMU_OFF,
        f"SCTLR_EL{max(el, 1)}": sctlr,
        "SPSR_EL2": ALL_MASKED | EL1H,
        "VBAR_EL1": 0x7000_0000,
        "VBAR_EL2": 0x7000_0000,
        **PROVIDED_REGISTERS,
    }
    general = {0: DTB} | dict(x)
    return CpuFacts(
        pc=pc,
        pstate=el << 2 | 1 | daif << 6,
        x=tuple(general.get(number, 0) for number in range(31)),
        sp=0,
        system=registers | dict(system),
        translation=WalkRegisters(sctlr=sctlr, tcr=0, ttbr0=0),
    )


def stop(reason: StopReason = StopReason.REACHED, *, pc: int = KERNEL, el: int = 2) -> Stop:
    """An end of a leg."""
    return Stop(reason, pc, el, instructions=100, blocks=10, exceptions=0, seconds=0.5)


RELOCATION = Promise(role=StationRole.RELOCATION, pc=CONTROL, el=1, mmu=True, vectors=0x7000_0000)
BOOTED = Promise(role=StationRole.KERNEL, pc=KERNEL, el=2, mmu=False, x0=DTB)
RESUMED = Promise(
    role=StationRole.RESUMED, pc=KERNEL, el=1, mmu=True, ttbr1=0x6000_0000, vectors=0x7000_0000
)
WHOLE = Verification(4, 0, None)

PREPARED = Prepared(
    kimage=KIMAGE,
    words=tuple(
        KimageWord(name, value, value, None)
        for name, value in (("head", 0x5003_0002), ("start", KERNEL), ("el2_vectors", 0x5004_0000))
    ),
    copies=(
        CodeCopy(OwnerKind.CONTROL_PAGE, CONTROL, 0x200, None),
        CodeCopy(OwnerKind.EL2_VECTORS, 0x5004_0000, 0x800, None),
    ),
    listed=ListFacts(4, 4, None),
    empty_table=EmptyTable(ZERO_PAGE, None),
    misled=(),
)

SPARE = 0x6000_0000
"""Memory that the old kernel may have dirtied and that nobody needs."""
SIZE = 0x4000
"""Bytes of the new kernel in these records."""
NOP = 0xD503201F


def moved(*, device_tree: bool = True) -> Story:
    """A kernel and a device tree that are stored and cleaned, and nothing else yet."""
    story = (
        Story(pc=CONTROL)
        .vectors(SPARE, daif=0xF)
        .store(KERNEL, SIZE)
        .dc("civac", KERNEL, SIZE)
        .dsb()
    )
    return story.store(DTB, 0x1000).dc("civac", DTB, 0x1000).dsb() if device_tree else story


TRACE = moved().fetchable().mmu_off().trace()
PREHISTORY = Prehistory(clean=((CONTROL, CONTROL + 0x1000),), needed=((CONTROL, CONTROL + 0x1000),))
IN_PLACE = ((KERNEL, KERNEL + SIZE), (DTB, DTB + 0x1000))
"""The segments, where they were loaded in place."""
CODE = CodeSeen(
    words={at: SeenWord(at, NOP, None) for at in range(CONTROL, CONTROL + 0x100, 4)},
    places={at: f"arm64_relocate_new_kernel+{at - CONTROL:#x}" for at in (CONTROL, CONTROL + 4)},
)

SOURCES, LIST = 0x5100_0000, 0x5200_0000
PAGES = (*range(KERNEL, KERNEL + SIZE, 0x1000), DTB)
OWNERSHIP = Ownership(
    page_size=0x1000,
    filled=IN_PLACE,
    kept=(),
    readable=(
        (CONTROL, CONTROL + 0x1000),
        (KIMAGE, KIMAGE + 0x2E0),
        (SOURCES, SOURCES + 0x1000 * len(PAGES)),
        (LIST, LIST + 0x40),
    ),
    listed=((LIST, LIST + 0x40),),
    sources=b"".join(
        (SOURCES + 0x1000 * number).to_bytes(8, "little") for number in range(len(PAGES))
    ),
    targets=b"".join(page.to_bytes(8, "little") for page in PAGES),
    claims=(),
)
"""The kernel's pages and the device tree's, one after the other, from pages apart."""

GOOD = Record(
    regime=Regime.NVHE,
    stub_by_kimage=True,
    legs=(Leg(LegName.PRELUDE, stop(pc=CONTROL, el=1)), Leg(LegName.MOVE, stop())),
    jump=JumpFacts(RELOCATION, cpu(el=1, pc=CONTROL, mmu=True)),
    promises=(BOOTED,),
    reached=(cpu(),),
    prepared=PREPARED,
    damage=(),
    arrived=(Arrival("kernel", PayloadKind.KERNEL, KERNEL, WHOLE),),
    scene=None,
    boot=None,
    operations=None,
    interrupt=None,
    trace=TRACE,
    prehistory=PREHISTORY,
    code=CODE,
    tables=tables_of(TRACE, NOTHING),
    segments=(
        SegmentPlace("kernel", PayloadKind.KERNEL, KERNEL, SIZE),
        SegmentPlace("device tree", PayloadKind.DEVICE_TREE, DTB, 0x1000),
    ),
    regions=(
        Region(destination(0, "kernel"), KERNEL, SIZE),
        Region(destination(1, "device tree"), DTB, 0x1000),
        Region(Owner(OwnerKind.CONTROL_PAGE), CONTROL, 0x1000),
        Region(Owner(OwnerKind.KIMAGE), KIMAGE, 0x1000),
        Region(Owner(OwnerKind.SOURCES), SOURCES, 0x1000 * len(PAGES)),
        Region(Owner(OwnerKind.LIST), LIST, 0x1000),
    ),
    ownership=OWNERSHIP,
    platform=PLATFORM,
    given=Given(IMAGE, TREE),
)
"""A kexec that went well: all states of the series complete, an EL2 stub."""

AWAKE = replace(
    GOOD,
    trace=moved().dsb().ic("ialluis").dsb().isb().trace(),
    promises=(RESUMED,),
    reached=(
        cpu(
            el=1,
            mmu=True,
            sctlr=CACHES,
            system={"TTBR1_EL1": 0x6000_0000, "VBAR_EL2": 0x7000_0000},
        ),
    ),
    prepared=None,
    damage=None,
    segments=(),
    given=None,
    ownership=replace(OWNERSHIP, readable=OWNERSHIP.readable[2:]),
)
"""A kernel that was resumed well."""

BOOT = BootFacts(
    PayloadKind.DEMO_KERNEL,
    "relokit demo kernel: PASS\n",
    stop(StopReason.POWERED_OFF),
    seconds=5.0,
)
RAN_ON = replace(GOOD, boot=BOOT)
"""A demo kernel that was let run on and is content."""


def arrived(**changed: object) -> Record:
    """GOOD, with the CPU at the new kernel's first instruction as :func:`cpu` makes it."""
    return replace(GOOD, reached=(cpu(**changed),))  # type: ignore[arg-type]


def image(**changed: int) -> Record:
    """GOOD, with another header."""
    return replace(GOOD, given=Given(replace(IMAGE, **changed), TREE))  # type: ignore[arg-type]


def tree(**changed: object) -> Record:
    """GOOD, with another device tree."""
    return replace(GOOD, given=Given(IMAGE, replace(TREE, **changed)))  # type: ignore[arg-type]


def provided(identity: Mapping[str, int], registers: Mapping[str, int], *, el: int = 1) -> Record:
    """GOOD on a CPU with these ID registers as well, and these registers, entered at ``el``."""
    known = {"SCR_EL3": 0x531} | dict(registers)
    return replace(
        GOOD,
        promises=(replace(BOOTED, el=el),),
        reached=(cpu(el=el, system=known),),
        platform=replace(
            PLATFORM,
            identity={**PLATFORM.identity, **identity},
            provided={**PROVIDED_REGISTERS, **known},
        ),
    )


def awoken(**changed: object) -> Record:
    """AWAKE, with another CPU."""
    good = {"el": 1, "mmu": True, "sctlr": CACHES} | changed
    good["system"] = dict(AWAKE.reached[0].system) | dict(changed.get("system", {}))  # type: ignore[call-overload]
    return replace(AWAKE, reached=(cpu(**good),))  # type: ignore[arg-type]


def prepared(**changed: object) -> Record:
    """GOOD, with something else prepared."""
    return replace(GOOD, prepared=replace(PREPARED, **changed))  # type: ignore[arg-type]


def damaged(kind: OwnerKind, *, in_destination: bool = False) -> Record:
    """GOOD, but the move has changed a word of what ``kind`` owns."""
    damage = Damage(Owner(kind), KIMAGE, 1, 2, 1, in_destination)
    lost = Unknown("not recorded")
    return replace(GOOD, damage=(damage,), trace=lost, ownership=lost)


def traced(story: Story, good: Record = GOOD, maps: Maps = NOTHING) -> Record:
    """``good``, with the trace of ``story``, and tables that map ``maps``.

    Nothing is known of whose memory the story is about.
    """
    trace = story.trace()
    lost = Unknown("a story about something else")
    return replace(good, trace=trace, tables=tables_of(trace, maps), ownership=lost)


def owned(story: Story, **changed: object) -> Record:
    """GOOD, with the trace of ``story`` and other owners."""
    trace = story.trace()
    ownership = replace(OWNERSHIP, **changed)  # type: ignore[arg-type]
    return replace(GOOD, trace=trace, tables=tables_of(trace, NOTHING), ownership=ownership)


def misplaced(kind: PayloadKind = PayloadKind.KERNEL) -> tuple[Arrival, ...]:
    """A segment of which a page is wrong."""
    return (Arrival("kernel", kind, KERNEL, Verification(4, 1, Mismatch(0x1000, 1, 2))),)


def ended(
    reason: StopReason, exception: ExceptionClass | None = None, *, status: int = 0
) -> Record:
    """A record of a move that ended for ``reason``, in its first instruction."""
    event = None
    if exception is not None:
        event = ExceptionEvent(
            esr=exception << 26 | 1 << 25 | status,
            far=0x1234_5678 if status else None,
            source_el=1,
            target_el=1,
            return_address=CONTROL,
            spsr=ALL_MASKED | EL1H,
        )
    access = BusAccess("read", 0x1234, 8, 0) if reason is StopReason.UNMAPPED else None
    last = replace(stop(reason, pc=CONTROL, el=1), event=event, access=access)
    scene = Scene(
        stop=last,
        cpu=cpu(el=1, pc=CONTROL, mmu=True),
        walk=None,
        code_pa=CONTROL,
        words=(SeenWord(CONTROL, 0xD503201F, None),),
        linked_word=0xD503201F,
        raiser=None,
        place="arm64_relocate_new_kernel+0x0",
        code_owner=None,
        aborted_owner=None,
        access_owner=None,
        ram=((KERNEL, 1 << 30),),
    )
    return replace(GOOD, legs=(GOOD.legs[0], Leg(LegName.MOVE, last)), reached=(), scene=scene)
