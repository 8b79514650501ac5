"""How pages lie in guest RAM."""

from __future__ import annotations

from enum import StrEnum


class Order(StrEnum):
    """How source pages lie in guest RAM."""

    SHUFFLED = "shuffled"
    IN_ORDER = "in-order"
    REVERSED = "reversed"
