"""Lines as DWARF, read back by pyelftools: the same lines at the same addresses."""

from __future__ import annotations

import io

from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.object import (
    Binding,
    SectionFlag,
    SectionType,
    SourceLine,
    SourceLines,
    SymbolType,
)
from relokit.linker.elf.elf_writer import write_exec
from relokit.linker.elf.line_tables import with_lines
from relokit.linker.image import Image, ImageSymbol, PlacedSection

SIZE = 256
BASES = (0x4009_2000, 0xFFFF_8000_0800_0000)


def rows_of(elf: bytes) -> dict[int, tuple[str, int]]:
    """Address to file and line, of each row; two units never tell of one address."""
    found: dict[int, tuple[str, int]] = {}
    dwarf = ELFFile(io.BytesIO(elf)).get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        names = program.header["file_entry"]
        low = unit.get_top_DIE().attributes["DW_AT_low_pc"].value
        end = low + unit.get_top_DIE().attributes["DW_AT_high_pc"].value
        assert any(base <= low < end <= base + SIZE for base in BASES)
        states = [entry.state for entry in program.get_entries() if entry.state is not None]
        assert states[-1].end_sequence
        assert states[-1].address == end
        for state in states[:-1]:
            assert low <= state.address < end
            assert state.address not in found
            found[state.address] = names[state.file - 1].name.decode(), state.line
    return found


LINES = st.dictionaries(
    st.integers(0, SIZE // 4 - 1).map(lambda word: 4 * word),
    st.tuples(st.sampled_from(["a.S.j2", "macros/b.j2", "ünï"]), st.integers(1, 1 << 20)),
    max_size=12,
)
ROUTINES = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE)), max_size=4)


@given(st.tuples(LINES, LINES), ROUTINES)
@settings(max_examples=25)
def test_lines_are_read_back_where_they_are(
    lines: tuple[dict[int, tuple[str, int]], ...], routines: list[tuple[int, int]]
) -> None:
    sections = tuple(
        PlacedSection(
            ".text",
            base,
            base,
            SIZE,
            4,
            SectionType.NOBITS,
            SectionFlag.ALLOC | SectionFlag.EXEC,
            b"",
            SourceLines((at, SourceLine(*one[at], "nop")) for at in sorted(one)),
        )
        for base, one in zip(BASES, lines, strict=True)
    )
    symbols = tuple(
        ImageSymbol(f"f{at}", BASES[0] + at, size, Binding.LOCAL, SymbolType.FUNC, 0)
        for at, size in routines
    )
    image = with_lines(Image("image", sections, (), symbols, BASES[0]))
    expected = {
        base + at: source
        for base, one in zip(BASES, lines, strict=True)
        for at, source in one.items()
    }
    assert rows_of(write_exec(image)) == expected


def test_without_lines_there_is_nothing_to_tell() -> None:
    flags = SectionFlag.ALLOC | SectionFlag.EXEC
    section = PlacedSection(".text", 0, 0, 4, 4, SectionType.PROGBITS, flags, b"abcd")
    image = Image("image", (section,), (), (), 0)
    assert with_lines(image) is image
