"""A memory region of MEMORY in one pass of the layout: what is taken, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.source import Unit
from relokit.linker.link.sections import Output
from relokit.linker.script.expression import align_up
from relokit.linker.script.statements import script_error


@dataclass(slots=True)
class RegionState:
    """A memory region in one pass; ``last`` is the output section that was placed last.

    The sections without a region share one that has no name and never ends.
    """

    name: str
    origin: int
    length: int
    current: int
    last: Output | None = None

    def load_address(self, output: Output, align: int) -> int:
        """PA of an output section that asks for none: at the VA-PA distance of the last one.

        It is rounded up to ``align`` bytes, as the address is.
        """
        last = self.last
        if last is None:
            return output.vma
        if output.vma < last.vma and output.size and output.vma + output.size <= last.vma:
            return output.vma
        return align_up((output.vma + last.lma - last.vma) & MASK64, align) & MASK64

    def remember(self, output: Output, dot: int) -> None:
        """Note the section whose VA-PA distance the next one takes over, when GNU ld does.

        ``dot`` is the location counter after the section.
        """
        last = self.last
        moved = output.vma != output.lma if last is None else dot >= last.vma
        has_input = any(isinstance(item, list) for item in output.items)
        if output.load_region is None and (output.size or (moved and has_input)):
            self.last = output

    def take(self, section: str, start: int, size: int) -> str | None:
        """Put ``size`` bytes of ``section`` at ``start``; return what is wrong if they do not fit.

        The next section follows them either way.
        """
        self.current = start + size
        over = self.current - (self.origin + self.length)
        if over > 0:
            return f"section {section} overflows region {self.name} by {over} bytes"
        if start < self.origin:
            return f"section {section} at {start:#x} lies before region {self.name}"
        return None


def region_of(
    output: Output, regions: Mapping[str | None, RegionState], source: Unit
) -> RegionState:
    """The region whose addresses ``output`` takes; LinkError without one where MEMORY has some.

    ``regions`` are those of MEMORY, and what has no name.
    """
    statement = output.statement
    for name in (statement.region, output.load_region):
        if name is not None and name not in regions:
            raise script_error(
                source, statement.line, f"no memory region {name}", "describe it under MEMORY"
            )
    homeless = statement.region is None and statement.address is None
    if homeless and output.alloc and len(regions) > 1:
        raise script_error(
            source,
            statement.line,
            f"no memory region for section {statement.name}",
            "with MEMORY, every section names its region (>name) or its address",
        )
    return regions[statement.region]
