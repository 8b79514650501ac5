"""Objects linked by GNU ld and by us, compared as Images."""

from __future__ import annotations

import subprocess
from pathlib import Path

from relokit.codegen.object import Object, SectionFlag, SectionType
from relokit.codegen.source import Unit
from relokit.linker.elf.elf_reader import read_image, read_object
from relokit.linker.image import Image, PlacedSection
from relokit.linker.link.linking import link

AS = "aarch64-linux-gnu-as"
LD = ["aarch64-linux-gnu-ld", "--no-warn-rwx-segments", "-z", "max-page-size=4096"]


def assemble(folder: Path, name: str, text: str) -> Path:
    source = folder / name
    source.write_text(text)
    target = source.with_suffix(".o")
    subprocess.run([AS, "-o", target.name, name], cwd=folder, check=True)
    return target


def gnu_ld(
    folder: Path, script: str, objects: list[Path], *options: str
) -> tuple[Image | None, str]:
    """GNU ld's image, or None and what it said."""
    (folder / "script.ld").write_text(script)
    result = subprocess.run(
        [*LD, "-T", "script.ld", *options, "-o", "out.elf", *(path.name for path in objects)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        return None, result.stderr
    return read_image((folder / "out.elf").read_bytes(), "ld"), result.stderr


def ours(script: str, objects: list[Path]) -> Image:
    return link(read_all(objects), Unit.from_text("script.ld", script), name="x")


def read_all(objects: list[Path]) -> list[Object]:
    return [read_object(path.read_bytes(), path.name) for path in objects]


def contents(image: Image) -> dict[str, tuple[object, ...]]:
    def stored(section: PlacedSection) -> bytes:
        return bytes(section.size) if section.type is SectionType.NOBITS else bytes(section.data)

    return {
        section.name: (
            hex(section.va), hex(section.pa), section.size, section.align,
            section.flags & ~(SectionFlag.MERGE | SectionFlag.STRINGS), stored(section).hex(),
        )
        for section in image.sections
        if section.flags & SectionFlag.ALLOC and section.size
    }  # fmt: skip


def symbols(image: Image) -> list[tuple[object, ...]]:
    # ld drops some of the mapping symbols ($x, $d) of sections that end up empty.
    return sorted(
        (s.name, hex(s.value), s.size, s.binding.name, s.type.name)
        for s in image.symbols
        if not s.name.startswith("$")
    )


def sections_of(image: Image) -> dict[str, str]:
    """By symbol, the section it is in, if that holds anything: we keep no empty ones."""
    sections = image.sections
    return {
        s.name: "absolute" if s.section < 0 else sections[s.section].name
        for s in image.symbols
        if not s.name.startswith("$") and (s.section < 0 or sections[s.section].size)
    }


def compare(folder: Path, script: str, objects: list[Path], *options: str) -> None:
    reference, said = gnu_ld(folder, script, objects, *options)
    assert reference is not None, said
    image = ours(script, objects)
    assert contents(image) == contents(reference)
    assert symbols(image) == symbols(reference)
    wanted = sections_of(reference)
    found = sections_of(image)
    wrong = {name: (found.get(name), where) for name, where in wanted.items()}
    wrong = {name: both for name, both in wrong.items() if both[0] != both[1]}
    assert not wrong, wrong
    if ".text" in contents(image):
        assert hex(image.entry) == hex(reference.entry)
