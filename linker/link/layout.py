"""Layout: walk the script until every address has settled.

One pass gives each output section its VA, PA and size, and each script symbol its value. A
script that reads forward (a symbol or section that comes later) is walked again with what the
pass before found, until two passes agree. Errors count only in the pass that settles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import LinkError
from relokit.codegen.object import ABSOLUTE, SectionFlag, SectionType
from relokit.codegen.source import Unit
from relokit.linker.elf_format import EHDR, PHDR
from relokit.linker.link.headers import count_headers, first_guess, why_unknown
from relokit.linker.link.regions import RegionState, region_of
from relokit.linker.link.sections import (
    MAX_SECTION,
    MAX_SECTION_ALIGN,
    NOWHERE,
    Output,
    Piece,
    marks_place,
)
from relokit.linker.script.expression import (
    NUMBER,
    Expression,
    Value,
    absolute,
    align_up,
)
from relokit.linker.script.statements import (
    Assertion,
    Assignment,
    Data,
    Fill,
    OutputSection,
    Script,
    script_error,
)

MAX_PASSES = 10


class Layout:
    """One link's layout; also the scope its expressions are evaluated in."""

    def __init__(
        self,
        script: Script,
        source: Unit,
        outputs: Sequence[Output],
        definitions: Mapping[str, tuple[Piece | None, int]],
        provided: frozenset[str],
        stack_headers: int = 0,
    ) -> None:
        """``definitions``: of the objects; ``provided``: PROVIDEs wanted; see ``stack_headers``."""
        self._stack_headers = stack_headers
        self.script = script
        self.source = source
        self.outputs = outputs
        self.definitions = definitions
        self.provided = provided
        self.assigned = script.assigned | provided
        self.by_name = {output.statement.name: i for i, output in enumerate(outputs)}
        self.values: dict[str, Value] = {}
        self.hidden: set[str] = set()
        self.aliases: dict[str, str] = {}
        # Symbols set to a place outside of sections: the last one before, and the one that comes
        # next if the location counter was assigned since.
        self.near: dict[str, tuple[int, int | None]] = {}
        self._previous: dict[str, Value] = {}
        self._pass = self._header_count = 0
        self._forward = False
        self._fault: tuple[int, str] | None = None
        self._line = 0
        self._last = NOWHERE
        self._dot_moved = False
        self._next = 0
        self._regions: dict[str | None, RegionState] = {}
        self.section = ABSOLUTE
        self.dot = 0
        self.dot_used = False
        # GNU ld's counter goes on from the address of a section that is left out, as symbols do
        # not see. The next section begins there if a statement comes between.
        self._strayed: int | None = None
        self._start: int | None = None

    def run(self) -> None:
        """Settle every address; raises LinkError."""
        found: object = None
        for number in range(1, MAX_PASSES + 1):
            self._walk(number)
            if not self._forward:
                break
            state = (self.values, [(o.vma, o.lma, o.size) for o in self.outputs])
            if state == found:
                break
            found = state
        else:
            raise LinkError(
                f"addresses have not settled after {MAX_PASSES} passes",
                where=self.source.name,
                hint="a symbol and the location counter depend on each other",
            )
        self._refuse_fault()

    def settled(self, line: int, expression: Expression) -> int:
        """What an expression of the script's ``line`` is after all; raises LinkError."""
        self._line = line
        value = absolute(self, expression.evaluate(self))
        self._refuse_fault()
        return value

    def _refuse_fault(self) -> None:
        if self._fault:
            raise script_error(self.source, *self._fault)

    def _walk(self, number: int) -> None:
        self._pass = number
        count = count_headers if number > 1 else first_guess
        self._header_count = count(self.outputs, self._stack_headers)
        self._previous, self.values = self.values, {}
        self._forward = False
        self._fault = None
        self._last = NOWHERE
        self._dot_moved = False
        self.near = {}
        self.section = ABSOLUTE
        self.dot = 0
        self._next = 0
        self._strayed = self._start = None
        self._regions = {None: RegionState("", 0, 1 << 64, 0)}
        for region in self.script.regions:
            self._line = region.line
            origin = absolute(self, region.origin.evaluate(self))
            length = absolute(self, region.length.evaluate(self))
            self._regions[region.name] = RegionState(region.name, origin, length, origin)
        for statement in self.script.statements:
            self._line = statement.line
            if self._strayed is not None and not isinstance(statement, OutputSection):
                self._start_astray(statement)
            if isinstance(statement, Assignment):
                self._assign(statement)
            elif isinstance(statement, Assertion):
                statement.check.evaluate(self)
            elif self._next < len(self.outputs) and self.outputs[self._next].statement is statement:
                self._next += 1
                self._place(self._next - 1, self.outputs[self._next - 1])

    # Statements

    def _start_astray(self, statement: Assignment | Assertion) -> None:
        if isinstance(statement, Assignment) and statement.name == ".":
            dot, self.dot = self.dot, self._strayed or 0
            self._strayed = absolute(self, statement.value.evaluate(self))
            self.dot = dot
        self._start = self._strayed

    def _assign(self, statement: Assignment) -> None:
        name = statement.name
        if statement.provide and name not in self.provided:
            if statement.hidden and name in self.definitions:
                # Not provided, and hidden all the same.
                self.hidden.add(name)
            return
        self.dot_used = False
        section, value = statement.value.evaluate(self)
        here = self.section
        if name == ".":
            base = section if section != NUMBER else here
            self._move_dot((value + self.base(base)) & MASK64 if base >= 0 else value)
            return
        if section == NUMBER:
            section = here
        self.values[name] = (section, value)
        if statement.hidden:
            self.hidden.add(name)
        if statement.alias is not None:
            self.aliases[name] = statement.alias
        if here == ABSOLUTE and section == ABSOLUTE and self.dot_used:
            self.near[name] = (self._last, self._next if self._dot_moved else None)
        else:
            self.near.pop(name, None)

    def _move_dot(self, to: int) -> None:
        if self.section == ABSOLUTE:
            self.dot = to
            self._dot_moved = True
        elif to < self.dot:
            self.fault(f"the location counter moves backwards, from {self.dot:#x} to {to:#x}")
        elif to - self.outputs[self.section].vma > MAX_SECTION:
            self.fault(f"the location counter jumps to {to:#x}, out of bounds for a section")
        else:
            self._gap(to)

    def _gap(self, to: int) -> None:
        output = self.outputs[self.section]
        if to > self.dot and not output.statement.noload:
            # Room is made in memory only: GNU ld has such a section allocated from then on.
            output.alloc = True
            output.flags |= SectionFlag.ALLOC
        if self._fill and to > self.dot:
            output.gaps.append((self.dot - output.vma, to - output.vma, self._fill))
        self.dot = to

    def _place(self, index: int, output: Output) -> None:
        statement = output.statement
        region = region_of(output, self._regions, self.source)
        before = self.dot
        begun = before if self._start is None else self._start
        if statement.region is not None:
            begun = region.current
        address: int | None = None
        subalign = output.statement.input_align
        self._input_align = None if subalign is None else self._power(subalign)
        output.align = align = self._align_of(output)
        # What is not allocated is walked as if it were, and takes no room.
        if statement.address is not None:
            self.dot = before if self._strayed is None else self._strayed
            address = absolute(self, statement.address.evaluate(self))
            start = align_up(address, self._power(statement.align))
        else:
            start = align_up(begun, align)
        output.vma = self.dot = start
        output.walked = self._pass
        self.section = index
        self._fill = self._pattern(statement.fill)
        self._walk_body(output)
        self._line = statement.line
        self.section = ABSOLUTE
        output.size = self.dot - start
        if output.size > MAX_SECTION:
            self.fault(f"section {statement.name} grows to {output.size} bytes")
        if self.dot > MASK64 + 1:
            self.fault(f"section {statement.name} runs past the end of the address space")
        if not output.alloc or not output.items:
            self.dot = before
            if output.alloc and address is not None:
                self._strayed = address
            # There is nothing in it, and LOADADDR() is told all the same.
            output.lma = before if output.alloc else 0
            if statement.load_address is not None:
                output.lma = absolute(self, statement.load_address.evaluate(self))
            return
        output.lma = self._load_address(output, region, begun)
        if not (output.size or marks_place(output, self.provided)):
            # GNU ld leaves an empty section out, with what its address and alignment would do.
            self.dot = before
            if address is not None:
                self._strayed = align_up(address, align)
            region.remember(output, self.dot)
            return
        self._strayed = self._start = None
        region.remember(output, self.dot)
        self._account(output, region)
        if output.size:
            self._last = index
            self._dot_moved = False

    def _align_of(self, output: Output) -> int:
        align = self._power(output.statement.align)
        for item in output.items:
            if isinstance(item, list):
                for piece in item:
                    align = max(align, self._input_align or piece.section.align)
        return align

    def _walk_body(self, output: Output) -> None:
        output.gaps.clear()
        output.data.clear()
        for item in output.items:
            if isinstance(item, list):
                self._put(output, item)
                continue
            self._line = item.line
            if isinstance(item, Assignment):
                self._assign(item)
            elif isinstance(item, Data):
                value = absolute(self, item.value.evaluate(self))
                data = (value & ((1 << 8 * item.width) - 1)).to_bytes(item.width, "little")
                output.data.append((self.dot - output.vma, data))
                self.dot += item.width
            elif isinstance(item, Assertion):
                item.check.evaluate(self)
            else:
                self._fill = self._pattern(item)

    def _put(self, output: Output, pieces: list[Piece]) -> None:
        start, dot, fill, number = output.vma, self.dot, self._fill, self._pass
        forced = self._input_align
        for piece in pieces:
            align = forced or piece.section.align
            if piece.moved is not None and not piece.section.size:
                # All of it is in another section: GNU ld has none here that would be aligned.
                align = 1
            at = (dot + align - 1) & -align
            if fill and at > dot:
                output.gaps.append((dot - start, at - start, fill))
            piece.offset = at - start
            piece.walked = number
            dot = at + piece.section.size
        self.dot = dot

    def _load_address(self, output: Output, region: RegionState, before: int) -> int:
        """PA of ``output``; ``before`` is the address that it was rounded up from."""
        statement = output.statement
        if statement.load_address is not None:
            forward, self._forward = self._forward, False
            address = absolute(self, statement.load_address.evaluate(self))
            if self._forward:
                self.fault(f"AT() of {statement.name} reads what comes later, as GNU ld does not")
            self._forward = forward
            return address
        if output.load_region is not None:
            current = self._regions[output.load_region].current
            if statement.load_aligned:
                # What the address was rounded up by, not rounding of its own.
                return current + output.vma - before
            # GNU ld aligns as for the address where both come from one region.
            if output.load_region != statement.region:
                return align_up(current, self._power(statement.align))
            return align_up(current, self._aligned_to(output))
        return region.load_address(output, self._aligned_to(output))

    def _aligned_to(self, output: Output) -> int:
        """What an address is rounded up to: of a section that is given one, ALIGN() alone."""
        statement = output.statement
        return output.align if statement.address is None else self._power(statement.align)

    def _account(self, output: Output, region: RegionState) -> None:
        statement = output.statement
        taken = [(region, output.vma)] if statement.region is not None else []
        apart = output.load_region not in (None, statement.region)
        if output.load_region is not None and apart and output.type is not SectionType.NOBITS:
            taken.append((self._regions[output.load_region], output.lma))
        for state, start in taken:
            problem = state.take(statement.name, start, output.size)
            if problem:
                self.fault(problem)

    def _power(self, expression: Expression | None) -> int:
        if expression is None:
            return 1
        value = absolute(self, expression.evaluate(self))
        if value & (value - 1) or value > MAX_SECTION_ALIGN:
            self.fault(f"{value:#x} is no section alignment: a power of two up to 1 GiB is")
            return 1
        return value or 1

    def _pattern(self, fill: Fill | None) -> bytes:
        if fill is None:
            return b""
        pattern = fill.pattern
        if fill.value is not None:
            value = absolute(self, fill.value.evaluate(self))
            pattern = (value & 0xFFFFFFFF).to_bytes(4, "big")
        return pattern if any(pattern) else b""

    _fill = b""
    _input_align: int | None = None

    # The scope of expressions (relokit.linker.script.expression.Scope)

    def base(self, section: int) -> int:
        """VA of an output section by index."""
        return self.outputs[section].vma

    def fault(self, message: str) -> None:
        """Note an error at the current statement; the first of a pass stands."""
        if self._fault is None:
            self._fault = (self._line, message)

    def symbol(self, name: str) -> Value:
        """Value of a symbol: the script's own first, also a later one, then the objects'."""
        value = self.values.get(name)
        if value is not None:
            return value
        if name in self.assigned:
            # What a later statement gives it counts everywhere; before that is known, another walk.
            self._forward = True
            if name in self._previous:
                return self._previous[name]
        definition = self.definitions.get(name)
        if definition is not None:
            piece, offset = definition
            if piece is None:
                return (ABSOLUTE, offset)
            if piece.output < 0:
                self.fault(f"symbol {name} is in section {piece.section.name}, not in the image")
                return (ABSOLUTE, 0)
            if piece.walked != self._pass:
                self._forward = True
            return (piece.output, piece.offset + offset)
        self.fault(f"symbol {name} is not defined")
        return (ABSOLUTE, 0)

    def defined(self, name: str) -> bool:
        """DEFINED(name): by an object, or by an earlier statement of the script."""
        return name in self.values or name in self.definitions

    def section_fact(self, fact: str, name: str) -> Value:
        """ADDR, LOADADDR, SIZEOF or ALIGNOF of an output section."""
        index = self.by_name.get(name)
        if index is None:
            self.fault(f"{fact}({name}): no such output section")
            return (NUMBER, 0)
        output = self.outputs[index]
        if output.walked != self._pass or (self.section == index and fact != "ADDR"):
            self._forward = True
        if fact == "ADDR":
            return (index, 0)
        if fact == "LOADADDR":
            return (ABSOLUTE, output.lma)
        return (NUMBER, output.size if fact == "SIZEOF" else output.align)

    def headers_size(self) -> int:
        """The ELF header and the program headers: of PHDRS, or as many as GNU ld makes."""
        if not (count := len(self.script.headers)):
            self._forward = True  # it depends on where sections come to lie
            if unknown := why_unknown(self.outputs):
                self.fault(f"SIZEOF_HEADERS with {unknown}: describe the headers in PHDRS")
            count = self._header_count
        return EHDR.size + count * PHDR.size

    def region_fact(self, fact: str, name: str) -> int:
        """ORIGIN or LENGTH of a memory region."""
        region = self._regions.get(name)
        if region is None:
            self.fault(f"{fact}({name}): no such memory region")
            return 0
        return region.origin if fact == "ORIGIN" else region.length
