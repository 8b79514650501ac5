"""Peak memory of commands on large inputs of every kind, against what is in them, unpacked.

``cd tests && ../.venv/bin/python -m support.peaks`` measures all of them and writes the table in
docs/limits.md.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from random import Random

from relokit.cli.main import main
from relokit.linker.elf_format import EHDR, IDENT, SHDR, SYM
from relokit.runtime.campaign.result_file import ResultFile
from support import snapshots
from support.kernel_images import PACKED
from support.kernels import kernel_image
from support.text_images import ADD, BASE, LDR, MOV, NOP, RET, TOKENS

DOCS = Path(__file__).resolve().parents[2] / "docs" / "limits.md"
COMMAND = "cd tests && ../.venv/bin/python -m support.peaks"
BOUND = 8
"""Bytes that a command may have at its peak for a byte of its unpacked input."""
ROUTINE_BOUND = 50
"""The same for a single routine, all of whose instructions are objects while it is compared."""
HEAD = "## Memory at the peak\n"
"""Of what the page has."""
MIB = 1 << 20
SIZE = 48 * MIB
FUNCTION = 64
"""Words of a function in what is built here: about as many as in a kernel."""
_LAUNCHER = """
import os, sys
null = os.open(os.devnull, os.O_RDWR)
given = [(os.POSIX_SPAWN_DUP2, null, one) for one in (0, 1)]
one = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=given)
_, status, usage = os.wait4(one, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
"""A process of its own, since one that is started begins with the peak of who starts it."""


Made = Callable[[Path, int], tuple[Sequence[str | Path], int]]
"""The words of a command, and how many bytes its input has, unpacked."""


@dataclass(frozen=True)
class Kind:
    """A kind of input: what makes one of about so many bytes, unpacked, in a directory.

    ``make`` gives the words of the command, or of a Python program that reads it; ``most`` is the
    size that the table has, ``bound`` how often that may be needed.
    """

    name: str
    make: Made
    codes: tuple[int, ...] = (0,)
    bound: int = BOUND
    most: int = SIZE


@dataclass(frozen=True)
class Peak:
    """Of one kind: bytes of its input, and by how many bytes the peak is above the bare start."""

    kind: Kind
    size: int
    above: int

    @property
    def factor(self) -> float:
        return self.above / self.size


def peak(words: Iterable[str | Path], codes: tuple[int, ...] = (0,)) -> int:
    """Bytes of RAM that the largest process of ``relokit words`` has at its peak."""
    words = [*words]
    program = () if words[0] == "-c" else ("-m", "relokit")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, sys.executable, *program, *map(str, words)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, size = map(int, done.stdout.split())
    assert code in codes, done.stderr
    return size << 10


def measured(kind: Kind, size: int, directory: Path) -> Peak:
    """``kind`` with ``size`` bytes, against the same command with next to nothing."""
    sizes, peaks = [], []
    for number, asked in enumerate((1 << 16, size)):
        place = directory / str(number)
        place.mkdir()
        words, made = kind.make(place, asked)
        peaks.append(peak(words, kind.codes))
        sizes.append(made)
    return Peak(kind, sizes[1] - sizes[0], peaks[1] - peaks[0])


def noise(size: int) -> bytes:
    """That many bytes, of which a compressor makes little and no page is zero."""
    block = Random(size).randbytes(min(size, 1 << 16)) or b"\0"
    return (block * (size // len(block) + 1))[:size]


def plain_image(size: int) -> bytes:
    """A kernel that turns the machine off, of ``size`` bytes."""
    image = bytearray(kernel_image("\toff\n"))
    struct.pack_into("<Q", image, 16, max(size, 1 << 16))
    return bytes(image) + noise(size - len(image))


def run_kernel(packer: str) -> Made:
    def make(place: Path, size: int) -> tuple[Sequence[str | Path], int]:
        image = plain_image(size)
        path = place / "kernel"
        path.write_bytes(PACKED[packer](image) if packer else image)
        return ("run", "--kernel", path), len(image)

    return make


def text_of(functions: int, odd: int) -> bytes:
    """``functions`` of FUNCTION words; each ``odd``-th is another than without."""
    random = Random(0)
    block = b"".join(
        struct.pack(f"<{FUNCTION}I", *random.choices((NOP, ADD, MOV, LDR), k=FUNCTION - 1), RET)
        for _ in range(256)
    )
    text = bytearray(block * (functions // 256 + 1))[: 4 * FUNCTION * functions]
    for at in range(0, functions, odd) if odd else ():
        struct.pack_into("<I", text, 4 * FUNCTION * at, ADD + 1)
    return bytes(text)


def named_image(size: int, odd: int) -> bytes:
    """An Image with half of ``size`` text, its symbols, and data."""
    count = size // 2 // (4 * FUNCTION)
    start = 0x1_0000
    text = text_of(count, odd)
    end = start + len(text)
    names = [
        ("T_text", 0),
        *((f"tdo_some_work_{n}", start + 4 * FUNCTION * n) for n in range(count)),
    ]
    names += [(f"tfiller_{n}", end + 4 * n) for n in range(800)]
    entry = end + 3200
    names += [("Tprimary_entry", entry), ("Dend_of_text", entry + 4)]
    packed, markers = [], []
    at = 0
    for number, (name, _) in enumerate(names):
        if number % 256 == 0:
            markers.append(at)
        packed.append(bytes([len(name)]) + name.encode())
        at += 1 + len(name)
    parts = (
        struct.pack(f"<{len(names)}I", *(place for _, place in names)),
        struct.pack("<Q", BASE),
        struct.pack("<I", len(names)),
        b"".join(packed),
        struct.pack(f"<{len(markers)}I", *markers),
        b"".join(token.encode() + b"\0" for token in TOKENS),
        struct.pack("<256H", *(len("\0".join(TOKENS[:n])) + (n > 0) for n in range(256))),
    )
    table = b"".join(part + bytes(-len(part) % 8) for part in parts)
    body = text + struct.pack("<I", RET) * 801
    body += bytes(-len(body) % 4096) + table
    total = max(size, start + len(body)) + 4095 & -4096
    head = struct.pack(
        "<4sIQQQ24x4s", b"MZ\0\0", 0x14000000 | (entry - 4) // 4, 0, total, 0xA, b"ARM\x64"
    )
    image = head.ljust(start, b"\0") + body
    return image + noise(total - len(image))


def elf(size: int, odd: int, *, linked: bool) -> bytes:
    """An executable or object with half of ``size`` text, half data, and its symbols."""
    count = size // 2 // (4 * FUNCTION)
    text, data = text_of(count, odd), noise(size // 2)
    base = BASE if linked else 0
    strings = b"\0" + b"".join(b"do_some_work_%d\0" % n for n in range(count))
    symbols, at = [SYM.pack(0, 0, 0, 0, 0, 0)], 1
    for n in range(count):
        symbols.append(SYM.pack(at, 0x12, 0, 1, base + 4 * FUNCTION * n, 4 * FUNCTION))
        at += len(b"do_some_work_%d\0" % n)
    names = b"\0.text\0.data\0.symtab\0.strtab\0.shstrtab\0"
    parts = (text, data, b"".join(symbols), strings, names)
    kinds = ((1, 6), (1, 3), (2, 0), (3, 0), (3, 0))
    segments = struct.pack("<IIQQQQQQ", 1, 7, 0x1000, base, base, 0, 0, 0x1000) if linked else b""
    body, rows = bytearray(segments.ljust(0x1000 - EHDR.size, b"\0")), [SHDR.pack(*[0] * 10)]
    for number, (part, (kind, flags)) in enumerate(zip(parts, kinds, strict=True), 1):
        offset = EHDR.size + len(body)
        address = base + offset - 0x1000 if flags and linked else 0
        link, info, entry = (4, 1, SYM.size) if kind == 2 else (0, 0, 0)
        rows.append(
            SHDR.pack(
                names.index((b".text", b".data", b".symtab", b".strtab", b".shstrtab")[number - 1]),
                kind, flags, address, offset, len(part), link, info, 8, entry,
            )
        )  # fmt: skip
        body += part + bytes(-len(part) % 8)
    if linked:
        loaded = len(text) + len(data)
        struct.pack_into("<QQ", body, 32, loaded, loaded)
    header = EHDR.pack(
        IDENT, 2 if linked else 1, 183, 1, base, 64 if linked else 0, EHDR.size + len(body), 0,
        EHDR.size, 56 if linked else 0, int(linked), SHDR.size, len(rows), 5,
    )  # fmt: skip
    return header + bytes(body) + b"".join(rows)


def two(build: Callable[[int, int], bytes], *options: str, name: str = "vmlinux") -> Made:
    """``diff`` of two that are alike but for one function in a hundred, half of the size each."""

    def make(place: Path, size: int) -> tuple[Sequence[str | Path], int]:
        paths = []
        for side, odd in (("left", 0), ("right", 100)):
            (place / side).mkdir()
            paths.append(place / side / name)
            paths[-1].write_bytes(build(max(size // 2, 1 << 16), odd))
        return ("diff", *options, *paths), sum(path.stat().st_size for path in paths)

    return make


def objects(size: int, odd: int) -> bytes:
    return elf(size, odd, linked=False)


def linked(size: int, odd: int) -> bytes:
    return elf(size, odd, linked=True)


def recorded(*words: str) -> Made:
    """``words`` and a trace; it is about an eighth of the payload that was moved."""

    def make(place: Path, size: int) -> tuple[Sequence[str | Path], int]:
        path = place / "trace"
        with redirect_stdout(StringIO()):
            code = main(["run", "--size", f"{max(64, 8 * size >> 10)}K", "--trace", str(path)])
        assert code == 0
        return (*words, path), path.stat().st_size

    return make


def snapshot(place: Path, size: int) -> tuple[Sequence[str | Path], int]:
    size = max(size, snapshots.SIZE)
    path = snapshots.write(place, packed=True, held={0: noise(size)}, size=size)
    code = (
        "import sys, pathlib; from relokit.runtime.snapshot.snapshot_reading import read_snapshot"
    )
    return ("-c", f"{code}; read_snapshot(pathlib.Path(sys.argv[1]))", path), size


def results(place: Path, size: int) -> tuple[Sequence[str | Path], int]:
    path, count = place / "results", size >> 12
    keys = [struct.pack("<Q24x", number) for number in range(count)]
    with ResultFile(path, b"code") as file:
        file.put((key, b"x" * 4000) for key in keys)
    code = (
        "import struct, sys, pathlib\n"
        "from relokit.runtime.campaign.result_file import ResultFile\n"
        "with ResultFile(pathlib.Path(sys.argv[1]), b'code') as file:\n"
        f"    for n in range({count}): assert file.get(struct.pack('<Q24x', n))\n"
    )
    return ("-c", code, path), path.stat().st_size


def assembly(size: int, odd: int) -> bytes:
    """Functions of FUNCTION instructions, one a line; each ``odd``-th is another than without."""
    functions = size // (24 * FUNCTION)
    return b".text\n" + b"".join(
        _function(number, FUNCTION, other=bool(odd) and number % odd == 0)
        for number in range(functions)
    )


def one_function(size: int, odd: int) -> bytes:
    """The same in a single one."""
    return b".text\n" + _function(0, size // 20, other=bool(odd))


def _function(number: int, count: int, *, other: bool) -> bytes:
    first = number * count
    lines = "".join(
        f"\tadd x{n % 29}, x{(n + 1) % 29}, #{n % 4096}\n" for n in range(first, first + count)
    )
    name, tail = f"f{number}", "ret\n" if other else "nop\nret\n"
    head = f".globl {name}\n.type {name}, %function\n{name}:\n"
    return f"{head}{lines}{tail}.size {name}, . - {name}\n".encode()


KINDS = (
    Kind("`run --kernel` of an Image", run_kernel("")),
    Kind("`run --kernel` of a gzip", run_kernel("gzip")),
    Kind("`run --kernel` of a zstd", run_kernel("zstd")),
    Kind("`run --kernel` of an EFI zboot", run_kernel("zboot/zstd")),
    Kind("`diff --all` of two Images", two(named_image, "--all"), (0, 1)),
    Kind("`diff --all` of two vmlinux", two(linked, "--all"), (0, 1)),
    Kind("`diff --all` of two objects", two(objects, "--all", name="x.o"), (0, 1)),
    Kind("`judge` of a trace", recorded("judge")),
    Kind("`show timeline` of a trace", recorded("show", "timeline", "--record")),
    Kind("a snapshot, as `run --snapshot` reads it", snapshot),
    Kind("results, as `mutate --results` reads them", results),
    Kind(
        "`diff` of two assembly files",
        two(assembly, name="x.s"),
        (0, 1),
        most=5 * MIB,
    ),
    Kind(
        "`diff` of two assembly files of one routine each",
        two(one_function, name="x.s"),
        (0, 1),
        bound=ROUTINE_BOUND,
        most=2 * MIB,
    ),
)


def table() -> str:
    """All kinds, measured."""
    lines = ["| what | MiB in it, unpacked | MiB at the peak | times |", "|---|---|---|---|"]
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as directory:
            found = measured(kind, min(kind.most, SIZE), Path(directory))
        size, above = found.size / MIB, found.above / MIB
        lines.append(f"| {kind.name} | {size:.1f} | {above:.1f} | {found.factor:.1f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def rows() -> dict[str, float]:
    """What the page has: times, by what."""
    lines = DOCS.read_text().partition(HEAD)[2].split("\n")[1:]
    cells = [line.split(" | ") for line in lines if line.startswith("| ") and "MiB" not in line]
    return {row[0].removeprefix("| "): float(row[-1].removesuffix(" |")) for row in cells}


if __name__ == "__main__":
    made = table()
    before, head, rest = DOCS.read_text().partition(HEAD)
    text, bar, after = rest.partition("|")
    behind = after.partition("\n\n")[2]
    DOCS.write_text(before + head + text + made + ("\n" + behind if behind else ""))
