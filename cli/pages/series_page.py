"""The whole series as one HTML page: a step is a Diff of two states, foldable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from relokit.cli.pages.page import DiffView, diff_view
from relokit.cli.pages.page_map import SCALE
from relokit.cli.pages.page_render import render_page
from relokit.cli.pages.page_rows import RowBudget, RowPlan
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.base.version import VERSION
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.model import PatchStep
from relokit.reporting.page_text import Ids, shown


@dataclass(frozen=True, slots=True)
class StepView:
    """A step as the page shows it; ``bar`` is its share of the changes, of SCALE."""

    id: str
    number: int
    subject: str
    change: str
    diff: DiffView
    bar: int


def series_page(steps: Sequence[PatchStep], accepted: str | None = None) -> str:
    """``steps`` as an HTML document, in their order; ``accepted`` is what a project accepts.

    Routines that a step leaves the same are listed by name: a diff of the two states has their
    code.
    """
    plans = [
        [RowPlan(routine, step.diff.kinds) for routine in step.diff.routines] for step in steps
    ]
    budget = RowBudget.of([plan for of_step in plans for plan in of_step if plan.changed])
    most = max((step.diff.changed for step in steps), default=0)
    views = [
        _step_view(step, of_step, budget, most) for step, of_step in zip(steps, plans, strict=True)
    ]
    totals: Counter[str] = Counter()
    for view in views:
        totals.update(dict(view.diff.kinds))
    return render_page(
        "series.html.j2",
        {
            "steps": views,
            "kinds": tuple((str(kind), totals[kind]) for kind in ChangeKind if totals[kind]),
            "changed": totals.total(),
            "without": sum(view.diff.same for view in views),
            "accepted": shown(accepted or ""),
            "version": VERSION,
        },
    )


def _step_view(step: PatchStep, plans: Sequence[RowPlan], budget: RowBudget, most: int) -> StepView:
    id_ = f"step{step.number}"
    view = diff_view(step.diff, plans, budget, Ids(f"{id_}."), all_code=False)
    bar = max(1, round(SCALE * view.changed / most)) if view.changed else 0
    return StepView(id_, step.number, shown(step.subject), shown(step.change), view, bar)
