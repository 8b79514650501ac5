"""The sections of a unit while it is being assembled, and which of them is the current one."""

from __future__ import annotations

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.instructions.arithmetic import Sym
from relokit.codegen.gas.open_section import SectionState, usual_attributes
from relokit.codegen.object import SectionFlag, SectionType

SECTION_COUNT = 1024
"""Sections in one unit."""
MAX_SUBSECTION = 8192
"""Highest number of a subsection (GNU as)."""


class UnitSections:
    """``sections`` in the order of their first mention, each subsection as one of its own."""

    def __init__(self) -> None:
        self.symbols: dict[str, Sym] = {}
        self.sections: list[SectionState] = []
        self._by_name: dict[tuple[str, int], SectionState] = {}
        self.named_sections = {".data", ".bss"}
        self.current = self._create(".text", *usual_attributes(".text"), explicit=False)
        self.previous: SectionState | None = None
        self._stack: list[tuple[SectionState, SectionState | None]] = []
        self._placed: list[Sym] = []

    def place(self, symbol: Sym) -> Sym:
        """Give ``symbol`` the current place."""
        section = self.current
        symbol.section, symbol.offset, symbol.stretch = section.index, section.size, section.stretch
        self._placed.append(symbol)
        return symbol

    def _create(
        self,
        name: str,
        kind: SectionType,
        flags: SectionFlag,
        entsize: int = 0,
        explicit: bool = True,
    ) -> SectionState:
        if len(self.sections) >= SECTION_COUNT:
            raise AssemblyError(f"more than {SECTION_COUNT} sections")
        if name in self.symbols:
            raise AssemblyError(
                f"the section's name `{name}' is a symbol", hint="rename the symbol"
            )
        self.named_sections.add(name)
        section = SectionState(len(self.sections), name, kind, flags, entsize, explicit)
        self.sections.append(section)
        self._by_name.setdefault((name, 0), section)
        return section

    def switch(
        self,
        name: str,
        flags: SectionFlag | None = None,
        kind: SectionType | None = None,
        entsize: int = 0,
    ) -> None:
        """Make ``name`` the current section; attributes not given are the usual or known ones."""
        section = self._find(name, 0)
        if section is None:
            usual_kind, usual_flags = usual_attributes(name)
            section = self._create(
                name,
                usual_kind if kind is None else kind,
                usual_flags if flags is None else flags,
                entsize,
            )
        elif (
            (flags is not None and (flags, entsize) != (section.flags, section.entsize))
            or (kind is not None and kind is not section.type)
        ):  # fmt: skip
            raise AssemblyError(
                f"section {name} had other attributes before", hint="give them once, or alike"
            )
        section.explicit = True
        self.previous, self.current = self.current, section

    def _find(self, name: str, subsection: int) -> SectionState | None:
        return self._by_name.get((name, subsection))

    def switch_subsection(self, number: int) -> None:
        """``.subsection``: what stands behind all lower ones of the current section at the end."""
        if not 0 <= number <= MAX_SUBSECTION:
            raise AssemblyError(f"subsection {number} is not within 0 to {MAX_SUBSECTION}")
        current = self.current
        section = self._find(current.name, number)
        if section is None:
            section = self._create(current.name, current.type, current.flags, current.entsize)
            section.subsection = number
            self._by_name[section.name, number] = section
        self.previous, self.current = current, section

    def join_subsections(self) -> None:
        """Put every subsection behind the lower ones of its section, symbols and all."""
        moved: dict[int, tuple[SectionState, int]] = {}
        for section in sorted(self.sections, key=lambda one: one.subsection):
            if not section.subsection:
                continue
            first = self._find(section.name, 0)
            assert first is not None
            if first.size % section.align:
                raise AssemblyError(
                    f"subsection {section.subsection} of {section.name} wants an alignment of "
                    f"{section.align}, and begins at offset {first.size:#x}",
                    hint="align the end of what is before it",
                )
            moved[section.index] = first, first.size
            first.append(section)
        if not moved:
            return
        kept = [section for section in self.sections if not section.subsection]
        places = {section.index: (at, 0) for at, section in enumerate(kept)}
        numbers = {section.index: at for at, section in enumerate(kept)}
        places |= {index: (numbers[first.index], base) for index, (first, base) in moved.items()}
        for symbol in self._placed:
            assert symbol.section is not None
            symbol.section, base = places[symbol.section]
            symbol.offset += base
        for at, section in enumerate(kept):
            section.index = at
        self.sections = kept

    def push(self) -> None:
        """``.pushsection``: remember the current and the previous section."""
        if len(self._stack) >= 64:
            raise AssemblyError("more than 64 .pushsection inside one another")
        self._stack.append((self.current, self.previous))

    def pop(self) -> None:
        """``.popsection``."""
        if not self._stack:
            raise AssemblyError(".popsection without .pushsection")
        self.current, self.previous = self._stack.pop()

    def swap(self) -> None:
        """``.previous``."""
        if self.previous is None:
            raise AssemblyError(".previous without a section before this one")
        self.previous, self.current = self.current, self.previous
