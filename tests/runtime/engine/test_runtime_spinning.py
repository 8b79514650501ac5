"""Loops that nothing can end, told from those that may."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.engine.spinning import LONGEST, is_endless

NOP, WFI, WFE, ISB, DSB = 0xD503201F, 0xD503207F, 0xD503205F, 0xD5033FDF, 0xD5033F9F
SELF = 0x14000000


def _code(*words: int) -> Callable[[int], int | None]:
    return lambda pc: words[pc // 4] if 0 <= pc // 4 < len(words) else None


def _back(words: int) -> int:
    return 0x14000000 | -words & 0x3FFFFFF


@pytest.mark.parametrize(
    ("words", "endless"),
    [
        ((SELF,), True),
        ((NOP, _back(1)), True),
        ((WFE, ISB, DSB, _back(3)), True),
        ((WFI, _back(1)), False),
        ((0x14000002, NOP, _back(2)), True),  # forward, then back
        ((0xB400001F,), True),  # cbz xzr, .
        ((0x36000000,), True),  # tbz w0, #0, .
        ((0x54000000,), True),  # b.eq .
        ((NOP, 0xB5FFFFE0), False),  # cbnz x0, .-4: nothing says that it is taken
        ((0x91000400, _back(1)), False),  # add x0, x0, #1
        ((0xF9400020, _back(1)), False),  # ldr x0, [x1]
        ((0x94000000,), False),  # bl . writes x30
        ((NOP, NOP), False),  # runs off
        ((), False),
    ],
)
def test_loops(words: tuple[int, ...], endless: bool) -> None:
    assert is_endless(_code(*words), 0) is endless


@pytest.mark.parametrize(("nops", "endless"), [(LONGEST - 1, True), (LONGEST, False)])
def test_only_so_far_is_looked(nops: int, endless: bool) -> None:
    assert is_endless(_code(*[NOP] * nops, _back(nops)), 0) is endless


@given(st.lists(st.integers(0, 0xFFFF_FFFF), max_size=20), st.integers(0, 100))
def test_any_code_is_judged(words: list[int], pc: int) -> None:
    assert is_endless(_code(*words), pc) in (True, False)
