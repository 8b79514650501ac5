"""Diffs of shipped kernels against what is known of them."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard

import relokit
from relokit.cli.main import main
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.diffing.instructions.decode import decode
from relokit.diffing.read.sides import read_side
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.model import Action, Diff
from relokit.linker.kernel.opened import Files

pytestmark = pytest.mark.oracle

RELOCATION = "arm64_relocate_new_kernel"


@cache
def encoder() -> Encoder:
    return Encoder()


def routine(one: str | Path, other: str | Path, symbol: str = RELOCATION) -> Diff:
    return compare(
        read_side(str(one), symbol, encoder, Files()),
        read_side(str(other), symbol, encoder, Files()),
    )


def texts(diff: Diff, action: Action) -> list[tuple[str | None, str | None]]:
    return [
        (change.left and change.left.text, change.right and change.right.text)
        for change in diff.changes()
        if change.action is action
    ]


def test_nothing_is_read_that_is_not_asked_for(kernel_6_1: Path, kernel_7: Path) -> None:
    """By what is imported and made: time would not fail, or on a busy machine."""
    code = (
        "import sys\nfrom relokit.cli.main import main\n"
        "from relokit.linker.kernel import kallsyms\n"
        "made = []; names = kallsyms.Kallsyms.names.func\n"
        "kallsyms.Kallsyms.names = property(lambda one: made.append(one) or names(one))\n"
        "code = main(['diff', *sys.argv[1:]])\n"
        "print(code, len(made), 'numpy' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, kernel_6_1, kernel_7],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "1 0 False\n"


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
    inserted = [change.right for change in diff.changes() if change.right]
    assert [one.mnemonic for one in inserted] == ["nop"] * 4 + ["mov"] * 3 + ["cbnz"]
    erratum = "need_arm_si_l1_workaround_4311569"
    assert [one.note for one in inserted[:4]] == [
        f"at boot: {text} ({erratum})"
        for text in ("mov x20, x19", "mov x19, x20", "mov x20, xzr", "cbnz")
    ]
    for one, other in zip(inserted[:4], inserted[4:], strict=True):
        assert other.note == f"for +{one.offset:#x} at boot ({erratum})"
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


def counted(diff: Diff) -> Counter[tuple[Action, ChangeKind]]:
    return Counter((change.action, change.kind) for change in diff.changes())


def test_before_the_series_5_10_against_ours(kernel_5_10: Path) -> None:
    """The two loops are other ones; no barrier, cache or TLB operation, no system register."""
    diff = routine("series:0,layout=5.10", kernel_5_10)
    assert counted(diff) == {
        # The copy moves a pointer by itself, or by each load; x13 is advanced once a page.
        (Action.OPERAND, ChangeKind.MEMORY): 4,
        (Action.OPERAND, ChangeKind.ARITHMETIC): 5,
        (Action.INSERTED, ChangeKind.ARITHMETIC): 7,
        (Action.DELETED, ChangeKind.ARITHMETIC): 2,
        (Action.INSERTED, ChangeKind.CONTROL): 2,
        (Action.DELETED, ChangeKind.CONTROL): 2,
    }
    assert diff.changed == 22


def test_after_the_series_6_1_against_ours(kernel_6_1: Path) -> None:
    """Barriers and TLB operations stand elsewhere; none is missing, none is new."""
    diff = routine("series:15", kernel_6_1)
    assert counted(diff) == {
        # TTBR1 is switched behind the line size, by way of x1.
        (Action.MOVED, ChangeKind.BARRIER): 3,
        (Action.MOVED, ChangeKind.TLB): 1,
        (Action.INSERTED, ChangeKind.SYSTEM): 2,
        (Action.DELETED, ChangeKind.SYSTEM): 2,
        (Action.MOVED, ChangeKind.MEMORY): 1,
        # The copy moves its pointer by itself, or by the first load, and ends by another test.
        (Action.OPERAND, ChangeKind.MEMORY): 4,
        (Action.INSERTED, ChangeKind.CONTROL): 1,
        (Action.DELETED, ChangeKind.CONTROL): 1,
        (Action.OPERAND, ChangeKind.ARITHMETIC): 1,
        (Action.MOVED, ChangeKind.ARITHMETIC): 1,
        (Action.INSERTED, ChangeKind.ARITHMETIC): 5,
        (Action.DELETED, ChangeKind.ARITHMETIC): 2,
    }
    assert diff.changed == 24
    left = {row.left.text for row in diff.routines[0].rows if row.left}
    right = {row.right.text for row in diff.routines[0].rows if row.right}
    for field in ("start", "arch.el2_vectors", "arch.dtb_mem", "arch.phys_offset", "arch.ttbr1"):
        assert any(f"#kimage.{field}]" in text for text in left)
        assert any(f"#kimage.{field}]" in text for text in right)


def test_any_function_of_a_kernel_can_be_named(kernel_6_1: Path, kernel_6_12: Path) -> None:
    diff = routine(kernel_6_1, kernel_6_12, "machine_kexec")
    texts_left = [row.left.text for row in diff.routines[0].rows if row.left]
    assert any(text.startswith("bl ") and "0x" not in text for text in texts_left)
    assert any("kimage.arch.kern_reloc" in text for text in texts_left)
    # A message that stands elsewhere is the same message.
    (warning,) = [
        row
        for row in diff.routines[0].rows
        if row.right and row.right.text.startswith('adrp x0, "Some CPUs may be stale')
    ]
    assert warning.change is None
    assert warning.left
    assert warning.left.address != warning.right.address


@pytest.mark.parametrize("name", ["kernel_5_10", "kernel_6_1", "kernel_6_12", "kernel_7"])
def test_no_word_of_a_kernel_is_compared_twice(name: str, request: pytest.FixtureRequest) -> None:
    """kallsyms names the slots of a vector table, and some code by two names."""
    side = read_side(str(request.getfixturevalue(name)), None, encoder, Files())
    extents = sorted((one.address, one.address + len(one.code)) for one in side.routines.values())
    assert all(end <= start for (_, end), (start, _) in pairwise(extents))
    assert {RELOCATION, "__hyp_stub_vectors", "__hyp_set_vectors"} <= side.routines.keys()
    assert "arm64_relocate_new_kernel_size" not in side.routines


@pytest.mark.parametrize("part", [0.002, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("whole", [False, True])
def test_a_kernel_that_is_cut_off_is_refused(
    part: float, whole: bool, kernel_6_1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the header's own sizes are made to fit: by what is no longer there."""
    content = bytearray(kernel_6_1.read_bytes())
    pe_offset = int.from_bytes(content[60:64], "little")
    content[pe_offset : pe_offset + 4] = b"none"  # no section table to contradict
    path = tmp_path / "vmlinuz"
    path.write_bytes(content[: int(len(content) * part) & ~3])
    code = main(["diff", str(path), str(kernel_6_1), *(["--all"] if whole else [])])
    said = capsys.readouterr()
    assert "internal error" not in said.err
    if code == 2:
        assert said.out == ""
        assert "vmlinuz" in said.err
    else:
        # What comes last in an Image is data: all of the code may be there.
        assert part > 0.5


def test_words_behind_a_function_that_are_for_another_one(kernel_6_12: Path) -> None:
    """Three words at the end of trans_pgd_copy_el2_vectors' extent are not its own."""
    side = read_side(str(kernel_6_12), "trans_pgd_copy_el2_vectors", encoder, Files())
    code = decode(side.routines["trans_pgd_copy_el2_vectors"], side.names)
    noted = [one for one in code if one.note.startswith("for trans_pgd_create_copy+0x")]
    assert len(noted) == 3
    assert all("52-bit Virtual Addressing (LPA2)" in one.note for one in noted)


@pytest.mark.parametrize("packing", ["gzip", "zstd", "zboot"])
def test_a_packed_kernel_is_the_kernel_in_it(
    packing: str, kernel_6_1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = kernel_6_1.read_bytes()
    if packing == "zstd":
        packed = zstandard.ZstdCompressor(level=1).compress(content)
    else:
        packed = gzip.compress(content, 1)
    if packing == "zboot":
        head = struct.pack("<2s2x4sII8x32s", b"MZ", b"zimg", 64, len(packed), b"gzip")
        packed = head.ljust(64, b"\0") + packed
    path = tmp_path / "vmlinuz"
    path.write_bytes(packed)
    assert main(["diff", str(kernel_6_1), str(path)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["diff", str(kernel_6_1), f"{path}:machine_kexec"]) == 0
    assert capsys.readouterr().out == "data not compared: variables without a name\n"


def test_all_functions_of_one_name_are_compared(kernel_6_1: Path) -> None:
    """Static functions share names: the first alone was compared."""
    places = {*Files().kernel(kernel_6_1).symbols.offsets_of("type_show")}
    one = f"{kernel_6_1}:type_show"
    names = [routine.name for routine in relokit.diff(one, one).routines if not routine.left.data]
    assert len(places) > 4
    assert names == ["type_show", *(f"type_show ({n})" for n in range(2, len(places) + 1))]
