"""The cells: how many, which are not supported and why, what each asks for."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.target import VA_BITS, Regime, Target
from relokit.runtime.campaign.cells import (
    LARGE,
    PAYLOADS,
    Cell,
    Payload,
    Selection,
    cells,
    is_costly,
)
from relokit.runtime.guest.order import Order
from relokit.runtime.kexec.job import Job, KexecPath, Shape

STATES, REGIMES = 16, 3
LEGAL_VA = 3 + 4 + 3
LISTS = 9
"""Payloads of a path that has a list of segments."""
HIBERNATE = 5


def one(**selection: object) -> Cell:
    """The only cell of a selection."""
    [cell] = cells(Selection(**selection))  # type: ignore[arg-type]
    return cell


def test_the_whole_product_counted_by_hand() -> None:
    counted = Counter(cell.target is not None for cell in cells(Selection(full=True)))
    per_target = 2 * LISTS + 1 + 1 + HIBERNATE
    assert counted[True] == STATES * LEGAL_VA * REGIMES * per_target
    assert not counted[False]


def test_the_default_leaves_out_what_takes_seconds_and_nothing_else() -> None:
    full = {cell.id for cell in cells(Selection(full=True))}
    default = {cell.id for cell in cells(Selection())}
    missing = full - default
    assert default < full
    assert all(
        name.endswith("/large") or ("/64k/" in name and name.endswith("/boundary"))
        for name in missing
    )
    assert len(missing) == STATES * REGIMES * (3 * LEGAL_VA + 2 * len(VA_BITS[65536]))


def test_what_is_named_is_not_left_out() -> None:
    chosen = Selection(
        series=(15,),
        page_sizes=(65536,),
        va_bits=(48,),
        regimes=(Regime.VHE,),
        paths=(KexecPath.NORMAL,),
        payloads=(Payload.BOUNDARY, Payload.LARGE),
    )
    assert [cell.id for cell in cells(chosen)] == [
        "series15/64k/va48/vhe/normal/boundary",
        "series15/64k/va48/vhe/normal/large",
    ]


def test_ids_are_unique_and_always_in_the_same_order() -> None:
    ids = [cell.id for cell in cells(Selection(full=True))]
    assert len(set(ids)) == len(ids)
    assert ids == [cell.id for cell in cells(Selection(full=True))]
    assert ids[0] == "series0/4k/va39/el1/normal/in-order"
    assert ids[-1] == "series15/64k/va52/vhe/hibernate/large"


def test_cells_of_a_target_come_one_after_the_other() -> None:
    targets = [cell.target for cell in cells(Selection(series=(0, 15))) if cell.target]
    changes = sum(before != after for before, after in pairwise(targets))
    assert changes == len(set(targets)) - 1


def test_a_52_bit_kernel_on_either_cpu() -> None:
    chosen = Selection(
        series=(3,),
        page_sizes=(65536,),
        va_bits=(48, 52),
        cpu_bits=(48, 52),
        regimes=(Regime.EL1,),
        paths=(KexecPath.CRASH,),
    )
    assert [(cell.id, cell.target and cell.target.cpu_bits) for cell in cells(chosen)] == [
        ("series3/64k/va48/el1/crash/no-list", 48),
        ("series3/64k/va48-cpu52/el1/crash/no-list", 52),
        ("series3/64k/va52-cpu48/el1/crash/no-list", 48),
        ("series3/64k/va52/el1/crash/no-list", 52),
    ]


def test_va_size_of_another_page_size_says_why_not() -> None:
    cell = one(series=(3,), page_sizes=(65536,), va_bits=(39,), regimes=(Regime.EL1,))
    assert cell.reason == "no 39-bit VA with 64k pages"


@pytest.mark.parametrize(
    ("path", "payload", "reason"),
    [
        (KexecPath.IN_PLACE, Payload.SHUFFLED, "no list"),
        (KexecPath.CRASH, Payload.BOUNDARY, "no list"),
        (KexecPath.HIBERNATE, Payload.GAPS, "no segments"),
        (KexecPath.NORMAL, Payload.NO_LIST, "always a list"),
        (KexecPath.PURGATORY, Payload.NO_LIST, "always a list"),
    ],
)
def test_payload_that_a_path_cannot_have_says_why_not(
    path: KexecPath, payload: Payload, reason: str
) -> None:
    cell = one(
        series=(15,),
        page_sizes=(4096,),
        va_bits=(48,),
        regimes=(Regime.NVHE,),
        paths=(path,),
        payloads=(payload,),
    )
    assert cell.target is None
    assert reason in (cell.reason or "")
    assert cell.id.endswith(f"/{path}/{payload}")


def test_every_path_has_payloads_and_every_payload_a_path() -> None:
    assert set(PAYLOADS) == set(KexecPath)
    assert {payload for legal in PAYLOADS.values() for payload in legal} == set(Payload)


def job_of(path: KexecPath, payload: Payload, base: Job | None = None) -> Job:
    return Cell(15, 16384, 48, Regime.NVHE, path, payload, Target(page_size=16384)).job(
        base or Job()
    )


@pytest.mark.parametrize(
    ("payload", "order", "shape"),
    [
        (Payload.IN_ORDER, Order.IN_ORDER, Shape.PLAIN),
        (Payload.REVERSED, Order.REVERSED, Shape.PLAIN),
        (Payload.SHUFFLED, Order.SHUFFLED, Shape.PLAIN),
        (Payload.ONE_PAGE, Order.SHUFFLED, Shape.ONE_PAGE),
        (Payload.GAPS, Order.SHUFFLED, Shape.GAPS),
        (Payload.BOUNDARY, Order.SHUFFLED, Shape.BOUNDARY),
        (Payload.OWN_PLACE, Order.SHUFFLED, Shape.OWN_PLACE),
        (Payload.OLD_KERNEL, Order.SHUFFLED, Shape.OLD_KERNEL),
    ],
)
def test_payload_is_an_order_and_a_shape(payload: Payload, order: Order, shape: Shape) -> None:
    job = job_of(KexecPath.PURGATORY, payload)
    assert (job.path, job.order, job.shape, job.size) == (KexecPath.PURGATORY, order, shape, None)


def test_large_is_synthetic_whatever_the_kernel() -> None:
    job = job_of(KexecPath.NORMAL, Payload.LARGE, Job(kernel=Path("vmlinuz"), seed=7))
    assert (job.kernel, job.size, job.seed) == (None, LARGE, 7)


def test_one_page_of_hibernation_is_one_page() -> None:
    job = job_of(KexecPath.HIBERNATE, Payload.ONE_PAGE)
    assert (job.size, job.shape) == (16384, Shape.PLAIN)


def test_all_else_comes_from_the_base() -> None:
    base = Job(kernel=Path("vmlinuz"), seed=7, timeout=5, templates=Path("mine"))
    for path, payload, seed in (
        (KexecPath.NORMAL, Payload.SHUFFLED, 7),
        (KexecPath.CRASH, Payload.NO_LIST, 0),
        (KexecPath.PURGATORY, Payload.REVERSED, 0),
        (KexecPath.NORMAL, Payload.GAPS, 7),
    ):
        job = job_of(path, payload, base)
        assert (job.kernel, job.timeout, job.templates) == (base.kernel, 5, base.templates)
        # Where nothing is drawn a seed would be refused.
        assert job.seed == seed


def test_costly_is_a_matter_of_bytes() -> None:
    assert is_costly(4096, Payload.LARGE)
    assert is_costly(65536, Payload.BOUNDARY)
    assert not is_costly(16384, Payload.BOUNDARY)
    assert not is_costly(65536, Payload.SHUFFLED)


def _some(values: object) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True).map(tuple)  # type: ignore[arg-type]


@given(
    series=_some(range(16)),
    page_sizes=_some((4096, 16384, 65536)),
    va_bits=st.none() | _some((36, 39, 42, 47, 48, 52)),
    cpu_bits=st.none() | _some((48, 52)),
    regimes=_some(list(Regime)),
    paths=_some(list(KexecPath)),
    payloads=st.none() | _some(list(Payload)),
    full=st.booleans(),
)
def test_any_selection_is_of_its_own_values_each_once(**chosen: object) -> None:
    selection = Selection(**chosen)  # type: ignore[arg-type]
    made = list(cells(selection))
    assert made
    assert len({cell.id for cell in made}) == len(made)
    for cell in made:
        assert cell.series in selection.series
        assert cell.page_size in selection.page_sizes
        assert cell.regime in selection.regimes
        assert (cell.target is None) == (cell.reason is not None)
        if cell.target is not None:
            assert cell.path in selection.paths
            assert cell.payload in (selection.payloads or PAYLOADS[cell.path])
            assert cell.target.va_bits == cell.va_bits
            assert cell.target.cpu_bits == cell.cpu_bits
            cell.job(Job())
