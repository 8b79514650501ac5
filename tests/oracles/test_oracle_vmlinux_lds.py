"""The kernel's own linker script, as Debian builds with it, by GNU ld and by us."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from oracles.kernel_source import preprocessed

from support.gnu_ld import assemble, contents, gnu_ld, ours, sections_of, symbols

pytestmark = pytest.mark.oracle

# Something in most of the script's sections, and in some that it does not mention.
UNIT = """
        .macro in name, flags, size
        .section \\name, "\\flags"
        .balign \\size
        .quad 0x1122334455667788
        .endm
        .irp name, .head.text, .text, .idmap.text, .hyp.text, .init.text, .exit.text
        in \\name, ax, 8
        .endr
        .irp name, .rodata, .altinstructions, .init.rodata, __ex_table, __param, .orphan_ro
        in \\name, a, 8
        .endr
        .irp name, .data, .data..read_mostly, .data..percpu, .init.data, .data..ro_after_init
        in \\name, aw, 16
        .endr
        in .orphan_rw, aw, 4
        in .orphan_x, ax, 64
        in kept_by_c_name, a, 8
        .section .orphan_bss, "aw", %nobits
        .space 24
        .bss
        .space 8200
        .globl primary_entry
        .section .init.text
primary_entry: ret
"""


def test_the_kernels_script_gives_the_same_image(tmp_path: Path) -> None:
    script = preprocessed("vmlinux.lds").read_text()
    # What only a whole kernel has, and the script asks for.
    lacking: set[str] = set()
    while True:
        lines = [f".globl {name}\n{name}: .quad 0" for name in sorted(lacking)]
        objects = [assemble(tmp_path, "u.s", "\n".join([UNIT, ".data", *lines, ""]))]
        reference, said = gnu_ld(tmp_path, script, objects)
        more = set(re.findall(r"undefined symbol `([^']+)'", said)) - lacking
        if not more:
            break
        lacking |= more
    assert reference is not None, said
    assert lacking
    image = ours(script, objects)
    assert contents(image) == contents(reference)
    assert len(contents(image)) > 15
    # GNU ld puts the bounds of an empty section with a C name at the end of what is before it.
    named = {section.name for section in reference.sections if section.size}
    bounds = {
        symbol.name
        for symbol in reference.symbols
        if (match := re.fullmatch(r"__(?:start|stop)_(.*)", symbol.name)) and match[1] not in named
    }
    assert [one for one in symbols(image) if one[0] not in bounds] == [
        one for one in symbols(reference) if one[0] not in bounds
    ]
    found, wanted = sections_of(image), sections_of(reference)
    differing = {name for name in wanted if found[name] != wanted[name]} - bounds
    # These belong to sections that hold nothing and stay empty in its file.
    assert all(wanted[name] == "absolute" for name in differing), differing
    assert image.entry == reference.entry
