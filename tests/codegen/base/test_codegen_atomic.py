"""Files appear whole, or not at all; those of a directory together."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import pytest

from relokit.codegen.base.atomic import replacing, write_atomic, write_together
from relokit.codegen.base.errors import RelokitError
from support.failing import contents, failing_at


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
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_is_an_error_of_ours(tmp_path: Path) -> None:
    def full() -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(RelokitError, match="No space left"):
        write_atomic(tmp_path / "out", full())
    assert os.listdir(tmp_path) == []


def test_a_name_may_have_what_the_file_system_takes(tmp_path: Path) -> None:
    """A name of 85 letters was too long for its temporary neighbour: each has three bytes."""
    for name in ("\u20ac" * 85, "n" * 255, "-o", "a\nb", os.fsdecode(b"\xff\xfe")):
        assert write_atomic(tmp_path / name, [b"x"]) == 1
    assert len(os.listdir(tmp_path)) == 5


FILES = {"a": b"one", "b": b"two", "c/d": b"three"}


def test_files_together_in_folders_that_are_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / ("\u20ac" * 85)
    assert write_together(folder, FILES) == [folder / "a", folder / "b", folder / "c/d"]
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a").touch()
    assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (folder / "c/d").stat().st_mode == (tmp_path / "plain/a").stat().st_mode
    assert contents(folder) == FILES | {"c": None}


def test_who_is_asked_and_says_no_keeps_all(tmp_path: Path) -> None:
    asked: list[Path] = []

    def no(paths: Sequence[Path]) -> bool:
        asked.extend(paths)
        return False

    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"mine")
    assert write_together(tmp_path, FILES, no) == []
    assert asked == [tmp_path / "b"]
    assert contents(tmp_path) == {"a": b"one", "b": b"mine"}
    (tmp_path / "b").chmod(0o751)
    assert write_together(tmp_path, FILES, lambda _: True)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o751
    assert contents(tmp_path) == FILES | {"c": None}


def test_what_others_have_put_there_meanwhile_is_asked_about(tmp_path: Path) -> None:
    """It was written over, asked about something else."""
    asked = []

    def meanwhile(paths: Sequence[Path]) -> bool:
        asked.append([path.name for path in paths])
        (tmp_path / "b").write_bytes(b"yours")
        return True

    (tmp_path / "a").write_bytes(b"mine")
    assert write_together(tmp_path, FILES, meanwhile)
    assert asked == [["a"], ["a", "b"]]


@pytest.mark.parametrize("link", ["a", "c"])
def test_links_in_the_folder_are_refused(tmp_path: Path, link: str) -> None:
    """A folder that was one led out: macros of `templates --copy`."""
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RelokitError, match="is a link") as caught:
        write_together(tmp_path / "out", FILES)
    assert caught.value.where == str(tmp_path / "out" / link)
    assert os.listdir(tmp_path / "out") == [link]
    assert not os.listdir(tmp_path / "elsewhere")
    # The folder itself is named, whatever it is.
    (tmp_path / "named").symlink_to(tmp_path / "elsewhere")
    write_together(tmp_path / "named", FILES)
    assert contents(tmp_path / "elsewhere") == FILES | {"c": None}


@pytest.mark.parametrize("old", [None, {}, {"a": b"old", "b": b"old", "other": b"kept"}])
def test_whichever_call_fails_all_is_new_or_nothing(
    tmp_path: Path, old: dict[str, bytes] | None
) -> None:
    """Two files of four were new after a rename that failed, and a folder was left."""
    number, failed = 0, set()
    while True:
        number += 1
        place = tmp_path / str(number)
        place.mkdir()
        if old is not None:
            (place / "out").mkdir()
            for name, data in old.items():
                (place / "out" / name).write_bytes(data)
        before = contents(place)
        with failing_at(number) as made:
            try:
                write_together(place / "out", FILES)
                wrong = None
            except RelokitError as error:
                wrong = str(error)
        if len(made) < number:
            break
        failed.add(made[-1] if wrong else None)
        if wrong is None:
            assert contents(place / "out") == (old or {}) | FILES | {"c": None}
        else:
            assert f"{place / 'out'}: cannot be written: No space left" in wrong
            assert contents(place) == before
    assert failed >= {"open", "write", "fsync", "mkdir"}
    assert number > 15


def test_what_is_told_to_end_meanwhile_is_done_before(tmp_path: Path) -> None:
    """Ctrl-C between two of its names left one new and one old."""
    rename = os.replace

    def interrupted(*names: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        rename(*names)  # type: ignore[arg-type]

    (tmp_path / "out").mkdir()
    with pytest.raises(KeyboardInterrupt), patch("os.replace", interrupted):
        write_together(tmp_path / "out", FILES)
    assert contents(tmp_path / "out") == FILES | {"c": None}


def test_a_folder_that_somebody_makes_meanwhile_is_written_into(tmp_path: Path) -> None:
    rename, folder = os.rename, tmp_path / "out"

    def meanwhile(*names: object) -> None:
        folder.mkdir()
        (folder / "a").write_bytes(b"theirs")
        (folder / "other").write_bytes(b"theirs")
        rename(*names)  # type: ignore[arg-type]

    with patch("os.rename", meanwhile):
        assert len(write_together(folder, FILES)) == len(FILES)
    assert contents(folder) == FILES | {"c": None, "other": b"theirs"}


TWO = """
import os, signal, sys
from pathlib import Path
from relokit.codegen.base.atomic import write_together
words = sys.argv[2].encode()
print(end='.', flush=True)
sys.stdin.read(1)
for _ in range(9):
    write_together(Path(sys.argv[1]), {name: words * 9 for name in "abcdefgh"})
"""


def test_two_at_once_end_in_one_or_the_other(tmp_path: Path) -> None:
    """Names of one were taken between those of the other."""
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, tmp_path / "out", words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for words in ("one", "another")
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"."
    for process in both:
        process.communicate(b".")
    assert [process.returncode for process in both] == [0, 0]
    assert len(set(contents(tmp_path / "out").values())) == 1
    assert len(contents(tmp_path / "out")) == 8


def test_a_folder_that_somebody_holds_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relokit.codegen.base.atomic._LOCK_PAUSE", 0.0)
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(RelokitError, match="written to by somebody else"):
        write_together(tmp_path, FILES)
    os.close(handle)
    assert not os.listdir(tmp_path)
