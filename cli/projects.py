"""What a project's file and a baseline are to a command: defaults, and what it does not fail of.

Nothing here is imported where there is neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relokit.building import build_image
from relokit.cli.command_list import PROJECT_META
from relokit.cli.help_groups import GROUPS
from relokit.cli.overview import COMMANDS
from relokit.cli.results.result_cases import RUN_DIFFERS, CaseEnd
from relokit.codegen.base.atomic import write_atomic
from relokit.codegen.base.documents import document
from relokit.codegen.base.errors import (
    MAX_MESSAGE,
    FormatError,
    RelokitError,
    one_line,
    shortened,
)
from relokit.codegen.base.suggestion import meant
from relokit.codegen.kexec_routines import CodeUsed, KexecRoutine
from relokit.codegen.target import Target
from relokit.matrix import CellResult
from relokit.project.known_findings import JUDGED, Baseline, FindingPolicy, read_baseline
from relokit.project.project_file import EVERY_COMMAND, ProjectFile, read_project
from relokit.runtime.judge.outcome import Outcome, Status, accepted_text
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.routines import routines_of
from relokit.runtime.live.live_outcome import LiveOutcome

if TYPE_CHECKING:
    from relokit.cli.results.result_cases import ResultSet
    from relokit.mutation.mutation_report import MutationReport

_TOLD = frozenset(GROUPS["What is told"])
_FOUND_BESIDE = (
    "baseline.instructions", "baseline.code-bytes", "baseline.unknown", "threshold.instructions",
    RUN_DIFFERS,
)  # fmt: skip
"""Not in it is what a cell without a verdict is told by: it passes by nothing."""


def take_defaults(ctx: click.Context, path: Path) -> None:
    """Take the options of the project in ``path`` as defaults of the command of ``ctx``.

    Raises FormatError for a file that is wrong, also where an option is not one of its command, or
    under ``[options]`` of none.
    """
    project = read_project(path, frozenset(COMMANDS), _rules)
    ctx.meta[PROJECT_META] = project
    name = ctx.command.name or ""
    options = _options(ctx.command)
    defaults: dict[str, Any] = {}
    for table in (EVERY_COMMAND, name):
        for key, value in project.options.get(table, {}).items():
            if key in options:
                option = options[key]
                defaults[option.name or ""] = _value(project, table, key, option, value)
    _refuse_unknown(project, {name: options})
    ctx.default_map = defaults


def _options(command: click.Command) -> dict[str, click.Option]:
    """By what they are called in the file, what may stand there.

    ``--help`` may not: a command that says how it is used ends well, and has judged nothing.
    """
    return {
        one.opts[-1].lstrip("-"): one
        for one in command.get_params(click.Context(command))
        if isinstance(one, click.Option) and one.name not in _TOLD and "--help" not in one.opts
    }


def _refuse_unknown(project: ProjectFile, known: dict[str, dict[str, click.Option]]) -> None:
    """Raise FormatError for a key that no command takes; ``known`` are options by command."""

    def options_of(name: str) -> dict[str, click.Option]:
        if name not in known:
            # It is loaded only if a file has such a table.
            known[name] = _options(import_module(f"relokit.cli.commands.{name}").command)
        return known[name]

    for table, values in project.options.items():
        if table != EVERY_COMMAND:
            unknown = [key for key in values if key not in options_of(table)]
            taken = {*options_of(table)}
        else:
            unknown = [key for key in values if not any(key in one for one in known.values())]
            taken = {*chain.from_iterable(map(options_of, COMMANDS))} if unknown else set()
            unknown = [key for key in unknown if key not in taken]
        if unknown:
            key = unknown[0]
            all_of = f"it has {', '.join(sorted(taken))}"
            if table == EVERY_COMMAND:
                all_of = "it has what '--help' of any command has"
            raise FormatError(
                f"[{table}] has no {key[:40]!r}",
                where=project.at(table, key),
                hint=meant(key, taken) + all_of,
            )


def _rules() -> frozenset[str]:
    """What findings may be of: rules of the book, and what commands find themselves."""
    from relokit.diffing.kernels.whole_changes import FunctionStatus
    from relokit.diffing.routines.classify import ChangeKind
    from relokit.runtime.judge.book import whole_book
    from relokit.runtime.mutation.operators import OPERATOR_NAMES

    return frozenset(
        (
            *(rule.name for rule in whole_book()),
            *(f"mutant.{name}" for name in OPERATOR_NAMES),
            *(f"diff.{kind}" for kind in ChangeKind),
            *(f"diff.{status.name.lower().replace('_', '-')}" for status in FunctionStatus),
            *_FOUND_BESIDE,
        )
    )


def _value(
    project: ProjectFile, table: str, key: str, option: click.Option, value: object
) -> object:
    """What click is given for it: as if it stood on the command line."""
    name, where = f"{table}.{key}", project.at(table, key)
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, str) and "\0" in one for one in values):
        raise FormatError(f"{name} has a NUL, which no word of a command line has", where=where)
    if option.is_flag:
        if not isinstance(value, bool):
            raise FormatError(f"{name} is neither true nor false", where=where)
        return value
    if any(isinstance(one, bool) or not isinstance(one, (str, int, float)) for one in values):
        raise FormatError(f"{name} is no text and no number", where=where)
    texts = [str(one) for one in values]
    return texts if option.multiple else ",".join(texts)


class Judging:
    """What a command makes of its findings, and the baseline that it writes."""

    def __init__(
        self, policy: FindingPolicy, write_to: Path | None, of: str, *, sizes: bool
    ) -> None:
        self._policy, self._write_to, self._of, self._sizes = policy, write_to, of, sizes
        self._last: tuple[Target, int | None] | None = None

    def outcome(
        self, name: str, outcome: Outcome, target: Target | None, templates: Path | None
    ) -> Outcome:
        """The outcome of a run that is called ``name``, judged again."""
        code_bytes = None
        if self._sizes and target is not None:
            code_bytes = _code_bytes(outcome.code, target, templates)
        return self._policy.outcome(name, outcome, code_bytes)

    def cell(self, result: CellResult, job: Job, code: CodeUsed | None) -> CellResult:
        """The result of a cell of a matrix of ``job``, judged again; ``code`` ran in it."""
        code_bytes, target = None, result.cell.target
        if self._sizes and target is not None and result.status in JUDGED:
            # The cells of a target come one after the other.
            if self._last is None or self._last[0] != target:
                self._last = target, _code_bytes(code, target, job.templates)
            code_bytes = self._last[1]
        return self._policy.cell(result, code_bytes, strict=job.strict)

    def live(self, outcome: LiveOutcome) -> LiveOutcome:
        """The outcome of a kexec of shipped kernels: its hand-over, judged again."""
        if outcome.handover is None:
            return outcome
        handover = self._policy.outcome("hand-over", outcome.handover, None)
        status = outcome.status
        if status is not Status.NO_ANSWER:
            missed = any(not one.reached for one in outcome.stations)
            changed = outcome.load is not None and bool(outcome.load.changed)
            failed = changed or not handover.passed or (missed and not outcome.passed)
            status = Status.FAIL if failed else Status.PASS
        return replace(outcome, handover=handover, status=status)

    def results(self, found: ResultSet, limit: str, count: int) -> tuple[ResultSet, str]:
        """The results of a command whose failures are findings, judged again; and what is accepted.

        ``limit`` is the threshold that ``count`` of what differs or survives may be up to.
        """
        from relokit.cli.results.judged_cases import case_judged_again

        allowed = self._policy.allowed(limit, count)
        cases = tuple(
            case_judged_again(
                case, self._policy.findings(case.findings, allowed if case.is_counted else None)
            )
            for case in found.cases
        )
        accepted = accepted_text(one for case in cases for one in case.findings)
        failed = any(case.end is CaseEnd.FAILED for case in cases)
        exceeded = self._policy.exceeded(limit, count) if failed else ""
        notes = tuple(filter(None, (accepted, exceeded)))
        return replace(found, cases=cases, notes=(*notes, *found.notes)), "; ".join(notes)

    def mutants(
        self, results: ResultSet, report: MutationReport
    ) -> tuple[ResultSet, MutationReport]:
        """Both, where survivors that are accepted fail nothing."""
        survivors = sum(not one.equivalent for one in report.survivors)
        judged, accepted = self.results(results, "survivors", survivors)
        status = report.status
        if status == "fail" and not any(case.end is CaseEnd.FAILED for case in judged.cases):
            status = "pass" if report.is_whole else "no answer"
        return judged, replace(report, status=status, accepted=accepted or None)

    def finish(self) -> None:
        """Write the baseline, if it is wanted, and say what in the project's file did nothing."""
        for line in self._policy.unused(self._of):
            click.echo(one_line(shortened(line, MAX_MESSAGE)), err=True)
        if self._write_to is not None:
            import json

            text = json.dumps(document(Baseline(self._policy.seen)), indent=1, sort_keys=True)
            write_atomic(self._write_to, [f"{text}\n".encode()])


def judging_of(options: Mapping[str, Path | None]) -> Judging | None:
    """What ``--baseline``, ``--write-baseline`` and the project say; None if they say nothing."""
    baseline, write_to = options.get("baseline"), options.get("write_baseline")
    context = click.get_current_context()
    project: ProjectFile | None = context.meta.get(PROJECT_META)
    if baseline is None and write_to is None and project is None:
        return None
    known = None if baseline is None else read_baseline(baseline)
    sizes = baseline is not None or write_to is not None
    return Judging(FindingPolicy(project, known), write_to, context.command.name or "", sizes=sizes)


def _code_bytes(code: CodeUsed | None, target: Target, templates: Path | None) -> int | None:
    """The size of the relocation routine that ran, in bytes."""
    for part in () if code is None else code.parts:
        if part.foreign and part.routine is KexecRoutine.RELOCATION:
            return part.bytes
    try:
        return len(routines_of(build_image(target, templates=templates)).relocation)
    except RelokitError:
        # What cannot be built is told where it was to run.
        return None
