"""A memory region of MEMORY in one pass of the layout: what is taken, and what follows from it."""

from __future__ import annotations

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.nouns import dataclass
from relokit.linker.link.sections import Output


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

    def load_address(self, output: Output) -> int:
        """PA of an output section that asks for none: at the VA-PA distance of the last one."""
        last = self.last
        if last is None:
            return output.vma
        if output.vma < last.vma and output.size and output.vma + output.size <= last.vma:
            return output.vma
        return (output.vma + last.lma - last.vma) & MASK64

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
