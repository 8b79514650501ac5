"""A person's own user space: packed as it is, and refused where it is none."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.base.budget import set_limits
from relokit.codegen.base.errors import BudgetError, FormatError, MachineError
from relokit.runtime.guest.payload import ARCHIVES
from relokit.runtime.live import userland
from relokit.runtime.live.live_job import LiveJob
from relokit.runtime.live.userland import read_userland, with_next
from support.cpio_members import members

CONSOLE = 0o020600, bytes((5, 1))


def test_a_folder_is_packed_with_its_links_and_a_console(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").write_bytes(b"shell")
    (tmp_path / "bin" / "sh").chmod(0o755)
    (tmp_path / "init").symlink_to("bin/sh")
    found = members(read_userland(tmp_path))
    assert found["bin/sh"] == (0o100755, b"shell")
    assert (found["init"][0] >> 12, found["init"][1]) == (0o12, b"bin/sh")
    assert found["dev/console"] == CONSOLE
    assert found["dev"] == (0o040755, b"")


def test_a_folder_of_devices_has_the_console_once_and_all_is_in_order(tmp_path: Path) -> None:
    for name in ("sys", "dev", "etc", "bin"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o700)
        for file in ("b", "a"):
            (tmp_path / name / file).write_bytes(name.encode())
    (tmp_path / "init").write_bytes(b"")
    packed = read_userland(tmp_path)
    assert packed.count(b"dev/console\0") == 1
    names = list(members(packed))
    assert members(packed)["dev/console"] == CONSOLE
    assert members(packed)["dev"] == (0o040700, b"")
    assert names == [
        "init",
        *("bin", "bin/a", "bin/b"),
        *("dev", "dev/console", "dev/a", "dev/b"),
        *("etc", "etc/a", "etc/b"),
        *("sys", "sys/a", "sys/b"),
    ]


def test_more_than_may_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userland, "MAX_BYTES", 8)
    monkeypatch.setattr(userland, "MAX_FILES", 5)
    root = tmp_path / "root"
    root.mkdir()
    (root / "init").write_bytes(b"1234")
    (root / "sh").write_bytes(b"5678")
    archive = tmp_path / "cpio"
    for path in (root, archive):
        archive.write_bytes(b"07070178")
        assert read_userland(path)
        (root / "sh").write_bytes(b"56789")
        archive.write_bytes(b"070701789")
        with pytest.raises(FormatError, match=r"more than (0 MiB, or 5 files|8 bytes)"):
            read_userland(path)
    (root / "sh").write_bytes(b"")
    (root / "a").write_bytes(b"")
    assert read_userland(root)
    (root / "b").write_bytes(b"")
    with pytest.raises(FormatError, match="or 5 files"):
        read_userland(root)


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_a_name_that_ends_an_archive_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """What was behind it was there, and no kernel unpacked it."""
    (tmp_path / "init").touch()
    (tmp_path / "folder").mkdir()
    make(tmp_path / "folder" / "TRAILER!!!")
    assert "folder/TRAILER!!!" in members(read_userland(tmp_path))
    make(tmp_path / "TRAILER!!!")
    with pytest.raises(FormatError, match="nothing behind"):
        read_userland(tmp_path)


def test_init_may_lead_to_what_only_the_guest_has(tmp_path: Path) -> None:
    (tmp_path / "init").symlink_to("/no/such/program/here")
    assert members(read_userland(tmp_path))["init"][1] == b"/no/such/program/here"


def test_names_and_links_may_be_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "init").touch()
    name = os.fsencode(tmp_path) + b"/\xff"
    os.symlink(b"\xfe", name)
    packed = read_userland(tmp_path)
    assert b"\xff\0" in packed
    assert b"\xfe" in packed


def test_a_folder_that_is_too_large_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "init").touch()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BudgetError, match="1 TiB of memory asked of 4 GiB"):
        read_userland(tmp_path)
    set_limits({"memory": 1 << 41})
    try:
        with pytest.raises(FormatError, match="more than"):
            read_userland(tmp_path)
    finally:
        set_limits({})
    os.unlink(tmp_path / "large")
    deep = tmp_path / "folder"
    deep.mkdir()
    (deep / "file").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", refused(os.scandir, str(deep)))
        with pytest.raises(FormatError, match="cannot be read"):
            read_userland(tmp_path)


def refused(function: Callable[[Any], Any], where: str) -> Callable[[Any], Any]:
    """``function`` of any other place: who runs tests may be allowed to read everything."""

    def asked(path: Any) -> Any:
        if os.fspath(path) == where:
            raise PermissionError(errno.EACCES, "Permission denied", where)
        return function(path)

    return asked


def test_an_archive_is_taken_as_it_is_behind_the_next_kernel(tmp_path: Path) -> None:
    path = tmp_path / "cpio"
    path.write_bytes(b"070701 of some kind")
    whole = with_next(read_userland(path), {"next": b"kernel"})
    assert whole.endswith(b"070701 of some kind")
    own = whole.removesuffix(b"070701 of some kind")
    assert len(own) % 4 == 0
    assert members(own) == {"next": (0o100644, b"kernel")}


def test_what_is_no_user_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="has no init"):
        read_userland(tmp_path)
    with pytest.raises(FormatError, match="no such file"):
        read_userland(tmp_path / "nothing")
    with pytest.raises(MachineError, match="cmdline with userland"):
        LiveJob(kernel=tmp_path, userland=tmp_path, cmdline="quiet")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "there is nothing in it"),
        (bytes(4096), "there is nothing in it"),
        (b"hello, world", "no archive that a kernel unpacks"),
        (b"070707" + bytes(70), "no archive that a kernel unpacks"),
        (bytes(512) + b"\x7fELF", "no archive that a kernel unpacks"),
    ],
)
def test_a_file_that_no_kernel_unpacks_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "userland"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=why):
        read_userland(path)


@pytest.mark.parametrize("before", [0, 1, 512])
@pytest.mark.parametrize("magic", ARCHIVES)
def test_archives_are_taken_as_they_are(tmp_path: Path, magic: bytes, before: int) -> None:
    path = tmp_path / "userland"
    path.write_bytes(bytes(before) + magic + b"rest")
    assert read_userland(path) == path.read_bytes()
