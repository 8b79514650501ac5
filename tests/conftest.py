"""What holds for every test.

Hypothesis on a busy machine has neither a deadline for an example nor one for making it. The same
tree gives the same answer: `make test` draws the same examples each time, `make explore` new ones.
Nothing is taken from, or left in, the user's cache of programs.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("relokit", settings.get_profile("explore"), derandomize=True)
settings.load_profile("relokit")

ONE_WORKER = "test_oracle_snapshot.py"
"""What these share takes QEMU most of a minute: no other worker is to wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is first belongs to one worker, and is done before others have nothing left to do."""
    items.sort(key=lambda item: item.path.name != ONE_WORKER)


def pytest_collection_finish() -> None:
    """Fifteen thousand tests and their modules stay: no collection of garbage looks at them."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """LIEF counts at the end what it still holds."""
    gc.unfreeze()


# At import, so that whatever a test starts, however early, inherits it.
os.environ["RELOKIT_CACHE"] = ""
# A run starts hundreds of interpreters: our modules, and pytest's rewritten tests, are compiled by
# the first that needs them, also where the environment tells Python to forget them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(autouse=True)
def _no_file_of_another_test() -> Iterator[None]:
    """A file that a test changes and closes is told of once: not in the next test."""
    yield
    host_file = sys.modules.get("relokit.codegen.base.host_file")
    if host_file is not None:
        host_file.forget_files()
