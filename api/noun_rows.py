"""``relokit.rows``: nouns as dictionaries, as tables of data take them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from relokit.codegen.base.errors import RelokitError


def rows(nouns: Iterable[Any]) -> list[dict[str, Any]]:
    """Each of ``nouns`` (steps, entries of a list, findings ...) as a dictionary of its fields.

    ``pandas.DataFrame(relokit.rows(guest.steps().steps))`` is a table of them. Values are as in the
    noun: addresses are numbers. Raises RelokitError for what is no noun.

    >>> rows(())
    []
    """
    found = []
    for one in nouns:
        if not is_dataclass(one) or isinstance(one, type):
            raise RelokitError(
                f"{type(one).__name__} is no noun", hint="give steps, entries, findings or cells"
            )
        found.append({field.name: getattr(one, field.name) for field in fields(one)})
    return found
