"""Bootable ELFs in QEMU: another machine runs the same memory, and the new kernel comes up.

The command line is the one that ``relokit export`` prints. Whatever QEMU would wait for, it
gets an end: the console line that is awaited, or the clock.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from relokit.codegen.series import COMPLETE
from support.initrd import build_initrd
from support.qemu import boot, export

pytestmark = pytest.mark.oracle

REGIMES = ("nvhe", "vhe", "el1")
EL = {"nvhe": 2, "vhe": 2, "el1": 1}
PASSED = "relokit demo kernel: PASS\n"
MAX = "max,pauth-impdef=on"


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("page", ["4k", "16k", "64k"])
def test_the_demo_kernel_comes_up(tmp_path: Path, page: str, regime: str) -> None:
    command = export(tmp_path / "demo.elf", "--page-size", page, "--el", regime)
    console = boot(command)
    assert console == f"relokit demo kernel: entered at EL{EL[regime]}\n{PASSED}"


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("state", range(COMPLETE))
def test_every_state_of_the_series_hands_over(tmp_path: Path, state: int, regime: str) -> None:
    command = export(tmp_path / "demo.elf", "--series", str(state), "--el", regime)
    console = boot(command)
    assert console == f"relokit demo kernel: entered at EL{EL[regime]}\n{PASSED}"


@pytest.mark.parametrize(
    ("page", "va"), [("4k", "39"), ("16k", "36"), ("16k", "47"), ("64k", "42")]
)
def test_a_smaller_address_space_hands_over(tmp_path: Path, page: str, va: str) -> None:
    command = export(tmp_path / "demo.elf", "--page-size", page, "--va-bits", va)
    assert boot(command).endswith(PASSED)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("page", ["4k", "16k", "64k"])
@pytest.mark.parametrize("cpu", ["52", "48"])
def test_a_52_bit_kernel_hands_over_on_either_cpu(
    tmp_path: Path, page: str, regime: str, cpu: str
) -> None:
    """QEMU's `max` has LPA2, LVA and LPA; with --cpu-bits 48 it has them and is not asked."""
    options = ("--page-size", page, "--va-bits", "52", "--el", regime, "--cpu-bits", cpu)
    console = boot(export(tmp_path / "demo.elf", *options))
    assert console == f"relokit demo kernel: entered at EL{EL[regime]}\n{PASSED}"


@pytest.mark.parametrize(
    "options",
    [
        ("--series", state, "--page-size", page)
        for state in ("0", "9", "11", "12")
        for page in ("4k", "64k")
    ]
    + [
        ("--page-size", "64k", "--va-bits", "48", "--pa-bits", "52"),
        ("--page-size", "64k", "--pa-bits", "48"),
        ("--page-size", "16k", "--path", "crash"),
        ("--page-size", "4k", "--path", "purgatory", "--shape", "own-place"),
    ],
    ids=" ".join,
)
def test_52_bit_addresses_are_no_matter_of_the_state(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    wide = () if "--va-bits" in options else ("--va-bits", "52")
    command = export(tmp_path / "demo.elf", *wide, *options)
    assert boot(command).endswith(PASSED)


@pytest.mark.parametrize("cpu", ["52", "48"])
@pytest.mark.parametrize(
    ("kernel", "page"), [("kernel_6_12", "4k"), ("kernel_6_12_16k", "16k"), ("kernel_7", "4k")]
)
def test_a_shipped_52_bit_kernels_own_code_hands_over(
    tmp_path: Path, kernel: str, page: str, cpu: str, request: pytest.FixtureRequest
) -> None:
    path = str(request.getfixturevalue(kernel))
    options = ("--code-from", path, "--page-size", page, "--va-bits", "52", "--cpu-bits", cpu)
    assert boot(export(tmp_path / "demo.elf", *options)).endswith(PASSED)


def test_a_shipped_kernels_own_code_hands_over(tmp_path: Path, kernel_6_1: Path) -> None:
    command = export(tmp_path / "demo.elf", "--code-from", str(kernel_6_1))
    assert boot(command).endswith(PASSED)


@pytest.mark.parametrize(
    "options",
    [("--shape", shape) for shape in ("gaps", "boundary", "own-place")]
    + [
        ("--path", path, "--series", state)
        for path in ("purgatory", "in-place", "crash")
        for state in ("4", "15")
    ],
    ids=" ".join,
)
def test_every_path_and_shape_hands_over(tmp_path: Path, options: tuple[str, ...]) -> None:
    command = export(tmp_path / "demo.elf", *options)
    assert boot(command).endswith(PASSED)


@pytest.mark.parametrize(
    ("state", "regime", "page"),
    [("15", "nvhe", "4k"), ("15", "vhe", "16k"), ("15", "el1", "64k"), ("0", "nvhe", "4k")],
)
def test_linux_reaches_userspace(
    tmp_path: Path, kernel_6_1: Path, initrd: Path, state: str, regime: str, page: str
) -> None:
    command = export(
        tmp_path / "linux.elf",
        *("--series", state, "--el", regime, "--page-size", page),
        *("--kernel", str(kernel_6_1), "--initrd", str(initrd)),
        *("--cmdline", "earlycon console=ttyAMA0 panic=-1 relokit.probe"),
    )
    console = boot(command)
    assert "Linux version 6.1." in console, console
    assert "Kernel command line: earlycon console=ttyAMA0 panic=-1 relokit.probe" in console
    assert f"CPU: All CPU(s) started at EL{EL[regime]}" in console, console
    # The kernel checks the archive's CRC: a page in the wrong place is named here.
    assert "Initramfs unpacking failed" not in console
    assert "relokit initrd: userspace reached" in console, console
    assert "reboot: Power down" in console


@pytest.fixture(scope="session")
def initrd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_initrd(tmp_path_factory.mktemp("initrd"))


@pytest.mark.parametrize(
    ("options", "change", "advice"),
    [
        (("--el", "nvhe"), ("virtualization=on", "virtualization=off"), "virtualization=on"),
        (("--el", "el1"), ("virtualization=off", "virtualization=on"), "virtualization=off"),
        (("--el", "vhe"), (MAX, "cortex-a72"), "no VHE: -cpu max"),
        (("--page-size", "16k"), (MAX, "cortex-a72"), "no 16 KiB pages: -cpu max"),
        (("--va-bits", "52"), (MAX, "cortex-a72"), "no 52-bit addresses: -cpu max"),
        (
            ("--va-bits", "52", "--page-size", "16k"),
            (MAX, "max,lpa2=off"),
            "no 52-bit addresses: -cpu max",
        ),
        (
            ("--va-bits", "52", "--page-size", "64k"),
            (MAX, "cortex-a72"),
            "no 52-bit addresses: -cpu max",
        ),
    ],
)
def test_another_machine_is_refused_with_advice(
    tmp_path: Path, options: tuple[str, ...], change: tuple[str, str], advice: str
) -> None:
    command = export(tmp_path / "demo.elf", *options)
    console = boot([word.replace(*change) for word in command])
    assert console.startswith("relokit: this machine cannot be the one that was exported; ")
    assert console.endswith(f"{advice}\n")


def test_a_flipped_byte_of_the_payload_is_found_by_the_new_kernel(tmp_path: Path) -> None:
    path = tmp_path / "demo.elf"
    command = export(path)
    with path.open("rb") as file:
        elf = ELFFile(file)
        arena = elf.get_section_by_name(".guest.source_pages")
        start, data = arena["sh_offset"], arena.data()
    # The demo kernel's bulk is words of 0x6b65....
    at = data.index(bytes.fromhex("10 00 65 6b"))
    content = bytearray(path.read_bytes())
    content[start + at] ^= 1
    path.write_bytes(content)
    assert boot(command) == (
        "relokit demo kernel: entered at EL2\n"
        "relokit demo kernel: FAILED check: every byte of the Image in place\n"
        "relokit demo kernel: FAIL\n"
    )


def test_the_same_export_gives_the_same_bytes(tmp_path: Path) -> None:
    here, there = tmp_path / "here.elf", tmp_path / "there.elf"
    export(here, "--size", "3M")
    subprocess.run(
        [sys.executable, "-m", "relokit", "export", "--type=bootable", "--size=3M", "-o", there],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert here.read_bytes() == there.read_bytes()


@pytest.mark.parametrize("regime", REGIMES)
def test_segments_are_disjoint_and_leave_the_destinations_alone(
    tmp_path: Path, regime: str
) -> None:
    path = tmp_path / "demo.elf"
    export(path, "--el", regime, "--kernel-at", "0x48000000")
    with path.open("rb") as file:
        elf = ELFFile(file)
        spans = sorted(
            (segment["p_paddr"], segment["p_paddr"] + segment["p_memsz"], segment["p_flags"])
            for segment in elf.iter_segments("PT_LOAD")
        )
        entry = elf["e_entry"]
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert [flags & 1 for low, high, flags in spans if low <= entry < high] == [1]
    # The demo kernel has 64 pages of 4 KiB, and then some.
    assert all(high <= 0x48000000 or low >= 0x48000000 + (64 << 12) for low, high, _ in spans)
