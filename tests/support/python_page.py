"""The reference of docs/python.md: every public name, from its signature and docstring.

cd tests && ../.venv/bin/python -m support.python_page
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import relokit
from relokit.machines.looking import BuiltMachine, _Shows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
BEGIN, END = "<!-- reference: make docs/python.md -->\n", "<!-- end -->\n"
GROUPS = {
    "Machines and files": "machine open BuiltMachine StoppedMachine StoredRecord KernelImage "
    "ObjectFile Moment rows",
    "Run and judge": "run judge kexec Session Outcome Finding Status LiveOutcome",
    "What to build, what to run": "Target Regime KimageLayout Job KexecPath Shape Order "
    "TraceFormat LiveJob",
    "Code": "render build build_programs generate export Exported explain",
    "Compare": "diff series_diff behave Aspect ChangeKind",
    "Many runs": "cells Cell Selection Payload run_matrix CellResult CellStatus",
    "Machines that are stopped elsewhere": "record convert take_up Attached Recorded",
    "To look by question": "show show_record Question Topic",
    "What is shown": "MemoryShown ListShown TablesShown VectorsShown CodeShown TimelineShown "
    "StepsShown",
    "Errors": "RelokitError TargetError TemplateError AssemblyError LinkError FormatError "
    "MachineError NativeCrashError",
    "Version": "__version__",
}
"""In which order they are told, and under what."""
WIDTH = 140


def reference() -> str:
    """The whole of it, as Markdown."""
    parts = []
    for heading, names in GROUPS.items():
        parts.append(f"## {heading}\n")
        parts += [_entry(name, getattr(relokit, name)) for name in names.split()]
    return "\n".join(parts)


def page(text: str) -> str:
    """``text`` of the page, its reference made anew."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{reference()}\n{END}{rest.partition(END)[2]}"


def _entry(name: str, what: Any) -> str:
    if not callable(what):
        return f"### {name}\n\n`{what!r}`: the version, as text.\n"
    lines = [f"### {name}\n"]
    if not (inspect.isclass(what) and issubclass(what, (Enum, Exception))):
        lines.append(_block(f"{name}{_signature(what)}"))
    lines += _paragraphs(inspect.getdoc(what) or "")
    if inspect.isclass(what):
        if issubclass(what, Enum):
            lines.append(", ".join(f"`{one.name}` ({one.value})" for one in what) + "\n")
        elif not issubclass(what, Exception):
            lines += _members(what)
    return "\n".join(lines)


def _block(text: str) -> str:
    wrapped = textwrap.wrap(text, WIDTH - 4, subsequent_indent="    ", break_on_hyphens=False)
    return "".join(f"    {line}\n" for line in wrapped)


def _signature(what: Any) -> str:
    signature, told = inspect.signature(what), []
    for one in signature.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and "*" not in told:
            told.append("*")
        default = "" if one.default is one.empty else f" = {_default(one.default)}"
        told.append(f"{one.name}: {one.annotation}{default}")
    # Annotations are text in this code.
    gives = "" if inspect.isclass(what) else f" -> {signature.return_annotation}"
    return f"({', '.join(told)}){gives}"


def _default(value: Any) -> str:
    if isinstance(value, Enum):
        return repr(str(value))
    if isinstance(value, tuple) and value:
        return f"({', '.join(map(_default, value))})"
    if inspect.isclass(value) or inspect.isfunction(value):
        return value.__name__
    return "..." if type(value).__module__ == "dataclasses" else repr(value)


def _paragraphs(text: str) -> Iterator[str]:
    for part in text.split("\n\n"):
        if not part.startswith(">>>"):
            told = re.sub(r":\w+:`([^`]+)`", r"`\1`", part).replace("``", "`")
            yield textwrap.fill(told, WIDTH, break_on_hyphens=False) + "\n"


def _members(what: type) -> Iterator[str]:
    fields = (
        {one.name for one in dataclasses.fields(what)} if dataclasses.is_dataclass(what) else ()
    )
    rows = []
    told_once = [_Shows] if issubclass(what, _Shows) and what is not BuiltMachine else []
    homes = [cls for cls in what.__mro__[:-1] if cls not in told_once]
    for name in dict.fromkeys(name for cls in homes for name in vars(cls)):
        member = inspect.getattr_static(what, name)
        if name.startswith("_") or name in fields:
            continue
        made = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        told = " ".join((inspect.getdoc(made) or "").partition("\n\n")[0].split())
        told = re.sub(r":\w+:`([^`]+)`", r"`\1`", told).replace("``", "`")
        if inspect.isfunction(made):
            rows.append(f"- `.{name}{_signature(made)}`: {told}")
        elif told and not isinstance(member, (str, tuple, dict)):
            rows.append(f"- `.{name}`: {told}")
    if told_once:
        rows.append("- and what `BuiltMachine` has to look: `.memory` to `.steps`")
    if rows:
        yield "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
