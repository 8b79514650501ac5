"""Archives as ar(1) makes them."""

from __future__ import annotations

from collections.abc import Mapping


def archive(members: Mapping[str, bytes]) -> bytes:
    """An archive of ``members``, by name; long names are in a table."""
    table, parts = b"", []
    for name, data in members.items():
        shown = f"{name}/"
        if len(shown) > 16:
            shown, table = f"/{len(table)}", table + name.encode() + b"/\n"
        parts.append(member(shown, data))
    return b"!<arch>\n" + (member("//", table) if table else b"") + b"".join(parts)


def member(name: str, data: bytes = b"xy") -> bytes:
    """One member, called ``name`` in its header."""
    return (
        f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode()
        + data
        + b"\n" * (len(data) % 2)
    )
