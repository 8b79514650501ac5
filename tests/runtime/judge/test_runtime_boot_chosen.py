"""What /chosen says, at the edges."""

from __future__ import annotations

import pytest

from relokit.runtime.judge.book import judge
from relokit.runtime.record.record import Record
from support import records as r
from support.twins import rule_named
from support.twins.chosen import CORE, CRASH, INITRD, crash, kho, with_initrd


def broken(record: Record, rule: str) -> list[str]:
    judged = judge(record, (rule_named(rule),))
    assert not judged.answers.not_judged
    return [finding.message for finding in judged.findings]


def matches(found: list[str], words: list[str]) -> bool:
    return len(found) == len(words) and all(
        word in one for word, one in zip(words, found, strict=True)
    )


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, []),
        # A second range is what 32-bit DMA needs.
        ({"usable": (CRASH, (0x1000, 0x1000))}, []),
        ({"usable": ()}, ["not told its memory"]),
        ({"usable": ((CRASH[0], CRASH[1] + 1),)}, ["was set aside"]),
        ({"usable": ((CRASH[0], CRASH[1] - 1),)}, ["was set aside"]),
    ],
)
def test_a_crash_kernels_memory(told: dict[str, object], words: list[str]) -> None:
    assert matches(broken(crash(**told), "chosen.memory"), words)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"core_header": None}, ["not told of the crashed one"]),
        ({"core_header": (CORE[0] + 1, CORE[1])}, ["no ELF core header"]),
        ({"reserved": ()}, []),
        (
            {"core_header": (CRASH[0] - 4096, 4096), "reserved": ((0, 1 << 40),)},
            ["no ELF core header", "outside of"],
        ),
    ],
)
def test_a_crash_kernels_core_header(told: dict[str, object], words: list[str]) -> None:
    assert matches(broken(crash(**told), "chosen.core-header"), words)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, []),
        ({"core_header": None}, []),
        ({"core_header": (CORE[0] + 1, CORE[1])}, ["not reserved"]),
        ({"reserved": ()}, ["not reserved"]),
        ({"reserved": ((CORE[0], CORE[1] - 1),)}, ["not reserved"]),
    ],
)
def test_a_header_that_a_kernel_has_to_reserve_itself(
    told: dict[str, object], words: list[str]
) -> None:
    """As kexec-tools hands it on, and every kernel with kdump for arm64 does."""
    assert matches(broken(crash(**told), "chosen.core-reserved"), words)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (r.GOOD, []),
        (with_initrd(initrd=(INITRD[0], INITRD[1] - 5)), []),
        (with_initrd(), ["does not say where"]),
        (with_initrd(initrd=(INITRD[0], INITRD[1] + 4096)), ["where none was loaded"]),
        (with_initrd(initrd=(INITRD[0] + 4096, INITRD[1])), ["where none was loaded"]),
    ],
)
def test_the_initrd_that_is_named(record: Record, words: list[str]) -> None:
    assert matches(broken(record, "chosen.initrd"), words)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"kho_tree": None}, ["only linux,kho-scratch"]),
        ({"kho_scratch": None}, ["only linux,kho-fdt"]),
        ({"kho_tree": (0, 4096)}, ["not in RAM"]),
        ({"scratch": ()}, ["the Image at", "the device tree at"]),
        ({"scratch": ((r.KERNEL, r.IMAGE.image_size), (r.DTB, 0x1000))}, []),
        ({"scratch": ((r.KERNEL, r.IMAGE.image_size - 1), (r.DTB, 0x1000))}, ["the Image at"]),
    ],
)
def test_what_is_said_of_kho(told: dict[str, object], words: list[str]) -> None:
    assert matches(broken(kho(**told), "chosen.kho"), words)
