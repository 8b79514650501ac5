"""The series as a table: fifteen patches, in order, each with its feature."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.errors import TargetError
from relokit.codegen.series import BEFORE, COMPLETE, PATCHES, Feature, parse_state
from relokit.codegen.target import Target


def test_there_are_fifteen_patches_in_order() -> None:
    assert (BEFORE, COMPLETE) == (0, 15)
    assert [patch.number for patch in PATCHES] == list(range(1, 16))
    assert [patch.feature for patch in PATCHES] == list(Feature)
    assert len({patch.subject for patch in PATCHES}) == 15
    for patch in PATCHES:
        assert patch.subject.startswith("arm64: ")
        assert patch.change


# What a state can do, by the mails: the feature and the first state that has it.
@pytest.mark.parametrize(
    ("feature", "first"),
    [
        (Feature.COPY_EL2_VECTORS, 2),
        (Feature.SKIP_IN_PLACE, 5),
        (Feature.KIMAGE_ARGUMENT, 7),
        (Feature.KEXEC_EL2_VECTORS, 8),
        (Feature.RELOCATE_AT_EL1, 9),
        (Feature.LD_SCRIPT_PLACEMENT, 10),
        (Feature.LINEAR_MAP_COPY, 11),
        (Feature.MMU_ON, 12),
        (Feature.NO_CPU_RESET_HEADER, 14),
    ],
)
def test_features_come_with_their_patch(feature: Feature, first: int) -> None:
    assert [Target(series=state).has(feature) for state in range(16)] == [
        state >= first for state in range(16)
    ]


@pytest.mark.parametrize(
    ("text", "state"), [("before", 0), ("complete", 15), ("0", 0), ("15", 15), ("07", 7)]
)
def test_states_have_numbers_and_names(text: str, state: int) -> None:
    assert parse_state(text) == state


@pytest.mark.parametrize("text", ["", "16", "-1", "1.5", " 3", "latest", "Before", "²", "٣", "0x3"])
def test_other_states_are_refused(text: str) -> None:
    with pytest.raises(TargetError, match="no such state") as caught:
        parse_state(text)
    assert caught.value.hint == "give 0 to 15, 'before' or 'complete'"


@given(st.text(max_size=12))
def test_any_text_is_a_state_or_an_error(text: str) -> None:
    said = ""
    try:
        assert BEFORE <= parse_state(text) <= COMPLETE
    except TargetError as error:
        said = error.message
    assert said in ("", f"no such state of the series: {text!r}")
