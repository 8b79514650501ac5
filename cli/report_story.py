"""``--report``: where its trace goes meanwhile, and how the page comes about: whole, or not."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relokit.cli.once import WORDS
from relokit.codegen.base.nouns import dataclass

if TYPE_CHECKING:
    from relokit.matrix import CellResult, Tally
    from relokit.mutation.mutation_report import MutationReport
    from relokit.reporting.report_facts import ReportFacts
    from relokit.reporting.report_parts import Report
    from relokit.reporting.run_report import HowMade
    from relokit.runtime.judge.outcome import Outcome
    from relokit.runtime.live.live_outcome import LiveOutcome

FILES = ("kernel", "next", "initrd", "dtb", "code_from", "layout_from", "userland", "snapshot")
"""Parameters that name files which are told of."""
_OUTPUTS = ("--report", "--trace", "-o", "--output")


@dataclass(frozen=True, slots=True)
class Story:
    """What a report is told: the ``page`` to write, and the ``trace`` that the run is to leave.

    ``trace`` is None for a plain run; ``given`` are the files by role.
    """

    page: Path
    trace: Path | None
    given: tuple[tuple[str, Path], ...]

    def tell(self, of: str, outcome: Outcome) -> None:
        """Write the page of a run."""
        from relokit.reporting.run_report import run_report

        self.write(run_report(of, outcome, self.facts(), self.how()))

    def tell_kexec(self, outcome: LiveOutcome) -> None:
        """Write the page of a kexec."""
        from relokit.reporting.kexec_report import kexec_report

        self.write(kexec_report(outcome, self.facts(), self.how()))

    def tell_matrix(
        self, results: Sequence[CellResult], tally: Tally, ended_by: str | None
    ) -> None:
        """Write the page of a matrix, as far as it got."""
        from relokit.cli.pages.campaign_report import matrix_report

        self.write(matrix_report(results, tally, self.how(), ended_by))

    def tell_mutants(self, report: MutationReport) -> None:
        """Write the page of a campaign."""
        from relokit.cli.pages.campaign_report import mutants_report

        self.write(mutants_report(report, self.how()))

    def write(self, report: Report) -> None:
        """Write this page."""
        from relokit.cli.pages.report_page import report_page

        self.page.write_text(report_page(report), "utf-8")

    def facts(self) -> ReportFacts:
        """What the trace shows, if there is one."""
        from relokit.reporting.report_facts import ReportFacts, facts_of_trace

        if self.trace is None:
            return ReportFacts(lacks=("nothing was recorded: a plain run",))
        if not self.trace.exists():
            return ReportFacts(lacks=("nothing was recorded: the move never began",))
        return facts_of_trace(self.trace)

    def how(self) -> HowMade:
        """The command's words, files and versions."""
        from relokit.linker.kernel.opened import Files
        from relokit.reporting.report_facts import inputs_of, versions
        from relokit.reporting.run_report import HowMade

        return HowMade(words(), tuple(inputs_of(self.given, Files())), versions())


@contextmanager
def perhaps_reported(page: Path | None, options: Mapping[str, Any]) -> Iterator[Story | None]:
    """The same, without a trace; None where no page is wanted."""
    if page is None:
        yield None
        return
    with reported(page, None, {**options, "plain": True}) as story:
        yield story


@contextmanager
def reported(page: Path, trace: Path | None, options: Mapping[str, Any]) -> Iterator[Story]:
    """While entered, what a report to ``page`` needs; a body that fails leaves no page.

    ``trace`` is where a person wants the trace, if so.
    """
    from tempfile import TemporaryDirectory

    from relokit.codegen.base.atomic import replacing
    from relokit.codegen.base.told_to_end import removed_at_last

    given = tuple(_given(options))
    plain = bool(options.get("plain"))
    with replacing(page) as temporary, TemporaryDirectory(prefix="relokit-") as directory:
        own = Path(directory) / "trace"
        with removed_at_last(own, directory):
            yield Story(temporary, None if plain else trace or own, given)


def _given(options: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    for name in FILES:
        value = options.get(name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Path):
                yield ("code" if name == "code_from" else name.replace("_", " ")), one


def words() -> str:
    """The command as it was typed, but for what it was to write: that says nothing of it."""
    context = click.get_current_context()
    left, rest = [], iter(context.meta.get(WORDS, ()))
    for word in rest:
        if word in _OUTPUTS:
            next(rest, None)
        elif not word.startswith(tuple(f"{flag}=" for flag in _OUTPUTS if flag != "-o")):
            left.append(word)
    return f"relokit {context.command.name} {shlex.join(left)}".rstrip()
