"""A person's own user space: packed as it is, and refused where it is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.codegen.base.errors import FormatError, MachineError
from relokit.runtime.live.live_job import LiveJob
from relokit.runtime.live.userland import read_userland, with_next
from support.cpio_members import members


def test_a_folder_is_packed_with_its_links_and_a_console(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").write_bytes(b"shell")
    (tmp_path / "bin" / "sh").chmod(0o755)
    (tmp_path / "init").symlink_to("bin/sh")
    found = members(read_userland(tmp_path))
    assert found["bin/sh"] == (0o100755, b"shell")
    assert (found["init"][0] >> 12, found["init"][1]) == (0o12, b"bin/sh")
    assert found["dev/console"][0] == 0o020600
    assert read_userland(tmp_path) == read_userland(tmp_path)


def test_an_archive_is_taken_as_it_is_behind_the_next_kernel(tmp_path: Path) -> None:
    path = tmp_path / "cpio"
    path.write_bytes(b"an archive of some kind")
    whole = with_next(read_userland(path), {"next": b"kernel"})
    assert whole.endswith(b"an archive of some kind")
    own = whole.removesuffix(b"an archive of some kind")
    assert len(own) % 4 == 0
    assert members(own)["next"][1] == b"kernel"


def test_what_is_no_user_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="has no init"):
        read_userland(tmp_path)
    with pytest.raises(FormatError, match="no such file"):
        read_userland(tmp_path / "nothing")
    with pytest.raises(MachineError, match="cmdline with userland"):
        LiveJob(kernel=tmp_path, userland=tmp_path, cmdline="quiet")
