"""Diffs of shipped kernels against what is known of them, and our text against objdump's."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from relokit.codegen.encoder import Encoder
from relokit.codegen.system_registers import decode_system
from relokit.diffing.classify import Kind
from relokit.diffing.compare import Action, Diff, compare
from relokit.diffing.decode import decode_words
from relokit.diffing.sides import read_side
from relokit.linker.kernel_file import open_kernel

pytestmark = pytest.mark.oracle

RELOCATION = "arm64_relocate_new_kernel"


@cache
def encoder() -> Encoder:
    return Encoder()


def routine(one: str | Path, other: str | Path, symbol: str = RELOCATION) -> Diff:
    return compare(
        read_side(str(one), symbol, encoder),
        read_side(str(other), symbol, encoder),
    )


def texts(diff: Diff, action: Action) -> list[tuple[str | None, str | None]]:
    return [
        (change.left and change.left.text, change.right and change.right.text)
        for change in diff.changes()
        if change.action is action
    ]


def test_6_12_folds_two_addresses_for_ttbr(kernel_6_1: Path, kernel_6_12: Path) -> None:
    diff = routine(kernel_6_1, kernel_6_12)
    assert not diff.renames()
    assert texts(diff, Action.DELETED) == [("mov x1, x18", None), ("mov x1, x17", None)]
    assert texts(diff, Action.INSERTED) == [
        (None, "orr x1, x18, x18, lsr #46"),
        (None, "and x1, x1, #0xfffffffffffc"),
        (None, "orr x1, x17, x17, lsr #46"),
        (None, "and x1, x1, #0xfffffffffffc"),
    ]
    assert diff.changed == 6


def test_16k_pages_are_three_words(kernel_6_12: Path, kernel_6_12_16k: Path) -> None:
    diff = routine(kernel_6_12, kernel_6_12_16k)
    assert texts(diff, Action.OPERAND) == [
        ("and x12, x16, #0xfffffffffffff000", "and x12, x16, #0xffffffffffffc000"),
        ("tst x12, #0xfff", "tst x12, #0x3fff"),
        ("add x1, x19, #1, lsl #12", "add x1, x19, #4, lsl #12"),
    ]
    assert diff.changed == 3


def test_7_repeats_the_clean(kernel_6_12: Path, kernel_7: Path) -> None:
    """Four placeholders and the four words that boot may put there; kimage moved by 0x80."""
    diff = routine(kernel_6_12, kernel_7)
    assert {change.action for change in diff.changes()} == {Action.INSERTED}
    inserted = [right for _, right in texts(diff, Action.INSERTED)]
    assert inserted[:4] == ["nop"] * 4
    assert [text and text.partition(" ")[0] for text in inserted[4:]] == ["mov"] * 3 + ["cbnz"]
    assert diff.changed == 8


@pytest.mark.parametrize("symbol", ["cpu_soft_restart", "enter_vhe"])
def test_routines_that_are_the_same_in_every_kernel_since_the_series(
    symbol: str, kernel_6_1: Path, kernel_6_12: Path, kernel_6_12_16k: Path, kernel_7: Path
) -> None:
    for other in (kernel_6_12, kernel_6_12_16k, kernel_7):
        assert routine(kernel_6_1, other, symbol).same


def test_kexec_vectors_spin_elsewhere_but_are_the_same(
    kernel_6_12: Path, kernel_6_12_16k: Path, kernel_7: Path
) -> None:
    for other in (kernel_6_12_16k, kernel_7):
        assert routine(kernel_6_12, other, "trans_pgd_stub_vectors").same


def test_before_the_series_5_10_against_ours(kernel_5_10: Path) -> None:
    """No barrier differs, and no cache operation but for its register."""
    diff = routine("series:0,layout=5.10", kernel_5_10)
    kinds = [change.kind for change in diff.changes()]
    assert kinds.count(Kind.BARRIER) == kinds.count(Kind.TLB) == kinds.count(Kind.SYSTEM) == 0
    operations = {
        (change.left and change.left.mnemonic, change.right and change.right.mnemonic)
        for change in diff.changes()
        if change.kind is Kind.CACHE
    }
    assert operations <= {("dc", "dc")}


def test_after_the_series_6_1_against_ours(kernel_6_1: Path) -> None:
    """Barriers and TLB operations stand elsewhere; none is missing, none is new."""
    diff = routine("series:15", kernel_6_1)
    for kind in (Kind.BARRIER, Kind.TLB, Kind.CACHE):
        actions = {change.action for change in diff.changes() if change.kind is kind}
        assert actions <= {Action.MOVED}
    left = {row.left.text for row in diff.routines[0].rows if row.left}
    right = {row.right.text for row in diff.routines[0].rows if row.right}
    for field in ("start", "arch.el2_vectors", "arch.dtb_mem", "arch.phys_offset", "arch.ttbr1"):
        assert any(f"#kimage.{field}]" in text for text in left)
        assert any(f"#kimage.{field}]" in text for text in right)


# How objdump and we spell one word: pattern, and what is compared in its place.
SPELLINGS: tuple[tuple[str, str], ...] = (
    (r"\s*(?://|;).*", ""),  # remarks
    (r"\s*<.*", ""),  # symbols
    (r"#", ""),
    (r"^clearbhb$", "hint 22"),
    (r"^hint 0x6\s*$", "dgh"),
    # Two names of one condition.
    (r"\bb\.cc\b", "b.lo"),
    (r"\bb\.cs\b", "b.hs"),
    (r", cc$", ", lo"),
    (r", cs$", ", hs"),
    # A register that is not used.
    (r"^(tlbi \w+), xzr$", r"\1"),
    (r"\s+", " "),
)
# Words that Capstone 5.0 does not decode; they are shown, and compared, as numbers.
UNKNOWN_TO_CAPSTONE = ("ldtr", "sttr", "rdsvl")
NUMBER = re.compile(r"(?<![\w.])-?(?:0x[0-9a-f]+|[0-9]+)(?![\w.])")


def spelling(text: str) -> str:
    text = text.lower().replace("\t", " ")
    for pattern, spelt in SPELLINGS:
        text = re.sub(pattern, spelt, text)
    wide = (1 << 32 if re.match(r"mov w", text) else 1 << 64) - 1
    return NUMBER.sub(lambda match: str(int(match[0], 0) & wide), text).strip()


def agrees(word: int, ours: str, theirs: str) -> bool:
    system = decode_system(word)
    if system and system.form in ("mrs", "msr"):
        # Which registers have a name differs with age: test_oracle_sysregs compares those.
        return re.findall(r"\b(?:mrs x\w+|msr|x\w+$)", ours) == re.findall(
            r"\b(?:mrs x\w+|msr|x\w+$)", theirs
        )
    if ours.startswith(".inst"):
        return theirs.startswith((".inst", *UNKNOWN_TO_CAPSTONE))
    return ours == theirs


def differences(code: bytes, tmp_path: Path) -> list[tuple[str, str, str]]:
    """Words of ``code`` on which we and objdump do not agree."""
    path = tmp_path / "code.bin"
    path.write_bytes(code)
    command = ["aarch64-linux-gnu-objdump", "-D", "-z", "-b", "binary", "-m", "aarch64", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = re.findall(r"^\s*[0-9a-f]+:\s+([0-9a-f]{8})\s+(.*)$", done.stdout, re.MULTILINE)
    assert len(lines) == len(code) // 4
    return [
        (word, ours, theirs)
        for (word, text), (mnemonic, operands) in zip(lines, decode_words(code, 0), strict=True)
        for ours, theirs in [(spelling(f"{mnemonic} {operands}"), spelling(text))]
        if not agrees(int(word, 16), ours, theirs)
    ]


def test_routines_read_as_objdump_reads_them(
    kernel_5_10: Path, kernel_6_1: Path, kernel_6_12: Path, kernel_7: Path, tmp_path: Path
) -> None:
    for path in (kernel_5_10, kernel_6_1, kernel_6_12, kernel_7):
        side = read_side(str(path), None, encoder)
        assert RELOCATION in side.routines
        code = b"".join(one.code for one in side.routines.values())
        assert differences(code, tmp_path) == []


@pytest.mark.parametrize("name", ["kernel_5_10", "kernel_6_1", "kernel_7"])
def test_kernel_text_reads_as_objdump_reads_it(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    image = open_kernel(request.getfixturevalue(name)).image
    start, size = 0x10000, 0x60000
    assert differences(bytes(image[start : start + size]), tmp_path) == []


def test_any_function_of_a_kernel_can_be_named(kernel_6_1: Path, kernel_6_12: Path) -> None:
    diff = routine(kernel_6_1, kernel_6_12, "machine_kexec")
    texts_left = [row.left.text for row in diff.routines[0].rows if row.left]
    assert any(text.startswith("bl ") and "0x" not in text for text in texts_left)
    assert any("kimage.arch.kern_reloc" in text for text in texts_left)
