"""SIZEOF_HEADERS without PHDRS, and notes that a script does not mention, against GNU ld."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from relokit.codegen.base.errors import LinkError
from relokit.linker.image import Image
from support.gnu_ld import assemble, compare, contents, gnu_ld, ours

pytestmark = pytest.mark.oracle

FLAGS = {
    ".text": '"ax",%progbits',
    ".ro": '"a",%progbits',
    ".rw": '"aw",%progbits',
    ".bs": '"aw",%nobits',
    ".note.x": '"a",%note',
    ".note.y": '"a",%note',
    ".ro2": '"a",%progbits',
    ".text2": '"ax",%progbits',
}
BEGINNINGS = [
    ". = 0x10000 + SIZEOF_HEADERS;",
    ". = SIZEOF_HEADERS;",
    "h = SIZEOF_HEADERS;",
    ". = ALIGN(64) + SIZEOF_HEADERS;",
]
STEPS = [". = ALIGN(4096);", ". += 0x20;", ". += 0x3000;", ". = ALIGN(4096) + (. & 4095);"]
STACK = '.section .note.GNU-stack,"",%progbits\n'


def unit(chance: random.Random, names: list[str]) -> str:
    lines = []
    for name in names:
        align, size = chance.choice([1, 4, 8, 64]), chance.choice([1, 16, 16, 4096, 70000])
        lines.append(f".section {name},{FLAGS[name]}\n.balign {align}\n.space {size}\n")
    return "".join(lines) + chance.choice(["", STACK])


def script(chance: random.Random, names: list[str]) -> str:
    parts = [chance.choice(BEGINNINGS)]
    for name in names:
        parts.append(chance.choice(STEPS) if chance.random() < 0.3 else "")
        parts.append(f"o{name} : {{ *({name}) }}")
    return "SECTIONS { " + " ".join(parts) + " } end = SIZEOF_HEADERS;"


@pytest.mark.parametrize("seed", range(40))
def test_headers_are_counted_as_gnu_ld_makes_them(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = chance.sample(list(FLAGS), chance.randint(1, 8))
    objects = [
        assemble(tmp_path, f"u{number}.S", unit(chance, chance.sample(names, len(names))))
        for number in range(chance.randint(1, 2))
    ]
    compare_quietly(tmp_path, script(chance, sorted(names)), objects)


def compare_quietly(folder: Path, text: str, objects: list[Path]) -> None:
    """What both make of it; a segment that would be writable and executable is ours to refuse."""
    reference, said = gnu_ld(folder, text, objects)
    assert reference is not None, said
    image = ours(text, objects)
    assert contents(image) == contents(reference)
    assert values(image) == values(reference)


def values(image: Image) -> dict[str, str]:
    return {one.name: hex(one.value) for one in image.symbols if one.name in ("h", "end")}


def test_nothing_but_a_word_on_the_stack_has_no_header(tmp_path: Path) -> None:
    objects = [assemble(tmp_path, "u.S", STACK)]
    compare(tmp_path, "SECTIONS { h = SIZEOF_HEADERS; }", objects)


@pytest.mark.parametrize(
    ("text", "section", "why"),
    [
        ("o.ro : AT(0x9000) { *(.ro) }", ".ro", "load addresses of their own"),
        ("o.ro : { *(.ro) } o.data : { KEEP(*(.data)) }", ".ro", "an empty section"),
        ("o.ro : { *(.ro) } o.data : { *(.data) x = .; }", ".ro", "an empty section"),
        (".note.gnu.property : { *(.ro) }", ".ro", ".note.gnu.property"),
    ],
)
def test_what_is_not_known_is_refused_where_it_counts(
    tmp_path: Path, text: str, section: str, why: str
) -> None:
    objects = [assemble(tmp_path, "u.S", f".section {section},{FLAGS[section]}\n.word 1\n")]
    assert ours(f"SECTIONS {{ . = 0x1000; {text} }}", objects).section_at(0x1000) is not None
    with pytest.raises(LinkError, match=f"SIZEOF_HEADERS with {why}.*: describe"):
        ours(f"SECTIONS {{ . = 0x1000 + SIZEOF_HEADERS; {text} }}", objects)


NOTES = [
    "4a 8a",
    "8b 4a 8c",
    "4a 4b q",
    "4a r",
    "4a q 4b r",
    "8a 8b 4a 16a 8c 4b w",
    "4a 8a r q 4b z",
]


@pytest.mark.parametrize("name", NOTES)
@pytest.mark.parametrize("given", ["", "o.zz : { *(.zz) }", ". += 4; o.zz : { *(.zz) } . += 4;"])
def test_notes_stand_by_alignment(tmp_path: Path, name: str, given: str) -> None:
    kinds = {"r": FLAGS[".ro"], "q": FLAGS[".text"], "w": FLAGS[".rw"], "z": FLAGS[".bs"]}
    lines = ['.section .code,"ax"\nnop\n.section .zz,"a",%note\n.balign 4\n.word 1\n']
    for word in name.split():
        flags = kinds.get(word, FLAGS[".note.x"])
        lines.append(f".section .{word}o,{flags}\n.balign {word[:-1] or 1}\n.space 4\n")
    objects = [assemble(tmp_path, "u.S", "".join(lines))]
    text = f"SECTIONS {{ o.code : {{ *(.code) }} {given} }}"
    reference, said = gnu_ld(tmp_path, text, objects)
    assert reference is not None, said
    others = [word for word in name.split() if word in kinds]
    if given and others and name.split().index(others[-1]) > 0:
        with pytest.raises(LinkError, match="notes that are orphans"):
            ours(text, objects)
    else:
        assert contents(ours(text, objects)) == contents(reference)
