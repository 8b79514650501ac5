"""What a CPU may refuse, against the warnings of GNU as and the words objdump has no text for."""

from __future__ import annotations

import random
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from relokit.runtime.arch.encodings_refused import unallocated, unpredictable

pytestmark = pytest.mark.oracle


def _lines() -> Iterator[str]:
    """Loads and stores with few different registers, so that many are the same."""
    draw = random.Random(1)
    names = ["0", "1", "2"]
    for _ in range(400):
        one, two, status = (draw.choice(names) for _ in range(3))
        base = draw.choice(["x0", "x1", "x2", "sp"])
        after = draw.choice([f"[{base}]", f"[{base}, #16]", f"[{base}, #16]!", f"[{base}], #16"])
        kind = draw.choice(["x", "w", "d", "q"])
        if "]," in after or "!" in after or draw.random() < 0.5:
            yield f"{draw.choice(['ldp', 'stp'])} {kind}{one}, {kind}{two}, {after}"
            yield f"{draw.choice(['ldr', 'str'])} {kind}{one}, {after}"
        yield f"ldnp {kind}{one}, {kind}{two}, [{base}]"
        wide = draw.choice(["x", "w"])
        yield f"{draw.choice(['ldxp', 'ldaxp'])} {wide}{one}, {wide}{two}, [{base}]"
        pair = draw.choice(["stxp", "stlxp"])
        yield f"{pair} w{status}, {wide}{one}, {wide}{two}, [{base}]"
        yield f"{draw.choice(['stxr', 'stlxr'])} w{status}, {wide}{one}, [{base}]"
        yield f"{draw.choice(['stxrb', 'stlxrh'])} w{status}, w{one}, [{base}]"
        yield f"{draw.choice(['ldrb', 'strh'])} w{one}, [{base}], #16"
        yield f"ldrsw x{one}, [{base}, #16]!"


def test_overlaps_are_those_that_gnu_as_warns_of(tmp_path: Path) -> None:
    lines = list(dict.fromkeys(_lines()))
    (tmp_path / "t.s").write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        ["aarch64-linux-gnu-as", "-o", "t.o", "t.s"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    warned = {int(number) for number in re.findall(r"t\.s:(\d+): Warning: unpred", done.stderr)}
    subprocess.run(
        ["aarch64-linux-gnu-objcopy", "-O", "binary", "-j", ".text", "t.o", "t.bin"],
        cwd=tmp_path, check=True, timeout=60,
    )  # fmt: skip
    words = struct.unpack(f"<{len(lines)}I", (tmp_path / "t.bin").read_bytes())
    ours = {number for number, word in enumerate(words, 1) if unpredictable(word)}
    assert {lines[number - 1] for number in ours} == {lines[number - 1] for number in warned}
    assert warned


def test_no_eret_but_one_has_a_text(tmp_path: Path) -> None:
    words = [0xD69F0000 | register << 5 for register in range(32)]
    (tmp_path / "t.bin").write_bytes(struct.pack("<32I", *words))
    done = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-D", "-b", "binary", "-m", "aarch64", "t.bin"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    refused = {int(word, 16) for word in re.findall(r"(\w{8}) \t\.inst", done.stdout)}
    assert {word for word in words if unallocated(word)} == refused
