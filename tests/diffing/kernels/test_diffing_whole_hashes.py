"""Hashes of functions' types (kCFI) in front of functions: data of these, not of those before."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.building import encoder
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.kernels.whole import compare_kernels
from relokit.diffing.kernels.whole_changes import FunctionCount
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffs import diff
from relokit.linker.elf.elf_writer import write_rel
from support.text_images import MOV, NOP, RET, Body, Functions, image, only

HASH, OTHER = 0x1B2C3D4E, 0x1B2C3D4F
CHECKS = ("report_cfi_failure", (MOV, RET))
DATA = {ChangeKind.DATA: FunctionCount(1, 1, 0)}


def kernel(path: Path, hashes: tuple[int, ...], *, checks: bool = True, end: Body = (RET,)) -> str:
    """f, then g, with a hash in front of g."""
    first: Functions = [CHECKS] if checks else [("other", (MOV, RET))]
    path.write_bytes(image([*first, ("f", (MOV, MOV, *end, *hashes)), ("g", (MOV, RET))]))
    return str(path)


@pytest.mark.parametrize("end", [(RET,), (("b", -2),), (RET, NOP, 0), (("bl", "filler_3"),)])
def test_a_hash_is_of_the_function_behind_it(end: Body, tmp_path: Path) -> None:
    left, right = (
        kernel(tmp_path / name, (one,), end=end) for name, one in (("a", HASH), ("b", OTHER))
    )
    assert compare_kernels(left, left).same
    found = compare_kernels(left, right)
    assert (only(found).name, only(found).kinds) == ("g", DATA)
    assert diff(f"{left}:f", right).same
    detail = diff(f"{left}:g", right)
    assert not detail.same
    assert {routine.name for routine in detail.routines} == {"g", "type hash of g"}


def test_a_hash_that_comes_or_goes_is_of_that_function(tmp_path: Path) -> None:
    left, right = kernel(tmp_path / "a", ()), kernel(tmp_path / "b", (HASH,))
    found = only(compare_kernels(left, right))
    assert (found.name, found.kinds) == ("g", {ChangeKind.DATA: FunctionCount(1, 0, 0)})


def test_without_kcfi_a_word_is_of_the_function_that_it_stands_in(tmp_path: Path) -> None:
    left, right = (
        kernel(tmp_path / name, (one,), checks=False) for name, one in (("a", HASH), ("b", OTHER))
    )
    assert only(compare_kernels(left, right)).name == "f"


def test_an_instruction_that_ends_a_function_is_no_hash(tmp_path: Path) -> None:
    left, right = kernel(tmp_path / "a", (RET,)), kernel(tmp_path / "b", (0xD61F0020,))
    assert only(compare_kernels(left, right)).name == "f"


OBJECT = """
        .text
        .globl  f
        .type   f, %function
f:      mov     x0, #1
        ret
        .word   {0}
        .globl  g
        .type   g, %function
g:      mov     x0, #2
        ret
        .size   g, . - g
"""


def test_so_it_is_in_an_object_as_a_whole(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.o", "b.o")]
    for path, one in zip(paths, (HASH, OTHER), strict=True):
        text = OBJECT.format(hex(one))
        path.write_bytes(write_rel(assemble(Unit.from_text("t.S", text), encoder().encode)))
    found = only(compare_kernels(*paths))
    assert (found.name, found.kinds) == ("g", DATA)
    assert compare_kernels(paths[0], paths[0]).same
