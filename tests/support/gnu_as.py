"""A unit assembled by GNU as and by us, each seen through the same glasses."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from relokit.codegen.gas.assembler import assemble
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.object import Binding, Object, SectionType, SymbolType
from relokit.codegen.source import Unit

MARCH = "-march=armv8.8-a+memtag+sve+ssbs+rng+profile"

_SPECIAL = {"SHN_UNDEF": "undefined", "SHN_ABS": "absolute"}

Relocations = list[tuple[int, int, str, int]]


@dataclass(frozen=True)
class View:
    """An object file, as far as both sides have to agree."""

    sections: dict[str, tuple[int, int, int, int, int, bytes]]
    relocations: dict[str, Relocations]
    symbols: dict[str, tuple[str, int, int, int, int, bool]]
    code: dict[str, list[tuple[int, str]]]


def effective(marks: list[tuple[int, str]], size: int) -> list[tuple[int, str]]:
    """Mapping symbols without those that change nothing."""
    kept: dict[int, str] = {}
    for offset, name in marks:  # the last one at an offset counts
        kept[offset] = name
    out: list[tuple[int, str]] = []
    for offset, name in sorted(kept.items()):
        if offset < size and (not out or out[-1][1] != name):
            out.append((offset, name))
    return out


def _any(section: Any) -> Any:
    """pyelftools' classes of sections say less than they can do."""
    return section


def _section(elf: ELFFile, name: str) -> Any:
    return elf.get_section_by_name(name)


def gnu(text: str, folder: Path, *, check: bool = True) -> View | str:
    """What GNU as makes of the text, or its complaints."""
    (folder / "t.s").write_text(text)
    (folder / "t.o").unlink(missing_ok=True)
    done = subprocess.run(
        ["aarch64-linux-gnu-as", MARCH, "-o", "t.o", "t.s"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        assert not check, done.stderr
        return done.stderr
    return gnu_view(folder / "t.o")


def gnu_view(path: Path) -> View:
    """An object of GNU as in our form."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        table = _section(elf, ".symtab")
        names = [section.name for section in elf.iter_sections()]
        sections, relocations = {}, {}
        marks: dict[str, list[tuple[int, str]]] = {}

        def place_of(index: int | str) -> str:
            return _SPECIAL[index] if isinstance(index, str) else names[index]

        for section in map(_any, elf.iter_sections()):
            kind = {"SHT_PROGBITS": 1, "SHT_NOTE": 7, "SHT_NOBITS": 8}.get(section["sh_type"])
            size = section["sh_size"]
            if kind is not None and size:
                data = b"" if kind == 8 else section.data()
                shape = (kind, section["sh_flags"], section["sh_entsize"], size)
                sections[section.name] = (*shape, section["sh_addralign"], data)
            if section["sh_type"] == "SHT_RELA":
                found = []
                for entry in section.iter_relocations():
                    symbol = table.get_symbol(entry["r_info_sym"])
                    name = symbol.name or place_of(symbol["st_shndx"])
                    found.append((entry["r_offset"], entry["r_info_type"], name, entry["r_addend"]))
                relocations[section.name.removeprefix(".rela")] = sorted(found)
        symbols = {}
        for symbol in table.iter_symbols():
            info, where = symbol["st_info"], symbol["st_shndx"]
            place = place_of(where)
            if symbol.name in ("$x", "$d"):
                marks.setdefault(place, []).append((symbol["st_value"], symbol.name))
            elif symbol.name and info["type"] not in ("STT_SECTION", "STT_FILE"):
                symbols[symbol.name] = (
                    place,
                    symbol["st_value"],
                    symbol["st_size"],
                    int(Binding[info["bind"].removeprefix("STB_")]),
                    int(SymbolType[info["type"].removeprefix("STT_")]),
                    symbol["st_other"]["visibility"] == "STV_HIDDEN",
                )
    return View(sections, relocations, symbols, marks)


def view(built: Object) -> View:
    """Ours in the same form."""
    names = {at: section.name for at, section in enumerate(built.sections)}
    names |= {-1: "undefined", -2: "absolute"}
    sections, relocations = {}, {}
    marks: dict[str, list[tuple[int, str]]] = {}
    symbols = {}
    for section in built.sections:
        if section.size:
            assert len(section.data) == (0 if section.type is SectionType.NOBITS else section.size)
            shape = (int(section.type), int(section.flags), section.entsize, section.size)
            sections[section.name] = (*shape, section.align, section.data)
        if section.relocations:
            relocations[section.name] = sorted(
                (r.offset, int(r.type), built.symbols[r.symbol].name, r.addend)
                for r in section.relocations
            )
    for symbol in built.symbols:
        place = names[symbol.section]
        if symbol.name in ("$x", "$d"):
            marks.setdefault(place, []).append((symbol.value, symbol.name))
        elif symbol.type is not SymbolType.SECTION:
            symbols[symbol.name] = (
                place,
                symbol.value,
                symbol.size,
                int(symbol.binding),
                int(symbol.type),
                symbol.hidden,
            )
    return View(sections, relocations, symbols, marks)


def agree(text: str, folder: Path, encoder: Encoder, *, maps: bool = True) -> None:
    theirs = gnu(text, folder)
    assert isinstance(theirs, View)
    ours = view(assemble(Unit.from_text("t.s", text), encoder.encode))
    assert ours.sections == theirs.sections
    assert ours.relocations == theirs.relocations
    assert ours.symbols == theirs.symbols
    for name, (_, flags, _, size, _, _) in theirs.sections.items():
        if maps and flags & 4:
            code = effective(theirs.code.get(name, []), size)
            assert effective(ours.code.get(name, []), size) == code, name
