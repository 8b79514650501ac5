"""A vmcore and the registers that it lacks to a Stopped machine."""

from __future__ import annotations

from collections.abc import Mapping

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.opened import OpenedKernel
from relokit.runtime.capture.last_branch import LEAVES, VECTORS
from relokit.runtime.snapshot.given_registers import GivenRegisters
from relokit.runtime.snapshot.snapshot import CpuSnapshot, Power
from relokit.runtime.snapshot.snapshot_writing import Stopped
from relokit.runtime.snapshot.vmcore import Vmcore

NEEDED = ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR", "VBAR")
"""Of the level that the kernel runs at; see docs/snapshot.md."""
TEXT, TABLE = "_stext", "swapper_pg_dir"
KEXEC, CRASH = "kexec_image", "kexec_crash_image"
T1SZ_SHIFT, TXSZ = 16, 0x3F


@dataclass(frozen=True, slots=True)
class KernelPlace:
    """VA and PA of the first byte of the kernel that ran; None where nobody tells."""

    va: int | None
    pa: int | None


def stopped_in(core: Vmcore, kernel: OpenedKernel, given: GivenRegisters | None) -> Stopped:
    """The machine in ``core``, in which ``kernel`` ran, with what is ``given`` beside it.

    VBAR is where the kernel's vectors are, TTBR1 its table, without ASID: both by VMCOREINFO. What
    else is needed has to be given. Raises MachineError naming it, and what does not fit together.
    """
    cpus = _cpus(core, given)
    leaving = _leaving(core, kernel, cpus, given)
    own = dict(cpus[leaving].registers)
    el = own["CPSR"] >> 2 & 3
    place = _place(core, kernel, own, el)
    if place.va is not None:
        own.setdefault(f"VBAR_EL{el}", place.va + kernel.symbols.offset(VECTORS))
    table = _number(core, f"SYMBOL({TABLE})")
    if table is not None and place.pa is not None and place.va is not None:
        own.setdefault(f"TTBR1_EL{el}", table - place.va + place.pa)
    _check(core, own, el)
    cpus[leaving] = CpuSnapshot(Power.ON, own)
    kimage = _kimage(core, kernel, given, own, place)
    return Stopped(core.banks, core.pieces, core.file, leaving, tuple(cpus), kimage, None)


def _cpus(core: Vmcore, given: GivenRegisters | None) -> list[CpuSnapshot]:
    beside = given.cpus if given is not None else ()
    if len(beside) > len(core.cpus):
        raise MachineError(
            f"registers of {len(beside)} CPUs, and the dump has {len(core.cpus)}",
            where=core.file.where,
        )
    found = [CpuSnapshot(Power.UNKNOWN, one) for one in core.cpus]
    for number, one in enumerate(beside):
        dumped = found[number].registers
        for name, value in one.registers.items():
            if dumped.get(name, value) != value:
                raise MachineError(
                    f"{name} of CPU {number} is {value:#x}, and {dumped[name]:#x} in the dump",
                    where=core.file.where,
                    hint="both have to be of the same stop",
                )
        found[number] = CpuSnapshot(one.power, {**dumped, **one.registers})
    return found


def _leaving(
    core: Vmcore, kernel: OpenedKernel, cpus: list[CpuSnapshot], given: GivenRegisters | None
) -> int:
    """The CPU that leaves: the one that is told, the only one, or the one in machine_kexec."""
    if given is not None and given.cpu is not None:
        return given.cpu
    if len(cpus) == 1:
        return 0
    symbols, inside = kernel.symbols, []
    for number, one in enumerate(cpus):
        own = one.registers
        va = _place(core, kernel, own, own["CPSR"] >> 2 & 3).va
        at = own["PC"] - va - symbols.offset(LEAVES) if va is not None else -1
        if 0 <= at < symbols.end(symbols.offset(LEAVES)) - symbols.offset(LEAVES):
            inside.append(number)
    if len(inside) != 1:
        raise MachineError(
            f"nobody says which of {len(cpus)} CPUs leaves: {len(inside)} are in {LEAVES}",
            where=core.file.where,
            hint="give its number as 'cpu' in the file of --registers",
        )
    return inside[0]


def _place(core: Vmcore, kernel: OpenedKernel, own: Mapping[str, int], el: int) -> KernelPlace:
    symbols = kernel.symbols
    text, offset = _number(core, f"SYMBOL({TEXT})"), _number(core, "NUMBER(kimage_voffset)")
    va = None
    if text is not None and TEXT in symbols:
        va = text - symbols.offset(TEXT)
    elif f"VBAR_EL{el}" in own:
        va = own[f"VBAR_EL{el}"] - symbols.offset(VECTORS)
    pa = None if va is None or offset is None else va - offset & MASK64
    return KernelPlace(va, pa)


def _number(core: Vmcore, name: str) -> int | None:
    """A number of VMCOREINFO: of symbols it is hexadecimal, of others as C writes it."""
    text = core.info.get(name)
    if text is None or len(text) > 20:
        return None
    try:
        return int(text, 16 if name.startswith("SYMBOL(") else 0) & MASK64
    except ValueError:
        return None


def _check(core: Vmcore, own: Mapping[str, int], el: int) -> None:
    lacks = [f"{name}_EL{el}" for name in NEEDED if f"{name}_EL{el}" not in own]
    if el == 2 and "HCR_EL2" not in own:
        lacks.append("HCR_EL2")
    if lacks:
        raise MachineError(
            f"a dump has no {', '.join(lacks)}",
            where=core.file.where,
            hint="read them at the same stop and give them with --registers: docs/snapshot.md",
        )
    t1sz, has = _number(core, "NUMBER(TCR_EL1_T1SZ)"), own[f"TCR_EL{el}"] >> T1SZ_SHIFT & TXSZ
    if t1sz is not None and t1sz != has:
        raise MachineError(
            f"TCR_EL{el} has T1SZ {has}, and VMCOREINFO says {t1sz}",
            where=core.file.where,
            hint="the registers are of another kernel, or of another moment",
        )


def _kimage(
    core: Vmcore,
    kernel: OpenedKernel,
    given: GivenRegisters | None,
    own: Mapping[str, int],
    place: KernelPlace,
) -> int | None:
    """VA of struct kimage: as told, in X0, or the only one that is loaded."""
    if given is not None and given.kimage is not None:
        return given.kimage
    symbols = kernel.symbols
    if place.va is not None and own["PC"] == place.va + symbols.offset(LEAVES):
        return None
    loaded = set()
    if place.pa is not None:
        words = (
            core.word(place.pa + symbols.offset(name)) for name in (KEXEC, CRASH) if name in symbols
        )
        loaded = {word for word in words if word}
    if len(loaded) != 1:
        raise MachineError(
            f"nobody says where struct kimage is: {LEAVES} has been entered, and "
            f"{len(loaded) or 'none'} of {KEXEC} and {CRASH} can be seen",
            where=core.file.where,
            hint=f"give X0 at the entry of {LEAVES} as 'kimage' in the file of --registers",
        )
    return loaded.pop()
