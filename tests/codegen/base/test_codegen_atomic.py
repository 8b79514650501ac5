"""Files appear whole, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from relokit.codegen.base.atomic import replacing, write_atomic
from relokit.codegen.base.errors import RelokitError


def test_the_chunks_arrive_in_order(tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert write_atomic(target, [b"ab", memoryview(b"cd"), b""]) == 4
    assert target.read_bytes() == b"abcd"
    assert os.listdir(tmp_path) == ["out"]


def test_the_mode_is_that_of_an_ordinary_or_of_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_atomic(tmp_path / "new", [b"x"])
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new").chmod(0o751)
    write_atomic(tmp_path / "new", [b"y"])
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o751


def failing() -> Iterator[bytes]:
    yield b"half"
    raise ValueError("broken off")


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="broken off"):
        write_atomic(target, failing())
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:
        temporary.write_bytes(b"%d" % (1 // 0))
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "out", interrupted())
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cases = {
        tmp_path: "is a directory",
        tmp_path / "missing" / "out": "No such file",
        tmp_path / "file" / "out": "Not a directory",
    }
    for target, words in cases.items():
        with pytest.raises(RelokitError, match=words) as caught:
            write_atomic(target, [b"x"])
        assert caught.value.where == str(target)
    with pytest.raises(RelokitError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "deep" / "out", [b"x"], parents=True)
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_is_an_error_of_ours(tmp_path: Path) -> None:
    def full() -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(RelokitError, match="No space left"):
        write_atomic(tmp_path / "out", full())
    assert os.listdir(tmp_path) == []


def test_parents_are_made_when_asked(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b" / "out", [b"x"], parents=True)
    assert (tmp_path / "a" / "b" / "out").read_bytes() == b"x"
