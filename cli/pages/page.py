"""A Diff as one HTML page: overview, map, code side by side.

The page is plain data for the templates of ``cli/pages``; ``page_rows`` has the code,
``page_map`` the map. It depends on the Diff alone: no date, no machine, the same bytes every time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from relokit.cli.pages.page_map import (
    Entry,
    address_shown,
    section_entries,
    signed,
    with_bars,
)
from relokit.cli.pages.page_render import render_page
from relokit.cli.pages.page_rows import Block, RowBudget, RowPlan, blocks
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.base.version import VERSION
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.model import Action, Diff, RoutineDiff, register_name
from relokit.diffing.routines.report import summary_parts
from relokit.reporting.page_text import Ids, name_shown, shown

MAX_SUMMARY = 2000
"""Characters of a part of the summary."""
MAX_NAMES = 200
"""Names in a list that are shown."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A table to show as it is: each row has a cell for each column."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What is known of how both sides run, ready to be shown: a verdict, remarks, and tables."""

    verdict: str
    remarks: tuple[str, ...] = ()
    tables: tuple[Facts, ...] = ()


@dataclass(frozen=True, slots=True)
class RoutineView:
    """A routine as the page shows it; ``code`` is empty where only its name is listed.

    ``sourced`` says of which side source lines are known.
    """

    id: str
    name: str
    section: str
    addresses: tuple[str, str]
    sizes: tuple[int | None, int | None]
    status: str
    renames: tuple[str, ...]
    sourced: tuple[bool, bool]
    code: tuple[Block, ...] = ()

    @property
    def difference(self) -> str:
        """Bytes that the right has more, with a sign."""
        return signed((self.sizes[1] or 0) - (self.sizes[0] or 0))

    @property
    def same(self) -> bool:
        """Whether there is nothing to see."""
        return self.status == "same"


@dataclass(frozen=True, slots=True)
class DiffView:
    """A Diff as the page shows it. ``kinds`` are counts by kind, of those that are there."""

    left: str
    right: str
    same: bool
    verdict: str
    changed: int
    score: str
    summary: tuple[str, ...]
    kinds: tuple[tuple[str, int], ...]
    actions: tuple[str, ...]
    matrix: tuple[tuple[str, tuple[int, ...]], ...]
    asked: str
    sections: tuple[Entry, ...]
    sections_unlisted: int
    map: tuple[Entry, ...]
    ignored: str
    sizes: tuple[int, int]
    routines: tuple[RoutineView, ...]

    @property
    def difference(self) -> str:
        """Bytes of code that the right has more, with a sign."""
        return signed(self.sizes[1] - self.sizes[0])

    @property
    def same_names(self) -> str:
        """The routines without a difference, by name."""
        return listed([one.name for one in self.routines if one.same])


def diff_page(diff: Diff, *, behaviour: Behaviour | None = None) -> str:
    """``diff`` as an HTML document; ``behaviour`` is shown in a section of its own."""
    plans = [RowPlan(routine, diff.kinds) for routine in diff.routines]
    view = diff_view(diff, plans, RowBudget.of(plans), Ids())
    return render_page(
        "diff.html.j2",
        {
            "diff": view,
            "kinds": view.kinds,
            "verdict": shown(behaviour.verdict) if behaviour else "",
            "remarks": tuple(map(shown, behaviour.remarks)) if behaviour else (),
            "tables": tuple(map(_clean, behaviour.tables)) if behaviour else (),
            "version": VERSION,
        },
    )


def diff_view(
    diff: Diff, plans: Sequence[RowPlan], budget: RowBudget, ids: Ids, *, all_code: bool = True
) -> DiffView:
    """What the templates need of ``diff``; without ``all_code``, routines that are the same have
    no code.
    """
    changes = diff.changes()
    by_kind = Counter(change.kind for change in changes)
    by_both = Counter((change.kind, change.action) for change in changes)
    actions = [action for action in Action if any(action is one.action for one in changes)]
    routines = tuple(_routine_view(diff, plan, budget, ids, all_code=all_code) for plan in plans)
    sections, unlisted = section_entries(diff.left, diff.right)
    asked = [str(kind) for kind in ChangeKind if kind in diff.kinds]
    return DiffView(
        left=name_shown(diff.left.name),
        right=name_shown(diff.right.name),
        same=diff.same,
        verdict=f"The {diff.verdict}",
        changed=len(changes),
        score=f"{diff.score:.1f}",
        summary=tuple(shown(part, MAX_SUMMARY) for part in summary_parts(diff)),
        kinds=tuple((str(kind), by_kind[kind]) for kind in ChangeKind if by_kind[kind]),
        actions=tuple(action.verb for action in actions),
        matrix=tuple(
            (str(kind), tuple(by_both[kind, action] for action in actions))
            for kind in ChangeKind
            if by_kind[kind]
        ),
        asked="" if diff.kinds == frozenset(ChangeKind) else ", ".join(asked) or "nothing",
        sections=sections,
        sections_unlisted=unlisted,
        map=with_bars([_entry(view) for view in routines]),
        ignored=listed([name_shown(name) for name in diff.ignored]),
        sizes=(_total(view.sizes[0] for view in routines), _total(v.sizes[1] for v in routines)),
        routines=routines,
    )


def listed(names: Sequence[str]) -> str:
    """``names`` with commas, the first MAX_NAMES of them."""
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _total(sizes: Iterable[int | None]) -> int:
    return sum(size or 0 for size in sizes)


def _routine_view(
    diff: Diff, plan: RowPlan, budget: RowBudget, ids: Ids, *, all_code: bool
) -> RoutineView:
    routine = plan.routine
    left, right = routine.left, routine.right
    one = left or right
    assert one is not None
    sections = dict.fromkeys(name_shown(r.section) for r in (left, right) if r and r.section)
    id_ = ids.take(one.name)
    status = _status(diff, routine)
    return RoutineView(
        id=id_,
        name=" → ".join(dict.fromkeys(name_shown(r.name) for r in (left, right) if r)),
        section=" → ".join(sections),
        addresses=(address_shown(left, diff.left), address_shown(right, diff.right)),
        sizes=(len(left.code) if left else None, len(right.code) if right else None),
        status=status,
        renames=tuple(
            f"{register_name(old)}→{register_name(new)}" for old, new in routine.registers
        ),
        sourced=(bool(left and left.lines), bool(right and right.lines)),
        code=tuple(blocks(plan, id_, budget)) if all_code or status != "same" else (),
    )


def _status(diff: Diff, routine: RoutineDiff) -> str:
    if routine.right is None:
        return "only left"
    if routine.left is None:
        return "only right"
    changed = len(diff.changes_in(routine))
    return f"{changed:,} changed" if changed else "same"


def _entry(view: RoutineView) -> Entry:
    return Entry(view.name, view.addresses, view.sizes, view.status, view.section, view.id)


def _clean(table: Facts) -> Facts:
    return Facts(
        shown(table.heading),
        tuple(map(shown, table.columns)),
        tuple(tuple(map(shown, row)) for row in table.rows),
    )
