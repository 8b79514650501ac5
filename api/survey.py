"""The series with evidence: every state built and run, and what one patch changes in both.

>>> from relokit.survey import survey
>>> [row.code for row in survey()][-1]
276
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

from relokit.building import build, build_image, template_overrides
from relokit.codegen import facts
from relokit.codegen.base.errors import TargetError
from relokit.codegen.gas.lexer import parse_line, without_block_comments
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.codegen.series import BEFORE, COMPLETE, PATCHES, Patch
from relokit.codegen.target import Target
from relokit.facade import run
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.hyp_mode import CASES, User, answer
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.maintenance import Maintenance, When
from relokit.runtime.kexec.routines import routines_of

if TYPE_CHECKING:
    from relokit.diffing.routines.code_change import CodeChange
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

    held_by: str
    left: int


@dataclass(frozen=True, slots=True)
class SeriesState:
    """A state of the series with evidence: ``code`` bytes are copied to the control page."""

    number: int
    code: int
    placement: CodeRoom
    outcome: Outcome

    @property
    def patch(self) -> Patch | None:
        """The patch that makes this state, None before the first."""
        return PATCHES[self.number - 1] if self.number else None

    def to_json(self) -> dict[str, Any]:
        """The state as JSON data."""
        return {
            "state": self.number,
            "subject": self.patch.subject if self.patch else None,
            "change": self.patch.change if self.patch else None,
            "status": str(self.outcome.status),
            "code_bytes": self.code,
            "placement": {"held_by": self.placement.held_by, "bytes_left": self.placement.left},
            "run": run_facts(self.outcome),
            "findings": [finding.to_json() for finding in self.outcome.findings],
        }


@dataclass(frozen=True, slots=True)
class TextChange:
    """How one unit's text differs: unified-diff lines, and whether comments are all of it."""

    unit: str
    comments_only: bool
    lines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The unit as JSON data."""
        return {"unit": self.unit, "comments_only": self.comments_only, "diff": list(self.lines)}


@dataclass(frozen=True, slots=True)
class PatchReport:
    """What patch ``after.number`` changes; ``relocation`` says if a byte of the copied code does.

    ``sections`` and ``fields`` are pairs, before and after: input sections, and by routine the
    words of struct kimage that it reads. ``other_minds`` names each boot mode in which a user of
    is_hyp_nvhe decides otherwise than before.
    """

    before: SeriesState
    after: SeriesState
    text: tuple[TextChange, ...]
    code: CodeChange
    relocation: bool
    sections: tuple[tuple[str, ...], tuple[str, ...]]
    fields: tuple[Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]]]
    other_minds: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document that ``relokit series N --json`` prints."""
        patch = self.after.patch
        assert patch is not None
        sections, fields = self.sections, self.fields
        return {
            "patch": patch.number,
            "subject": patch.subject,
            "change": patch.change,
            "text": [unit.to_json() for unit in self.text],
            "code": {
                "relocation_changed": self.relocation,
                "relocation_bytes": [self.before.code, self.after.code],
                "routines": [routine.to_json() for routine in self.code.routines],
                "symbols": {"added": list(self.code.added), "removed": list(self.code.removed)},
                "sections": {
                    "added": sorted({*sections[1]} - {*sections[0]}),
                    "removed": sorted({*sections[0]} - {*sections[1]}),
                },
            },
            "run": {
                "before": run_facts(self.before.outcome) | {"kimage": _lists(fields[0])},
                "after": run_facts(self.after.outcome) | {"kimage": _lists(fields[1])},
            },
            "is_hyp_nvhe": {"modes": len(CASES), "other_answers": list(self.other_minds)},
        }


def survey(target: Target | None = None, job: Job | None = None) -> Iterator[SeriesState]:
    """Build and run all sixteen states of ``target``, whatever state it names itself, in order.

    ``job`` (by default: the demo kernel) is observed. Raises RelokitError for bad input.
    """
    for number in range(BEFORE, COMPLETE + 1):
        yield _state(number, target or Target(), job or Job())


def patch_report(number: int, target: Target | None = None, job: Job | None = None) -> PatchReport:
    """Build and run the states before and after patch ``number`` (1..15), and compare them.

    Raises TargetError for a number that no patch has, RelokitError for bad input.
    """
    from relokit.diffing.read.sides import built_side
    from relokit.diffing.routines.code_change import code_change

    if not BEFORE < number <= COMPLETE:
        raise TargetError(
            f"no patch {number}: the series has {COMPLETE}",
            hint=f"give 1 to {COMPLETE}; each is shown against the state before it",
        )
    target, job = target or Target(), job or Job()
    before, after = (_state(state, target, job) for state in (number - 1, number))
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


def run_facts(outcome: Outcome) -> dict[str, Any]:
    """What two runs are compared by: no times, no addresses."""
    moved = outcome.relocation
    return {
        "status": str(outcome.status),
        "el": moved.el,
        "mmu": moved.mmu,
        "instructions": moved.instructions,
        "pages": moved.pages,
        "operations": outcome.operations,
        "maintenance": [row.to_json() for row in outcome.maintenance],
    }


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

    overrides = template_overrides((job or Job()).templates)
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


def _state(number: int, target: Target, job: Job) -> SeriesState:
    target = replace(target, series=number)
    image = build_image(target, templates=job.templates)
    outcome = run(target, replace(job, observe=True))
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


def _lists(fields: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {routine: list(names) for routine, names in fields.items()}
