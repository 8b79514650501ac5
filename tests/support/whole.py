"""All that is in a noun, with types: what ``repr``, which is for people, leaves out as well."""

from __future__ import annotations

import dataclasses

from relokit.codegen.object import SourceLines


def whole(value: object) -> str:
    """``value``, its fields and theirs, written out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (
            f"{one.name}={whole(getattr(value, one.name))}" for one in dataclasses.fields(value)
        )
        return f"{type(value).__name__}({', '.join(fields)})"
    if isinstance(value, (tuple, list, SourceLines)):
        return f"{type(value).__name__}[{', '.join(map(whole, value))}]"
    return repr(value)
