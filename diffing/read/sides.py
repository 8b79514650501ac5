"""What a person names, read as a Side: a target, assembly, an object, an ELF file, a kernel."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from relokit.codegen.base.coercion import argument, choice
from relokit.codegen.base.errors import TargetError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import ASSEMBLY, RELOCATION
from relokit.codegen.gas.includes import check_included
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.kimage_layouts import layout_named
from relokit.codegen.series import Feature, parse_state
from relokit.codegen.target import Regime, Target, parse_page_size
from relokit.diffing.progress import READING, Progress, untold
from relokit.diffing.read.object_side import object_side
from relokit.diffing.read.program_sides import GETS_KIMAGE, image_side
from relokit.diffing.read.routine import DiffError, Side
from relokit.diffing.read.untyped import is_called
from relokit.linker.elf_format import ELF_MAGIC, ET_REL
from relokit.linker.foreign.packed import UnpackedFiles
from relokit.linker.image import Image
from relokit.linker.kernel.opened import Files

PREFIX = "series:"
MAX_FILE = 1 << 30


@dataclass(frozen=True, slots=True)
class Operand:
    """``text`` is a target or a path, ``symbol`` the routine asked for, if one was."""

    text: str
    symbol: str | None


def parse_operand(text: str | os.PathLike[str]) -> Operand:
    """Split ``WHAT[:symbol]``; a file that has a colon in its name is taken as a whole."""
    # A file may be named by a Path, as everywhere else.
    given = os.fspath(text) if isinstance(text, os.PathLike) else text
    text = argument("operand", given, str, DiffError)
    prefix = PREFIX if text.startswith(PREFIX) else ""
    what, colon, symbol = text[len(prefix) :].rpartition(":")
    if not colon or (not prefix and os.path.exists(text)):
        return Operand(text, None)
    if not what or not symbol:
        raise DiffError(f"{text!r} names no routine", hint="give WHAT or WHAT:symbol")
    return Operand(prefix + what, symbol)


def parse_target(text: str) -> Target:
    """Read ``series:12,page=16k,el=vhe,va=48,layout=6.1``; raises TargetError."""
    state, _, settings = text.removeprefix(PREFIX).partition(",")
    number = parse_state(state)
    return replace(parse_settings(settings), series=number)


def parse_settings(text: str) -> Target:
    """Read ``page=16k,el=vhe,va=48,layout=6.1``, any of them or none; raises TargetError."""
    values: dict[str, object] = {}
    for setting in text.split(",") if text else ():
        name, _, value = setting.partition("=")
        if name not in _SETTINGS:
            raise TargetError(
                f"no {name!r} in a target", where=text, hint=f"known: {', '.join(_SETTINGS)}"
            )
        field, read = _SETTINGS[name]
        if field in values:
            raise TargetError(f"{name} is given twice", where=text)
        values[field] = read(value)
    return Target(**values)  # type: ignore[arg-type]


def _regime(text: str) -> Regime:
    return choice(Regime, text, "regime", TargetError)


def _bits(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 3:
        raise TargetError(f"{text!r} is no number of bits")
    return int(text)


_SETTINGS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "page": ("page_size", parse_page_size),
    "va": ("va_bits", _bits),
    "pa": ("pa_bits", _bits),
    "cpu": ("cpu_bits", _bits),
    "el": ("regime", _regime),
    "layout": ("layout", layout_named),
}


def read_sides(
    left: str,
    right: str,
    encoder: Callable[[], Encoder],
    progress: Progress = untold,
    include_dir: Path | None = None,
) -> tuple[Side, Side]:
    """Read both operands; a symbol that only one of them names is meant for both.

    ``encoder`` is asked for when there is something to assemble, which may include the files below
    ``include_dir``. Raises RelokitError.
    """
    operands = parse_operand(left), parse_operand(right)
    symbols = [one.symbol or other.symbol for one, other in (operands, (operands[1], operands[0]))]
    files = UnpackedFiles()
    sides = []
    for number, (operand, symbol) in enumerate(zip(operands, symbols, strict=True)):
        progress(READING, number, len(operands))
        sides.append(read_side(operand.text, symbol, encoder, files, include_dir))
    check_included(include_dir, anything=any(side.included for side in sides))
    progress(READING, len(operands), len(operands))
    return sides[0], sides[1]


def read_side(
    text: str,
    symbol: str | None,
    encoder: Callable[[], Encoder],
    files: Files,
    include_dir: Path | None = None,
) -> Side:
    """Read one operand: all its routines, or the one called ``symbol``; raises RelokitError."""
    if text.startswith(PREFIX):
        side = _target_side(parse_target(text), encoder)
    else:
        what = "assembly, an ELF file or a kernel"
        content = files.file(text, what=what, limit=MAX_FILE).content
        if text.endswith(ASSEMBLY):
            from relokit.codegen.gas.assembly_file import assemble_file

            made, included = assemble_file(content, text, encoder().encode, include_dir)
            side = replace(object_side(made, text), included=tuple(one.where for one in included))
        elif content[:4] == ELF_MAGIC:
            side = _elf_side(text, content, symbol)
        else:
            from relokit.diffing.read.kernel_side import kernel_side

            side = kernel_side(files.kernel(text), symbol)
    return _chosen(side, symbol)


def _chosen(side: Side, symbol: str | None) -> Side:
    if symbol is None:
        if not side.routines:
            raise DiffError("has no routine to compare", where=side.name)
        return side
    found = {name: one for name, one in side.routines.items() if is_called(name, symbol)}
    if not found:
        some = ", ".join(list(side.routines)[:8])
        raise DiffError(
            f"no routine {symbol!r}",
            where=side.name,
            hint=f"it has {some}{' ...' if len(side.routines) > 8 else ''}" if some else None,
        )
    return replace(side, name=f"{side.name}:{symbol}", routines=found, tables=())


def _target_side(target: Target, encoder: Callable[[], Encoder]) -> Side:
    from relokit.codegen.build import KERNEL
    from relokit.linker.link.image_cache import linked_images

    (image,) = linked_images((KERNEL,), target, encoder)
    return built_side(image, target)


def built_side(image: Image, target: Target, *, data: bool = False) -> Side:
    """The routines of ``image``, which was built for ``target``; its sized data too if ``data``."""
    readers = GETS_KIMAGE
    if not target.has(Feature.KIMAGE_ARGUMENT):
        readers -= {RELOCATION}
    side = image_side(image, target.name, layout=target.layout, readers=readers, data=data)
    return replace(side, target=target)


def _elf_side(path: str, content: memoryview, symbol: str | None) -> Side:
    from relokit.diffing.read.other_readers import linked_tables
    from relokit.linker.elf.elf_reader import read_code, read_object

    kind = struct.unpack_from("<H", content, 16)[0] if len(content) >= 18 else None
    if kind == ET_REL:
        return object_side(read_object(content, path, to_link=False), path, wanted=symbol)
    side = image_side(read_code(content, path), path, wanted=symbol)
    side = replace(side, unread=linked_tables(content, path, writable=True))
    return side if symbol else replace(side, tables=linked_tables(content, path))
