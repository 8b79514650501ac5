"""What takes long and no test changes: made by one of the workers of a run, for all of them."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from oracles.kernels import locked

T = TypeVar("T")


def once(temporary: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """What ``make`` makes in the folder that it is given; it has to survive pickling."""
    root = temporary.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    kept = root / f"{name}.pickle"
    with locked(root / f"{name}.lock"):
        if not kept.exists():
            made = make(Path(tempfile.mkdtemp(dir=root, prefix=f"{name}-")))
            kept.write_bytes(pickle.dumps(made))
        found: T = pickle.loads(kept.read_bytes())
        return found
