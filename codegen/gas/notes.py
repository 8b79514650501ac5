"""Directives that leave nothing in an Object: unwind and debug notes, and the choice of a CPU.

Their form is judged all the same: a file that GNU as refuses is not taken for one that it takes.
"""

from __future__ import annotations

import re

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.instructions.arithmetic import parse
from relokit.codegen.gas.unit import UnitState

_STRING = r'"(?:\\.|[^"\\])*"'
_NUMBER = r"[0-9A-Za-z_.$+\-*/() ]+"
_VIEW = r"view[ \t]+(?:-0|[A-Za-z_.$][\w.$]*)"
_FLAG = rf"basic_block|prologue_end|epilogue_begin|(?:is_stmt|isa|discriminator)[ \t]+\w+|{_VIEW}"
_LOC = rf"[0-9]+[ \t]+[0-9]+(?:[ \t]+[0-9]+)?(?:[ \t]+(?:{_FLAG}))*"
_NAME = r"[\w.+\-]+"
_STRINGS = re.compile(_STRING + "|md5")
_FORMS = {
    ".arch": _NAME,
    ".arch_extension": _NAME,
    ".cpu": _NAME,
    ".file": rf"(?:[0-9]+[ \t]+)?{_STRING}(?:[ \t]*{_STRING})?(?:[ \t]+md5[ \t]+0x[0-9a-fA-F]+)?",
    ".ident": _STRING,
    ".loc": _LOC,
    ".cfi_sections": r"\.\w+(?:[ \t]*,[ \t]*\.\w+)*",
    ".cfi_startproc": r"(?:simple)?",
    ".cfi_endproc": "",
    ".cfi_b_key_frame": "",
    ".cfi_negate_ra_state": "",
    ".cfi_remember_state": "",
    ".cfi_restore_state": "",
    ".cfi_signal_frame": "",
    ".cfi_window_save": "",
    **dict.fromkeys((".cfi_def_cfa", ".cfi_offset", ".cfi_rel_offset"), rf"\w+[ \t]*,{_NUMBER}"),
    **dict.fromkeys((".cfi_adjust_cfa_offset", ".cfi_def_cfa_offset"), _NUMBER),
    **dict.fromkeys((".cfi_def_cfa_register", ".cfi_return_column"), r"\w+"),
    **dict.fromkeys(
        (".cfi_restore", ".cfi_same_value", ".cfi_undefined"), r"\w+(?:[ \t]*,[ \t]*\w+)*"
    ),
}
FORMS = {name: re.compile(form, re.ASCII) for name, form in _FORMS.items()}
"""Directive to what may stand behind it."""


def note(unit: UnitState, name: str, rest: str) -> None:
    """Judge one of FORMS. Raises AssemblyError, no position."""
    if FORMS[name].fullmatch(rest.strip(" \t")) is None:
        raise AssemblyError(f"`{rest}' is not what {name} takes")
    if name in (".file", ".loc"):
        _source_position(unit, name, rest.split())
    if not name.startswith(".cfi_") or name == ".cfi_sections":
        return
    if name == ".cfi_startproc":
        if unit.frame_open:
            raise AssemblyError(".cfi_startproc before the last one's .cfi_endproc")
        unit.frame_open = True
    elif not unit.frame_open:
        raise AssemblyError(f"{name} without .cfi_startproc")
    elif name in (".cfi_offset", ".cfi_rel_offset"):
        offset = parse(rest.partition(",")[2])
        if isinstance(offset, int) and offset % 8:
            raise AssemblyError(f"a register is saved at a multiple of 8, not {offset}")
    elif name == ".cfi_endproc":
        unit.frame_open = False


def _source_position(unit: UnitState, name: str, words: list[str]) -> None:
    """File 0 comes first if at all: it says that the notes, and their forms, are DWARF 5."""
    zero = not words[0].strip("0")
    if name == ".file" and zero:
        unit.dwarf5 = True
    if not unit.dwarf5 and (
        zero or (name == ".file" and len(_STRINGS.findall(" ".join(words))) > 1)
    ):
        raise AssemblyError("file 0, a directory of its own and md5 are for behind a .file 0")
