"""What a project's file and a baseline are to a command: defaults, and what it does not fail of.

Nothing here is imported where there is neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from relokit.building import build_image
from relokit.cli.command_list import COMMANDS, PROJECT_META
from relokit.cli.help_groups import GROUPS
from relokit.codegen.base.atomic import write_atomic
from relokit.codegen.base.documents import document
from relokit.codegen.base.errors import FormatError
from relokit.codegen.kexec_routines import KexecRoutine
from relokit.codegen.target import Target
from relokit.matrix import CellResult
from relokit.project.known_findings import Baseline, FindingPolicy, read_baseline
from relokit.project.project_file import EVERY_COMMAND, ProjectFile, read_project
from relokit.runtime.judge.outcome import Outcome

_TOLD = frozenset(GROUPS["What is told"])
_START, _END = "arm64_relocate_new_kernel", "__relocate_new_kernel_end"


def take_defaults(ctx: click.Context, path: Path) -> None:
    """Take the options of the project in ``path`` as defaults of the command of ``ctx``.

    Raises FormatError for a file that is wrong, also where an option is not one of the command.
    """
    project = read_project(path, frozenset(COMMANDS))
    ctx.meta[PROJECT_META] = project
    name = ctx.command.name or ""
    options = {
        one.opts[-1].lstrip("-"): one
        for one in ctx.command.get_params(ctx)
        if isinstance(one, click.Option) and one.name not in _TOLD
    }
    defaults: dict[str, Any] = {}
    for table in (EVERY_COMMAND, name):
        for key, value in project.options.get(table, {}).items():
            if key in options:
                option = options[key]
                defaults[option.name or ""] = _value(project, f"{table}.{key}", option, value)
            elif table == name:
                raise FormatError(
                    f"[{name}] has no {key[:40]!r}",
                    where=project.where,
                    hint=f"it has {', '.join(sorted(options))}",
                )
    ctx.default_map = defaults


def _value(project: ProjectFile, name: str, option: click.Option, value: object) -> object:
    """What click is given for it: as if it stood on the command line."""
    values = value if isinstance(value, list) else [value]
    if option.is_flag:
        if not isinstance(value, bool):
            raise FormatError(f"{name} is neither true nor false", where=project.where)
        return value
    if any(isinstance(one, bool) or not isinstance(one, (str, int, float)) for one in values):
        raise FormatError(f"{name} is no text and no number", where=project.where)
    texts = [str(one) for one in values]
    return texts if option.multiple else ",".join(texts)


class Judging:
    """What a command makes of its findings, and the baseline that it writes."""

    def __init__(self, policy: FindingPolicy, write_to: Path | None, *, sizes: bool) -> None:
        self._policy, self._write_to, self._sizes = policy, write_to, sizes

    def outcome(
        self, name: str, outcome: Outcome, target: Target | None, templates: Path | None
    ) -> Outcome:
        """The outcome of a run that is called ``name``, judged again."""
        code_bytes = None
        if self._sizes and target is not None:
            code_bytes = _code_bytes(outcome, target, templates)
        return self._policy.outcome(name, outcome, code_bytes)

    def cell(self, result: CellResult, *, strict: bool) -> CellResult:
        """The result of a cell, judged again."""
        return self._policy.cell(result, strict=strict)

    def finish(self) -> None:
        """Write the baseline, if it is wanted."""
        if self._write_to is not None:
            import json

            text = json.dumps(document(Baseline(self._policy.seen)), indent=1, sort_keys=True)
            write_atomic(self._write_to, [f"{text}\n".encode()])


def judging_of(options: Mapping[str, Path | None]) -> Judging | None:
    """What ``--baseline``, ``--write-baseline`` and the project say; None if they say nothing."""
    baseline, write_to = options["baseline"], options["write_baseline"]
    project: ProjectFile | None = click.get_current_context().meta.get(PROJECT_META)
    if baseline is None and write_to is None and project is None:
        return None
    known = None if baseline is None else read_baseline(baseline)
    sizes = baseline is not None or write_to is not None
    return Judging(FindingPolicy(project, known), write_to, sizes=sizes)


def _code_bytes(outcome: Outcome, target: Target, templates: Path | None) -> int | None:
    """The size of the relocation routine that ran, in bytes."""
    for part in () if outcome.code is None else outcome.code.parts:
        if part.foreign and part.routine is KexecRoutine.RELOCATION:
            return part.bytes
    image = build_image(target, templates=templates)
    if not (image.has_symbol(_START) and image.has_symbol(_END)):
        return None
    return image.symbol(_END) - image.symbol(_START)
