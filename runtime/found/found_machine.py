"""State to Machine: what a kernel of somebody else's has made of its RAM, read where it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.series import Feature
from relokit.codegen.target import Regime, Target
from relokit.linker.kernel.btf import kernel_version
from relokit.linker.kernel.shipped import shipped_series
from relokit.runtime.arch.translation import table_range
from relokit.runtime.found.found_ledger import ledger, tables_of
from relokit.runtime.found.living_image import living_image
from relokit.runtime.found.living_state import LivingKernel, State
from relokit.runtime.found.loaded_image import LoadedImage, kind_of
from relokit.runtime.guest.address_spans import merged
from relokit.runtime.guest.content import BytesContent
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.guest.payload import PayloadKind, PayloadPart
from relokit.runtime.kexec.arrange import Stage
from relokit.runtime.kexec.guest_ram import GuestRam
from relokit.runtime.kexec.inputs import Inputs, Loaded
from relokit.runtime.kexec.machine import Found, History, Machine, el_at_jump
from relokit.runtime.kexec.old_kernel import CpuState, OldKernel
from relokit.runtime.kexec.routines import routines_of

NO_HISTORY = "what was done to caches before is not known of a machine that others have run"


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What was handed to kexec_load as a segment, as far as whoever did it can say (else None)."""

    kind: PayloadKind
    data: bytes | memoryview | None


def found_machine(
    state: State,
    kernel: LivingKernel,
    loaded: LoadedImage,
    ram: GuestRam,
    given: Mapping[int, HandedIn] | None = None,
    history: History | str = NO_HISTORY,
) -> Machine:
    """The Machine in ``state``, which is that of a call of machine_kexec.

    ``loaded`` is what kexec_load had left, read then or now; ``given`` what was handed to it, by
    the PA of its segment: of others, what the list says is taken for what is to arrive.
    ``history`` is what was done to caches before, or why that is not known. Raises
    MachineError for what cannot be read out of RAM, FormatError for what the kernel does not say.
    """
    memory, kimage, words = state.memory, loaded.kimage, loaded.words
    image = living_image(kernel, memory)
    target = target_of(state, kernel, shipped_series(image))
    routines = replace(routines_of(image), version=kernel_version(kernel.file.image))
    segments = tuple(
        _loaded(memory, loaded, number, given or {}, words["start"])
        for number in range(len(kimage.segments))
    )
    kimage = replace(kimage, segments=tuple(one.segment for one in segments))
    loaded = replace(loaded, kimage=kimage)
    stages = _stages(segments, words)
    tables = merged(tables_of(memory, state.translation, state.el, upper=True))
    allocator = ledger(state, kernel, loaded, target, ram)
    skipped = kimage.in_place and target.has(Feature.SKIP_IN_PLACE)
    jump = words.get("kern_reloc") or kimage.control_page + routines.entry
    size = kernel.file.header.image_size
    return Machine(
        target=target,
        inputs=Inputs(
            ram=ram,
            old_kernel=Region(Owner(OwnerKind.OLD_KERNEL), kernel.pa, size),
            segments=segments,
            start=stages[-1].pc,
            dtb_at=stages[-1].x0,
            cpu=state.model,
            description=tuple(
                PayloadPart(
                    one.segment.name,
                    one.kind,
                    one.segment.mem,
                    one.segment.bufsz,
                    one.segment.memsz,
                )
                for one in segments
            ),
        ),
        routines=routines,
        old=OldKernel(
            target=target,
            image=image,
            va=kernel.va,
            region=Region(Owner(OwnerKind.OLD_KERNEL), kernel.pa, size),
            memory=memory,
            allocator=allocator,
            swapper=table_range(state.translation, state.el, upper=True).root_table,
            zero_page=words.get("zero_page", 0),
            linear_offset=kimage.va - kimage.pa & MASK64,
        ),
        kimage=kimage,
        state=CpuState(state.el, state.pc, state.x, tuple(state.system.items()), state.pstate),
        jump=None if skipped else jump,
        stages=stages,
        el_at_jump=el_at_jump(target),
        el_at_start=1 if target.regime is Regime.EL1 else 2,
        found=Found(dict(words), history, tuple(tables)),
    )


def target_of(state: State, kernel: LivingKernel, series: int) -> Target:
    """What the kernel is, by its code and by the registers that it runs with."""
    return Target(
        series=series,
        page_size=kernel.page_size,
        va_bits=table_range(state.translation, state.el, upper=True).va_bits,
        cpu_bits=state.cpu_bits,
        regime=state.regime,
        cache_line=state.cache_line,
        layout=kernel.layout,
    )


def _loaded(
    memory: GuestMemory,
    loaded: LoadedImage,
    number: int,
    given: Mapping[int, HandedIn],
    start: int,
) -> Loaded:
    segment = loaded.kimage.segments[number]
    handed_in = given.get(segment.mem)
    data = None if handed_in is None else handed_in.data
    if data is None:
        data = loaded.content(memory, segment)
    kind = kind_of(bytes(data[:64])) if handed_in is None else handed_in.kind
    if kind is PayloadKind.PATTERN and segment.mem <= start < segment.mem + segment.memsz:
        kind = PayloadKind.PURGATORY
    return Loaded(kind, replace(segment, name=kind.value), BytesContent(data))


def _stages(segments: tuple[Loaded, ...], words: Mapping[str, int]) -> tuple[Stage, ...]:
    """What is entered: where kimage says, and behind a purgatory the kernel, with its tree."""
    found = {one.kind: one.segment.mem for one in reversed(segments)}
    start, tree = words["start"], words.get("dtb_mem", 0)
    if PayloadKind.PURGATORY not in found:
        return (Stage(start, tree),)
    if PayloadKind.KERNEL not in found:
        raise MachineError("no segment of this hand-over is an arm64 Image")
    return (
        Stage(start, tree),
        Stage(found[PayloadKind.KERNEL], found.get(PayloadKind.DEVICE_TREE, 0)),
    )
