"""The relocation code and the EL2 stubs of a shipped kernel, as an Image like one of ours.

The pieces keep the VAs the kernel is linked at, so that what is position dependent between them
stays right. The bytes are those of the file: no boot-time alternative is applied.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import KEXEC_CONTROL_PAGE_SIZE, RELOCATION, VECTOR_TABLE_SIZE
from relokit.codegen.instruction_forms import BR
from relokit.codegen.kexec_routines import (
    HIBERNATE_EXIT,
    HIBERNATE_VECTORS,
    HYP_VECTORS,
    KEXEC_VECTORS,
    RELOCATION_SIZE,
)
from relokit.codegen.object import Binding, SectionFlag, SectionType, SymbolType
from relokit.codegen.series import BEFORE, COMPLETE
from relokit.linker.elf_format import PT_LOAD
from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag
from relokit.linker.kernel.call_scan import calls
from relokit.linker.kernel.kallsyms import Kallsyms, read_kallsyms
from relokit.linker.kernel.kernel_file import KernelFile

STUB_SIZE = 0x1000
"""The hyp stub: the table, and its handlers in the same 4 KiB."""

RELOCATION_START = "__relocate_new_kernel_start"
RELOCATION_END = "__relocate_new_kernel_end"

# Functions by name; which of them a kernel has depends on its version.
FUNCTIONS = (
    "__hyp_set_vectors",
    "__hyp_reset_vectors",
    "finalise_el2",
    "cpu_soft_restart",
    "__cpu_soft_restart",
    "enter_vhe",
    HIBERNATE_EXIT,
)

# ldr xt, [x0, #imm]: how the code begins since it gets kimage as its argument.
LOAD_FROM_X0_MASK, LOAD_FROM_X0 = 0xFFC003E0, 0xF9400000


@dataclass(frozen=True, slots=True)
class RelocationCode:
    """Offsets in the Image: ``start`` to ``end`` is what is copied to the control page."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes copied."""
        return self.end - self.start


def shipped_image(kernel: KernelFile, symbols: Kallsyms | None = None) -> Image:
    """Cut the machine code of kexec out of ``kernel``.

    Symbols: ``arm64_relocate_new_kernel``, ``__relocate_new_kernel_start`` and ``_end`` around it
    (5.10: ``arm64_relocate_new_kernel_size`` too), ``__hyp_stub_vectors`` with its handlers, and,
    where the kernel has them, ``trans_pgd_stub_vectors`` and FUNCTIONS; besides, every kallsyms
    name within. A section's PA is its offset in the Image. Raises FormatError naming what lacks.
    """
    where = str(kernel.path)
    if symbols is None:
        symbols = read_kallsyms(kernel.image, where=where)
    code = relocation_code(kernel, symbols)
    pieces = {".kexec_relocate.text": (code.start, code.end)}
    if RELOCATION_SIZE in symbols:
        pieces[".kexec_relocate.text"] = (code.start, symbols.offset(RELOCATION_SIZE) + 8)
    if HYP_VECTORS not in symbols:
        raise FormatError(f"no {HYP_VECTORS} in this kernel", where=where)
    at = symbols.offset(HYP_VECTORS)
    pieces[".hyp.text"] = (at, at + STUB_SIZE)
    if KEXEC_VECTORS in symbols:
        at = symbols.offset(KEXEC_VECTORS)
        pieces[".trans_pgd.vectors"] = (at, at + VECTOR_TABLE_SIZE)
    for name in FUNCTIONS:
        if name in symbols:
            at = symbols.offset(name)
            pieces[f".text.{name}"] = (at, min(symbols.end(at), at + KEXEC_CONTROL_PAGE_SIZE))
    if HIBERNATE_EXIT in symbols and HIBERNATE_VECTORS in symbols:
        start, at = symbols.offset(HIBERNATE_EXIT), symbols.offset(HIBERNATE_VECTORS)
        if start < at < start + KEXEC_CONTROL_PAGE_SIZE:
            pieces[f".text.{HIBERNATE_EXIT}"] = (start, at + VECTOR_TABLE_SIZE)
    sections = [_section(kernel, symbols, *piece) for piece in _apart(pieces)]
    return Image(
        name=kernel.name,
        sections=tuple(sections),
        segments=tuple(
            Segment(section.name, PT_LOAD, SegmentFlag.R | SegmentFlag.X, (index,), section.align)
            for index, section in enumerate(sections)
        ),
        symbols=tuple(_symbols(symbols, code, sections)),
        entry=symbols.link_base + code.start,
    )


def shipped_series(image: Image) -> int:
    """The state of the series that a shipped kernel's pieces show: before it, or complete."""
    return COMPLETE if image.has_symbol(KEXEC_VECTORS) else BEFORE


def relocation_code(kernel: KernelFile, symbols: Kallsyms) -> RelocationCode:
    """Find the code that is copied to the control page; raises FormatError if it is not there.

    By its start and end symbols; before the series by the size stored behind it; else, where
    kallsyms leaves the section out, by the addresses that machine_kexec_post_load copies.
    """
    where = str(kernel.path)
    if RELOCATION_START in symbols and RELOCATION_END in symbols:
        start, end = symbols.offset(RELOCATION_START), symbols.offset(RELOCATION_END)
    elif RELOCATION in symbols and RELOCATION_SIZE in symbols:
        start, size_at = symbols.offset(RELOCATION), symbols.offset(RELOCATION_SIZE)
        end = start + int.from_bytes(kernel.image[size_at : size_at + 8], "little")
    else:
        found = copied_code(kernel, symbols)
        if found is None:
            raise FormatError(
                "no kexec relocation code in this kernel",
                where=where,
                hint="it needs CONFIG_KEXEC_CORE, or is laid out unlike any known kernel",
            )
        start, end = found.start, found.end
    if start % 4 or not 0 < end - start <= KEXEC_CONTROL_PAGE_SIZE or end > len(kernel.image):
        raise FormatError(
            f"kexec relocation code of {end - start} bytes at {start:#x}: "
            f"1 to {KEXEC_CONTROL_PAGE_SIZE} are possible",
            where=where,
        )
    return RelocationCode(start, end)


def copied_code(kernel: KernelFile, symbols: Kallsyms) -> RelocationCode | None:
    """What machine_kexec_post_load hands to memcpy, if it looks like the relocation code.

    That begins with a load from kimage, as those do that are known; else it has to leave by a BR.
    """
    if "machine_kexec_post_load" not in symbols:
        return None
    at = symbols.offset("machine_kexec_post_load")
    leaves: RelocationCode | None = None
    for call in calls(kernel.image, at, symbols.end(at)):
        start, size = call.constants.get(1), call.constants.get(2)
        if start is None or size is None or "memcpy" not in symbols.names_at(call.target):
            continue
        if (
            start % 4
            or not 0 < size <= KEXEC_CONTROL_PAGE_SIZE
            or not 0 <= start < len(kernel.image) - size
        ):
            continue
        first = int.from_bytes(kernel.image[start : start + 4], "little")
        if first & LOAD_FROM_X0_MASK == LOAD_FROM_X0:
            return RelocationCode(start, start + size)
        words = struct.iter_unpack("<I", kernel.image[start : start + size // 4 * 4])
        if leaves is None and any(BR.holds(word) for (word,) in words):
            leaves = RelocationCode(start, start + size)
    return leaves


def _apart(pieces: dict[str, tuple[int, int]]) -> list[tuple[str, int, int]]:
    """The pieces ascending, without those that begin in another one: 5.10's stub has it all."""
    result: list[tuple[str, int, int]] = []
    for name, (start, end) in sorted(pieces.items(), key=lambda item: item[1]):
        if not result or start >= result[-1][2]:
            result.append((name, start, end))
    return result


def _section(
    kernel: KernelFile, symbols: Kallsyms, name: str, start: int, end: int
) -> PlacedSection:
    data = bytes(kernel.image[start:end])
    if start < 0 or len(data) != end - start:
        raise FormatError(
            f"{name} at {start:#x}..{end:#x} is outside the Image", where=str(kernel.path)
        )
    va = symbols.link_base + start
    return PlacedSection(
        name=name,
        va=va,
        pa=start,
        size=len(data),
        align=min(va & -va, STUB_SIZE),
        type=SectionType.PROGBITS,
        flags=SectionFlag.ALLOC | SectionFlag.EXEC,
        data=data,
    )


def _symbols(
    symbols: Kallsyms, code: RelocationCode, sections: Iterable[PlacedSection]
) -> Iterable[ImageSymbol]:
    base = symbols.link_base
    own = {
        RELOCATION: (code.start, code.size, SymbolType.FUNC),
        RELOCATION_START: (code.start, 0, SymbolType.NOTYPE),
        RELOCATION_END: (code.end, 0, SymbolType.NOTYPE),
    }
    for index, section in enumerate(sections):
        first, last = section.pa, section.pa + section.size
        for name, (at, size, kind) in own.items():
            if first <= at <= last and first <= code.start < last:
                yield ImageSymbol(name, base + at, size, Binding.GLOBAL, kind, index)
        for name, letter, at in symbols.within(first, last):
            if name in own:
                continue
            size = min(symbols.end(at), last) - at
            if name in (HYP_VECTORS, KEXEC_VECTORS, HIBERNATE_VECTORS):
                size = VECTOR_TABLE_SIZE
            binding = Binding.GLOBAL if letter.isupper() else Binding.LOCAL
            yield ImageSymbol(name, base + at, size, binding, SymbolType.FUNC, index)
