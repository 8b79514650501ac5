"""What a rule asks for, why, and what mends it: the book of rules, for a person to look up."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.advice import advice_on
from relokit.runtime.judge.book import whole_book
from relokit.runtime.judge.rules.profile import ERRATA
from relokit.runtime.judge.rules.rule import Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules_page import OTHERS

NEAR = 5
"""Names that are offered in place of one that is none."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A rule: ``must`` is what has to hold, and ``source`` says where that is written.

    ``consequence`` is what becomes of a machine on which it is broken, ``hint`` what right code
    looks like, ``cause`` the probable reason, unless that depends on the finding. ``executed`` is
    False if no emulated machine has what it is about. ``spared_by`` are guarantees (CTR_EL0.DIC) of
    CPUs on which it would not bite.
    """

    rule: str
    severity: Severity
    must: str
    source: str
    consequence: str | None = field(default=None, metadata=ABSENT)
    cause: str | None = field(default=None, metadata=ABSENT)
    hint: str | None = field(default=None, metadata=ABSENT)
    executed: bool = True
    spared_by: tuple[str, ...] = field(default=(), metadata=ABSENT)

    @classmethod
    def of(cls, rule: Rule) -> Explanation:
        """What ``rule`` says of itself."""
        cause = rule.cause if isinstance(rule.cause, str) else None
        advice = advice_on(rule)
        return cls(
            rule.name,
            rule.severity,
            rule.must,
            rule.source,
            advice.consequence,
            cause,
            advice.hint,
            rule.executed,
            tuple(sorted(guarantee.name for guarantee in rule.spared_by)),
        )


@dataclass(frozen=True, slots=True)
class Explanations:
    """Rules, in the order of the book."""

    SCHEMA: ClassVar[str] = "relokit.rules/1"

    rules: tuple[Explanation, ...]


def explain(name: str | None = None) -> Explanations:
    """The rule called ``name``; all of a subject (``caches``); without a name, the whole book.

    Raises RelokitError with the nearest names for what is neither.
    """
    rules = [rule for rule in whole_book() if name in (None, rule.name, subject(rule.name))]
    if not rules:
        raise _none(name or "")
    return Explanations(tuple(Explanation.of(rule) for rule in rules))


def subject(rule: str) -> str:
    """The first part of a rule's name."""
    return rule.partition(".")[0]


def _none(name: str) -> RelokitError:
    """What there is to say of a name that no rule has, be it one that something else has."""
    for erratum in ERRATA:
        if erratum.rule == name:
            what = f"no rule judges {name}: {erratum.what}"
            return RelokitError(what, hint=f"see {erratum.source}; a run of one CPU has none of it")
    if name in OTHERS:
        return RelokitError(f"no rule judges {name}: {OTHERS[name]}", hint="see docs/matrix.md")
    return RelokitError(f"no rule {name!r}", hint=_nearest(name))


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    names = [rule.name for rule in whole_book()]
    known = list(dict.fromkeys((*names, *map(subject, names))))
    wanted = name[:80].lower()
    # A part of a name is more often meant than one with other letters.
    near = [one for one in known if wanted and wanted in one]
    near += [one for one in get_close_matches(wanted, known, NEAR, 0.5) if one not in near]
    listed = "'relokit explain' lists all rules"
    return f"did you mean {', '.join(near[:NEAR])}? {listed}" if near else listed
