"""What a recorded load leaves in caches."""

from __future__ import annotations

import numpy as np

from relokit.codegen.kimage_layouts import LAYOUTS
from relokit.runtime.found.loaded_image import LoadedImage
from relokit.runtime.kexec.kimage import IND_DONE, Kimage
from relokit.runtime.live.load_history import load_history
from support.traces import Story

TEXT = (0x4000_0000, 0x4010_0000)
CODE, DATA, PAGE = 0x4200_0000, 0x4300_0000, 4096
NONE = np.empty(0, np.uint64)
LOADED = LoadedImage(
    Kimage(LAYOUTS["6.1"], DATA, DATA, IND_DONE, 0, (), CODE, (), PAGE, b""), {}, NONE, NONE
)


def test_what_is_cleaned_and_invalidated_is_known() -> None:
    story = Story().store(CODE, 64).dc("civac", CODE, 64).dsb().ic_by_address(CODE, 64).dsb().isb()
    found = load_history(story.trace(), LOADED, [CODE], [TEXT])
    assert found.clean == (TEXT, (CODE, CODE + 64))
    assert found.unfetchable == ((CODE + 64, CODE + PAGE),), "as far as it was invalidated"


def test_what_is_stored_behind_its_maintenance_is_dirty_and_unfetchable() -> None:
    story = Story().dc("civac", CODE, 128).ic_by_address(CODE, 128).dsb().store(CODE + 64, 64)
    found = load_history(story.trace(), LOADED, [CODE], [TEXT])
    assert found.clean == (TEXT, (CODE, CODE + 64))
    assert found.unfetchable == ((CODE, CODE + PAGE),)


def test_all_code_is_invalidated_behind_the_last_copy_or_not_at_all() -> None:
    """Before and behind a copy there may be stores of any kind."""
    around = Story().store(CODE - 64, 64).store(CODE, 64).ic().store(CODE + PAGE, 64)
    assert load_history(around.trace(), LOADED, [CODE], [TEXT]).unfetchable == ()
    early = Story().ic().store(CODE + PAGE - 64, 64)
    stale = ((CODE, CODE + PAGE),)
    assert load_history(early.trace(), LOADED, [CODE], [TEXT]).unfetchable == stale
    beside = Story().store(CODE, 64).ic_by_address(CODE + PAGE, 64).ic_by_address(CODE - 64, 64)
    assert load_history(beside.trace(), LOADED, [CODE], [TEXT]).unfetchable == stale


def test_stores_beside_what_was_cleaned_leave_it_clean() -> None:
    story = Story().dc("civac", CODE, 64).store(CODE - 64, 64).store(CODE + 64, 64)
    assert load_history(story.trace(), LOADED, [], [TEXT]).clean == (TEXT, (CODE, CODE + 64))


def test_without_maintenance_only_the_text_is_clean() -> None:
    story = Story().store(CODE, 64)
    found = load_history(story.trace(), LOADED, [CODE], [TEXT])
    assert (found.clean, found.unfetchable) == ((TEXT,), ((CODE, CODE + PAGE),))
    discarded = Story().dc("ivac", DATA, 64)
    assert load_history(discarded.trace(), LOADED, [], [TEXT]).clean == (TEXT,)


def test_lines_that_maintenance_steps_over_are_not_clean() -> None:
    story = Story().store(DATA, 512).dc("civac", DATA, 512, stride=128).dsb()
    assert load_history(story.trace(), LOADED, [], [TEXT]).clean == (TEXT, *(
        (DATA + at, DATA + at + 64) for at in range(0, 512, 128)
    ))  # fmt: skip


def test_a_clean_from_the_middle_of_a_line_is_of_that_line() -> None:
    story = Story().store(DATA, 128).dc("civac", DATA + 16, 64).dsb()
    assert load_history(story.trace(), LOADED, [], [TEXT]).clean == (TEXT, (DATA, DATA + 64))
