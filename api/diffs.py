"""Machine code side by side, for a script or a notebook.

>>> import relokit
>>> relokit.diff("series:14", "series:15").same
True
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from relokit.arguments import path_or_none
from relokit.building import build_image, encoder
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.host_file import reading
from relokit.codegen.series import BEFORE, COMPLETE, PATCHES
from relokit.diffing.instructions.ignorable import Ignorable
from relokit.diffing.instructions.normalise import Aspect
from relokit.diffing.progress import Progress, untold
from relokit.diffing.read.sides import built_side, parse_settings, read_side, read_sides
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.model import Diff, PatchStep
from relokit.linker.foreign.packed import UnpackedFiles


@reading()
def diff(
    left: str,
    right: str,
    *,
    kept: Iterable[Aspect] = (),
    kinds: Iterable[ChangeKind] = ChangeKind,
    ignore: Iterable[Ignorable] = (),
    include_dir: Path | None = None,
    progress: Progress = untold,
) -> Diff:
    """Compare two operands as ``relokit diff`` takes them: targets, assembly, ELF files, kernels.

    ``kept`` are the aspects that are differences for once, ``kinds`` the differences that count,
    ``ignore`` what of these is found, counted apart and not taken for one. Assembly may include
    files below ``include_dir``. Raises RelokitError for what cannot be read or compared.
    """
    include_dir = path_or_none("include_dir", include_dir)
    sides = read_sides(left, right, encoder, progress, include_dir)
    return compare(*sides, kept=kept, kinds=kinds, ignore=ignore, progress=progress)


def routine_diffs(
    left: str,
    right: str,
    symbols: Iterable[tuple[str, str]],
    *,
    kinds: Iterable[ChangeKind] = ChangeKind,
    ignore: Iterable[Ignorable] = (),
) -> Iterator[Diff | RelokitError]:
    """Compare routines of two files, each pair of ``symbols`` for itself, or say why not: as
    ``diff`` of LEFT:SYMBOL and RIGHT:SYMBOL, but that the files are read once.
    """
    kinds, files = [*kinds], UnpackedFiles()
    for names in symbols:
        found: Diff | RelokitError
        try:
            with reading():
                sides = [
                    read_side(path, name, encoder, files)
                    for path, name in zip((left, right), names, strict=True)
                ]
                found = compare(*sides, kinds=kinds, ignore=ignore)
        except RelokitError as error:
            found = error
        yield found


def series_diff(
    settings: str = "",
    *,
    kept: Iterable[Aspect] = (),
    kinds: Iterable[ChangeKind] = ChangeKind,
    ignore: Iterable[Ignorable] = (),
) -> Iterator[PatchStep]:
    """The fifteen patches, each as the diff of the states around it, in order.

    ``settings`` choose the target but for its state: ``page=16k,el=vhe``. Raises TargetError.
    """
    target = parse_settings(settings)
    sides = []
    for number in range(BEFORE, COMPLETE + 1):
        state = replace(target, series=number)
        sides.append(built_side(build_image(state), state))
        if number > BEFORE:
            patch = PATCHES[number - 1]
            found = compare(*sides[-2:], kept=kept, kinds=kinds, ignore=ignore)
            yield PatchStep(number, patch.subject, patch.change, found)
