"""Signals at random moments; a thousand of them by ``make docs/signals.json``."""

from __future__ import annotations

from support.signalled import CAMPAIGN, COMMANDS, SEED, STARTING, TRIALS, campaign, table


def test_nothing_is_left_of_commands_that_are_told_to_end() -> None:
    # Of thousands, a seed by which most are told to end before they have: three in five are.
    told, others = campaign(40, seed=4854, workers=1, seconds=0.7, again=(0, 6))
    assert [one for each in told for one in each.left] == []
    assert others == []
    assert len(told) == 40
    assert sum(one.ended.startswith("with") for one in told) > 5


def test_the_thousand_on_record_left_nothing_of_ours() -> None:
    CAMPAIGN.check_page(table)
    assert CAMPAIGN.document["seed"] == SEED
    assert len(CAMPAIGN.rows) == len(COMMANDS)
    assert sum(row["trials"] for row in CAMPAIGN.rows) == TRIALS
    left = [one for row in CAMPAIGN.rows for one in row["left"]]
    assert [one for one in left if STARTING not in one] == []
