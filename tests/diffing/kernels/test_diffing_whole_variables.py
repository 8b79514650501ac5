"""Variables that no name tells apart: moved is not changed, and another one is."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.building import encoder
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.kernels.whole import FunctionCount, compare_kernels
from relokit.diffing.read.routine import generic
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffs import diff as diff_routines
from relokit.linker.elf.elf_writer import write_rel
from support.text_images import DATA_AT, RET, Body, Functions, compared, image, only

# Where the kernel has a name near, but none of a variable.
NAMES = {"_etext": 0x3_0000, "__init_begin": 0x3_8000}


def taking(*names: str) -> Body:
    """A function that takes the address of each."""
    return (*(item for name in names for item in (("adrp", name), ("lo12", name))), RET)


FUNCTIONS: Functions = [
    ("f", taking("a", "b")),
    ("g", taking("b", "c")),
    ("h", taking("c", "a", "a")),
]
HERE = {"a": DATA_AT + 0x10, "b": DATA_AT + 0x18, "c": DATA_AT + 0x2020}
MOVED = {"c": DATA_AT + 0x3_0440, "a": DATA_AT + 0x1010, "b": DATA_AT + 0xFF8}


def names(tmp_path: Path, left: Functions, right: Functions) -> set[str]:
    """Functions that differ where all variables have moved."""
    options = {"left_data": NAMES, "right_data": NAMES}
    found = compared(tmp_path, left, right, left_hidden=HERE, right_hidden=MOVED, **options)
    return {one.name for one in found.functions}


def test_a_variable_without_a_name_that_has_moved_is_the_same(tmp_path: Path) -> None:
    """Two builds of Debian's 6.1 had 11,701 functions that differed in nothing else."""
    assert names(tmp_path, FUNCTIONS, FUNCTIONS) == set()
    both = tmp_path / "left", tmp_path / "right"
    for name in "fgh":
        assert diff_routines(*(f"{path}:{name}" for path in both)).same


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("f", taking("a", "c")),
        ("f", taking("b", "b")),
        ("g", taking("c", "b")),
        ("h", taking("c", "a", "b")),
    ],
)
def test_another_variable_is_another_one(name: str, body: Body, tmp_path: Path) -> None:
    changed = [(one, body if one == name else words) for one, words in FUNCTIONS]
    assert names(tmp_path, FUNCTIONS, changed) == {name}
    # By themselves, two functions that take one variable twice or two variables are not alike.
    one_to_one = (name == "f" and body == taking("a", "c")) or name == "g"
    assert diff_routines(*(f"{tmp_path / side}:{name}" for side in ("left", "right"))).same == (
        one_to_one
    )


def test_what_only_a_changed_function_takes_is_found_out_there(tmp_path: Path) -> None:
    right = [("f", (*taking("a", "b")[:-1], 0xD5033FDF, RET)), *FUNCTIONS[1:]]
    options = {"left_data": NAMES, "right_data": NAMES}
    found = compared(
        tmp_path, FUNCTIONS[:1], right[:1], left_hidden=HERE, right_hidden=MOVED, **options
    )
    assert only(found).kinds == {ChangeKind.BARRIER: FunctionCount(1, 0, 0)}


@settings(max_examples=10)
@given(st.integers(0, 1 << 32))
def test_whatever_moves_a_kernel_is_itself_and_one_other_variable_is_told(seed: int) -> None:
    rng = random.Random(seed)
    variables = [f"v{number}" for number in range(8)]
    bodies = [[rng.choice(variables) for _ in range(rng.randint(2, 5))] for _ in range(6)]
    # Each variable twice at least, so that it is known by more than one place.
    bodies.append([*variables, *variables])
    functions = [(f"f{n}", taking(*body)) for n, body in enumerate(bodies)]
    places = [DATA_AT + 8 * at for at in rng.sample(range(1 << 14), 16)]
    left, right = (dict(zip(variables, places[at : at + 8], strict=True)) for at in (0, 8))
    number = rng.randrange(6)
    other = list(bodies[number])
    at = rng.randrange(len(other))
    other[at] = rng.choice([one for one in variables if one != other[at]])
    changed = [*functions]
    changed[number] = (f"f{number}", taking(*other))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("left", "right", "changed")]
        for path, those, hidden in zip(
            paths, (functions, functions, changed), (left, right, right), strict=True
        ):
            path.write_bytes(image(those, data=NAMES, hidden=hidden))
        assert compare_kernels(paths[0], paths[1]).same
        assert {one.name for one in compare_kernels(paths[0], paths[2]).functions} == {f"f{number}"}


OBJECT = """
        .globl  f
        .type   f, %function
f:      adrp    x0, state.{0}
        add     x0, x0, :lo12:state.{0}
        adrp    x1, state.{1}
        ldr     x1, [x1, :lo12:state.{1}]
        b       copy.isra.{2}
        .size   f, . - f
        .type   copy.isra.{2}, %function
copy.isra.{2}: mov x0, #{3}
        ret
        .size   copy.isra.{2}, . - copy.isra.{2}
        .data
        .type   state.{0}, %object
        .size   state.{0}, 8
state.{0}: .quad 1
        .type   state.{1}, %object
        .size   state.{1}, 8
state.{1}: .quad 2
"""


def test_numbers_of_a_compiler_are_those_of_a_build(tmp_path: Path) -> None:
    """CSWTCH.224 is CSWTCH.229 in the next one."""

    def built(name: str, *numbers: int, swap: bool = False) -> str:
        text = OBJECT.format(*numbers)
        if swap:
            text = text.replace(f"x1, state.{numbers[1]}", f"x1, state.{numbers[0]}")
            text = text.replace(f"x1, :lo12:state.{numbers[1]}", f"x1, :lo12:state.{numbers[0]}")
        path = tmp_path / name
        path.write_bytes(write_rel(assemble(Unit.from_text("t.S", text), encoder().encode)))
        return str(path)

    one = built("one.o", 1, 2, 0, 7)
    other = built("other.o", 11, 12, 3, 7)
    assert diff_routines(f"{one}:f", f"{other}:f").same
    assert compare_kernels(one, other).same
    third = built("third.o", 11, 12, 3, 7, swap=True)
    assert not diff_routines(f"{one}:f", f"{third}:f").same
    assert {change.name for change in compare_kernels(one, third).functions} == {"f"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("CSWTCH.224", "CSWTCH.#"),
        ("__func__.5", "__func__.#"),
        ("descriptor.31.2", "descriptor.#"),
        ("check.isra.0", "check.#"),
        ("check.constprop.0.isra.1", "check.#"),
        ("check.part.0", "check.part.#"),
        ("__UNIQUE_ID_ddebug818.31", "__UNIQUE_ID_ddebug.#"),
        ("__UNIQUE_ID_alias818", "__UNIQUE_ID_alias.#"),
        ("swapper_pg_dir", "swapper_pg_dir"),
        ("el1_sync", "el1_sync"),
        ("memcpy64", "memcpy64"),
        ("x.y", "x.y"),
        ("__UNIQUE_ID_", "__UNIQUE_ID_"),
        (".1", ".1"),
    ],
)
def test_what_of_a_name_is_a_number_of_the_build(name: str, shown: str) -> None:
    assert generic(name) == shown
