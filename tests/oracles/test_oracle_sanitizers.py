"""Our own C under GCC's sanitizers; all of its tests by `make sanitize`."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from support.sanitized import build, record_calls, replay, run_tests

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


@pytest.fixture(scope="module")
def calls(folder: Path) -> Path:
    """Of a reader of kernels, as its tests make them."""
    place = folder / "calls"
    done = record_calls(folder, place, "linker/kernel/test_linker_finding.py")
    assert done.returncode == 0, done.stdout
    return place


def test_calls_are_made_again_as_they_were_and_with_something_else(
    folder: Path, calls: Path
) -> None:
    (found,) = replay(folder, calls, wild=20)
    assert (found.name, found.alone) == ("kernel_find", 0)
    assert found.calls > 20
    assert found.wild == 20 * found.calls


SIZE, RESULT = 32 + 8 + 8, 32 + 8 + 12 * 8
"""Of the first call in the file: how much there is to look through, and what was found."""


@pytest.mark.parametrize(
    ("at", "why"), [(SIZE, "heap-buffer-overflow"), (RESULT, "another result than was recorded")]
)
def test_a_call_that_is_not_clean_or_another_is_told(
    folder: Path, calls: Path, tmp_path: Path, at: int, why: str
) -> None:
    data = bytearray(calls.read_bytes())
    (number,) = struct.unpack_from("<Q", data, at)
    struct.pack_into("<Q", data, at, number + 4096 & (1 << 64) - 1)
    (tmp_path / "calls").write_bytes(data)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        replay(folder, tmp_path / "calls", wild=0)
    assert why in caught.value.stderr


def test_what_is_not_clean_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text(WRONG)
    done = run_tests(folder, "-n", "0", str(tmp_path / "test_wrong.py"))
    assert done.returncode != 0
    assert "native_hooks.c" in done.stdout
    assert "misaligned address" in done.stdout
