"""Which memory a machine has: banks, holes, what is reserved, what a crash kernel gets."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.board.devicetree import memory_of
from relokit.runtime.board.fdt import parse
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.kexec.arrange import arrange
from relokit.runtime.kexec.guest_ram import DEFAULT_RAM, MAX_REACH
from relokit.runtime.kexec.inputs import Inputs, load_inputs
from relokit.runtime.kexec.job import MAX_BANKS, Job, KexecPath, Shape
from relokit.runtime.kexec.opened_inputs import open_inputs
from support.bounds import cpu_time_below
from support.device_trees import Board

GIB = 1 << 30
SIZE = 8 * MIB
OLD_KERNEL = 64 << 10
Extents = Sequence[tuple[int, int]]


def load(job: Job, target: Target | None = None) -> Inputs:
    return load_inputs(target or Target(), job, open_inputs(job), None, OLD_KERNEL)


def of_board(tmp_path: Path, board: Board, **job: object) -> Inputs:
    path = tmp_path / "board.dtb"
    path.write_bytes(board.blob())
    return load(Job(dtb=path, **{"size": SIZE, **job}))  # type: ignore[arg-type]


def tree_of(inputs: Inputs) -> bytes:
    return content_of(inputs, PayloadKind.DEVICE_TREE)


def content_of(inputs: Inputs, kind: PayloadKind) -> bytes:
    import numpy as np

    [loaded] = [one for one in inputs.segments if one.kind is kind]
    out = np.empty(loaded.content.size, dtype=np.uint8)
    loaded.content.read(0, out)
    return out.tobytes()


def test_nodes_that_adjoin_are_one_bank(tmp_path: Path) -> None:
    """Four nodes of 512 MiB, as of four NUMA nodes: an initrd may lie across them."""
    banks = tuple((GIB + node * 512 * MIB, 512 * MIB) for node in range(4))
    initrd = tmp_path / "initrd"
    with initrd.open("wb") as file:
        file.truncate(700 * MIB)
    inputs = of_board(tmp_path, Board(memory=banks), initrd=initrd)
    assert inputs.ram.banks == ((GIB, 2048 * MIB),)
    [placed] = [one.segment for one in inputs.segments if one.kind is PayloadKind.INITRD]
    assert placed.mem // (512 * MIB) != (placed.mem + placed.memsz) // (512 * MIB)


def test_the_lowest_hole_of_all_banks_first(tmp_path: Path) -> None:
    low, high = (0, 948 * MIB), (GIB, 3008 * MIB)
    inputs = of_board(tmp_path, Board(memory=(high, low)))
    assert inputs.ram.banks == (low, (GIB, DEFAULT_RAM - 948 * MIB))
    assert inputs.start < 16 * MIB
    # The largest bank is not all there is: the kernel may be told to be in the other.
    assert of_board(tmp_path, Board(memory=(high, low)), kernel_at=2 * GIB).start == 2 * GIB


def test_a_hole_is_no_ram(tmp_path: Path) -> None:
    board = Board(memory=((GIB, 256 * MIB), (2 * GIB, 256 * MIB)))
    with pytest.raises(MachineError, match=r"IN_RAM.*RAM is 0x40000000\.\.0x50000000, 0x80000000"):
        of_board(tmp_path, board, kernel_at=GIB + 512 * MIB)
    with pytest.raises(MachineError, match="IN_RAM"):
        of_board(tmp_path, board, kernel_at=GIB + 254 * MIB)


def test_banks_that_overlap_and_that_are_no_whole_pages(tmp_path: Path) -> None:
    board = Board(memory=((GIB, 512 * MIB), (GIB + 256 * MIB, 512 * MIB), (4 * GIB + 5, 4096)))
    assert of_board(tmp_path, board).ram.banks == ((GIB, 768 * MIB),)


def test_a_bank_out_of_reach_is_left_out(tmp_path: Path) -> None:
    # As far apart as no machine has them: this program cannot set so many addresses aside.
    board = Board(memory=((0, 512 * MIB), (MAX_REACH, 4 * GIB)))
    with pytest.raises(MachineError, match="64 TiB after the first") as caught:
        of_board(tmp_path, board)
    assert "--memory-map" in (caught.value.hint or "")
    assert of_board(tmp_path, board, memory=512 * MIB).ram.banks == ((0, 512 * MIB),)
    # The linear map of 39 bits ends before.
    path = tmp_path / "narrow.dtb"
    path.write_bytes(Board(memory=((0, 512 * MIB), (1 << 38, GIB))).blob())
    assert load(Job(dtb=path, size=SIZE), Target(va_bits=39)).ram.banks == ((0, 512 * MIB),)


@pytest.mark.parametrize("far", [1 << 38, 1 << 40, 1 << 45])
def test_banks_far_apart_are_all_there(tmp_path: Path, far: int) -> None:
    """Sockets of a server begin at 1 TiB and more; 256 GiB was where memory ended here."""
    banks = ((GIB, 512 * MIB), (far, 512 * MIB))
    assert of_board(tmp_path, Board(memory=banks)).ram.banks == banks
    job = Job(memory_map=banks, size=SIZE, kernel_at=far)
    assert load(job).start == far


@pytest.mark.parametrize("name", ["kernel_at", "dtb_at", "initrd_at"])
def test_memory_is_where_something_is_to_be_put(tmp_path: Path, name: str) -> None:
    """Of a large machine only the lowest memory is there, and what somebody names."""
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"x" * 5000)
    far = 64 * GIB
    places = {name: far} | ({"kernel_at": far + GIB} if name == "initrd_at" else {})
    job = Job(
        memory_map=((GIB, 8 * GIB), (far - GIB, 16 * GIB)), size=SIZE, initrd=initrd, **places
    )
    banks = load(job).ram.banks
    assert banks[0] == (GIB, DEFAULT_RAM)
    assert any(base <= far < base + size for base, size in banks)
    assert sum(size for _, size in banks) < 2 * DEFAULT_RAM
    with pytest.raises(MachineError, match="IN_RAM"):
        load(replace(job, memory_map=((GIB, 8 * GIB),)))


def test_a_crash_kernels_memory_is_there_if_it_is_named() -> None:
    far = 64 * GIB
    job = Job(
        path=KexecPath.CRASH, memory_map=((GIB, 8 * GIB), (far, 8 * GIB)), size=SIZE,
        crash_size=256 * MIB, crash_at=far + GIB,
    )  # fmt: skip
    assert load(job).ram.crash == (far + GIB, 256 * MIB)


def test_more_banks_than_there_may_be_are_not_left_out_in_silence(tmp_path: Path) -> None:
    banks = tuple((GIB + 64 * MIB * number, 16 * MIB) for number in range(MAX_BANKS + 1))
    with pytest.raises(MachineError, match="65 banks of memory"):
        of_board(tmp_path, Board(memory=banks))
    assert len(of_board(tmp_path, Board(memory=banks), memory=GIB).ram.banks) == MAX_BANKS
    assert len(of_board(tmp_path, Board(memory=banks[:-1])).ram.banks) == MAX_BANKS


def test_usable_memory_counts_in_place_of_reg(tmp_path: Path) -> None:
    usable = {"linux,usable-memory": struct.pack(">QQ", GIB + 64 * MIB, 256 * MIB)}
    inputs = of_board(tmp_path, Board(memory=((GIB, GIB),), memory_properties=usable))
    assert inputs.ram.banks == ((GIB + 64 * MIB, 256 * MIB),)


# A tree without memory ----------------------------------------------------------------------


EFI = {
    "linux,uefi-system-table": struct.pack(">Q", 0xBF5E_0018),
    "linux,uefi-mmap-start": struct.pack(">Q", 0xBC00_0000),
    "linux,uefi-mmap-size": struct.pack(">I", 0x600),
}


def test_a_tree_that_efi_left_takes_memory_from_the_options(tmp_path: Path) -> None:
    board = Board(memory=(), chosen=EFI)
    with pytest.raises(MachineError, match="no memory node") as caught:
        of_board(tmp_path, board)
    assert "--memory SIZE" in (caught.value.hint or "")
    inputs = of_board(tmp_path, board, memory=512 * MIB)
    assert memory_of(tree_of(inputs)) == inputs.ram.banks == ((GIB, 512 * MIB),)
    # The firmware's tables are on another machine.
    chosen = parse(tree_of(inputs)).root.child("chosen")
    assert chosen is not None
    assert not chosen.properties.keys() & EFI.keys()


def test_where_the_tree_has_an_empty_node_is_where_memory_is(tmp_path: Path) -> None:
    inputs = of_board(tmp_path, Board(memory=((2 * GIB, 0),)), memory=512 * MIB)
    assert memory_of(tree_of(inputs)) == inputs.ram.banks == ((2 * GIB, 512 * MIB),)


@pytest.mark.parametrize("cells", [1, 2])
def test_a_map_takes_the_place_of_what_the_tree_says(tmp_path: Path, cells: int) -> None:
    banks = ((GIB, 256 * MIB), (2 * GIB, 512 * MIB))
    board = Board(memory=((0, 64 * MIB), (3 * GIB, 64 * MIB)), cells=cells)
    inputs = of_board(tmp_path, board, memory_map=banks)
    assert memory_of(tree_of(inputs)) == inputs.ram.banks == banks


def test_a_map_that_the_cells_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cells cannot hold 0x100000000"):
        of_board(tmp_path, Board(cells=1), memory_map=((4 * GIB, GIB),))


def test_a_map_without_a_tree() -> None:
    banks = ((GIB, 256 * MIB), (2 * GIB, 512 * MIB))
    inputs = load(Job(size=SIZE, memory_map=banks))
    assert memory_of(tree_of(inputs)) == inputs.ram.banks == banks


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"memory": GIB, "memory_map": ((0, GIB),)}, "at once"),
        ({"memory_map": ()}, "a memory map of 0 banks"),
        ({"memory_map": ((0, GIB),) * (MAX_BANKS + 1)}, "a memory map of 65 banks"),
        ({"memory_map": ((0, 0),)}, "memory_map has"),
        ({"memory_map": ((0, 1, 2),)}, "memory_map has"),
        ({"memory_map": (((1 << 52) - 4096, 8192),)}, "memory_map has"),
        ({"crash_size": 64 * MIB}, "do nothing"),
        ({"crash_size": 64 * MIB + 4096, "path": "crash"}, "size of a crash kernel's memory"),
        ({"crash_size": MIB * 64, "crash_at": 4096, "path": "crash"}, "address of a crash"),
        ({"crash_at": GIB, "path": "crash"}, "an address and no size"),
    ],
)
def test_maps_that_cannot_be(job: dict[str, object], words: str) -> None:
    with pytest.raises(MachineError, match=words):
        Job(**job)  # type: ignore[arg-type]


# What is reserved ---------------------------------------------------------------------------

PLACES = [
    (KexecPath.NORMAL, Shape.PLAIN),
    (KexecPath.NORMAL, Shape.GAPS),
    (KexecPath.NORMAL, Shape.BOUNDARY),
    (KexecPath.CRASH, Shape.GAPS),
]


@pytest.mark.parametrize(("path", "shape"), PLACES)
@pytest.mark.parametrize("no_map", [True, False])
def test_nothing_is_placed_on_what_is_reserved(
    tmp_path: Path, path: KexecPath, shape: Shape, no_map: bool
) -> None:
    """At the bottom, where the old kernel and its pages go; at the top, where segments do."""
    taken = ((GIB, 8 * MIB + 4), (GIB + 12 * MIB, MIB), (3 * GIB - 32 * MIB, 32 * MIB))
    board = Board(reserved=taken, no_map=no_map, reservations=((2 * GIB, 4096),))
    inputs = of_board(tmp_path, board, path=path, shape=shape)
    inputs = arrange(inputs, Target(), shape, 0)
    placed = [(one.segment.mem, one.segment.memsz) for one in inputs.segments]
    placed.append((inputs.old_kernel.base, inputs.old_kernel.size))
    for start, size in placed:
        for low, length in (*taken, (2 * GIB, 4096)):
            assert start + size <= low or low + length <= start
    assert inputs.old_kernel.base == GIB + 10 * MIB
    assert inputs.ram.reserved[0] == (GIB, 8 * MIB + 4096)
    assert bool(inputs.ram.unmapped) == no_map


@st.composite
def boards(draw: st.DrawFn) -> Board:
    """Some banks, and pieces of them and of what is between that are reserved."""
    at, memory = draw(st.integers(0, 3)) * GIB, []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.integers(64, 512)) * MIB + draw(st.integers(0, 3)) * 4096
        memory.append((at, size))
        at += size + draw(st.sampled_from([0, 4096, 256 * MIB, 3 * GIB]))
    memory[0] = (memory[0][0], memory[0][1] + 512 * MIB if len(memory) == 1 else memory[0][1])
    reserved = [
        (draw(st.integers(0, at // 4096)) * 4096, draw(st.integers(1, 1 << 24))) for _ in range(3)
    ]
    return Board(memory=tuple(memory), reserved=tuple(reserved), no_map=draw(st.booleans()))


@settings(max_examples=40, deadline=None)
@given(
    board=boards(),
    page_size=st.sampled_from([4096, 65536]),
    place=st.sampled_from(PLACES),
)
def test_any_board(
    tmp_path_factory: pytest.TempPathFactory,
    board: Board,
    page_size: int,
    place: tuple[KexecPath, Shape],
) -> None:
    """Whatever is placed is in RAM by the tree, on nothing that is reserved, or nothing fits."""
    path = tmp_path_factory.mktemp("board") / "dtb"
    path.write_bytes(board.blob())
    target = Target(page_size=page_size)
    try:
        inputs = load(Job(dtb=path, size=SIZE, path=place[0]), target)
        inputs = arrange(inputs, target, place[1], 0)
    except MachineError:
        return
    memory = [range(low, low + size) for low, size in board.memory]
    placed = [(one.segment.mem, one.segment.memsz) for one in inputs.segments]
    for start, size in (*placed, (inputs.old_kernel.base, inputs.old_kernel.size)):
        assert all(any(at in bank for bank in memory) for at in range(start, start + size, 4096))
        assert not any(start < low + n and low < start + size for low, n in board.reserved)


# A crash kernel's memory --------------------------------------------------------------------


def crash_load(tmp_path: Path, board: Board, **job: object) -> Inputs:
    return of_board(tmp_path, board, path=KexecPath.CRASH, **job)


def test_all_of_a_crash_kernel_is_in_its_own_memory(tmp_path: Path) -> None:
    wanted = (GIB + 512 * MIB, 128 * MIB)
    inputs = crash_load(tmp_path, Board(), crash_at=wanted[0], crash_size=wanted[1])
    assert inputs.ram.crash == wanted
    for one in inputs.segments:
        assert wanted[0] <= one.segment.mem
        assert one.segment.mem + one.segment.memsz <= sum(wanted)
    assert inputs.old_kernel.base == GIB + 2 * MIB


def test_its_core_header_has_all_memory_but_its_own(tmp_path: Path) -> None:
    """And /chosen says where it is; read by another reader of ELF."""
    board = Board(memory=((GIB, 512 * MIB), (2 * GIB, 512 * MIB)))
    inputs = crash_load(tmp_path, board, crash_at=GIB + 256 * MIB, crash_size=128 * MIB)
    elf = ELFFile(BytesIO(content_of(inputs, PayloadKind.CORE_HEADER)))
    assert (elf["e_type"], elf["e_machine"]) == ("ET_CORE", "EM_AARCH64")
    kept = [(GIB, 256 * MIB), (GIB + 384 * MIB, 128 * MIB), (2 * GIB, 512 * MIB)]
    for part, (low, size) in zip(elf.iter_segments(), kept, strict=True):
        assert part["p_type"] == "PT_LOAD"
        assert (part["p_paddr"], part["p_offset"]) == (low, low)
        assert part["p_filesz"] == part["p_memsz"] == size
    [place] = [one.segment for one in inputs.segments if one.kind is PayloadKind.CORE_HEADER]
    chosen = parse(tree_of(inputs)).root.child("chosen")
    assert chosen is not None
    assert chosen.properties["linux,elfcorehdr"] == struct.pack(">QQ", place.mem, place.bufsz)
    wanted = struct.pack(">QQ", GIB + 256 * MIB, 128 * MIB)
    assert chosen.properties["linux,usable-memory-range"] == wanted


def test_the_old_kernel_makes_way_for_it(tmp_path: Path) -> None:
    inputs = crash_load(tmp_path, Board(), crash_at=GIB, crash_size=128 * MIB)
    assert inputs.old_kernel.base == GIB + 128 * MIB


def test_where_it_is_set_aside_if_nobody_says(tmp_path: Path) -> None:
    """As high as is below 4 GiB; above, if no hole there has room."""
    board = Board(memory=((GIB, 4 * GIB),), reserved=((4 * GIB - 5 * MIB, 5 * MIB),))
    inputs = crash_load(tmp_path, board, crash_size=128 * MIB, memory=4 * GIB)
    assert inputs.ram.crash == (4 * GIB - 6 * MIB - 128 * MIB, 128 * MIB)
    board = replace(board, memory=((GIB, 64 * MIB), (4 * GIB, 512 * MIB)), reserved=())
    inputs = crash_load(tmp_path, board, crash_size=128 * MIB)
    assert inputs.ram.crash == (4 * GIB + 384 * MIB, 128 * MIB)


def test_what_cannot_be_set_aside(tmp_path: Path) -> None:
    board = Board(reserved=((GIB + 64 * MIB, 4096),))
    with pytest.raises(MachineError, match="not all free RAM"):
        crash_load(tmp_path, board, crash_at=GIB, crash_size=128 * MIB)
    with pytest.raises(MachineError, match="no hole"):
        crash_load(tmp_path, board, crash_size=4 * GIB)
    with pytest.raises(MachineError, match="the largest hole where it may be"):
        crash_load(tmp_path, board, crash_size=4 * MIB)


@pytest.mark.parametrize("regime", list(Regime))
def test_the_default_is_what_it_was(regime: Regime) -> None:
    inputs = load(Job(size=SIZE, path=KexecPath.CRASH), Target(regime=regime))
    assert inputs.ram.crash == (2 * GIB, GIB)


def test_very_many_reserved_pieces_cost_little(tmp_path: Path) -> None:
    """As many as a tree of 2 MiB has room for, each with a free page behind it."""
    kept = tuple((GIB + 512 * MIB + 8192 * number, 4096) for number in range(4000))
    inputs = of_board(tmp_path, Board(reservations=kept))
    with cpu_time_below(2):
        inputs = arrange(inputs, Target(), Shape.GAPS, 0)
        inputs = arrange(inputs, Target(), Shape.BOUNDARY, 0)
    assert len(inputs.segments) == 8


@pytest.mark.parametrize("first", [1 << 30, 16 << 30])
def test_memory_that_the_kernel_leaves_out_is_said(first: int) -> None:
    """Also where so much is not needed: it is of the machine, and not of this move."""
    far = 0x80_4000_0000
    job = Job(memory_map=((0x4000_0000, first), (far, 1 << 30)), size=4096)
    ram = load(job, Target(va_bits=39)).ram
    assert ram.unreached == ((far, 1 << 30),)
    assert str(ram.left_out).startswith(f"1,024 MiB from PA {far:#x} on left out")
    assert ram.banks[-1][0] < far
    assert load(job, Target(va_bits=48)).ram.left_out is None
    assert (
        load(replace(job, memory_map=((0x4000_0000, first),)), Target(va_bits=39)).ram.left_out
        is None
    )
