"""Which results are wanted, and where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relokit.cli.results.result_cases import ResultSet
from relokit.cli.results.written import results_of_error, text_of_results, write_results
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class WantedResults:
    """Results of ``command`` in ``form``: on standard output, or in the file ``output``."""

    command: str
    form: str
    output: Path | None
    timings: bool

    @property
    def leaves_terminal(self) -> bool:
        """Whether standard output is free for people."""
        return self.output is not None

    def put(self, results: ResultSet) -> None:
        """Write them, whole or not at all."""
        write_results(text_of_results(results, self.form, timings=self.timings), self.output)

    @contextmanager
    def with_failures(self, sources: tuple[Path, ...] = ()) -> Iterator[None]:
        """An error that ends the block is a result, too, before it goes on its way."""
        try:
            yield
        except RelokitError as error:
            self.put(results_of_error(self.command, error, sources))
            raise
