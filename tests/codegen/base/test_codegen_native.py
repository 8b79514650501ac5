"""The native library: which sources it is built from, and what is refused when it is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from relokit.codegen.base import native
from relokit.codegen.base.errors import NativeLibraryError
from relokit.codegen.base.native_sources import SOURCES, digest
from relokit.runtime.engine import native_hooks

TOP = Path(__file__).parents[3]
LIBRARY = Path(native.__file__).with_name("_native.so")
ROOMS = ("api", "cli", "codegen", "diffing", "linker", "runtime", "templates")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources."""
    for name in SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TOP / name, tmp_path / name)
    return tmp_path


def test_every_c_file_of_the_rooms_is_built() -> None:
    found = {
        path.relative_to(TOP).as_posix()
        for room in ROOMS
        for suffix in ("c", "h")
        for path in (TOP / room).rglob(f"*.{suffix}")
    }
    assert found == {*SOURCES}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_short_and_knows_nothing_of_python(name: str) -> None:
    text = (TOP / name).read_text("ascii")
    assert len(text.splitlines()) <= 250
    assert "Python.h" not in text


def test_a_library_of_these_sources_is_loaded(tree: Path) -> None:
    assert native.load(LIBRARY, tree).count_code


@pytest.mark.parametrize("name", SOURCES)
def test_a_library_of_other_sources_is_refused(tree: Path, name: str) -> None:
    with (tree / name).open("a") as source:
        source.write("\n")
    with pytest.raises(NativeLibraryError, match="other C sources") as caught:
        native.load(LIBRARY, tree)
    assert caught.value.where == str(LIBRARY)
    assert "pip install -e ." in (caught.value.hint or "")


def test_contents_that_change_places_are_other_sources(tree: Path) -> None:
    before = digest(tree)
    first, second = (tree / name for name in SOURCES[-2:])
    texts = first.read_bytes(), second.read_bytes()
    first.write_bytes(texts[1])
    second.write_bytes(texts[0])
    assert digest(tree) != before


def test_an_installation_without_sources_needs_none(tmp_path: Path) -> None:
    assert native.load(LIBRARY, tmp_path).count_code


def test_a_library_that_is_not_there_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(NativeLibraryError, match="cannot be loaded") as caught:
        native.load(tmp_path / "_native.so", TOP)
    assert "pip install" in (caught.value.hint or "")


def test_a_library_of_someone_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "_native.so"
    other.write_bytes(b"\x7fELF, or so it says")
    with pytest.raises(NativeLibraryError, match="cannot be loaded"):
        native.load(other, TOP)


def _bits(change: dict[str, int | None]) -> None:
    expected = {"ROW_BITS": 64, "struct align_scratch": 48, **change}
    native.check_shared(
        native.library(),
        "whole_align_shared",
        {name: value for name, value in expected.items() if value is not None},
    )


def test_constants_that_agree_pass() -> None:
    _bits({})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ROW_BITS": 32}, "ROW_BITS is 64 in the native library and 32 in Python"),
        ({"ROW_BITS": None}, "ROW_BITS is 64 in the native library and unknown in Python"),
        ({"MORE": 0}, "MORE is unknown in the native library and 0 in Python"),
        ({"struct align_scratch": 40}, "struct align_scratch is 48 in .* and 40 in Python"),
    ],
)
def test_a_constant_the_two_sides_disagree_about_is_named(
    change: dict[str, int | None], told: str
) -> None:
    with pytest.raises(NativeLibraryError, match=told) as caught:
        _bits(change)
    assert caught.value.where == "whole_align_shared"
    assert "pip install -e ." in (caught.value.hint or "")


def test_an_address_is_where_the_function_is() -> None:
    addresses = {
        native_hooks.block_counter_address(),
        native_hooks.system_filter_address(),
        native_hooks.code_counter_address(),
        native_hooks.profile_address(),
        native_hooks.access_counter_address(),
    }
    assert len(addresses) == 5
    assert 0 not in addresses
