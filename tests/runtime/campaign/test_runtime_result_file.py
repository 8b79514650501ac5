"""Results in a file: kept, found again, and a hostile file is refused or harmless."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError, RelokitError
from relokit.runtime.campaign import result_file
from relokit.runtime.campaign.result_file import (
    APPLICATION_ID,
    KEY_BYTES,
    MAX_DOCUMENT,
    MAX_FILE,
    SCHEMA_TEXT,
    ResultFile,
)

CODE = b"c" * 32
KEYS = [bytes([number]) * KEY_BYTES for number in range(64)]


def document(key: bytes) -> bytes:
    return b'{"id": "%d"}' % key[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "results"
    with ResultFile(path, CODE) as results:
        results.put((key, document(key)) for key in KEYS)
    return path


def test_what_was_put_is_found_again_and_nothing_else(file: Path) -> None:
    with ResultFile(file, CODE) as results:
        assert [results.get(key) for key in KEYS] == [document(key) for key in KEYS]
        assert results.get(b"\xff" * KEY_BYTES) is None
        assert results.of_other_code() == 0


def test_results_of_other_code_are_counted_not_given_out_and_replaced(file: Path) -> None:
    with ResultFile(file, b"d" * 32) as results:
        assert results.get(KEYS[0]) is None
        assert results.of_other_code() == len(KEYS)
        results.put([(KEYS[0], b"new")])
        assert results.get(KEYS[0]) == b"new"
        assert results.of_other_code() == len(KEYS) - 1


def test_results_that_cannot_all_be_kept_are_not_kept_at_all(file: Path) -> None:
    with ResultFile(file, CODE) as results:
        with pytest.raises(FormatError):
            results.put([(KEYS[0], b"new"), (KEYS[1], b"x" * (4 * MAX_DOCUMENT))])
        assert results.get(KEYS[0]) == document(KEYS[0])


def test_two_campaigns_write_to_one_file(file: Path) -> None:
    with ResultFile(file, CODE) as one, ResultFile(file, CODE) as other:
        one.put([(KEYS[0], b"one")])
        other.put([(KEYS[1], b"other")])
        assert (one.get(KEYS[1]), other.get(KEYS[0])) == (b"other", b"one")


def database(path: Path, *statements: str) -> Path:
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


OURS = (f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 1")


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (("CREATE TABLE other (a)",), "another program"),
        ((*OURS, "CREATE TABLE results (key)"), "other tables"),
        ((OURS[0], "PRAGMA user_version = 2", SCHEMA_TEXT), "version 2"),
        (
            (
                *OURS,
                SCHEMA_TEXT,
                "CREATE TRIGGER t AFTER INSERT ON results BEGIN DELETE FROM results; END",
            ),
            "other tables",
        ),
        ((*OURS, "CREATE VIEW results AS SELECT 1 AS key, 2 AS code, 3 AS document"), "other"),
    ],
)
def test_a_database_that_is_not_ours_is_refused(
    tmp_path: Path, statements: tuple[str, ...], why: str
) -> None:
    path = database(tmp_path / "file", *statements)
    before = path.read_bytes()
    with pytest.raises(FormatError, match=why):
        ResultFile(path, CODE)
    assert path.read_bytes() == before


def test_one_that_cannot_be_made_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without a byte was, where no file may have one (``ulimit -f 0``)."""

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(ResultFile, "_check_or_make", full)
    with pytest.raises(RelokitError, match="disk I/O error"):
        ResultFile(tmp_path / "file", CODE)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(RelokitError, match="disk I/O error"):
        ResultFile(tmp_path / "file", CODE)
    assert list(tmp_path.iterdir())


def test_what_lies_beside_one_is_no_way_around_its_schema(tmp_path: Path) -> None:
    """A log of what is to be written has a trigger, and the file has none yet."""
    path = database(tmp_path / "file", *OURS, SCHEMA_TEXT, "PRAGMA journal_mode = WAL")
    trigger = "CREATE TRIGGER t AFTER INSERT ON results BEGIN DELETE FROM results; END"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(trigger)
        log = (tmp_path / "file-wal").read_bytes()
        assert trigger.encode() in log
        assert trigger.encode() not in path.read_bytes()
        with pytest.raises(FormatError, match="other tables"):
            ResultFile(path, CODE)


def test_another_s_lock_is_waited_for_and_then_told(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_file, "_WAIT", 0.0)
    with ResultFile(file, CODE) as mine, contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RelokitError, match="database is locked"):
            mine.put([(KEYS[0], document(KEYS[0]))])
        with pytest.raises(RelokitError, match="database is locked"):
            ResultFile(file, CODE)


def test_a_result_of_another_type_or_size_is_refused(tmp_path: Path) -> None:
    for value in ("1", "x'00'", f"printf('%.*c', {MAX_DOCUMENT + 1}, 'x')"):
        key = f"x'{KEYS[0].hex()}'"
        insert = f"INSERT INTO results VALUES ({key}, x'{CODE.hex()}', {value})"
        path = database(tmp_path / "file", *OURS, SCHEMA_TEXT, insert)
        if value == "1":
            # Affinity makes it a text; what it says is for its reader to refuse.
            with ResultFile(path, CODE) as results:
                assert results.get(KEYS[0]) == b"1"
            continue
        with ResultFile(path, CODE) as results, pytest.raises(FormatError):
            results.get(KEYS[0])


def test_a_journal_beside_it_does_not_delete_what_it_names(file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    name, page = bytes(victim), int.from_bytes(file.read_bytes()[16:18])
    # SQLite's file format, "Rollback Journal" and "Super-Journal": no page to put back, and a
    # file of the journals of several databases, of which there is none any more.
    magic = bytes.fromhex("d9d505f920a163d7")
    head = magic + struct.pack(">5I", 0, 0, file.stat().st_size // page, 512, page)
    record = struct.pack(">I", (1 << 30) // page + 1) + name
    record += struct.pack(">2I", len(name), sum(name)) + magic
    Path(f"{file}-journal").write_bytes(head + bytes(512 - len(head)) + record)
    with pytest.raises(FormatError, match="names another file"):
        ResultFile(file, CODE)
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("through_link", [False, True])
def test_what_lies_beside_it_and_is_no_file_is_never_opened(
    file: Path, suffix: str, *, through_link: bool
) -> None:
    given = file
    if through_link:
        given = file.with_name("link")
        given.symlink_to(file.name)
    os.mkfifo(f"{file}{suffix}")
    with pytest.raises(FormatError, match="no file, or too large"):
        ResultFile(given, CODE)
    os.unlink(f"{file}{suffix}")
    Path(f"{file}{suffix}").symlink_to("/dev/zero")
    with pytest.raises(FormatError, match="no file, or too large"):
        ResultFile(given, CODE)


def test_a_journal_of_its_own_is_taken(file: Path, tmp_path: Path) -> None:
    """A campaign that was killed in the middle of writing: what was there before comes back."""
    with sqlite3.connect(file, isolation_level=None) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE results SET document = ?", ("x" * 4000,))
        torn = tmp_path / "torn"
        torn.write_bytes(file.read_bytes())
        Path(f"{torn}-journal").write_bytes(Path(f"{file}-journal").read_bytes())
        writer.execute("ROLLBACK")
    with ResultFile(torn, CODE) as results:
        assert [results.get(key) for key in KEYS] == [document(key) for key in KEYS]


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text").write_text("hello")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(MAX_FILE + 1)
    for name, why in (("fifo", "not a file"), ("text", "not an SQLite"), ("large", "more than")):
        with pytest.raises(FormatError, match=why):
            ResultFile(tmp_path / name, CODE)
    with pytest.raises(RelokitError, match="not a file"):
        ResultFile(tmp_path, CODE)
    with pytest.raises(RelokitError, match="cannot be used"):
        ResultFile(tmp_path / "nowhere" / "file", CODE)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12),
    cut=st.none() | st.integers(0, 1 << 16),
)
def test_fuzz_a_damaged_file_is_refused_or_says_what_it_said(
    file: Path, edits: list[tuple[int, int]], cut: int | None
) -> None:
    """Whatever bytes are others: an error of ours, or texts of a result's size."""
    content = bytearray(file.read_bytes())
    for at, value in edits:
        content[at % len(content)] = value
    damaged = file.with_name("damaged")
    damaged.write_bytes(content if cut is None else content[: cut % len(content)])
    file.with_name("damaged-journal").unlink(missing_ok=True)
    with contextlib.suppress(RelokitError), ResultFile(damaged, CODE) as results:
        for key in KEYS:
            found = results.get(key)
            assert found is None or len(found) <= MAX_DOCUMENT
        results.of_other_code()
        results.put([(KEYS[0], b"new")])
