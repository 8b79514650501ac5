"""What a kernel calls its CPU capabilities, by their numbers: each version has other numbers.

Out of the tables of features and errata: arrays of struct arm64_cpu_capabilities, laid out as the
kernel's BTF says. kallsyms need not name them, but names functions that their entries point to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from relokit.codegen.base.errors import FormatError
from relokit.linker.kernel.btf import read_struct
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.pointers import Pointers

STRUCT = "arm64_cpu_capabilities"
MATCHERS = ("has_cpuid_feature", "is_affected_midr_range", "is_affected_midr_range_list")
"""Functions that entries of the tables, and hardly anything else, point to by ``matches``."""
MAX_ENTRIES = 1 << 12
MAX_MATCHERS = 4
"""Functions of one name; two are in shipped kernels."""
MAX_NAME = 128


def capability_names(
    image: memoryview, symbols: Kallsyms, *, where: str = "Image"
) -> Mapping[int, str]:
    """Names by number, those that have one; raises FormatError where the BTF does not tell.

    An entry without a description is called by the function that looks for it and for nothing
    else: ``need_arm_si_l1_workaround_4311569``.
    """
    layout = read_struct(image, STRUCT, where=where)
    members = ("desc", "capability", "matches")
    if layout is None or not layout.bit_offsets.keys() >= set(members) or layout.size % 8:
        raise FormatError(f"BTF has no struct {STRUCT} as any known kernel has it", where=where)
    desc, number, matches = map(layout.offset, members)
    if desc % 8 or matches % 8 or max(desc, matches) + 8 > layout.size:
        raise FormatError(f"BTF: struct {STRUCT} is unlike in any known kernel", where=where)
    pointers = Pointers(image, symbols.link_base)

    def functions(at: int) -> tuple[str, ...]:
        return symbols.names_at(pointers.at(at + matches))

    names: dict[int, str] = {}
    matched: dict[str, set[int]] = {}
    for table in _tables(_seeds(pointers, symbols, matches), layout.size, functions):
        numbers = [int.from_bytes(image[at + number : at + number + 2], "little") for at in table]
        # Tables of hwcaps, and lists within an entry, have no capabilities.
        if not any(numbers):
            continue
        for at, capability in zip(table, numbers, strict=True):
            name = _text(image, pointers.at(at + desc))
            if name:
                names.setdefault(capability, name)
            matched.setdefault(functions(at)[0], set()).add(capability)
    for function, found in matched.items():
        if len(found) == 1:
            names.setdefault(found.pop(), function)
    return names


def _tables(
    seeds: Iterator[int], size: int, functions: Callable[[int], tuple[str, ...]]
) -> Iterator[range]:
    """Where the entries are, a table each: in both directions while there is a function."""
    seen: set[int] = set()
    for seed in seeds:
        if seed in seen or seed < 0 or not functions(seed):
            continue
        start, end = seed, seed + size
        while functions(start - size) and end - start < size * MAX_ENTRIES:
            start -= size
        while functions(end) and end - start < size * MAX_ENTRIES:
            end += size
        table = range(start, end, size)
        seen.update(table)
        yield table
        if len(seen) > MAX_ENTRIES:
            return


def _seeds(pointers: Pointers, symbols: Kallsyms, matches: int) -> Iterator[int]:
    """Where entries begin that point to one of the MATCHERS."""
    for name in MATCHERS:
        for offset in symbols.offsets_of(name)[:MAX_MATCHERS]:
            for place in pointers.to(offset, MAX_ENTRIES):
                yield place - matches


def _text(image: memoryview, at: int) -> str:
    """The printable string at ``at``; empty if there is none."""
    if not 0 < at < len(image):
        return ""
    text, end, _ = bytes(image[at : at + MAX_NAME]).partition(b"\0")
    shown = text.decode("ascii", "replace")
    return shown if end and text.isascii() and shown.isprintable() else ""
