"""All mutants of a target: of what the good code executes, by every operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.runtime.judge.rules.disassembly import disassemble
from relokit.runtime.mutation.data_edits import data_edits
from relokit.runtime.mutation.encodings import encoding_of
from relokit.runtime.mutation.independence import independent
from relokit.runtime.mutation.layouts import MoveLayout, fits
from relokit.runtime.mutation.mutant import Mutant, RoutineName, WordEdit
from relokit.runtime.mutation.mutated import WORD, CodeSet, words_of
from relokit.runtime.mutation.operators import MOVE, OPERATORS, SWAP, Surroundings
from relokit.runtime.mutation.rearranging import moved, swapped
from relokit.runtime.mutation.trial import CodeTrial, prepared, tried
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.trace import TraceKind
from relokit.runtime.run.scenes import place_in

SLACK = 4
"""How often the good code's instructions a mutant may execute."""
FEWEST = 10_000
"""Instructions that every mutant may execute."""


@dataclass(frozen=True, slots=True)
class LayoutFacts:
    """How the good code fared: ``instructions`` of its move; ``why_not`` is what it failed by."""

    name: str
    instructions: int
    why_not: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class RoutineFacts:
    """``instructions`` of a routine, and how many of them no layout executes."""

    name: RoutineName
    instructions: int
    not_executed: int


@dataclass(frozen=True, slots=True)
class MutantSurvey:
    """What there is to try for a target."""

    layouts: tuple[LayoutFacts, ...]
    routines: tuple[RoutineFacts, ...]
    mutants: tuple[Mutant, ...]


def survey(
    target: Target,
    code: CodeSet,
    layouts: Iterable[MoveLayout],
    routines: Iterable[RoutineName],
) -> MutantSurvey:
    """Run the good code in those of ``layouts`` that ``routines`` need, and make their mutants.

    A layout in which the good code fails is none: its mutants would all be found.
    """
    routines, layouts = tuple(routines), tuple(layouts)
    executed: dict[str, frozenset[int]] = {}
    facts = []
    for layout in layouts:
        if not any(fits(layout, routine, target) for routine in routines):
            continue
        with tried(target, code, layout) as trial:
            instructions = sum(leg.stop.instructions for leg in trial.record.legs)
            if trial.no_answer or trial.errors:
                why = trial.no_answer or "{0.rule}: {0.message}".format(trial.errors[0])
                facts.append(LayoutFacts(layout.name, instructions, why))
                continue
            executed[layout.name] = frozenset(_executed(trial))
            facts.append(LayoutFacts(layout.name, instructions))
    anywhere = frozenset().union(*executed.values())
    mutants: list[Mutant] = []
    found = []
    for routine in routines:
        if routine is RoutineName.DATA:
            continue
        image = code.image
        words = words_of(image, routine, target)
        ran = {va: word for va, word in words.items() if va in anywhere}
        if ran:
            found.append(RoutineFacts(routine, len(words), len(words) - len(ran)))
            mutants += _mutants_of(image, routine, ran, executed)
    if RoutineName.DATA in routines:
        moves = [
            one for one in layouts if one.name in executed and fits(one, RoutineName.DATA, target)
        ]
        mutants += _mutants_of_data(target, code, moves)
    return MutantSurvey(tuple(facts), tuple(found), tuple(mutants))


def _mutants_of_data(
    target: Target, code: CodeSet, layouts: Sequence[MoveLayout]
) -> Iterator[Mutant]:
    names = tuple(one.name for one in layouts)
    for layout in layouts[:1]:
        with prepared(target, code, layout) as machine:
            edits = dict.fromkeys(data_edits(machine))
        for edit in edits:
            spelt = f"{edit.name}: {edit.change}".replace(" ", "-").replace(",", "")
            yield Mutant(
                id=f"{RoutineName.DATA}/{edit.place}/{spelt}",
                operator=str(edit.place),
                routine=RoutineName.DATA,
                place=f"{edit.place} {edit.name}",
                text=edit.text,
                layouts=names,
                data=edit,
            )


def limited(layout: MoveLayout, facts: Iterable[LayoutFacts]) -> MoveLayout:
    """``layout`` with the instructions that a mutant may execute in it."""
    good = next(one.instructions for one in facts if one.name == layout.name)
    limit = SLACK * good + FEWEST
    return replace(layout, job=replace(layout.job, max_instructions=limit))


def _executed(trial: CodeTrial) -> Iterator[int]:
    """Link-time VAs of what ran."""
    trace = trial.record.trace
    assert not isinstance(trace, Unknown)
    fetched = trace.of(TraceKind.FETCH)
    for va, length in set(zip(fetched["va"].tolist(), fetched["length"].tolist(), strict=True)):
        for at in range(va, va + length, 4):
            located = trial.locate(at)
            if located:
                yield located[1]


def _mutants_of(
    image: Image,
    routine: RoutineName,
    words: Mapping[int, int],
    executed: Mapping[str, frozenset[int]],
) -> Iterator[Mutant]:
    seen: set[tuple[tuple[int, int], ...]] = set()
    for operator, edits in _edits(words):
        key = tuple(sorted(edits.items()))
        if key in seen or not edits:
            continue
        seen.add(key)
        names = tuple(name for name, vas in executed.items() if vas & edits.keys())
        yield _mutant(image, routine, operator, words, edits, names)


def _edits(words: Mapping[int, int]) -> Iterator[tuple[str, dict[int, int]]]:
    """Operator's name, and words by VA that differ."""
    around = Surroundings(_registers(words))
    for operator in OPERATORS:
        for va, word in words.items():
            for other in dict.fromkeys(operator.change(word, around)):
                if other != word:
                    yield operator.name, {va: other}
    yield from ((SWAP, edits) for edits in swapped(words))
    yield from ((MOVE, edits) for edits in moved(words))


def _registers(words: Mapping[int, int]) -> tuple[int, ...]:
    used: set[int] = set()
    for word in words.values():
        encoding = encoding_of(word)
        used |= {one.get(word) for one in encoding.registers} if encoding else set()
    return tuple(sorted(used - {31}))


def _mutant(
    image: Image,
    routine: RoutineName,
    operator: str,
    words: Mapping[int, int],
    edits: Mapping[int, int],
    layouts: tuple[str, ...],
) -> Mutant:
    first = min(edits)
    start = min(words)
    text = "; ".join(
        f"{disassemble(words[va], va)} -> {disassemble(edits[va], va)}" for va in sorted(edits)
    )
    spelt = ",".join(f"{edits[va]:08x}" for va in sorted(edits))
    return Mutant(
        id=f"{routine}+{first - start:#x}/{operator}/{spelt}",
        operator=operator,
        routine=routine,
        place=place_in(image, first),
        text=text,
        layouts=layouts,
        edits=tuple(WordEdit(va, word) for va, word in sorted(edits.items())),
        after=_text(words, first - WORD),
        before=_text(words, max(edits) + WORD),
        independent=operator in (SWAP, MOVE) and _order_is_free(words, edits),
    )


def _text(words: Mapping[int, int], va: int) -> str:
    return disassemble(words[va], va) if va in words else ""


def _order_is_free(words: Mapping[int, int], edits: Mapping[int, int]) -> bool:
    """Whether one instruction has changed places with others that it does not depend on.

    It is the one that stood at one end, and stands at the other.
    """
    places = range(min(edits), max(edits) + WORD, WORD)
    old = [words[va] for va in places]
    new = [edits.get(va, words[va]) for va in places]
    later, earlier = (old[0], old[1:]), (old[-1], old[:-1])
    return any(
        all(independent(moved, other) for other in others)
        for (moved, others), wanted in (
            (later, [*old[1:], old[0]]),
            (earlier, [old[-1], *old[:-1]]),
        )
        if new == wanted
    )
