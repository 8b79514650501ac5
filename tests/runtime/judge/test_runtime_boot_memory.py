"""What booting.rst asks of memory, at the edges."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relokit.runtime.judge.book import judge
from relokit.runtime.record.given import CpuNode
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record
from support import records as r
from support.twins import rule_named

MIB, GIB = 1 << 20, 1 << 30


def broken(record: Record, rule: str) -> list[str]:
    judged = judge(record, (rule_named(rule),))
    assert not judged.answers.not_judged
    return [finding.message for finding in judged.findings]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, ""),
        ({"at": r.DTB + 8}, ""),
        ({"at": r.DTB + 4}, "no multiple of 8"),
        ({"size": 2 * MIB}, ""),
        ({"size": 2 * MIB + 1}, "may have 2 MiB"),
        ({"at": r.KERNEL + (2 << 30) - 0x600}, ""),
        ({"at": r.KERNEL + (2 << 30) - 0x5F8}, "not in its own RAM"),
        # A block of the fixmap maps all of its 2 MiB.
        ({"unmapped": ((r.DTB + 2 * MIB, 0x1000),)}, ""),
        ({"unmapped": ((r.DTB + 2 * MIB - 0x1000, 0x1000),)}, "may not be mapped"),
        ({"at": r.DTB + 2 * MIB - 8, "unmapped": ((r.DTB + 4 * MIB - 8, 8),)}, "may not be mapped"),
    ],
)
def test_where_a_device_tree_may_be(changed: dict[str, object], message: str) -> None:
    found = broken(r.tree(**changed), "handoff.tree-place")
    assert found == [] if not message else [message in one for one in found] == [True]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"problem": "no"}, "there is no device tree at PA 0x48000000: no"),
        ({"memory": ()}, "has no memory"),
        ({"chosen": False}, "no /chosen"),
    ],
)
def test_what_a_device_tree_has_to_have(changed: dict[str, object], message: str) -> None:
    [found] = broken(r.tree(**changed), "handoff.tree")
    assert message in found


def test_a_tree_that_names_a_uefi_needs_no_memory() -> None:
    # Its memory map says what is RAM: the stub takes the nodes out.
    assert broken(r.tree(memory=(), uefi=True), "handoff.tree") == []


def test_a_tree_that_is_none_is_told_once() -> None:
    names = [finding.rule for finding in judge(r.tree(problem="no")).findings]
    assert names == ["handoff.tree"]


@pytest.mark.parametrize(
    ("release", "held", "messages"),
    [
        (0x5800_0008, 0, []),
        (None, None, ["no cpu-release-addr"]),
        (0x5800_0004, 0, ["not aligned"]),
        (0x5800_1000, 0, ["not reserved"]),
        # The last bytes are outside.
        (0x5800_0FFC, 0, ["not aligned", "not reserved"]),
        (0x5800_0008, 0x4008_0000, ["holds 0x40080000"]),
        (0x5800_0008, None, []),
    ],
)
def test_where_a_spinning_cpu_waits(
    release: int | None, held: int | None, messages: list[str]
) -> None:
    spinning = CpuNode("cpu@1", "spin-table", release, held)
    record = r.tree(cpus=(*r.TREE.cpus, spinning), reserved=((0x5800_0000, 0x1000),))
    found = broken(record, "handoff.spin-table")
    assert [part in one for part, one in zip(messages, found, strict=True)] == [True] * len(found)


def test_several_cpus_say_how_they_are_enabled_and_a_single_one_need_not() -> None:
    nameless = CpuNode("cpu@0", None)
    assert broken(r.tree(cpus=(nameless,)), "handoff.cpus") == []
    [found] = broken(r.tree(cpus=(nameless, *r.TREE.cpus)), "handoff.cpus")
    assert "cpu@0 has no enable-method" in found


@pytest.mark.parametrize(
    ("at", "offset", "size", "right"),
    [
        (0x4000_0000, 0, 0x1000, True),
        (0x4008_0000, 0x80000, 0x1000, True),
        (0x4008_0000, 0, 0x1000, False),
        (0x4010_0000, 0, 0x1000, False),
        # Before 3.17 the header has no size, and its offset is not to be trusted.
        (0x4008_0000, 0, 0, True),
        (0x4000_0000, 0, 0, False),
    ],
)
def test_where_an_image_may_be(at: int, offset: int, size: int, right: bool) -> None:
    record = r.image(at=at, text_offset=offset, image_size=size)
    assert (broken(record, "handoff.image-base") == []) == right


@pytest.mark.parametrize(("size", "right"), [(0x1000, True), (0x1001, False)])
def test_an_image_ends_within_48_bits(size: int, right: bool) -> None:
    record = r.image(at=(1 << 48) - 0x1000, image_size=size)
    assert (broken(record, "handoff.image-range") == []) == right


@pytest.mark.parametrize(
    ("image_size", "messages"),
    [
        (0x800_0000, []),
        (0x800_0001, ["device tree lies at"]),
        ((2 << 30) + 1, ["device tree lies at", "not all RAM"]),
    ],
)
def test_the_room_that_an_image_claims(image_size: int, messages: list[str]) -> None:
    found = broken(r.image(image_size=image_size), "handoff.image-room")
    assert [part in one for part, one in zip(messages, found, strict=True)] == [True] * len(found)


@pytest.mark.parametrize(
    ("flags", "mmfr0", "right"),
    [
        (0b000, 0xF0F0_0000, True),  # it does not say
        (0b010, 0x0000_0000, True),
        (0b010, 0x1000_0000, True),
        (0b010, 0xF000_0000, False),
        (0b100, 0x0000_0000, False),
        (0b100, 0x0010_0000, True),
        (0b100, 0x0020_0000, True),
        (0b110, 0x0000_0000, True),
        (0b110, 0x0F00_0000, False),
    ],
)
def test_pages_that_the_cpu_has(flags: int, mmfr0: int, right: bool) -> None:
    identity = {**r.PLATFORM.identity, "ID_AA64MMFR0_EL1": mmfr0}
    record = replace(r.image(flags=flags), platform=replace(r.PLATFORM, identity=identity))
    assert (broken(record, "handoff.image-pages") == []) == right


@pytest.mark.parametrize(
    ("initrd", "right"),
    [
        ((r.KERNEL + 32 * GIB - 0x1000, 0x1000), True),
        ((r.KERNEL + 32 * GIB - 0x1000, 0x1001), False),
        ((0, GIB), True),
    ],
)
def test_the_window_of_an_initrd(initrd: tuple[int, int], right: bool) -> None:
    record = r.tree(memory=((0, 1 << 40),), initrd=initrd)
    assert (broken(record, "handoff.initrd") == []) == right


def test_what_nobody_looked_at_is_not_judged() -> None:
    judged = judge(replace(r.GOOD, given=Unknown("lost")), (rule_named("handoff.tree"),))
    assert judged.answers.not_judged == {"handoff.tree": "lost"}


def test_a_tree_that_did_not_arrive_is_told_as_that() -> None:
    lost = replace(r.tree(problem="no"), arrived=r.misplaced())
    assert [finding.rule for finding in judge(lost).findings] == ["memory.segment"]
