"""The series with evidence: every state built and run, and what one patch changes in both.

>>> from relokit.survey import survey
>>> [row.code for row in survey()][-1]
276
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import unified_diff
from typing import TYPE_CHECKING, Any, ClassVar

from relokit.arguments import job_or_default, target_or_default
from relokit.building import build, build_image, template_overrides
from relokit.codegen import facts
from relokit.codegen.base.coercion import argument
from relokit.codegen.base.documents import ALL, Table, shown
from relokit.codegen.base.errors import TargetError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.gas.lexer import parse_line, without_block_comments
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.codegen.series import BEFORE, COMPLETE, PATCHES, Patch
from relokit.codegen.target import Target
from relokit.diffing.routines.code_change import CodeChange, code_change
from relokit.facade import run
from relokit.linker.kernel.opened import Files
from relokit.runtime.judge.outcome import Outcome, Status, verdict_on
from relokit.runtime.kexec.hyp_mode import CASES, User, answer
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.maintenance import Maintenance, When
from relokit.runtime.kexec.routines import routines_of

if TYPE_CHECKING:
    from relokit.linker.image import Image
    from relokit.linker.link.program import Program

LIMIT = 4096
"""Bytes that the ld script's ASSERT leaves the relocation code, its offset in the page included."""

# Who reads struct kimage in the guest: the units whose text is asked for fields.
FIELD_READERS = {
    "arm64_relocate_new_kernel": "relocate_kernel.S.j2",
    "machine_kexec": "machine_kexec.S.j2",
}
_SCRIPT_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CodeRoom:
    """What keeps the code within its page, and how many bytes it may still grow.

    ``held_by`` is ``assert`` (the ld script's) or, before patch 10, ``padding``: the code is
    filled up to the size of the control page, and assembly fails when it is longer.
    """

    DOCUMENT: ClassVar[Table] = {"held_by": "held_by", "bytes_left": "left"}

    held_by: str
    left: int


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What two runs are compared by: no times, no addresses."""

    status: Status
    el: int
    mmu: bool
    instructions: int
    pages: int
    operations: Mapping[str, int] | None
    maintenance: tuple[Maintenance, ...]


@dataclass(frozen=True, slots=True)
class SeriesState:
    """A state of the series with evidence: ``code`` bytes are copied to the control page."""

    DOCUMENT: ClassVar[Table] = {
        "state": "number",
        "subject": "patch.subject",
        "change": "patch.change",
        "status": "outcome.status",
        "code_bytes": "code",
        **shown("placement", "run"),
        "findings": "outcome.findings",
    }

    number: int
    code: int
    placement: CodeRoom
    outcome: Outcome

    @property
    def patch(self) -> Patch | None:
        """The patch that makes this state, None before the first."""
        return PATCHES[self.number - 1] if self.number else None

    @property
    def run(self) -> RunFacts:
        """What this state's run is compared with others by."""
        moved = self.outcome.relocation
        return RunFacts(
            self.outcome.status,
            moved.el,
            moved.mmu,
            moved.instructions,
            moved.pages,
            self.outcome.operations,
            self.outcome.maintenance,
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """All states, in order."""

    SCHEMA: ClassVar[str] = "relokit.series/1"

    states: tuple[SeriesState, ...]

    @property
    def status(self) -> str:
        """The verdict on all of them."""
        return verdict_on(state.outcome.status for state in self.states)


@dataclass(frozen=True, slots=True)
class TextChange:
    """How one unit's text differs: unified-diff lines, and whether comments are all of it."""

    DOCUMENT: ClassVar[Table] = {**shown("unit", "comments_only"), "diff": "lines"}

    unit: str
    comments_only: bool
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PatchReport:
    """What patch ``after.number`` changes; ``relocation`` says if a byte of the copied code does.

    ``sections`` and ``fields`` are pairs, before and after: input sections, and by routine the
    words of struct kimage that it reads. ``other_minds`` names each boot mode in which a user of
    is_hyp_nvhe decides otherwise than before.
    """

    SCHEMA: ClassVar[str] = "relokit.patch/1"
    DOCUMENT: ClassVar[Table] = {
        "patch": "after.number",
        "subject": "after.patch.subject",
        "change": "after.patch.change",
        "text": "text",
        "code": {
            "relocation_changed": "relocation",
            "relocation_bytes": "relocation_bytes",
            "routines": "code.routines",
            "symbols": {"added": "code.added", "removed": "code.removed"},
            "sections": {"added": "sections_added", "removed": "sections_removed"},
        },
        "run": {
            "before": {ALL: "before.run", "kimage": "fields_before"},
            "after": {ALL: "after.run", "kimage": "fields_after"},
        },
        "is_hyp_nvhe": {"modes": "modes", "other_answers": "other_minds"},
    }

    before: SeriesState
    after: SeriesState
    text: tuple[TextChange, ...]
    code: CodeChange
    relocation: bool
    sections: tuple[tuple[str, ...], tuple[str, ...]]
    fields: tuple[Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]]]
    other_minds: tuple[str, ...]

    @property
    def status(self) -> str:
        """The verdict on both states."""
        return verdict_on([self.before.outcome.status, self.after.outcome.status])

    @property
    def relocation_bytes(self) -> tuple[int, int]:
        """Size of the copied code, before and after."""
        return self.before.code, self.after.code

    @property
    def sections_added(self) -> tuple[str, ...]:
        """Names of input sections that come."""
        return tuple(sorted({*self.sections[1]} - {*self.sections[0]}))

    @property
    def sections_removed(self) -> tuple[str, ...]:
        """Names of input sections that go."""
        return tuple(sorted({*self.sections[0]} - {*self.sections[1]}))

    @property
    def fields_before(self) -> Mapping[str, tuple[str, ...]]:
        """What each routine read of struct kimage."""
        return self.fields[0]

    @property
    def fields_after(self) -> Mapping[str, tuple[str, ...]]:
        """What each routine reads of struct kimage."""
        return self.fields[1]

    @property
    def modes(self) -> int:
        """Boot modes in which the users of is_hyp_nvhe are compared."""
        return len(CASES)


def survey(
    target: Target | None = None, job: Job | None = None, files: Files | None = None
) -> Iterator[SeriesState]:
    """Build and run all sixteen states of ``target``, whatever state it names itself, in order.

    ``job`` (by default: the demo kernel) is observed. Raises RelokitError for bad input.
    """
    files = files or Files()
    for number in range(BEFORE, COMPLETE + 1):
        yield _state(number, target_or_default(target), job_or_default(job), files)


def patch_report(
    number: int,
    target: Target | None = None,
    job: Job | None = None,
    files: Files | None = None,
) -> PatchReport:
    """Build and run the states before and after patch ``number`` (1..15), and compare them.

    Raises TargetError for a number that no patch has, RelokitError for bad input.
    """
    from relokit.diffing.read.sides import built_side

    number = argument("number", number, int)
    if not BEFORE < number <= COMPLETE:
        raise TargetError(
            f"no patch {number}: the series has {COMPLETE}",
            hint=f"give 1 to {COMPLETE}; each is shown against the state before it",
        )
    target, job, files = target_or_default(target), job_or_default(job), files or Files()
    before, after = (_state(state, target, job, files) for state in (number - 1, number))
    targets = replace(target, series=number - 1), replace(target, series=number)
    old, new = (build(state, templates=job.templates) for state in targets)
    return PatchReport(
        before=before,
        after=after,
        text=tuple(_text_changes(old, new, (targets[0].name, targets[1].name))),
        code=code_change(
            (old.image, built_side(old.image, targets[0], data=True)),
            (new.image, built_side(new.image, targets[1], data=True)),
        ),
        relocation=routines_of(old.image).relocation != routines_of(new.image).relocation,
        sections=(_sections(old), _sections(new)),
        fields=(kimage_fields(targets[0], job), kimage_fields(targets[1], job)),
        other_minds=tuple(
            f"{user}: {case.name}"
            for case in CASES
            for user in User
            if answer(user, case.mode, targets[0]) != answer(user, case.mode, targets[1])
        ),
    )


def maintained(rows: tuple[Maintenance, ...], when: When) -> int:
    """Data cache instructions that the C half needs at that moment."""
    return sum(row.instructions for row in rows if row.when is when)


def placement_of(image: Image) -> CodeRoom:
    """How the linked relocation code is held to its page."""
    if image.has_symbol("__relocate_new_kernel_start"):
        start, end = (image.symbol(f"__relocate_new_kernel_{side}") for side in ("start", "end"))
        return CodeRoom("assert", LIMIT - (end - start // LIMIT * LIMIT))
    size = len(routines_of(image).relocation)
    return CodeRoom("padding", facts.KEXEC_CONTROL_PAGE_SIZE - size)


def kimage_fields(target: Target, job: Job | None = None) -> dict[str, tuple[str, ...]]:
    """The words of struct kimage that each routine reads, in the order it reads them."""
    from relokit.codegen.build import variables
    from relokit.codegen.render import render

    overrides = template_overrides(job_or_default(job).templates)
    read = {}
    for routine, template in FIELD_READERS.items():
        recorder = _Recorder(target.layout)
        render(template, variables(target) | {"kimage": recorder}, overrides=overrides)
        read[routine] = tuple(recorder.asked)
    return read


class _Recorder:
    """A KimageLayout that remembers which offsets a template asked it for."""

    def __init__(self, layout: KimageLayout) -> None:
        self.layout = layout
        self.asked: dict[str, None] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.layout, name)
        self.asked[name] = None
        return value


def _state(number: int, target: Target, job: Job, files: Files) -> SeriesState:
    target = replace(target, series=number)
    image = build_image(target, templates=job.templates)
    outcome = run(target, replace(job, observe=True), files=files)
    size = len(routines_of(image).relocation)
    return SeriesState(number, size, placement_of(image), outcome)


def _text_changes(old: Program, new: Program, names: tuple[str, str]) -> Iterator[TextChange]:
    """One for each unit, or ld script, that differs; what a build calls itself does not count."""
    before = {unit.name: unit for unit in (*old.source.units, old.source.script)}
    after = {unit.name: unit for unit in (*new.source.units, new.source.script)}
    for name in {**before, **after}:
        texts = [
            units[name].text.replace(own, "") if name in units else ""
            for units, own in zip((before, after), names, strict=True)
        ]
        if texts[0] == texts[1]:
            continue
        diff = unified_diff(
            texts[0].split("\n"), texts[1].split("\n"), f"a/{name}", f"b/{name}", lineterm=""
        )
        script = name == new.source.script.name
        yield TextChange(name, _words(texts[0], script) == _words(texts[1], script), tuple(diff))


def _words(text: str, script: bool) -> list[object]:
    """What is left of a unit without its comments."""
    if script:
        return [*_SCRIPT_COMMENT.sub(" ", text).split()]
    lines = without_block_comments(text).split("\n")
    return [
        (statement.kind, statement.head, " ".join(statement.rest.split()))
        for line in lines
        for statement in parse_line(line)
    ]


def _sections(program: Program) -> tuple[str, ...]:
    """Names of the input sections that hold anything."""
    return tuple(dict.fromkeys(s.name for one in program.objects for s in one.sections if s.size))
