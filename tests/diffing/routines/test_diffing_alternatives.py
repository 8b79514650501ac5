"""Words that boot replaces: told as such, and compared by what they may become."""

from __future__ import annotations

import struct

from relokit.codegen.base.documents import to_data
from relokit.diffing.read.routine import Names, Replaced, Routine, Side
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.report import summary, unified

BASE = 0xFFFF_8000_0800_0000
NOP, RET, ISB, DSB_SY = 0xD503201F, 0xD65F03C0, 0xD5033FDF, 0xD5033F9F
B_2, B_9 = 0x14000002, 0x14000009


def side(*words: int, replaced: tuple[Replaced, ...] = ()) -> Side:
    code = struct.pack(f"<{len(words)}I", *words)
    routine = Routine("f", BASE, code, replaced=replaced)
    return Side("a side", {"f": routine}, Names(()))


def at_4(*words: int, kept_at: int | None = None, reason: str = "an erratum") -> Replaced:
    return Replaced(4, 4, words, kept_at, reason)


def test_a_placeholder_is_not_a_nop() -> None:
    plain, patched = side(ISB, NOP, RET), side(ISB, NOP, RET, replaced=(at_4(DSB_SY),))
    found = compare(plain, patched)
    assert found.changed == 1
    assert "-nop\n+nop  // at boot: dsb sy (an erratum)" in unified(found)
    assert summary(found).endswith("1 of these in boot-time alternatives")
    (hunk,) = to_data(found)["hunks"]
    assert hunk["changes"][0]["right"]["note"] == "at boot: dsb sy (an erratum)"
    assert compare(patched, patched).same


def test_what_boot_puts_there_is_compared_not_who_decides() -> None:
    one = side(ISB, NOP, RET, replaced=(at_4(DSB_SY),))
    assert compare(one, side(ISB, NOP, RET, replaced=(at_4(DSB_SY, reason="a feature"),))).same
    assert not compare(one, side(ISB, NOP, RET, replaced=(at_4(ISB),))).same


def test_distances_of_replaced_branches_do_not_count() -> None:
    one, other = (side(ISB, NOP, RET, replaced=(at_4(word),)) for word in (B_2, B_9))
    assert compare(one, other).same


def test_a_function_makes_the_words() -> None:
    made = side(ISB, NOP, RET, replaced=(at_4(reason="alt_cb_patch_nops"),))
    found = compare(side(ISB, NOP, RET), made)
    assert "+nop  // made at boot by alt_cb_patch_nops" in unified(found)


def test_words_that_are_kept_in_the_routine_say_what_for() -> None:
    kept = side(ISB, NOP, RET, DSB_SY, replaced=(at_4(DSB_SY, kept_at=12),))
    found = compare(side(ISB, RET), kept)
    assert "+dsb sy  // for +0x4 at boot (an erratum)" in unified(found)
    assert summary(found).endswith("2 of these in boot-time alternatives")


def test_several_for_one_word_and_some_beyond_the_routine() -> None:
    several = side(
        ISB, NOP, RET, replaced=(at_4(DSB_SY), at_4(ISB), Replaced(-4, 400, (), None, "f"))
    )
    found = compare(side(ISB, NOP, RET), several)
    assert "at boot: dsb sy (an erratum); at boot: isb (an erratum)" in unified(found)


def test_words_that_are_kept_for_another_routine_say_which() -> None:
    elsewhere = Replaced(-0x40, 4, (DSB_SY,), 8, "an erratum", "memcpy+0x10")
    found = compare(side(ISB, RET), side(ISB, RET, DSB_SY, replaced=(elsewhere,)))
    assert "+dsb sy  // for memcpy+0x10 at boot (an erratum)" in unified(found)
