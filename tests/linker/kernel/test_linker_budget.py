"""What is made of kernels is counted in the budget, before it is made."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from relokit.codegen.base.budget import budgeted, set_limits
from relokit.codegen.base.errors import BudgetError
from relokit.linker.kernel.kernel_file import open_kernel

SIZE = 8 << 20


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    yield
    set_limits({})


def packed(path: Path) -> Path:
    head = struct.pack("<IIQQQQQQ4sI", 0x14000010, 0, 0, SIZE, 8, 0, 0, 0, b"ARM\x64", 0)
    path.write_bytes(gzip.compress(head + bytes(SIZE - len(head)), 1))
    return path


def test_kernels_of_a_command_are_counted_together(tmp_path: Path) -> None:
    one, other = packed(tmp_path / "one"), packed(tmp_path / "other")
    set_limits({"memory": SIZE * 3 // 2})
    with budgeted():
        open_kernel(one)
        with pytest.raises(BudgetError, match="of unpacked kernels") as refused:
            open_kernel(other)
    assert refused.value.where == str(other)
    with budgeted():
        open_kernel(other)
