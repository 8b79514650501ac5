"""The shipped kernels as fixtures: paths, fetched once; a test fails where one cannot be had.

And Keystone, started once for all tests.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import pytest

from relokit.codegen.gas.instructions.encoder import Encoder


def _fetcher(what: str = "kernel") -> Callable[[str], Path]:
    """A function of kernels.py, which is no package's module: CI runs it as a script too."""
    name = "relokit_oracle_kernels"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("kernels.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    fetch: Callable[[str], Path] = getattr(sys.modules[name], what)
    return fetch


@pytest.fixture(scope="session")
def kernel_5_10() -> Path:
    """Debian 11's 5.10: before the series."""
    return _fetcher()("5.10")


@pytest.fixture(scope="session")
def kernel_6_1() -> Path:
    """Debian 12's 6.1: the series complete, 48-bit addresses."""
    return _fetcher()("6.1")


@pytest.fixture(scope="session")
def kernel_6_12() -> Path:
    """Debian 13's 6.12: 52-bit addresses."""
    return _fetcher()("6.12")


@pytest.fixture(scope="session")
def kernel_6_12_16k() -> Path:
    """Debian 13's 6.12 with 16 KiB pages."""
    return _fetcher()("6.12-16k")


@pytest.fixture(scope="session")
def device_trees() -> list[Path]:
    """Those of all boards that Debian 13 has a device tree for, in an order by their digests."""
    found = _fetcher("trees")("6.12-16k").rglob("*.dtb")
    return sorted(found, key=lambda path: blake2b(path.read_bytes()).digest())


@pytest.fixture(scope="session")
def kernel_7() -> Path:
    """The newest 7.x that Debian has."""
    return _fetcher()("7")


@pytest.fixture(scope="session")
def encoder() -> Iterator[Encoder]:
    """Keystone in its child process."""
    encoder = Encoder()
    yield encoder
    encoder.close()
