"""Bad input: one clear error, exit code 2, nothing half-written."""

from __future__ import annotations

import gzip
import os
import resource
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.runtime.board.devicetree import virt_dtb

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]

MIB = 1 << 20


def image(*, size: int = 4 * MIB, flags: int = 1 << 3, text_offset: int = 0) -> bytes:
    """A minimal arm64 Image (booting.rst): a header and some code."""
    words = (0x14000010, 0, text_offset, size, flags, 0, 0, 0, b"ARM\x64", 0)
    return struct.pack("<IIQQQQQQ4sI", *words) + bytes(4096 - 64)


def fails(result: Any, *words: str) -> None:
    """Exit code 2, nothing on standard output, one message that has all of ``words``."""
    assert result.code == 2, result
    assert result.out == ""
    assert result.err.startswith("relokit: ")
    assert result.err.count("relokit: ") == 1
    assert "Traceback" not in result.err
    assert "internal error" not in result.err
    assert "failed:" not in result.err
    for word in words:
        assert word in result.err


KERNELS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("the file is empty",)),
    "truncated": (image()[:40], ("truncated: 40 bytes",)),
    "garbage": (b"\xa5" * 4096, ("not an arm64 Image",)),
    "text": (b"#!/bin/sh\necho kernel\n" * 10, ("not an arm64 Image",)),
    "big-endian": (image(flags=1 << 3 | 1), ("big-endian", "CONFIG_CPU_LITTLE_ENDIAN")),
    "older than 3.17": (image(size=0), ("image_size is 0", "newer kernel")),
    "absurd image_size": (image(size=1 << 60), ("image_size is 0x1000000000000000",)),
    "absurd text_offset": (image(text_offset=3), ("text_offset is 0x3",)),
    "cut gzip": (gzip.compress(image())[:-20], ("truncated", "gzip")),
    "corrupt gzip": (gzip.compress(image())[:10] + b"\xff" * 99, ("corrupt gzip",)),
    "gzip of something else": (gzip.compress(b"hello" * 99), ("not an arm64 Image",)),
    "x86": (b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0\x64\x86" + bytes(99), ("x86",)),
    "an ELF": (b"\x7fELF\2\1\1" + bytes(99), ("not an arm64 Image: ", "ELF")),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_that_is_none(cli: Cli, tmp_path: Path, name: str) -> None:
    content, words = KERNELS[name]
    path = tmp_path / "vmlinuz"
    path.write_bytes(content)
    fails(cli("run", "--kernel", path), f"relokit: {path}: ", *words)


def test_kernel_shorter_than_its_pe_sections(cli: Cli, tmp_path: Path) -> None:
    pe = b"PE\0\0" + struct.pack("<HHIIIHH", 0xAA64, 1, 0, 0, 0, 0, 0)
    section = struct.pack("<8sIIIIIIHHI", b".text", 0, 0, 3 * MIB, 4096, 0, 0, 0, 0, 0)
    content = bytearray(image())
    content[60:64] = struct.pack("<I", 64)
    content[64 : 64 + len(pe) + len(section)] = pe + section
    path = tmp_path / "Image"
    path.write_bytes(content)
    fails(cli("run", "--kernel", path), "truncated: the PE section table", "download")


def test_huge_kernel_is_refused_unread(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "Image"
    path.touch()
    os.truncate(path, 1 << 42)
    fails(cli("run", "--kernel", path), f"{path}: {1 << 42} bytes, more than the")


def test_kernel_with_appended_garbage(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "Image"
    path.write_bytes(image(size=MIB))
    os.truncate(path, 2 * MIB)
    fails(cli("run", "--kernel", path), "trailing garbage")


@pytest.mark.parametrize("option", ["--kernel", "--initrd", "--dtb", "--code-from"])
@pytest.mark.parametrize(
    "kind", ["directory", "link", "dangling", "FIFO", "device", "missing", "unreadable"]
)
def test_paths_that_are_no_files(cli: Cli, tmp_path: Path, option: str, kind: str) -> None:
    path = tmp_path / "input"
    words = (f"relokit: {path}: ",)
    if kind == "directory":
        path.mkdir()
        words += ("directory, not a file",)
    elif kind == "link":
        path.symlink_to(tmp_path)
        words += ("symbolic link to a directory, not a file",)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "gone")
        words += ("symbolic link to", "which is not there")
    elif kind == "FIFO":
        os.mkfifo(path)
        words += ("FIFO, not a file",)
    elif kind == "device":
        path = Path("/dev/zero")
        words = ("relokit: /dev/zero: character device, not a file",)
    elif kind == "missing":
        words += ("no such file", "check the path")
    elif os.geteuid() == 0:
        # Root may read everything but a process's own memory map of a kernel thread.
        path = Path("/proc/1/mem")
        words = ("relokit: /proc/1/mem: ",)
    else:
        path.write_bytes(image())
        path.chmod(0)
        words += ("cannot be opened: Permission denied",)
    fails(cli("run", option, path), *words)


@pytest.mark.parametrize(
    "words",
    [
        ("@X",),
        ("run", "--baseline", "X"),
        ("time", "--fit", "X"),
        ("kexec", "--kernel", "X"),
        ("judge", "X"),
        ("run",),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["FIFO", "character device"])
def test_what_may_have_no_end_is_not_read(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], kind: str
) -> None:
    path = tmp_path / "input"
    if kind == "FIFO":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    if words == ("run",):
        monkeypatch.setenv("RELOKIT_PROJECT", str(path))
    fails(cli(*(word.replace("X", str(path)) for word in words)), f"{kind}, not a file")


def test_initrd_larger_than_guest_memory(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    path.touch()
    os.truncate(path, 1 << 30)
    fails(cli("run", "--initrd", path, "--memory", "512M"), "1024.3 MiB to move need", "--memory")


def test_initrd_larger_than_the_host(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    path.touch()
    os.truncate(path, 1 << 34)
    fails(cli("run", "--initrd", path, "--memory", "100T"), "of guest RAM, and the host has")
    os.truncate(path, (1 << 34) + 1)
    fails(cli("run", "--initrd", path), "more than the 17179869184 accepted")


DTBS: dict[str, tuple[bytes, str]] = {
    "garbage": (b"\xa5" * 4096, "not a device tree blob: magic is 0xa5a5a5a5"),
    "source": (b"/dts-v1/;\n/ { };\n" * 9, "not a device tree blob"),
    "truncated": (virt_dtb(1 << 30, 1 << 30)[:-300], "truncated: totalsize"),
    "header only": (virt_dtb(1 << 30, 1 << 30)[:39], "truncated: 39 bytes"),
    "empty": (b"", "the file is empty"),
    "appended": (virt_dtb(1 << 30, 1 << 30) + b"x", "trailing garbage"),
}


@pytest.mark.parametrize("name", DTBS)
def test_device_tree_that_is_none(cli: Cli, tmp_path: Path, name: str) -> None:
    content, word = DTBS[name]
    path = tmp_path / "board.dtb"
    path.write_bytes(content)
    fails(cli("run", "--dtb", path), f"relokit: {path}: ", word)


def test_device_tree_without_memory(cli: Cli, tmp_path: Path) -> None:
    # The firmware of many boards fills reg in: until then it is there with a size of zero.
    size = 0x1234_5000
    blob = virt_dtb(1 << 30, size)
    assert blob.count(struct.pack(">QQ", 1 << 30, size)) == 1
    path = tmp_path / "board.dtb"
    path.write_bytes(blob.replace(struct.pack(">QQ", 1 << 30, size), bytes(16)))
    fails(
        cli("run", "--dtb", path),
        f"relokit: {path}: the tree has no memory node with a size",
        "hint: ",
        "--memory",
        "--memory-map",
    )


def test_ram_where_a_new_kernel_needs_devices(cli: Cli) -> None:
    """Before anything is moved or printed."""
    words = ("there is RAM at PA 0x9000000", "no new kernel can run on", "hint: ", "--size")
    fails(cli("run", "--memory-map", "2g@0x0"), *words)
    assert cli("run", "--memory-map", "2g@0x0", "--size", "1M").code == 0


def test_more_memory_than_the_tree_has(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "board.dtb"
    path.write_bytes(virt_dtb(1 << 30, 256 * MIB))
    words = ("512 MiB of guest memory", "the device tree has 256 MiB", f"relokit: {path}: ")
    fails(cli("run", "--dtb", path, "--memory", "512M"), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pa-bits", "52"], ["no 52-bit PA with 48-bit VA and 4k pages", "48 goes with it"]),
        (["--va-bits", "52", "--pa-bits", "48"], ["no 48-bit PA", "52 goes with it"]),
        (["--va-bits", "52", "--cpu-bits", "47"], ["no CPU with 47-bit", "choose 48 or 52"]),
        (["--cache-line", "48"], ["no 48-byte cache line", "powers of two, 16 to 2048"]),
        (["--cache-line", "0"], ["'0' is out of range"]),
        (["--cpu-bits", "x"], ["'x' is not a whole number"]),
        (["--pa-bits", "0"], ["'0' is out of range"]),
        (["--va-bits", "42"], ["no 42-bit VA with 4k pages", "39, 48"]),
        (["--va-bits", "39", "--page-size", "16k"], ["no 39-bit VA with 16k", "36, 47, 48"]),
        (["--va-bits", "36", "--page-size", "64k"], ["no 36-bit VA with 64k", "42, 48"]),
        (["--va-bits", "0"], ["no 0-bit VA"]),
        (["--va-bits", "-1"], ["'-1' is out of range"]),
        (["--va-bits", "4k"], ["'4k' is not a whole number"]),
        (["--size", "0"], ["'--size'", "'0' is out of range"]),
        (["--size", "-84M"], ["'--size'", "'-84M' is out of range"]),
        (["--size", "many"], ["'many' is not a size"]),
        (["--size", "1.3K"], ["'1.3K' is not a whole number of bytes"]),
        (["--size", "9" * 5000], ["is not a size"]),
        (["--size", "100T"], ["GiB of guest RAM, and the host has", "hint: "]),
        (["--size", "257T"], ["out of range"]),
        (["--memory", "0"], ["'--memory'", "out of range"]),
        (["--memory", "-1"], ["'--memory'", "out of range"]),
        (["--memory", "100T"], ["GiB of guest RAM, and the host has"]),
        (["--memory", "4096"], ["need", "there are 0 MiB", "--memory"]),
        (["--size", "1G", "--memory", "1G"], ["1024.0 MiB to move need", "--memory"]),
        (["--path", "hibernate", "--kernel", "x"], ["kernel on path hibernate", "--kernel"]),
        (["--path", "hibernate", "--initrd", "x"], ["initrd on path hibernate", "--initrd"]),
        (["--path", "hibernate", "--cmdline", "x"], ["cmdline on path hibernate", "--cmdline"]),
        (["--path", "hibernate", "--boot", "1"], ["boot on path hibernate", "--boot"]),
        (["--path", "in-place", "--order", "reversed"], ["no list of pages", "--order"]),
        (["--initrd-at", "0x50000000"], ["without an initrd", "--initrd-at"]),
        (["--size", "1M", "--expect", "x"], ["expect with size", "--expect"]),
        (["--size", "1M", "--boot", "1"], ["synthetic payload is no kernel", "--boot"]),
        (["--kernel-at", "0x40000001"], ["KERNEL_BASE", "2 MiB"]),
        (["--kernel-at", "0x40001000"], ["KERNEL_BASE", "booting.rst"]),
        (["--kernel-at", "0"], ["IN_RAM", "RAM is 0x40000000..0xc0000000"]),
        (["--kernel-at", "0xbfe00000", "--size", "4M"], ["IN_RAM"]),
        (["--kernel-at", "0x40200000"], ["NOT_RESERVED", "0x40200000"]),
        (["--dtb-at", "0x48000004"], ["DTB_ALIGN"]),
        (["--dtb-at", "0x48000008"], ["PAGE_ALIGN", "0x1000-byte pages"]),
        (["--dtb-at", "0x48001000", "--page-size", "64k"], ["PAGE_ALIGN", "0x10000"]),
        (["--dtb-at", "0x100000000"], ["IN_RAM"]),
        (["--kernel-at", "0x48000000", "--dtb-at", "0x48000000"], ["NO_OVERLAP", "device tree"]),
        (["--kernel-at", "here"], ["'here' is not an address", "0x40400000"]),
        (["--kernel-at", "0x10000000000000"], ["not a 52-bit physical address"]),
        (["--seed", "-1"], ["'-1' is out of range"]),
        (["--seed", "4294967296"], ["out of range"]),
        (["--timeout", "0"], ["'0' is out of range"]),
        (["--timeout", "nan"], ["'nan' is out of range"]),
        (["--timeout", "inf"], ["'inf' is out of range"]),
        (["--timeout", "soon"], ["'soon' is not a number of seconds"]),
        (["--boot", "nan"], ["'nan' is out of range"]),
        (["--max-instructions", "0"], ["'0' is out of range"]),
        (["--max-instructions", "9" * 20], ["out of range"]),
        (["--max-instructions", "9" * 5000], ["is not a whole number"]),
        (["--cmdline", "x" * 2048], ["the kernel would cut it at 2047"]),
        (["--cmdline", "\udcff"], ["not UTF-8"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_options_that_cannot_be(cli: Cli, arguments: list[str], words: list[str]) -> None:
    fails(cli("run", *arguments), *words)


def test_kernel_and_size_at_once(cli: Cli, tmp_path: Path) -> None:
    fails(cli("run", "--kernel", tmp_path, "--size", "1M"), "kernel with size", "--kernel")


def test_initrd_on_top_of_the_kernel(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "initrd"
    path.write_bytes(b"0707" * 4096)
    at = ("--kernel-at", "0x48000000", "--initrd-at", "0x48010000")
    fails(cli("run", "--initrd", path, *at), "NO_OVERLAP", "initrd at 0x48010000")


def test_code_from_a_kernel_without_symbols(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "Image"
    path.write_bytes(image())
    fails(cli("run", "--code-from", path), f"relokit: {path}: ", "kallsyms", "hint: ")


TEMPLATES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "undefined variable": ("kernel.lds.j2", "a\n{{ nosuch }}\n", (":2: ", "'nosuch' is undefined")),
    "undefined attribute": ("kernel.lds.j2", "{{ kimage.nosuch }}", ("nosuch",)),
    "unknown filter": ("kernel.lds.j2", "{{ 1 | nosuch }}", (":1: ", "nosuch")),
    "bad template": ("kernel.lds.j2", "\n\n{% if %}", (":3: ",)),
    "no such include": ("kernel.lds.j2", '{% include "nosuch.j2" %}', ("nosuch.j2",)),
    "division by zero": ("kernel.lds.j2", "a\nb\n{{ 1 / 0 }}\n", (":3: ", "division by zero")),
    "recursion": (
        "kernel.lds.j2",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        ("ecursion",),
    ),
    "endless": (
        "kernel.lds.j2",
        "{% for i in range(99999) %}{% for j in range(99999) %}xxxxxxxx{% endfor %}{% endfor %}",
        ("hint: look for a loop that does not end",),
    ),
    "huge": ("kernel.lds.j2", "{{ 'x' * 99999999999 }}", ("kernel.lds.j2",)),
    "ld script": ("kernel.lds.j2", "SECTIONS {\n\t.text : {\n", ("kernel.lds.j2:",)),
    "ld command": ("kernel.lds.j2", "\nFROBNICATE(x)\n", ("kernel.lds.j2:2", "FROBNICATE")),
    "ld assertion": (
        "kernel.lds.j2",
        'SECTIONS { . = 0x1000; .text : { *(*) } }\nASSERT(0, "too large")',
        ("too large",),
    ),
    "no instruction": (
        "relocate_kernel.S.j2",
        "\tmov x0, #1\n\tfrobnicate x1\n",
        ("relocate_kernel.S.j2:2: ", "frobnicate x1"),
    ),
    "no directive": ("relocate_kernel.S.j2", "\t.frobnicate\n", (":1: ", ".frobnicate")),
    "undefined symbol": ("relocate_kernel.S.j2", "\tbl nowhere\n", ("nowhere",)),
    "nothing": ("relocate_kernel.S.j2", "", ("arm64_relocate_new_kernel",)),
    "not text": ("relocate_kernel.S.j2", '\t.ascii "\udcff"\n', ("relocate_kernel.S.j2",)),
    "demo": ("demo.S.j2", "{{ nosuch }}", ("demo.S.j2:1: ", "nosuch")),
    "macro": ("macros/copy.j2", "{% macro copy_page( %}", ("copy.j2:1: ",)),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_that_do_not_build(cli: Cli, tmp_path: Path, name: str) -> None:
    template, text, words = TEMPLATES[name]
    path = tmp_path / "mine" / template
    path.parent.mkdir(parents=True)
    path.write_text(text, errors="surrogateescape")
    fails(cli("run", "--templates", tmp_path / "mine"), *words)
    # The same for what writes files: not one of them is begun.
    out = tmp_path / "out"
    result = cli("export", "--type", "bootable", "--templates", tmp_path / "mine", "-o", out)
    fails(result, *words)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mine"]


@pytest.mark.parametrize("command", [["run"], ["export", "-o", "x"], ["generate", "-o", "x"]])
def test_templates_that_are_not_there(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fails(cli(*command, "--templates", "nowhere"), "nowhere: no such directory", "hint: ")
    (tmp_path / "file").touch()
    fails(cli(*command, "--templates", "file"), "file: not a directory")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kernel.lds").touch()
    fails(cli(*command, "--templates", "mine"), "replaces no template", "kernel.lds.j2")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "mine"]


OUTPUTS = (
    ["export"],
    ["export", "--type", "rel"],
    ["export", "--type", "bootable"],
    ["generate"],
)


@pytest.mark.parametrize("command", OUTPUTS, ids=" ".join)
def test_outputs_that_cannot_be_written(cli: Cli, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").write_text("kept")
    generate = command == ["generate"]
    where = tmp_path / "file" if generate else tmp_path
    fails(cli(*command, "-o", where), str(where))
    fails(cli(*command, "-o", tmp_path / "file" / "below"), "cannot be written", "hint: ")
    if not generate:
        fails(cli(*command, "-o", tmp_path / "no" / "such"), "No such file", "hint: ")
        # As with /dev/null: replaced by a file, it would be gone.
        os.mkfifo(tmp_path / "pipe")
        fails(cli(*command, "-o", tmp_path / "pipe"), "pipe: ", "device or pipe")
        assert (tmp_path / "pipe").is_fifo()
        (tmp_path / "pipe").unlink()
    fails(cli(*command, "-o", "/proc/nothing"), "/proc/nothing", "cannot be written")
    fails(cli(*command, "-o", tmp_path / ("n" * 300)), "File name too long")
    assert (tmp_path / "file").read_text() == "kept"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", OUTPUTS, ids=" ".join)
def test_full_disk_leaves_nothing(process: Cli, tmp_path: Path, command: list[str]) -> None:
    def small_files() -> None:
        # A file that grows past this gives an OSError, as a full disk does.
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))

    out = tmp_path / "out"
    # Nor is a module kept that was compiled just now: the interpreter cuts it short, in silence.
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    result = process(*command, "-o", out, preexec_fn=small_files, env=environment)
    fails(result, str(tmp_path), "cannot be written: File too large", "hint: ")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_payload_options_without_a_machine(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out.elf"
    fails(cli("export", "-o", out, "--size", "1M"), "--size", "--type exec", "hint: ")
    fails(cli("export", "-o", out, "--type", "rel", "--kernel-at", "0x40000000"), "--kernel-at")
    assert not out.exists()


def test_error_exit_codes_of_the_process(process: Cli, tmp_path: Path) -> None:
    """What was seen in this process holds for one of its own."""
    result = process("run", "--kernel", tmp_path / "nowhere")
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[0] == f"relokit: {tmp_path / 'nowhere'}: no such file"
    assert sys.version_info >= (3, 11)


@pytest.mark.parametrize(
    "command", [("generate", "-o", ""), ("templates", "--copy", ""), ("man", "--copy", "")]
)
def test_a_directory_without_a_name_is_not_the_current_one(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """A shell's variable that is not set."""
    monkeypatch.chdir(tmp_path)
    fails(cli(*command), "an empty name is no directory", "'.' is the current one")
    assert not list(tmp_path.iterdir())
