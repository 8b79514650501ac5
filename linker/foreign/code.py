"""Foreign code: the routines that a file has of those that a kexec runs, to be linked with ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from relokit.codegen.base.errors import TargetError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kexec_routines import (
    BESIDE,
    INCLUDED,
    CodeFile,
    CodePart,
    CodeUsed,
    KexecRoutine,
    symbol_of,
)
from relokit.codegen.kimage_layouts import LAYOUTS, KimageLayout
from relokit.codegen.object import Object
from relokit.codegen.series import COMPLETE
from relokit.codegen.target import Target
from relokit.linker.link.substitution import Replacement


@dataclass(frozen=True, slots=True)
class ForeignCode:
    """The code in ``files``: ``parts`` are the routines that they have, ``unit`` is them.

    ``states`` are those of the series that the code can be of, ``page_size`` (bytes) and
    ``version`` (``6.12``) what its kernel is, None where the file does not say. ``layout`` is its
    struct kimage by BTF; without it ``fields`` has to fit, the offsets that it is read at.
    ``folds`` says that it takes PAs of 52 bits for a TTBR.
    """

    files: tuple[CodeFile, ...]
    parts: tuple[CodePart, ...]
    unit: Object | None
    states: range
    page_size: int | None
    version: str | None
    layout: KimageLayout | None
    fields: frozenset[int] = frozenset()
    folds: bool = False

    @property
    def where(self) -> str:
        """The files that were named, for messages."""
        return ", ".join(one.file for one in self.files if one.kind != INCLUDED)

    @property
    def replacement(self) -> Replacement:
        """What is linked in place of ours."""
        assert self.unit is not None
        symbols = {part.symbol for part in self.parts}
        beside = (name for name, of in BESIDE.items() if of in symbols)
        digest = " ".join(one.sha256 for one in self.files)
        return Replacement(self.unit, frozenset(symbols | {*beside}), digest)

    @property
    def without_unit(self) -> ForeignCode:
        """The same once it is linked: what a machine has to know of it."""
        return replace(self, unit=None)

    def has(self, routine: KexecRoutine, target: Target) -> bool:
        """Whether ``routine`` comes from here where ``target`` runs."""
        name = symbol_of(routine, target)
        return any(part.symbol == name for part in self.parts)

    def used(
        self,
        target: Target,
        ours: Mapping[str, CodePart] | None = None,
        running: Collection[KexecRoutine] | None = None,
    ) -> CodeUsed:
        """What is said of it; ``ours`` are the parts of ours by symbol, if they are linked,
        ``running`` is what runs, where that is one thing.
        """
        parts = {part.symbol: part for part in self.parts}
        names = {routine: symbol_of(routine, target) for routine in KexecRoutine}
        own = ours or {}
        chosen = tuple(
            parts.get(name) or own.get(name) or CodePart(routine, False, name)
            for routine, name in names.items()
        )
        if running is not None:
            chosen = tuple(replace(part, runs=part.routine in running) for part in chosen)
        return CodeUsed(self.files, target.layout.name, chosen)


def target_for(target: Target, code: ForeignCode) -> Target:
    """``target`` with the struct kimage that ``code`` reads: what hands over has to fill that in.

    Raises TargetError where the code is for another page size, state of the series or layout.
    """
    if code.page_size not in (None, target.page_size):
        assert code.page_size is not None
        raise TargetError(
            f"its code is built for {code.page_size // 1024}k pages, and the target has "
            f"{target.page_name}",
            where=code.where,
            hint=f"add --page-size {code.page_size // 1024}k",
        )
    if target.series not in code.states:
        first, last = code.states[0], code.states[-1]
        span = f"state {first}" if first == last else f"states {first} to {last}"
        raise TargetError(
            f"its code is of {span} of the series, and the target is state {target.series}",
            where=code.where,
            hint=(
                "leave --series out, or say what it is"
                if last == COMPLETE
                else f"add --series {last}, or what it is"
            ),
        )
    if code.layout is not None:
        return replace(target, layout=code.layout)
    _check_layout(code, target.layout)
    return target


def _check_layout(code: ForeignCode, layout: KimageLayout) -> None:
    """Refuse a layout that has not what the code reads, if it is one that nobody looked up."""
    strange = sorted(code.fields - layout.offsets)
    if not strange or LAYOUTS.get(layout.name) != layout:
        return
    fitting = [name for name, one in LAYOUTS.items() if code.fields <= one.offsets]
    raise TargetError(
        f"its relocation code reads struct kimage at {strange[0]:#x}, where the layout of "
        f"{layout.name} has nothing that it could want",
        where=code.where,
        hint=(f"add --layout {fitting[-1]}, or " if fitting else "add ")
        + "--layout-from KERNEL: a vmlinux or Image with BTF of the tree that it is from",
    )
