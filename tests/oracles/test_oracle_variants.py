"""Every variant of everything that is generated, through GNU as and GNU ld as well.

All states of the series, page sizes and regimes: the same text gives the same sections, the same
objects and script the same symbols and bytes, and so does the ET_REL that we write. Texts that
several targets share are looked at once.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from relokit.building import encoder
from relokit.codegen.build import DEMO, HARNESS, KERNEL, PURGATORY, Recipe
from relokit.codegen.object import Object, SectionFlag, SectionType
from relokit.codegen.series import COMPLETE
from relokit.codegen.target import NARROW, PAGE_SIZES, VA_BITS, WIDE, Regime, Target
from relokit.linker.elf.elf_reader import read_image, read_object
from relokit.linker.elf.elf_writer import rel_chunks
from relokit.linker.image import Image
from relokit.linker.link.merge import merge_objects
from relokit.linker.link.program import Program, build_program
from relokit.runtime.state.bootable import HarnessState

pytestmark = pytest.mark.oracle

AS, LD = "aarch64-linux-gnu-as", "aarch64-linux-gnu-ld"


def targets() -> Iterator[Target]:
    """What generated text can depend on."""
    for state in range(COMPLETE + 1):
        for page in PAGE_SIZES.values():
            for regime in Regime:
                for va_bits in (NARROW, WIDE):
                    yield Target(series=state, page_size=page, va_bits=va_bits, regime=regime)


def narrow_targets() -> Iterator[Target]:
    for page, all_va in VA_BITS.items():
        for va in (bits for bits in all_va if bits not in (NARROW, WIDE)):
            yield Target(page_size=page, va_bits=va)


def harness(regime: Regime, *, wide: bool) -> HarnessState:
    return HarnessState(
        stub_vectors=0x4030_0800,
        hcr_el2=0x100030080000000,
        cptr_el2=0x33FF,
        cnthctl_el2=3,
        mair=0x4044FFFF,
        tcr=0x5_B510_3510,
        ttbr0=0x4123_4000,
        ttbr1=0xFFFF_FFFF_0000,
        sctlr=0x3050_181D,
        vbar=0xFFFF_8000_0801_0800,
        arguments=(0xFFFF_0000_0009_F000, 0, 0x1_0000, 1 << 48, 16, regime is Regime.NVHE),
        entry=0xFFFF_8000_0800_0018,
        wide=wide,
    )


@dataclass(frozen=True)
class Variant:
    """One build, and the place where GNU's side of it is."""

    target: Target
    recipe: Recipe
    program: Program

    @property
    def name(self) -> str:
        return f"{self.recipe.name} {self.target.name}"

    @property
    def key(self) -> str:
        """The same for two variants whose texts are the same."""
        return _digest(
            *(unit.text for unit in (*self.program.source.units, self.program.source.script))
        )


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24]


@pytest.fixture(scope="module")
def variants() -> list[Variant]:
    """Every variant whose text is not that of another one."""
    found: dict[str, Variant] = {}

    def add(recipe: Recipe, target: Target, **extra: object) -> None:
        program = build_program(recipe, target, encoder(), extra=extra)
        variant = Variant(target, recipe, program)
        found.setdefault(variant.key, variant)

    for target in targets():
        add(KERNEL, target)
    for target in narrow_targets():
        add(KERNEL, target)
    for page in PAGE_SIZES.values():
        add(DEMO, Target(page_size=page))
        add(PURGATORY, Target(page_size=page))
    for regime, wide in product(Regime, (False, True)):
        add(
            HARNESS,
            Target(regime=regime),
            state=harness(regime, wide=wide),
            harness_paddr=0x4123_5000,
            spsr_el1h=0x3C5,
        )
    return list(found.values())


@pytest.fixture(scope="module")
def gnu(variants: list[Variant], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """GNU as on every text, by the text's digest."""
    folder = tmp_path_factory.mktemp("gnu")
    texts = {
        _digest(unit.text): unit.text
        for variant in variants
        for unit in variant.program.source.units
    }

    def assemble(item: tuple[str, str]) -> tuple[str, Path]:
        digest, text = item
        source = folder / f"{digest}.S"
        source.write_text(text)
        done = subprocess.run(
            [AS, "-o", f"{digest}.o", source.name],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return digest, folder / f"{digest}.o"

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(assemble, texts.items()))


Contents = dict[str, tuple[int, int, SectionType, SectionFlag, bytes]]


def sections(item: Object) -> Contents:
    return {
        section.name: (section.size, section.align, section.type, section.flags, section.data)
        for section in item.sections
        if section.size and section.flags & SectionFlag.ALLOC
    }


def placed(image: Image) -> dict[str, tuple[object, ...]]:
    return {
        section.name: (hex(section.va), hex(section.pa), section.size, section.flags, section.data)
        for section in image.sections
        if section.size and section.flags & SectionFlag.ALLOC
    }


def symbols(image: Image) -> list[tuple[object, ...]]:
    return sorted(
        (symbol.name, hex(symbol.value), symbol.size, symbol.binding.name, symbol.type.name)
        for symbol in image.symbols
        if not symbol.name.startswith("$")
    )


def gnu_ld(folder: Path, script: str, objects: list[Path]) -> Image:
    (folder / "script.lds").write_text(script)
    done = subprocess.run(
        [LD, "-T", "script.lds", "-o", "out.elf", *map(str, objects)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return read_image((folder / "out.elf").read_bytes(), "ld")


def test_there_is_a_variant_for_every_target(variants: list[Variant]) -> None:
    """The build note alone makes each target's text its own."""
    kernels = [variant for variant in variants if variant.recipe is KERNEL]
    assert len(kernels) == 16 * 3 * 3 * 2 + 4
    for recipe, count in ((DEMO, 3), (HARNESS, 6)):
        assert len([variant for variant in variants if variant.recipe is recipe]) == count
    assert any(variant.recipe is PURGATORY for variant in variants)


def test_gnu_as_gives_the_same_sections(variants: list[Variant], gnu: dict[str, Path]) -> None:
    seen = set()
    for variant in variants:
        for unit, ours in zip(variant.program.source.units, variant.program.objects, strict=True):
            digest = _digest(unit.text)
            if digest in seen:
                continue
            seen.add(digest)
            theirs = read_object(gnu[digest].read_bytes(), unit.name)
            assert sections(ours) == sections(theirs), f"{variant.name}: {unit.name}"
    assert len(seen) == len(gnu) > 150


def test_gnu_ld_gives_the_same_image_of_its_objects(
    variants: list[Variant], gnu: dict[str, Path], tmp_path: Path
) -> None:
    for variant in variants:
        source = variant.program.source
        objects = [gnu[_digest(unit.text)] for unit in source.units]
        theirs = gnu_ld(tmp_path, source.script.text, objects)
        ours = variant.program.image
        assert placed(ours) == placed(theirs), variant.name
        assert symbols(ours) == symbols(theirs), variant.name
        assert hex(ours.entry) == hex(theirs.entry), variant.name


def test_gnu_ld_gives_the_same_image_of_our_object(variants: list[Variant], tmp_path: Path) -> None:
    """All units in one ET_REL, as ``relokit export --type rel`` writes it."""
    for variant in variants:
        source = variant.program.source
        merged = merge_objects(variant.program.objects, name=variant.recipe.name)
        with (tmp_path / "all.o").open("wb") as file:
            for chunk in rel_chunks(merged):
                file.write(chunk)
        theirs = gnu_ld(tmp_path, source.script.text, [tmp_path / "all.o"])
        ours = variant.program.image
        assert symbols(ours) == symbols(theirs), variant.name
        assert placed(ours) == placed(theirs), variant.name
