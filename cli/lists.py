"""Options of campaigns: several values with commas between them, and who does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from relokit.cli.options import F
from relokit.cli.parameters import CountParam
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.series import BEFORE, COMPLETE, parse_state
from relokit.runtime.campaign.cells import MAX_JOBS

if TYPE_CHECKING:
    from relokit.workers import Workers


class Several(click.ParamType[tuple[Any, ...]]):
    """Names with commas between them, as values: each once, in the order of ``known``."""

    name = "list"

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.known = known

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        chosen: set[Any] = set()
        for word in value.split(","):
            chosen.update(self.values(word.strip()))
        return tuple(known for known in self.known.values() if known in chosen)

    def values(self, word: str) -> Iterable[Any]:
        """What ``word`` stands for."""
        if word.lower() not in self.known:
            self.fail(f"{word!r} is none of {', '.join(self.known)}")
        return [self.known[word.lower()]]


class States(Several):
    """States of the series and ranges of them: ``0,5-15``."""

    def __init__(self) -> None:
        super().__init__({str(state): state for state in range(BEFORE, COMPLETE + 1)})

    def values(self, word: str) -> Iterable[Any]:
        first, dash, last = word.partition("-")
        try:
            # No longer than any state: Python refuses to convert thousands of digits.
            low = parse_state(first[:20])
            high = parse_state(last[:20]) if dash else low
        except RelokitError as error:
            self.fail(f"{error.message}; {error.hint}, or a range such as 5-15")
        if high < low:
            self.fail(f"{word!r} is a range that ends before it begins")
        return range(low, high + 1)


def several(
    flag: str, known: Iterable[Any] | Mapping[str, Any], help_text: str, *names: str
) -> Callable[[F], F]:
    """An option that takes some of ``known``, listed in its help."""
    words = known if isinstance(known, Mapping) else {str(value): value for value in known}
    return click.option(
        flag, *names, type=Several(words), metavar="A,B,..", help=f"{help_text} {', '.join(words)}."
    )


def workers_options(function: F) -> F:
    """Add ``--jobs`` and ``--cluster``, of which there can be one."""
    jobs = click.option(
        "-j",
        "--jobs",
        type=CountParam(1, MAX_JOBS),
        help="How many at a time. [default: one a core]",
    )
    cluster = click.option(
        "--cluster",
        metavar="ADDRESS",
        help="Use the workers of this Dask scheduler (tcp://host:8786) instead; needs "
        "relokit[cluster].",
    )
    return jobs(cluster(function))


def workers_of(jobs: int | None, cluster: str | None, most: int = MAX_JOBS) -> Workers:
    """Those that the options ask for, at most so many here; raises RelokitError without any."""
    from relokit.workers import RoomWorkers, default_jobs

    if cluster is None:
        return RoomWorkers(max(1, min(jobs or default_jobs(), most)))
    if jobs is not None:
        raise click.UsageError("--jobs is for this machine: leave it out with --cluster")
    from relokit.cluster import ClusterWorkers

    return ClusterWorkers(cluster)
