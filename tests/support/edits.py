"""Code with instructions replaced, by their text: what a scenario's `edit` says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.linker.image import Image
from relokit.runtime.judge.rules.disassembly import disassemble

THEN = " ; "
"""Between instructions that follow each other."""
WORD = ".inst "
"""Before a word that no assembler has an instruction for."""

Edits = Sequence[Sequence[str]]
"""Pairs: which instructions, and what takes the place of the first of them, one or several."""


@cache
def encoder() -> Encoder:
    return Encoder()


def edited(image: Image, routine: str, edits: Edits) -> Image:
    """``image`` with instructions of ``routine`` replaced, each of which is found once.

    Instructions are as disassembled at their distance from the routine's start.
    """
    va = image.symbol(routine)
    [size] = [one.size for one in image.symbols if one.name == routine]
    code = image.read(va, size)
    words = [code[at : at + 4] for at in range(0, size, 4)]
    texts = [disassemble(int.from_bytes(word, "little"), 4 * at) for at, word in enumerate(words)]
    for old, new in edits:
        wanted = old.split(THEN)
        [at] = [
            number for number in range(len(texts)) if texts[number : number + len(wanted)] == wanted
        ]
        for number, text in enumerate(new.split(THEN)):
            words[at + number] = _word(text)
    return with_bytes(image, va, b"".join(words))


def _word(text: str) -> bytes:
    if text.startswith(WORD):
        return int(text.removeprefix(WORD), 16).to_bytes(4, "little")
    [word] = encoder().encode([text])
    assert isinstance(word, bytes), word
    return word


def with_bytes(image: Image, va: int, data: bytes) -> Image:
    """``image`` with ``data`` at ``va``, which lies within a section."""
    section = image.section_at(va)
    assert section is not None
    at = va - section.va
    changed = bytes(section.data[:at]) + data + bytes(section.data[at + len(data) :])
    assert len(changed) == len(section.data)
    sections = tuple(
        replace(one, data=changed) if one is section else one for one in image.sections
    )
    return replace(image, sections=sections)
