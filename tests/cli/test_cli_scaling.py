"""What is four times as large takes four times the CPU time, of each family: not sixteen."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import pytest

import relokit
from relokit.building import encoder
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.kernels.whole import compare_kernels
from relokit.linker.elf.elf_reader import read_object
from relokit.linker.elf.elf_writer import write_rel
from relokit.linker.kernel.kallsyms import read_kallsyms
from relokit.linker.link.linking import link
from support.archives import archive
from support.peaks import linked, named_image

MOST = 10
"""Times the CPU time of a quarter: four and some for caches that are missed; sixteen would be a
search in all.
"""
ROUNDS = 6
"""The least of so many at most, since a busy machine adds to some."""


@dataclass(frozen=True)
class Family:
    """Input of ``count`` parts, made by ``make``; ``read`` is what is measured."""

    name: str
    count: int
    make: Callable[[int], bytes]
    read: Callable[[bytes, Path], object]


def assembled(data: bytes, _: Path) -> object:
    return assemble(Unit.from_text("t.S", data.decode()), encoder().encode)


def unit(text: str) -> bytes:
    return write_rel(assemble(Unit.from_text("t.S", text), encoder().encode))


SMALL = assemble(Unit.from_text("t.S", ".text\n.globl go\ngo: ret\n"), encoder().encode)


def scripted(data: bytes, _: Path) -> object:
    return link([SMALL], Unit.from_text("t.ld", data.decode()), name="t")


def script(line: str) -> Callable[[int], bytes]:
    def make(count: int) -> bytes:
        lines = "".join(line.format(i) + "\n" for i in range(count))
        return f"SECTIONS {{ . = 0x400000; .text : {{ *(.text) }}\n{lines}}}\n".encode()

    return make


def lines(line: str, before: str = "", after: str = "") -> Callable[[int], bytes]:
    def make(count: int) -> bytes:
        return (
            before + "".join(line.format(i, i + 1) + "\n" for i in range(count)) + after
        ).encode()

    return make


def object_of(line: str) -> Callable[[int], bytes]:
    return lambda count: unit(lines(line)(count).decode())


def read(data: bytes, _: Path) -> object:
    return read_object(data, "t.o")


def whole(data: bytes, place: Path) -> object:
    path = place / "vmlinux"
    path.write_bytes(data)
    return compare_kernels(path, path)


def symbols(data: bytes, _: Path) -> object:
    return read_kallsyms(memoryview(data))


def members(count: int) -> bytes:
    return archive({f"part_{n}.o": MEMBER for n in range(count)})


def unpacked(data: bytes, place: Path) -> object:
    path = place / "lib.a"
    path.write_bytes(data)
    return relokit.diff(f"{path}(part_1.o)", f"{path}(part_2.o)")


MEMBER = unit(".text\n.globl go\n.type go, %function\ngo: ret\n.size go, . - go\n")
FAMILIES = (
    Family("comments", 2000, lines("nop /* {0} */ // {0}"), assembled),
    Family("strings", 2000, lines('.asciz "a\\"b{0}"'), assembled),
    Family("one comment", 20000, lines(" * / {0}", "/*", "*/\n"), assembled),
    Family("literal pools", 1000, lines("ldr x0, =s{0}"), assembled),
    Family("labels", 1500, lines("l{0}: b l{0}"), assembled),
    Family("numbered labels", 1500, lines("1: b 1b"), assembled),
    Family(".set chains", 1000, lines(".set a{1}, a{0} + 1", ".set a0, 1\n"), assembled),
    Family("macros", 500, lines(".macro m{0}\nnop\n.endm\nm{0}"), assembled),
    Family("sections", 250, lines(".section .s{0}\n.word {0}"), assembled),
    Family("symbols of an object", 1500, object_of(".globl f{0}\nf{0}: nop"), read),
    Family("sections of an object", 250, object_of(".section .s{0}\n.word {0}"), read),
    Family("relocations of an object", 1500, object_of(".quad f{0}"), read),
    Family("script: symbols", 300, script("a{0} = . + {0};"), scripted),
    Family("script: sections", 200, script(".s{0} : {{ BYTE(1) }}"), scripted),
    Family("script: assertions", 300, script('ASSERT(go != {0}, "no {0}")'), scripted),
    Family("functions of a vmlinux", 1 << 20, lambda size: linked(size, 0), whole),
    Family("kallsyms", 1 << 21, lambda size: named_image(size, 0), symbols),
    Family("members of an archive", 300, members, unpacked),
)


@pytest.fixture
def _nothing_collected() -> Iterator[None]:
    """A collection looks at all that the process has, and comes when it likes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_nothing_collected")
@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.name)
def test_nothing_is_quadratic(family: Family, tmp_path: Path) -> None:
    inputs = [family.make(size) for size in (family.count, 4 * family.count)]
    least = [float("inf")] * 2
    for _ in range(ROUNDS):
        for which, data in enumerate(inputs):
            start = process_time()
            family.read(data, tmp_path)
            least[which] = min(least[which], process_time() - start)
        if least[1] <= MOST * least[0]:
            break
    assert least[1] <= MOST * least[0], least
