"""How a noun is drawn in a notebook: by whoever makes pages, which knows nouns and is not known.

The façade says who that is. Without it a noun is told as text (noun_reprs).
"""

from __future__ import annotations

from collections.abc import Callable

_draw: list[Callable[[object], str]] = []


def draw_by(draw: Callable[[object], str]) -> None:
    """Have ``draw`` make the HTML of nouns from now on."""
    _draw[:] = [draw]


def drawn(noun: object) -> str | None:
    """``noun`` as HTML: what its class has as ``_repr_html_``; None where nobody draws."""
    return _draw[0](noun) if _draw else None
