"""``relokit record`` and ``run --snapshot``: what cannot be is told before anything is started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from relokit.cli.main import main
from relokit.codegen.target import MIB
from relokit.linker.kernel.opened import Files
from relokit.machines.snapshots import own_user_space, started
from relokit.runtime.guest.payload import PayloadKind

Cli = Callable[..., tuple[int, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """The exit code and what is said on standard error, on one line."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        code = main([str(argument) for argument in arguments])
        return code, " ".join(capsys.readouterr().err.split())

    return run


ATTACH = ("--attach", "127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ram", "ram"), "--ram and --ram-base are of a QEMU to --attach to"),
        (("--ram-base", "0x80000000"), "--ram and --ram-base are of a QEMU"),
        (ATTACH, "--attach needs --ram"),
        ((*ATTACH, "--ram", "ram", "--crash"), "--crash is of a QEMU that is started here"),
        ((*ATTACH, "--ram", "ram", "--", "-smp", "2"), "leave one of them out"),
        ((*ATTACH, "--ram", "none"), "none: no such file"),
        ((*ATTACH, "--ram", "ram"), "1,000 bytes from PA 0x40000000 are no RAM"),
        ((*ATTACH, "--ram", "page", "--ram-base", "0x40000800"), "from PA 0x40000800 are no RAM"),
        ((*ATTACH, "--ram", "page"), "nobody to speak to"),
        (("--crash", "--", "-initrd", "x"), "leave --crash out"),
        (("--", "-S"), "-S is not yours to give"),
        (("--", "-m", "1"), "is no memory for a hand-over"),
        (("--timeout", "0"), "--timeout"),
        (("--registers", "x"), "--registers are of a --vmcore"),
        (("--vmcore", "x", "--crash"), "--vmcore is a machine already"),
        (("--vmcore", "x", "--", "-smp", "2"), "--vmcore is a machine already"),
        (("--vmcore", "x"), "no such file"),
    ],
)
def test_what_cannot_be_recorded_is_told(
    cli: Cli,
    kernel_6_1: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    place = tmp_path / "snapshot"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ram").write_bytes(bytes(1000))
    (tmp_path / "page").write_bytes(bytes(4096))
    code, told = cli("record", "--kernel", kernel_6_1, "-o", place, *arguments)
    assert code == 2
    assert message in told
    assert not place.exists()


def test_a_place_that_is_taken_or_has_no_folder_is_told(
    cli: Cli, kernel_6_1: Path, tmp_path: Path
) -> None:
    for place, message in ((tmp_path, "is there already"), (tmp_path / "a" / "b", "its folder")):
        code, told = cli("record", "--kernel", kernel_6_1, "-o", place)
        assert (code, message in told) == (2, True), told


def test_what_is_no_snapshot_is_told(cli: Cli, tmp_path: Path) -> None:
    for place, message in ((tmp_path / "none", "is no directory"), (tmp_path, "no such file")):
        code, told = cli("run", "--snapshot", place)
        assert (code, message in told) == (2, True), told


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        ((), b"hvc"),
        (("-M", "virt,gic-version=3", "-cpu", "cortex-a72"), b"hvc"),
        (("-M", "virt,virtualization=on,gic-version=3"), b"smc"),
        (("-machine", "virt", "-machine", "virtualization=true"), b"smc"),
        (("-M", "virt,virtualization=on", "-machine", "virtualization=off"), b"hvc"),
    ],
)
def test_the_next_kernels_tree_calls_psci_as_that_qemu_takes_it(
    kernel_6_1: Path, arguments: tuple[str, ...], calls: bytes
) -> None:
    # By SMC where there is no EL3 and no EL2 to take it, it died of its first call.
    layout = own_user_space(Files().kernel(kernel_6_1), arguments, crash=False)
    [tree] = [one for one in layout.segments if one.kind is PayloadKind.DEVICE_TREE]
    other = {b"hvc": b"smc", b"smc": b"hvc"}[calls]
    assert calls + b"\0" in bytes(tree.data)
    assert other + b"\0" not in bytes(tree.data)


@pytest.mark.parametrize("memory", [512 * MIB, 1024 * MIB])
def test_a_crash_kernel_is_not_put_over_what_qemu_has_in_ram(kernel_6_1: Path, memory: int) -> None:
    # At 512 MiB it was: the kernel set nothing aside, and kexec_load said no.
    arguments = ("-m", str(memory // MIB))
    layout = own_user_space(Files().kernel(kernel_6_1), arguments, crash=True)
    [initrd] = [one for one in layout.pieces if one.kind is PayloadKind.INITRD]
    assert layout.ram.crash is not None
    base, size = layout.ram.crash
    assert 0x4800_0000 + len(initrd.data) < base < base + size < 0x4000_0000 + memory
    assert all(base <= one.at and one.at + one.memory <= base + size for one in layout.segments)


def test_memory_that_is_too_little_for_a_crash_kernel_is_told(cli: Cli, kernel_6_1: Path) -> None:
    code, told = cli("record", "--kernel", kernel_6_1, "-o", "x", "--crash", "--", "-m", "256")
    assert code == 2
    assert "256 MiB of memory are too little for a crash kernel's 64 behind QEMU's initrd" in told


def test_a_command_line_of_yours_has_the_crash_kernels_memory_as_well(
    kernel_6_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        "relokit.runtime.capture.qemu.Qemu", lambda *arguments: seen.append(arguments[-1])
    )
    for crash in (True, False):
        arguments = ("-append", "quiet", "-append", "console=ttyAMA0")
        started(Files().kernel(kernel_6_1), arguments, crash=crash)
    assert seen[0].startswith("console=ttyAMA0 crashkernel=0x10000000@0x")
    assert seen[1] == "console=ttyAMA0"
