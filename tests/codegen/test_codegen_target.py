"""Target: every legal combination is made, every impossible one is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.errors import TargetError
from relokit.codegen.series import COMPLETE, Feature
from relokit.codegen.target import VA_BITS, Regime, Target, parse_page_size


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"series": -1}, "no state -1 of the series", "0 to 15"),
        ({"series": 16}, "no state 16 of the series", "0 to 15"),
        ({"page_size": 8192}, "no 8192-byte pages on arm64", "4k, 16k or 64k"),
        ({"page_size": 0}, "no 0-byte pages on arm64", "4k, 16k or 64k"),
        ({"pa_bits": 52}, "no 52-bit PA with 48-bit VA and 4k pages", "64k pages have both"),
        ({"va_bits": 52, "pa_bits": 48}, "no 48-bit PA with 52-bit VA", "52 goes with it"),
        ({"va_bits": 47}, "no 47-bit VA with 4k pages", "39, 48, 52"),
        ({"cpu_bits": 44}, "no CPU with 44-bit addresses", "48 or 52"),
        ({"cpu_bits": -1}, "no CPU with -1-bit addresses", "48 or 52"),
        ({"page_size": 16384, "va_bits": 39}, "no 39-bit VA with 16k pages", "36, 47, 48, 52"),
        ({"page_size": 65536, "va_bits": 39}, "no 39-bit VA with 64k pages", "42, 48, 52"),
        ({"pa_bits": 40}, "no 40-bit PA", "48 and 52"),
        ({"cache_line": 0}, "no 0-byte cache line", "16 to 2048"),
        ({"cache_line": 48}, "no 48-byte cache line", "16 to 2048"),
        ({"cache_line": 4096}, "no 4096-byte cache line", "16 to 2048"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    options: dict[str, int], message: str, hint: str
) -> None:
    with pytest.raises(TargetError) as caught:
        Target(**options)  # type: ignore[arg-type]
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@given(
    page_and_va=st.sampled_from([(page, va) for page, all_va in VA_BITS.items() for va in all_va]),
    series=st.integers(0, COMPLETE),
    regime=st.sampled_from(Regime),
    line=st.integers(4, 11).map(lambda shift: 1 << shift),
)
def test_address_space_of_every_legal_target(
    page_and_va: tuple[int, int], series: int, regime: Regime, line: int
) -> None:
    page, va = page_and_va
    target = Target(series=series, page_size=page, va_bits=va, regime=regime, cache_line=line)
    assert 1 << target.page_shift == page
    assert target.page_name == f"{page >> 10}k"
    # The linear map is the lower half of the kernel's range; the image lives in the upper one.
    assert target.page_offset == 2**64 - 2**va
    least = min(va, 47 if page == 16384 and va == 52 else 48)
    assert target.page_end == 2**64 - 2 ** (least - 1)
    assert target.linear_start == target.page_offset
    assert (target.pa_bits, target.cpu_bits) == ((52, 52) if va == 52 else (48, 48))
    assert target.kimage_vaddr == target.page_end + (128 << 20)
    assert target.kimage_vaddr % (2 << 20) == 0
    assert target.name == f"series:{series},page={page >> 10}k,va={va},el={regime}"
    assert [feature.value for feature in Feature if target.has(feature)] == list(
        range(1, series + 1)
    )


def test_48_bits_are_where_shipped_kernels_have_them() -> None:
    target = Target()
    assert target.page_offset == 0xFFFF_0000_0000_0000
    assert target.page_end == 0xFFFF_8000_0000_0000
    assert target.kimage_vaddr == 0xFFFF_8000_0800_0000  # the link base of Debian's 6.1


@pytest.mark.parametrize(
    ("page", "page_end"), [("4k", 0xFFFF_8000_0000_0000), ("16k", 0xFFFF_C000_0000_0000)]
)
def test_52_bits_are_where_shipped_kernels_have_them(page: str, page_end: int) -> None:
    # The range that 6.12's and 7.2's machine_kexec_post_load copy.
    target = Target(page_size=page, va_bits=52)  # type: ignore[arg-type]
    assert target.page_offset == 0xFFF0_0000_0000_0000
    assert target.page_end == page_end


@pytest.mark.parametrize(
    ("page", "va_at_run", "table_va", "offset"),
    [("4k", 48, 48, 0), ("16k", 47, 47, 0), ("64k", 48, 52, 0x1E00)],
)
def test_a_52_bit_kernel_on_a_48_bit_cpu(
    page: str, va_at_run: int, table_va: int, offset: int
) -> None:
    """The same build: only where its linear map starts and how tables are read is another."""
    wide = Target(page_size=page, va_bits=52)  # type: ignore[arg-type]
    narrow = replace(wide, cpu_bits=48)
    assert narrow.va_bits_at_run == va_at_run
    assert narrow.pa_bits_at_run == 48
    assert narrow.linear_start == 2**64 - 2**va_at_run
    assert (narrow.page_offset, narrow.page_end) == (wide.page_offset, wide.page_end)
    assert narrow.kimage_vaddr == wide.kimage_vaddr
    assert (narrow.table_va_bits, narrow.ttbr1_offset) == (table_va, offset)
    assert narrow.kernel_name == wide.kernel_name == wide.name
    assert narrow.name == f"{wide.name},cpu=48"
    assert (wide.lpa2, narrow.lpa2) == (page != "64k", False)


def test_with_64k_pages_va_and_pa_are_chosen_apart() -> None:
    sizes = [(48, 48), (48, 52), (52, 48), (52, 52)]
    targets = [Target(page_size=65536, va_bits=va, pa_bits=pa) for va, pa in sizes]
    assert [target.name.split(",", 2)[2] for target in targets] == [
        "va=48,el=nvhe",
        "va=48,pa=52,el=nvhe",
        "va=52,pa=48,el=nvhe",
        "va=52,el=nvhe",
    ]
    assert [target.cpu_bits for target in targets] == [48, 52, 52, 52]
    assert not any(target.lpa2 for target in targets)


def test_a_target_is_a_value() -> None:
    assert Target(va_bits=52) == Target(va_bits=52, pa_bits=52, cpu_bits=52)
    assert Target() == Target()
    assert len({Target(), Target(series=15), Target(series=0)}) == 2


@pytest.mark.parametrize(("text", "size"), [("4k", 4096), ("16K", 16384), ("64k", 65536)])
def test_page_sizes_are_named_as_people_do(text: str, size: int) -> None:
    assert parse_page_size(text) == size


@pytest.mark.parametrize("text", ["8k", "", "4", "4096", "4kb", "٤k"])
def test_other_page_sizes_are_refused(text: str) -> None:
    with pytest.raises(TargetError, match="page size on arm64"):
        parse_page_size(text)
