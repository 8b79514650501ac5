"""Device trees built here by hand, sound and damaged, and the board's tree read back."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.target import Regime
from relokit.runtime.board.chosen import with_chosen
from relokit.runtime.board.devicetree import (
    check_dtb,
    memory_of,
    reserved_of,
    virt_dtb,
)
from relokit.runtime.board.fdt import Node, parse
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.opened_inputs import open_inputs
from support.fdt_blobs import BEGIN, END, END_NODE, PROP, Tree, padded, quads, small


def test_small_tree_is_read() -> None:
    found = parse(small())
    assert found.root == Node("", {"model": b"m\0"}, (Node("a", {}, ()),))
    assert found.reservations == ()
    assert check_dtb(small()) == small()


def test_padding_after_totalsize_is_cut_and_garbage_is_not() -> None:
    assert check_dtb(small() + bytes(100)) == small()
    with pytest.raises(FormatError, match="trailing garbage"):
        check_dtb(small() + b"x")


def damaged(structure: str) -> bytes:
    tree = Tree()
    a = tree.node("a")
    prop = tree.prop("p", b"1234")
    structures = {
        "no end": tree.node("", a),
        "nothing": END,
        "two roots": tree.node("") + tree.node("") + END,
        "named root": tree.node("root") + END,
        "nameless node": tree.node("", tree.node("")) + END,
        "slash": tree.node("", tree.node("a/b")) + END,
        "open": BEGIN + padded(b"\0") + END,
        "unopened": END_NODE + END,
        "property outside": prop + tree.node("") + END,
        "property after node": tree.node("", a, prop) + END,
        "property twice": tree.node("", prop, prop) + END,
        "node twice": tree.node("", a, tree.node("b"), a) + END,
        "unknown token": tree.node("", struct.pack(">I", 7)) + END,
        "long property": tree.node("", PROP + struct.pack(">II", 1 << 31, 0)) + END,
        "name outside": tree.node("", PROP + struct.pack(">II", 0, 1 << 20)) + END,
        "early end": tree.node("") + END + END,
        "cut": tree.node("", prop)[:-6],
        "not ascii": tree.node("", BEGIN + b"\xff\0\0\0" + END_NODE) + END,
        "long name": tree.node("", tree.node("n" * 300)) + END,
        "deep": BEGIN + padded(b"\0") + (BEGIN + b"n\0\0\0") * 64 + END_NODE * 65 + END,
    }
    return tree.blob(structures[structure])


@pytest.mark.parametrize(
    ("structure", "cause"),
    [
        ("no end", "ends inside a token"),
        ("nothing", "unexpected token"),
        ("two roots", "second root"),
        ("named root", "node name"),
        ("nameless node", "node name"),
        ("slash", "node name"),
        ("open", "unexpected token"),
        ("unopened", "unexpected token"),
        ("property outside", "unexpected token"),
        ("property after node", "property after a subnode"),
        ("property twice", "there twice"),
        ("node twice", "there twice"),
        ("unknown token", "unexpected token 0x7"),
        ("long property", "passes the block"),
        ("name outside", "outside the strings"),
        ("early end", "before its block does"),
        ("cut", "passes the block"),
        ("not ascii", "not ASCII"),
        ("long name", "no end within"),
        ("deep", "64 deep"),
    ],
)
def test_damaged_structure_is_named(structure: str, cause: str) -> None:
    with pytest.raises(FormatError, match=cause) as caught:
        check_dtb(damaged(structure), where="board.dtb")
    assert str(caught.value).startswith("board.dtb: ")


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        ("magic", 0xEDFE0DD0, "not a device tree"),
        ("totalsize", 1 << 20, "truncated"),
        ("totalsize", 0xFFFF_FFFF, "accepts 2097152"),
        ("totalsize", 20, "trailing garbage"),
        ("off_struct", 0, "structure block"),
        ("off_struct", 0xFFFF_FFFC, "structure block"),
        ("off_struct", 58, "structure block"),
        ("off_strings", 1 << 20, "strings block"),
        ("size_strings", 0xFFFF_FFFF, "strings block"),
        ("size_struct", 0xFFFF_FFFF, "structure block"),
        ("off_reserve", 44, "memory reservations"),
        ("off_reserve", 1 << 20, "memory reservations"),
        ("version", 16, "only 17"),
        ("last_comp", 18, "only 17"),
    ],
)
def test_damaged_header_is_named(field: str, value: int, cause: str) -> None:
    with pytest.raises(FormatError, match=cause):
        check_dtb(small(**{field: value}))


def test_reservations_must_end() -> None:
    tree = Tree()
    structure = tree.node("") + END
    blob = bytearray(tree.blob(structure, reservations=((4096, 1), (1, 1))))
    assert parse(bytes(blob)).reservations == ((4096, 1), (1, 1))
    # Over the end mark, and over all the rest: nothing but entries.
    at = 40 + 32
    blob[at:] = b"\1" * (len(blob) - at)
    with pytest.raises(FormatError):
        check_dtb(bytes(blob))
    with pytest.raises(FormatError, match="passes 2\\^64"):
        parse(Tree().blob(structure, reservations=(((1 << 64) - 1, 2),)))


def test_strings_do_not_lie_in_the_structure() -> None:
    tree = Tree()
    body = tree.node("", tree.prop("m", b"m\0")) + END
    sound = tree.blob(body)
    with pytest.raises(FormatError, match="structure block and strings block overlap"):
        check_dtb(tree.blob(body, off_strings=sound.index(b"m\0"), size_strings=2))


def test_reservations_do_not_run_on_into_the_structure() -> None:
    """Found by fuzzing: libfdt moved one over the end of what it had, and the process ended."""
    tree = Tree()
    body = tree.node("", tree.prop("zeros", bytes(64))) + END
    blob = bytearray(tree.blob(body))
    (at,) = struct.unpack_from(">16xI", blob)
    blob[at : at + 16] = struct.pack(">QQ", 1 << 30, 4096)
    with pytest.raises(FormatError, match="overlap"):
        check_dtb(bytes(blob))


def read_dtb(path: Path) -> bytes:
    """As a job's device tree is read."""
    file = open_inputs(Job(dtb=path)).dtb
    assert file is not None
    return check_dtb(file.content, where=file.where)


def test_too_large_or_too_short_a_file(tmp_path: Path) -> None:
    path = tmp_path / "board.dtb"
    path.write_bytes(small())
    assert read_dtb(path) == small()
    path.write_bytes(small()[:39])
    with pytest.raises(FormatError, match="truncated"):
        read_dtb(path)
    path.write_bytes(bytes((2 << 20) + 1))
    with pytest.raises(FormatError, match="more than the 2097152"):
        read_dtb(path)
    with pytest.raises(FormatError, match="no such file"):
        read_dtb(tmp_path / "nothing")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(FormatError, match="FIFO"):
        read_dtb(fifo)


def test_largest_tree_there_may_be() -> None:
    tree = Tree()
    fill = (2 << 20) - len(tree.blob(tree.node("", tree.prop("p", b"")) + END))
    tree = Tree()
    blob = tree.blob(tree.node("", tree.prop("p", bytes(fill // 4 * 4))) + END)
    assert (2 << 20) - 4 < len(blob) <= 2 << 20
    assert check_dtb(blob) == blob
    with pytest.raises(MachineError, match="grows to"):
        with_chosen(blob, cmdline="quiet")


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 200),
)
def test_damage_never_gives_anything_but_a_tree_or_a_refusal(
    damage: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(virt_dtb(0x4000_0000, 1 << 30))
    for at, value in damage:
        data[at % len(data)] = value
    with contextlib.suppress(FormatError, MachineError):
        blob = check_dtb(bytes(data[: len(data) - cut]))
        check_dtb(with_chosen(blob, cmdline="quiet", initrd=(0x4800_0000, 0x4900_0000)))
        memory_of(blob)
        reserved_of(blob)


@settings(max_examples=300)
@given(st.binary(max_size=600))
def test_noise_in_the_structure_is_refused_or_read(noise: bytes) -> None:
    with contextlib.suppress(FormatError):
        check_dtb(Tree().blob(BEGIN + bytes(4) + padded(noise) + END_NODE + END))


# --- The board's tree


def test_board_has_what_a_kernel_needs() -> None:
    root = parse(virt_dtb(0x4000_0000, 3 << 30, regime=Regime.NVHE)).root
    names = [node.name for node in root.children]
    assert names == [
        "chosen",
        "memory@40000000",
        "cpus",
        "psci",
        "intc@8000000",
        "timer",
        "apb-pclk",
        "pl011@9000000",
    ]
    cpus = root.child("cpus")
    assert cpus is not None
    (cpu,) = cpus.children
    assert (cpu.name, cpu.properties["enable-method"]) == ("cpu@0", b"psci\0")


@pytest.mark.parametrize(
    ("regime", "method", "interrupt"),
    [(Regime.EL1, b"hvc\0", False), (Regime.NVHE, b"smc\0", True), (Regime.VHE, b"smc\0", True)],
)
def test_board_follows_the_regime(regime: Regime, method: bytes, interrupt: bool) -> None:
    root = parse(virt_dtb(0x4000_0000, 1 << 30, regime=regime)).root
    psci, gic = root.child("psci"), root.child("intc@8000000")
    assert psci is not None
    assert gic is not None
    assert psci.properties["method"] == method
    assert ("interrupts" in gic.properties) == interrupt


@pytest.mark.parametrize(("base", "size"), [(0, 0), (-1, 4096), (1 << 51, 1 << 52)])
def test_board_that_cannot_be(base: int, size: int) -> None:
    with pytest.raises(MachineError, match="no memory"):
        virt_dtb(base, size)


def test_same_board_same_bytes() -> None:
    assert virt_dtb(0x4000_0000, 1 << 30) == virt_dtb(0x4000_0000, 1 << 30)
    assert memory_of(virt_dtb(0x4000_0000, 1 << 30)) == ((0x4000_0000, 1 << 30),)


# --- /chosen


def chosen(blob: bytes) -> dict[str, bytes]:
    node = parse(blob).root.child("chosen")
    assert node is not None
    return dict(node.properties)


def test_chosen_says_command_line_and_initrd() -> None:
    board = virt_dtb(0x4000_0000, 1 << 30)
    blob = with_chosen(board, cmdline="console=ttyAMA0", initrd=(0x1_4800_0000, 0x1_4812_3456))
    assert chosen(blob) == {
        "stdout-path": b"/pl011@9000000\0",
        "bootargs": b"console=ttyAMA0\0",
        "linux,initrd-start": quads(0x1_4800_0000),
        "linux,initrd-end": quads(0x1_4812_3456),
    }
    assert blob == with_chosen(
        board, cmdline="console=ttyAMA0", initrd=(0x1_4800_0000, 0x1_4812_3456)
    )
    # The rest of the tree is as it was.
    assert parse(blob).root.children[1:] == parse(board).root.children[1:]


def test_chosen_is_made_where_there_is_none_and_cleared_where_nothing_is_said() -> None:
    blob = with_chosen(small(), cmdline="quiet", initrd=(4096, 8192))
    assert chosen(blob)["bootargs"] == b"quiet\0"
    assert chosen(with_chosen(blob, cmdline="")) == {}
    assert parse(blob).root.child("a") is not None


def test_command_line_stays_where_nobody_gives_one() -> None:
    blob = with_chosen(small(), cmdline="quiet", initrd=(4096, 8192))
    assert chosen(with_chosen(blob)) == {"bootargs": b"quiet\0"}
    assert chosen(with_chosen(blob, cmdline="debug")) == {"bootargs": b"debug\0"}


@pytest.mark.parametrize("length", [2047, 2048])
def test_command_line_as_long_as_the_kernel_takes(length: int) -> None:
    cmdline = "x" * length
    if length == 2047:
        assert chosen(with_chosen(small(), cmdline=cmdline))["bootargs"] == b"x" * 2047 + b"\0"
    else:
        with pytest.raises(MachineError, match="cut it at 2047"):
            with_chosen(small(), cmdline=cmdline)


@pytest.mark.parametrize(
    ("cmdline", "initrd"), [("a\0b", None), ("\udcff", None), ("", (2, 1)), ("", (-1, 1))]
)
def test_chosen_that_cannot_be(cmdline: str, initrd: tuple[int, int] | None) -> None:
    with pytest.raises(MachineError):
        with_chosen(small(), cmdline=cmdline, initrd=initrd)
