"""What diff reads, decodes, pairs and compares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from fuzz import files
from fuzz.door import Door
from fuzz.mutations import within
from fuzz.targets import own
from fuzz.targets.elf_files import spots
from relokit.building import encoder
from relokit.diffing.read.routine import Side
from relokit.diffing.read.sides import read_side
from relokit.diffing.routines.compare import compare
from relokit.linker.foreign.packed import UnpackedFiles


def _read(case: bytes) -> Side:
    return read_side(str(files.put(case, "case.o")), None, encoder, UnpackedFiles())


@cache
def _ours() -> Side:
    return _read(own.objects()[0])


def _objects() -> Sequence[bytes]:
    _ours()
    return own.objects()[:2]


DOORS = (
    Door("diff", "objects, compared with one of ours", _objects, within(spots),
         lambda case: compare(_ours(), _read(case)), 8.0),
)  # fmt: skip
