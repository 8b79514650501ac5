"""Native devices for tests."""

from __future__ import annotations

from relokit.codegen.base import native
from relokit.runtime.engine.native_devices import NativeDevice


def nothing_at(base: int) -> NativeDevice:
    """4 KiB that read as zeros."""
    load, store = (
        native.address(native.library(), name) for name in ("load_zeros", "store_nothing")
    )
    return NativeDevice(base, 0x1000, load, store, 0)
