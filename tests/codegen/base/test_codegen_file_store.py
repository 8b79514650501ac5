"""Files that may vanish: what comes back is what was put, whatever lies in the directory."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relokit.codegen.base.file_store import FileStore

CONTENT = bytes(range(256)) * 3


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "kept", max_files=8, max_size=4096, max_total=20_000)


def kept(store: FileStore) -> list[str]:
    return sorted(os.listdir(store.directory))


def test_what_was_put_comes_back_by_its_name(store: FileStore) -> None:
    assert store.get("one") is None
    store.put("one", CONTENT)
    store.put("empty", b"")
    assert (store.get("one"), store.get("empty"), store.get("two")) == (CONTENT, b"", None)
    store.put("one", b"new")
    assert store.get("one") == b"new"


def test_nobody_else_can_read_it(store: FileStore) -> None:
    before = os.umask(0)
    try:
        store.put("one", CONTENT)
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.directory / "one.relokit").stat().st_mode) == 0o600


EDITS = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 900), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 900), st.integers(1, 900)),
    st.tuples(st.just("insert"), st.integers(0, 900), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("all"), st.just(0), st.binary(max_size=900)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edit=EDITS)
def test_an_altered_file_holds_nothing(
    store: FileStore, edit: tuple[str, int, int | bytes]
) -> None:
    store.put("one", CONTENT)
    path = store.directory / "one.relokit"
    stored = path.read_bytes()
    kind, at, what = edit
    at %= len(stored)
    if isinstance(what, bytes):
        altered = what if kind == "all" else stored[:at] + what + stored[at:]
    elif kind == "flip":
        altered = stored[:at] + bytes([stored[at] ^ what]) + stored[at + 1 :]
    else:
        altered = stored[:at] + stored[at + what :]
    path.write_bytes(altered)
    assert store.get("one") is None
    store.put("one", CONTENT)
    assert store.get("one") == CONTENT


def test_a_file_under_another_name_is_not_that_one(store: FileStore) -> None:
    store.put("one", CONTENT)
    (store.directory / "one.relokit").rename(store.directory / "two.relokit")
    assert store.get("two") is None


def _others_may_write(path: Path) -> None:
    path.chmod(0o620)


def _a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _huge(path: Path) -> None:
    os.truncate(path, 1 << 40)  # takes no room; reading it whole would


def _anyones_folder(path: Path) -> None:
    path.parent.chmod(0o777)


@pytest.mark.parametrize(
    "make", [_others_may_write, _a_link, _a_pipe, _a_folder, _huge, _anyones_folder]
)
def test_what_is_not_surely_ours_is_not_read(
    store: FileStore, make: Callable[[Path], None]
) -> None:
    store.put("one", CONTENT)
    make(store.directory / "one.relokit")
    assert store.get("one") is None
    store.put("one", CONTENT)  # neither is it an error to want to replace it


def test_what_belongs_to_somebody_else_is_not_read(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("one", CONTENT)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert store.get("one") is None
    store.put("two", CONTENT)
    assert kept(store) == ["one.relokit"]


@pytest.mark.parametrize("where", ["/proc/none", "/dev/null", "/dev/null/inside", "file/inside"])
def test_a_place_that_cannot_be_used_is_no_error(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("")
    store = FileStore(tmp_path / where, max_files=8, max_size=4096, max_total=20_000)
    store.put("one", CONTENT)
    assert store.get("one") is None


def test_a_full_disk_is_no_error(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    store.put("one", CONTENT)
    assert kept(store) == []


def _age(store: FileStore) -> None:
    """Make everything kept a second older."""
    for name in kept(store):
        path = store.directory / name
        then = path.stat().st_mtime_ns - 10**9
        os.utime(path, ns=(then, then))


def test_what_was_not_used_for_longest_goes(store: FileStore) -> None:
    for number in range(8):
        store.put(f"n{number}", b"x")
        _age(store)
    assert store.get("n0") == b"x"
    store.put("n8", b"x")
    assert kept(store) == sorted(f"n{number}.relokit" for number in (0, *range(2, 9)))


def test_bytes_are_bounded_too(store: FileStore) -> None:
    for number in range(7):
        store.put(f"n{number}", bytes(4000))
        _age(store)
    assert kept(store) == ["n3.relokit", "n4.relokit", "n5.relokit", "n6.relokit"]
    store.put("big", bytes(5000))
    assert store.get("big") is None


def test_only_our_own_files_are_removed(store: FileStore) -> None:
    store.directory.mkdir(mode=0o700)
    others = ["thesis.tex", "one", ".hidden", "A.relokit", "x.relokit.tar.gz"]
    for name in others:
        (store.directory / name).write_bytes(bytes(30_000))
        os.utime(store.directory / name, (0, 0))
    left = store.directory / ".one.relokit.k_f83a"  # of a run that was killed
    left.write_bytes(bytes(30_000))
    os.utime(left, (0, 0))
    store.put("one", CONTENT)
    assert kept(store) == sorted([*others, "one.relokit"])
    assert store.get("one") == CONTENT


PROCESS = """
import sys
from pathlib import Path
from relokit.codegen.base.file_store import FileStore
store = FileStore(Path(sys.argv[1]), max_files=6, max_size=4096, max_total=8000)
for turn in range(60):
    for name in ("a", "b", "c", f"own{sys.argv[2]}"):
        expected = name.encode() * 300
        found = store.get(name)
        assert found in (None, expected), (name, found)
        if found is None or turn % 3 == 0:
            store.put(name, expected)
"""


def test_processes_at_the_same_time_do_not_disturb_each_other(store: FileStore) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(store.directory), str(number)])
        for number in range(4)
    ]
    assert [process.wait(120) for process in running] == [0] * 4
    names = kept(store)
    assert len(names) <= 7
    assert all(name.endswith(".relokit") and not name.startswith(".") for name in names)


def test_a_digest_over_name_and_content_is_all_that_stands_before_it(store: FileStore) -> None:
    """The format, spelt out once more: what wrote it yesterday can be read today."""
    store.put("one", CONTENT)
    digest = blake2b(b"one\0" + CONTENT, digest_size=32).digest()
    stored = (store.directory / "one.relokit").read_bytes()
    assert stored == b"relokit stored 1\n" + digest + CONTENT
