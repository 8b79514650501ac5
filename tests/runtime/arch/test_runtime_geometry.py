"""Granules and TCR values against numbers of the architecture, written out here by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import VA_BITS
from relokit.runtime.arch.geometry import GRANULES, granule_of, ips, tcr_el1, tcr_el2, txsz

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("page", "va_bits", "start", "root_entries"),
    [
        # ARM DDI 0487, D8.2: the tables of start levels per granule.
        (4 * KIB, 52, -1, 16),
        (4 * KIB, 49, -1, 2),
        (4 * KIB, 48, 0, 512),
        (4 * KIB, 40, 0, 2),
        (4 * KIB, 39, 1, 512),
        (4 * KIB, 31, 1, 2),
        (4 * KIB, 30, 2, 512),
        (16 * KIB, 52, 0, 32),
        (16 * KIB, 48, 0, 2),
        (16 * KIB, 47, 1, 2048),
        (16 * KIB, 36, 2, 2048),
        (16 * KIB, 25, 3, 2048),
        (64 * KIB, 52, 1, 1024),
        (64 * KIB, 48, 1, 64),
        (64 * KIB, 43, 1, 2),
        (64 * KIB, 42, 2, 8192),
        (64 * KIB, 29, 3, 8192),
    ],
)
def test_start_level_and_root_size(page: int, va_bits: int, start: int, root_entries: int) -> None:
    granule = granule_of(page)
    assert granule.start_level(va_bits) == start
    assert granule.root_entries(va_bits) == root_entries


def test_block_sizes_are_those_of_the_architecture() -> None:
    blocks = {
        page: [granule.span(level) for level in granule.block_levels]
        for page, granule in GRANULES.items()
    }
    assert blocks == {
        4 * KIB: [GIB, 2 * MIB],
        16 * KIB: [32 * MIB],
        64 * KIB: [512 * MIB],
    }
    wide = {page: granule.span(granule.wide_block_level) for page, granule in GRANULES.items()}
    assert wide == {4 * KIB: 512 * GIB, 16 * KIB: 64 * GIB, 64 * KIB: 4096 * GIB}
    assert [granule.span(3) for granule in GRANULES.values()] == list(GRANULES)


@given(page=st.sampled_from(sorted(GRANULES)), va_bits=st.integers(25, 52))
def test_every_va_bit_is_resolved_once(page: int, va_bits: int) -> None:
    granule = granule_of(page)
    start = granule.start_level(va_bits)
    resolved = granule.page_shift + granule.index_bits * (3 - start)
    assert 1 << (va_bits - resolved) == granule.root_entries(va_bits)
    assert 2 <= granule.root_entries(va_bits) <= granule.entries


def test_every_va_size_a_target_may_have_has_tables() -> None:
    for page, sizes in VA_BITS.items():
        for va_bits in sizes:
            assert -1 <= granule_of(page).start_level(va_bits) <= 2
            assert txsz(va_bits) == 64 - va_bits


@pytest.mark.parametrize(
    ("page", "value"),
    [(4 * KIB, 0x5_B510_3510), (16 * KIB, 0x5_7510_B510), (64 * KIB, 0x5_F510_7510)],
)
def test_tcr_el1_by_hand(page: int, value: int) -> None:
    # T0SZ = T1SZ = 16, IRGN = ORGN = 1, SH = 3, IPS = 5, TG0/TG1 as the granule says.
    assert tcr_el1(granule_of(page), t0_bits=48, t1_bits=48, pa_bits=48) == value


def test_tcr_sizes_of_the_two_ranges_are_apart() -> None:
    tcr = tcr_el1(granule_of(4096), t0_bits=48, t1_bits=39, pa_bits=40)
    assert (tcr & 0x3F, tcr >> 16 & 0x3F, tcr >> 32 & 7) == (16, 25, 2)


def test_tcr_el1_with_lpa2_by_hand() -> None:
    # T0SZ = T1SZ = 12, IPS = 6, DS = bit 59.
    granule = granule_of(4 * KIB)
    value = tcr_el1(granule, t0_bits=52, t1_bits=52, pa_bits=52, ds=True)
    assert value == 0x0800_0006_B50C_350C


def test_tcr_el2_by_hand() -> None:
    assert tcr_el2(granule_of(4096), va_bits=39, pa_bits=40) == 0x8082_3519


@pytest.mark.parametrize("va_bits", [24, 53, 64, 0])
def test_ranges_that_do_not_exist_are_refused(va_bits: int) -> None:
    with pytest.raises(MachineError, match=f"{va_bits} bits"):
        txsz(va_bits)


def test_unknown_sizes_are_refused_with_the_known_ones() -> None:
    with pytest.raises(MachineError, match="8192") as caught:
        granule_of(8192)
    assert "16384" in str(caught.value.hint)
    with pytest.raises(MachineError, match="39 bits") as caught:
        ips(39)
    assert "36, 40, 42" in str(caught.value.hint)
