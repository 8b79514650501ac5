"""The recipes: what each renders to, by target, and that the version has one place."""

from __future__ import annotations

import configparser
import re
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import TemplateError
from relokit.codegen.base.version import VERSION
from relokit.codegen.build import DEMO, HARNESS, KERNEL, Recipe, render_recipe, variables
from relokit.codegen.built_in import TEMPLATES
from relokit.codegen.series import COMPLETE, Feature
from relokit.codegen.target import VA_BITS, Regime, Target

ROOT = Path(__file__).resolve().parents[2]
LEGAL = [(page, va) for page, all_va in VA_BITS.items() for va in all_va]


def text_of(recipe: Recipe, target: Target, unit: str) -> str:
    [found] = [u for u in render_recipe(recipe, target).units if u.name == unit]
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", found.text, flags=re.DOTALL)


def test_version_has_one_value() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == VERSION


def test_every_template_belongs_to_a_recipe_or_is_used_by_one() -> None:
    for recipe in (KERNEL, DEMO, HARNESS):
        for name in (*recipe.templates, recipe.script):
            assert (TEMPLATES / name).is_file()


@settings(max_examples=40)
@given(st.integers(0, COMPLETE), st.sampled_from(LEGAL), st.sampled_from(Regime))
def test_every_target_renders_whole(state: int, sizes: tuple[int, int], regime: Regime) -> None:
    target = Target(series=state, page_size=sizes[0], va_bits=sizes[1], regime=regime)
    for recipe in (KERNEL, DEMO):
        source = render_recipe(recipe, target)
        assert [unit.name for unit in source.units] == [
            name.removesuffix(".j2") for name in recipe.templates
        ]
        for unit in (*source.units, source.script):
            assert unit.text.count("\n") == len(unit.origins)
            assert not re.search(r"{{|}}|{%|%}|[\x00-\x08]", unit.text)


def test_features_reach_the_templates_by_name() -> None:
    """A variable of each name follows its feature, state by state."""
    for feature in (
        Feature.COPY_EL2_VECTORS,
        Feature.SKIP_IN_PLACE,
        Feature.DCACHE_MACROS,
        Feature.KIMAGE_ARGUMENT,
        Feature.KEXEC_EL2_VECTORS,
        Feature.RELOCATE_AT_EL1,
        Feature.LINEAR_MAP_COPY,
        Feature.MMU_ON,
    ):
        for state in range(COMPLETE + 1):
            given_to = variables(Target(series=state))
            assert given_to[feature.name.lower()] is (state >= feature.value), (feature, state)


@pytest.mark.parametrize(
    ("pattern", "states"),
    [
        (r"dc\s+ivac", range(12)),
        (r"dc\s+civac", range(12, 16)),
        (r"msr\s+sctlr_el1", range(12, 16)),
        (r"tlbi\s+vmalle1", range(11, 16)),
        (r"hvc\s+#0", range(9, 16)),
        (r"\.kexec_relocate\.text", range(10, 16)),
        (r"arm64_relocate_new_kernel_size", range(10)),
        (r"tbnz\s+x16, #2", range(5)),
        (r"ldr\s+x16, \[x0, #0\]", range(7, 16)),
        (r"mov\s+x16, x0", range(7)),
    ],
)
def test_relocation_has_what_its_state_has(pattern: str, states: range) -> None:
    """The series' changes of the relocation function, as the mails describe them."""
    found = [
        state
        for state in range(COMPLETE + 1)
        if re.search(pattern, text_of(KERNEL, Target(series=state), "relocate_kernel.S"))
    ]
    assert found == list(states)


@pytest.mark.parametrize(
    ("pattern", "unit", "states"),
    [
        (r"trans_pgd_stub_vectors:", "trans_pgd.S", range(2, 16)),
        (r"hibernate_el2_vectors:", "hibernate.S", range(2)),
        (r"cpu_install_ttbr0:", "machine_kexec.S", range(3, 16)),
        (r"\b__cpu_soft_restart:", "cpu_reset.S", range(14)),
        (r"\bcpu_soft_restart:", "cpu_reset.S", range(14, 16)),
        (r"__hyp_set_vectors\b", "machine_kexec.S", range(8, 16)),
    ],
)
def test_other_routines_have_what_their_state_has(pattern: str, unit: str, states: range) -> None:
    found = [
        state
        for state in range(COMPLETE + 1)
        if re.search(pattern, text_of(KERNEL, Target(series=state), unit))
    ]
    assert found == list(states)


FOLD = {r"orr\s+(x\d+), \1, \1, lsr #46", r"and\s+(x\d+), \1, #0xfffffffffffc"}
OFFSET = {
    r"mrs\s+x9, tcr_el1",
    r"tbz\s+x9, #20, \.L\w+",
    r"orr\s+(x\d+), \1, #0x1e00",
    r"\.L\w+:",
}


def _lines(target: Target) -> list[str]:
    """Every line of the kernel's assembly; the build note, which names the target, apart."""
    units = render_recipe(KERNEL, target).units
    text = "\n".join(unit.text for unit in units if unit.name != "note.S")
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("state", [0, 2, 3, 11, 12, 15])
@pytest.mark.parametrize(
    ("page", "va", "pa", "more"),
    [
        (4096, 52, 52, FOLD),
        (16384, 52, 52, FOLD),
        (65536, 52, 52, FOLD | OFFSET),
        (65536, 52, 48, OFFSET),
        (65536, 48, 52, FOLD),
    ],
)
def test_52_bits_fold_what_ttbrs_get_and_change_nothing_else(
    state: int, page: int, va: int, pa: int, more: set[str]
) -> None:
    plain = _lines(Target(series=state, page_size=page))
    wide = _lines(Target(series=state, page_size=page, va_bits=va, pa_bits=pa))
    matcher = SequenceMatcher(None, plain, wide, autojunk=False)
    added: list[str] = []
    for tag, low, high, start, end in matcher.get_opcodes():
        if tag == "equal":
            continue
        # Before patch 3, hibernation's register for the empty table is copied to be folded.
        if plain[low:high] == ["msr\tttbr0_el1, x22"]:
            assert (wide[start], wide[end - 1]) == ("mov\tx0, x22", "msr\tttbr0_el1, x0")
            added += wide[start + 1 : end - 1]
        else:
            assert low == high, plain[low:high]
            added += wide[start:end]
    assert all(any(re.fullmatch(form, line) for form in more) for line in added), added
    assert all(any(re.fullmatch(form, line) for line in added) for form in more), added


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_code_does_not_depend_on_the_cpu(page: int) -> None:
    wide = Target(page_size=page, va_bits=52)
    narrow = Target(page_size=page, va_bits=52, cpu_bits=48)
    assert render_recipe(KERNEL, wide) == render_recipe(KERNEL, narrow)


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_page_size_is_in_the_code_and_in_the_image_header(page: int) -> None:
    target = Target(page_size=page)
    assert f"#{(1 << 64) - page:#x}" in text_of(KERNEL, target, "relocate_kernel.S")
    flags = variables(target)["image_flags"]
    assert isinstance(flags, int)
    # booting.rst: bit 0 endianness, bits 1-2 page size, bit 3 placement.
    assert flags & 1 == 0
    assert {1: 4096, 2: 16384, 3: 65536}[flags >> 1 & 3] == page
    assert flags >> 3 == 1


def test_the_build_note_tells_target_and_tool() -> None:
    target = Target(series=9, page_size=65536, regime=Regime.EL1)
    assert f'"relokit {VERSION} {target.name}"' in text_of(KERNEL, target, "note.S")


def test_a_recipe_needs_its_own_variables() -> None:
    with pytest.raises(TemplateError, match=r"'harness_paddr' is undefined|'state' is undefined"):
        render_recipe(HARNESS, Target())
