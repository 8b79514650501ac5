"""The ELF core header that a crash kernel is given: where the RAM of the crashed one is.

Source: Documentation/admin-guide/kdump/kdump.rst and the gABI: ELF64, ET_CORE, a PT_NOTE for what
each CPU saves when it crashes and one for what the kernel says of itself (VMCOREINFO), a PT_LOAD
for each range of memory, whose offset in /proc/vmcore is its PA.
"""

from __future__ import annotations

from relokit.codegen.aarch64_elf import EM_AARCH64
from relokit.linker.elf_format import EHDR, ET_CORE, PHDR, PT_LOAD, PT_NOTE
from relokit.runtime.guest.address_spans import spans_of, without
from relokit.runtime.kexec.guest_ram import GuestRam

CORE_PAGE = 4096
"""The header's size is rounded up to this."""
READ_WRITE_EXECUTE = 7


NOTES_AT = EHDR.size
"""Where in it the program headers of notes are."""


def core_header(ram: GuestRam, notes: int = 0) -> bytes:
    """The header for all of ``ram`` but the crash kernel's own, with as many ``notes``.

    They are empty: the kernel that may crash knows where it has them. Where no CPU ever saves its
    registers there are none.
    """
    own = spans_of(() if ram.crash is None else (ram.crash,))
    spans = without(spans_of(ram.banks), own)
    parts = [
        EHDR.pack(
            *(b"\x7fELF\2\1\1", ET_CORE, EM_AARCH64, 1, 0, EHDR.size, 0, 0),
            *(EHDR.size, PHDR.size, notes + len(spans), 0, 0, 0),
        )
    ]
    parts += notes * [PHDR.pack(PT_NOTE, 0, 0, 0, 0, 0, 0, 0)]
    for low, high in spans:
        size = high - low
        parts.append(PHDR.pack(PT_LOAD, READ_WRITE_EXECUTE, low, 0, low, size, size, 0))
    data = b"".join(parts)
    return data + bytes(-len(data) % CORE_PAGE)
