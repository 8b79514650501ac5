"""Files that are written to while a command reads them: an error, whichever door they come by."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.base import host_file
from relokit.machines import live_kexec
from relokit.runtime.board.devicetree import virt_dtb
from support.kernels import kernel_image
from support.snapshots import write as write_snapshot

Cli = Callable[..., Any]

TRACES = (
    ("judge", "trace"),
    ("judge", "trace", "--trace", "out"),
    ("show", "timeline", "--record", "trace"),
    ("time", "--trace", "trace", "--counts"),
)
DOORS = (
    ("run", "--kernel", "kernel", "--boot", "0.1"),
    ("run", "--initrd", "initrd", "--memory", "64M"),
    ("run", "--dtb", "tree"),
    ("run", "--code-from", "object", "--size", "64k"),
    ("export", "--type", "bootable", "--initrd", "initrd", "-o", "out"),
    *TRACES,
    ("generate", "--layout-from", "kernel", "-o", "out"),
    ("kexec", "--kernel", "kernel"),
    ("show", "memory", "--initrd", "initrd"),
    ("diff", "object", "series:15"),
    ("diff", "series:15", "object", "-o", "out", "--format", "html"),
    ("diff", "--all", "kernel", "kernel"),
    ("matrix", "--series", "15", "--va-bits", "48", "--page-size", "4k", "--kernel", "kernel"),
    ("mutate", "--el", "el1", "--operator", "entry", "--code-from", "object"),
    ("record", "-o", "out", "--kernel", "kernel", "--vmcore", "nowhere"),
    ("kexec", "--kernel", "left", "--next", "next"),
    ("kexec", "--kernel", "left", "--initrd", "initrd"),
    ("kexec", "--kernel", "left", "--dtb", "tree"),
    ("record", "-o", "out", "--kernel", "left", "--vmcore", "core"),
    ("run", "--snapshot", "machine/registers.json"),
    ("run", "--snapshot", "machine/ram"),
    ("run", "--snapshot", "machine/kernel"),
    ("show", "memory", "--snapshot", "machine/ram"),
)
"""Of what is a directory the file in it is named."""


@pytest.fixture
def inputs(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one of each. One cut short before it was mapped was a defect of ours."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kernel").write_bytes(kernel_image("off") + bytes(1 << 16))
    for name in ("left", "next"):
        (tmp_path / name).write_bytes(kernel_image("off").ljust(1 << 16, b"\0"))
    (tmp_path / "core").write_bytes(bytes(1 << 16))
    (tmp_path / "initrd").write_bytes(b"\x5a" * (1 << 18))
    (tmp_path / "tree").write_bytes(virt_dtb(1 << 30, 1 << 28))
    write_snapshot(tmp_path).rename("machine")
    assert cli("export", "--type", "rel", "-o", "object").code == 0
    assert cli("run", "--size", "64k", "--trace", "trace").code == 0
    return tmp_path


def cut(path: Path) -> None:
    """Leave one page of it."""
    os.truncate(path, 4096)


def rewrite(path: Path) -> None:
    """In place, as long as it was."""
    with path.open("r+b") as file:
        file.write(b"\x7f")
    os.utime(path, ns=(1, 1))


def touch(path: Path) -> None:
    """Write what was there: nothing else is wrong."""
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize(
    ("words", "change"),
    [
        *((words, change) for words in DOORS for change in (cut, rewrite)),
        *((words, touch) for words in TRACES),
    ],
)
def test_what_is_read_of_it_is_not_told(
    cli: Cli,
    inputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    change: Callable[[Path], None],
) -> None:
    name = next(one for one in reversed(words) if (inputs / one).is_file())
    words = tuple(one.partition("/")[0] for one in words)
    stamp_of = host_file._stamp_of
    stamped: list[host_file.Stamp] = []

    def stamp_and_change(status: os.stat_result) -> host_file.Stamp:
        found = stamp_of(status)
        mine = os.path.samestat(status, os.stat(inputs / name))
        if mine and not stamped:
            stamped.append(found)
            change(inputs / name)
        return found

    # That this kernel has no machine_kexec is not to be said before the others are read.
    monkeypatch.setattr(live_kexec, "_check", lambda _: None)
    monkeypatch.setattr(host_file, "_stamp_of", stamp_and_change)
    result = cli(*words)
    assert stamped
    assert result.code == 2
    assert "changed while it was read" in result.err
    assert result.err.count("relokit: ") == 1
    assert not (inputs / "out").exists()
