"""Device trees against dtc, which compiles and complains, and QEMU, which has the board."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from relokit.codegen.target import Regime
from relokit.runtime.board.chosen import with_chosen
from relokit.runtime.board.devicetree import (
    check_dtb,
    memory_of,
    reserved_of,
    virt_dtb,
)
from relokit.runtime.board.fdt import Node, parse

pytestmark = pytest.mark.oracle

MACHINES = {
    Regime.EL1: "virt,gic-version=3",
    Regime.NVHE: "virt,gic-version=3,virtualization=on",
}


def dtc(content: bytes, source: str, target: str) -> tuple[bytes, str]:
    """dtc's output, and what it complains of, with every warning on that it has by default."""
    command = ["dtc", "-I", source, "-O", target, "-o", "-", "-"]
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    return done.stdout, done.stderr.decode()


@pytest.fixture(scope="module", params=list(MACHINES), ids=str)
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Board:
    assert shutil.which("qemu-system-aarch64")
    regime: Regime = request.param
    path: Path = tmp_path_factory.mktemp("qemu") / "virt.dtb"
    machine = f"{MACHINES[regime]},dumpdtb={path}"
    command = ["qemu-system-aarch64", "-M", machine, "-cpu", "cortex-a72", "-m", "1024"]
    subprocess.run(
        [*command, "-smp", "2", "-display", "none", "-nic", "none"], check=True, capture_output=True
    )
    return Board(regime, path.read_bytes())


class Board:
    """QEMU's tree of the board, and ours of the same one."""

    def __init__(self, regime: Regime, theirs: bytes) -> None:
        self.theirs = theirs
        self.ours = virt_dtb(0x4000_0000, 1 << 30, regime=regime)

    def nodes(self, *path: str) -> tuple[Node, Node]:
        found = []
        for blob in (self.theirs, self.ours):
            node = parse(blob).root
            for name in path:
                child = node.child(name)
                assert child is not None, path
                node = child
            found.append(node)
        return found[0], found[1]


@pytest.mark.parametrize(
    ("path", "properties"),
    [
        ((), "compatible model #address-cells #size-cells"),
        (("psci",), "compatible method cpu_on cpu_off cpu_suspend migrate"),
        (("memory@40000000",), "device_type reg"),
        (("timer",), "compatible interrupts always-on"),
        (("pl011@9000000",), "compatible reg interrupts clock-names"),
        (("apb-pclk",), "compatible clock-frequency clock-output-names #clock-cells"),
        (("cpus",), "#address-cells #size-cells"),
        (("cpus", "cpu@0"), "compatible device_type reg enable-method"),
        (("chosen",), "stdout-path"),
        (
            ("intc@8000000",),
            "compatible reg interrupt-controller #interrupt-cells #redistributor-regions",
        ),
    ],
)
def test_board_is_qemus(board: Board, path: tuple[str, ...], properties: str) -> None:
    theirs, ours = board.nodes(*path)
    for name in properties.split():
        assert ours.properties[name] == theirs.properties[name], name


def test_maintenance_interrupt_is_qemus(board: Board) -> None:
    theirs, ours = board.nodes("intc@8000000")
    assert ours.properties.get("interrupts") == theirs.properties.get("interrupts")


def test_links_between_nodes_hold(board: Board) -> None:
    root, gic = parse(board.ours).root, parse(board.ours).root.child("intc@8000000")
    clock, uart = root.child("apb-pclk"), root.child("pl011@9000000")
    assert gic is not None
    assert clock is not None
    assert uart is not None
    assert root.properties["interrupt-parent"] == gic.properties["phandle"]
    assert uart.properties["clocks"] == 2 * clock.properties["phandle"]


def test_qemus_tree_is_sound_and_can_be_given(board: Board) -> None:
    assert check_dtb(board.theirs) == board.theirs
    assert memory_of(board.theirs) == ((0x4000_0000, 1 << 30),)
    blob = with_chosen(board.theirs, cmdline="quiet", initrd=(0x4800_0000, 0x4900_0000))
    assert b'bootargs = "quiet"' in dtc(blob, "dtb", "dts")[0]


@pytest.mark.parametrize("regime", list(Regime), ids=str)
def test_dtc_has_nothing_to_complain_of(regime: Regime) -> None:
    blob = virt_dtb(0x4000_0000, 1 << 32, regime=regime)
    blob = with_chosen(blob, cmdline="console=ttyAMA0", initrd=(0x4800_0000, 0x4812_3456))
    again, said = dtc(blob, "dtb", "dtb")
    assert said == ""
    assert parse(again).root == parse(blob).root
    source, said = dtc(blob, "dtb", "dts")
    assert said == ""
    # What it says now is of its own source, where phandles have become plain numbers.
    again, _ = dtc(source, "dts", "dtb")
    assert parse(again).root == parse(blob).root


SOURCE = b"""/dts-v1/;
/memreserve/ 0x9000000 0x1000;
/ {
    #address-cells = <2>;
    #size-cells = <1>;
    memory@80000000 { device_type = "memory"; reg = <0 0x80000000 0x10000000>; };
    memory@100000000 { device_type = "memory"; reg = <1 0 0x20000000 1 0x40000000 0x1000>; };
    reserved-memory {
        #address-cells = <1>; #size-cells = <1>; ranges;
        firmware@88000000 { reg = <0x88000000 0x200000>; no-map; };
        pool { size = <0x1000000>; };
    };
    chosen { bootargs = "old"; linux,initrd-start = <1>; linux,initrd-end = <2>; };
};
"""


def test_what_dtc_compiles_is_read() -> None:
    blob, _ = dtc(SOURCE, "dts", "dtb")
    assert memory_of(blob) == (
        (0x8000_0000, 0x1000_0000),
        (0x1_0000_0000, 0x2000_0000),
        (0x1_4000_0000, 0x1000),
    )
    assert reserved_of(blob) == ((0x900_0000, 0x1000), (0x8800_0000, 0x20_0000))


def test_chosen_as_dtc_decompiles_it() -> None:
    blob, _ = dtc(SOURCE, "dts", "dtb")
    initrd = (0x1_0000_0000, 0x1_0000_0123)
    kept = dtc(with_chosen(blob, initrd=initrd), "dtb", "dts")[0].decode()
    assert 'bootargs = "old";' in kept
    text = dtc(with_chosen(blob, cmdline="", initrd=initrd), "dtb", "dts")[0].decode()
    assert "bootargs" not in text
    assert "linux,initrd-start = <0x01 0x00>;" in text
    assert "linux,initrd-end = <0x01 0x123>;" in text
    assert "/memreserve/\t0x0000000009000000 0x0000000000001000;" in text
