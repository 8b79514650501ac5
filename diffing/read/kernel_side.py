"""A shipped kernel as a Side: kallsyms names routines, BTF struct kimage; with alternatives."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace

from relokit.codegen.base.errors import FormatError
from relokit.codegen.facts import RELOCATION
from relokit.codegen.kexec_routines import HYP_VECTORS, KEXEC_VECTORS, RELOCATION_SIZE
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.codegen.series import COMPLETE
from relokit.diffing.read.extents import TYPE_HASH
from relokit.diffing.read.kernel_data import kernel_data
from relokit.diffing.read.kernel_hashes import has_hashes, hashed
from relokit.diffing.read.program_sides import GETS_KIMAGE, image_side
from relokit.diffing.read.routine import Names, Replaced, Routine, Side, preference
from relokit.linker.kernel.alternatives import Alternative
from relokit.linker.kernel.cpu_capabilities import capability_names
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.kernel_file import KernelFile
from relokit.linker.kernel.opened import OpenedKernel
from relokit.linker.kernel.shipped import shipped_image, shipped_series


def kernel_side(opened: OpenedKernel, symbol: str | None) -> Side:
    """All of kexec and the EL2 stub in a kernel, or the routine ``symbol``.

    Raises FormatError for what is no kernel, or has none of that.
    """
    kernel, symbols, path = opened.file, opened.symbols, opened.where
    layout: KimageLayout | None
    try:
        layout = opened.layout
    except FormatError:
        layout = None  # Without BTF fields are shown as numbers; all else can be compared.
    base = symbols.link_base

    def content(address: int, size: int) -> memoryview:
        at = address - base
        return kernel.image[at : at + size] if at >= 0 else kernel.image[:0]

    # Those that are cut out by what is known of them: kallsyms has no sizes.
    of_one = [] if symbol is None else symbols.offsets_of(symbol)
    hash_places = [at - TYPE_HASH for at in _hashed(opened, of_one)]
    data = kernel_data(kernel.image, symbols, kernel.header.image_size, hash_places)
    known = (RELOCATION, HYP_VECTORS, KEXEC_VECTORS)
    if symbol is not None and symbol in symbols and symbol not in known:
        names = Names((), content, data, table=LinkedNames(symbols))
        places = sorted({*symbols.offsets_of(symbol)})
        hashes = {*_hashed(opened, (at for one in places for at in (one, symbols.end(one))))}
        routines, hash_of = {}, {}
        for number, at in enumerate(places):
            end = symbols.end(at)
            end -= TYPE_HASH * (end in hashes)
            code = bytes(kernel.image[at : end & ~3]) if at >= 0 else b""
            if not code or len(code) % 4:
                raise FormatError(f"{symbol} is not in the Image", where=path)
            name = f"{symbol} ({number + 1})" if number else symbol
            routines[name] = Routine(name, base + at, code, kimage_argument=name in GETS_KIMAGE)
            if at in hashes:
                hash_of[name] = base + at - TYPE_HASH
        side = Side(path, routines, names, layout, kernel=opened, hashes=hash_of)
        return _with_alternatives(side, opened)
    image = shipped_image(kernel, symbols)
    readers = GETS_KIMAGE
    if shipped_series(image) != COMPLETE:
        readers -= {RELOCATION}
    side = image_side(
        image,
        path,
        layout=layout,
        readers=readers,
        table=LinkedNames(symbols),
        content=content,
        around=data,
    )
    side = replace(side, routines=_outermost(side.routines), kernel=opened)
    return _with_alternatives(side, opened)


def _hashed(opened: OpenedKernel, functions: Iterable[int]) -> Iterable[int]:
    """Those of ``functions``, offsets, that have the hash of their type in front of them."""
    if not has_hashes(opened.symbols):
        return ()
    return hashed(opened.file.image, opened.symbols, functions)


class LinkedNames:
    """The symbols of a kernel by VA: NamedPlaces."""

    def __init__(self, symbols: Kallsyms) -> None:
        self._symbols = symbols

    def below(self, address: int) -> tuple[int, tuple[str, ...]] | None:
        """As NamedPlaces."""
        start = self._symbols.start(address - self._symbols.link_base)
        if start is None:
            return None
        return self._symbols.link_base + start, self._symbols.names_at(start)


def _outermost(routines: Mapping[str, Routine]) -> dict[str, Routine]:
    """Those that are no part of another one, each under one name; and no data.

    kallsyms names the slots of a vector table, bounds of sections, and the same code twice.
    """
    found: dict[str, Routine] = {}
    end = 0

    def place(one: Routine) -> tuple[int, int, tuple[int, int, str]]:
        return one.address, -len(one.code), preference(one.name)

    for one in sorted(routines.values(), key=place):
        if one.address + len(one.code) > end and one.name != RELOCATION_SIZE:
            found[one.name] = one
            end = one.address + len(one.code)
    return found


def _with_alternatives(side: Side, opened: OpenedKernel) -> Side:
    """``side`` with the boot-time alternatives of its routines; without, if there is no table."""
    kernel, symbols = opened.file, opened.symbols
    try:
        table = opened.alternatives
    except FormatError:
        return side
    found = {}
    for name, one in side.routines.items():
        start = one.address - symbols.link_base
        extent = start, start + len(one.code)
        # A set: words for the routine itself are found both ways.
        both = {*table.within(*extent), *table.replacing_from(*extent)}
        found[name] = sorted(
            both, key=lambda alternative: (alternative.place, alternative.capability)
        )
    if not any(found.values()):
        return side
    try:
        names = capability_names(kernel.image, symbols, where=side.name)
    except FormatError:
        names = {}
    routines = {
        name: replace(
            one,
            replaced=tuple(
                _replaced(a, one, kernel, symbols, names, side.names) for a in found[name]
            ),
        )
        for name, one in side.routines.items()
    }
    return replace(side, routines=routines)


def _replaced(
    one: Alternative,
    routine: Routine,
    kernel: KernelFile,
    symbols: Kallsyms,
    names: Mapping[int, str],
    places: Names,
) -> Replaced:
    start = routine.address - symbols.link_base
    offset = one.place - start
    if one.callback:
        function = next(iter(symbols.names_at(one.replacement)), "a function")
        return Replaced(offset, one.size, (), None, function)
    at, size = one.replacement, one.replacement_size
    own = range(start, start + len(routine.code))
    return Replaced(
        offset,
        one.size,
        struct.unpack(f"<{size // 4}I", kernel.image[at : at + size]),
        at - start if at in own else None,
        names.get(one.capability) or f"capability {one.capability}",
        "" if one.place in own else places.name(one.place + symbols.link_base) or "another routine",
    )
