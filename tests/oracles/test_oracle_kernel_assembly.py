"""The kernel's own assembly, preprocessed as its build does, by GNU as and by us."""

from __future__ import annotations

from pathlib import Path

import pytest
from oracles.kernel_source import FILES, preprocessed

from relokit.codegen.gas.instructions.encoder import Encoder
from support.gnu_as import agree

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".S")])
def test_a_file_of_the_kernel_gives_the_same_object(
    name: str, tmp_path: Path, encoder: Encoder
) -> None:
    agree(preprocessed(name).read_text(), tmp_path, encoder, maps=False)
