"""Our own C under GCC's sanitizers; all of its tests by `make sanitize`."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.sanitized import build, run_tests

SAMPLE = (
    "runtime/engine/test_runtime_mmu.py",
    "linker/kernel/test_linker_kallsyms.py",
)
WRONG = """
import ctypes
from relokit.codegen.base import native

def test_it_looks_behind_an_array():
    counts = (ctypes.c_uint64 * 2)()
    access = native.function("count_access", None, *[ctypes.c_void_p] * 6)
    access(None, 0, 0, 4, 0, ctypes.addressof(counts) | 1)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sanitized")
    build(place)
    return place


def test_a_sample_is_clean(folder: Path) -> None:
    done = run_tests(folder, "-n", "0", *SAMPLE)
    assert done.returncode == 0, done.stdout
    assert "100%" in done.stdout


def test_what_is_not_clean_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text(WRONG)
    done = run_tests(folder, "-n", "0", str(tmp_path / "test_wrong.py"))
    assert done.returncode != 0
    assert "native_hooks.c" in done.stdout
    assert "misaligned address" in done.stdout
