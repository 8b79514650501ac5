"""Results of a campaign in an SQLite file: what was done is not done again.

Whatever the file is, it is only read as what it should be: its schema must be ours to the letter,
its size and that of every row are bounded, and so are the steps that a question may take.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from relokit.codegen.base.errors import FormatError, RelokitError

APPLICATION_ID = 0x72_6C_6B_74
"""``rlkt``: what SQLite has of the program whose file this is (bytes 68 to 71)."""
VERSION_OF_SCHEMA = 1
SCHEMA_TEXT = (
    "CREATE TABLE results (key BLOB PRIMARY KEY NOT NULL, code BLOB NOT NULL, "
    "document TEXT NOT NULL) WITHOUT ROWID"
)
KEY_BYTES = 32
MAX_FILE = 1 << 30
"""Bytes of a file that is opened: some millions of results."""
MAX_DOCUMENT = 1 << 16
"""Bytes of one result."""
MAX_STEPS = 1 << 28
"""Steps of SQLite's machine for one statement: some seconds."""
_EVERY = 1 << 16
_WAIT = 10.0
"""Seconds to wait for another process that writes."""
_MAGIC = b"SQLite format 3\0"
_BESIDE = "-journal", "-wal", "-shm"
"""What SQLite looks for beside a database (sqlite.org/tempfiles.html), and does what is in it."""
_OF_SEVERAL = bytes.fromhex("d9d505f920a163d7")
"""How a journal ends that names a file of several databases' journals, which SQLite deletes."""


class ResultFile:
    """The results in the file at ``path``, by keys of KEY_BYTES; made if there is none.

    ``code`` is the digest of what results depend on beside their key: those of another one are
    not given out. Raises FormatError for a file that is not one of these, RelokitError for a place
    that cannot be used. Use as a context manager.
    """

    def __init__(self, path: Path, code: bytes) -> None:
        self.path, self._code = path, code
        self._steps = 0
        _check_file(path)
        made = _made(path)
        with self._explained():
            # Not executed as a URI: a path may have any character.
            self._connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
        try:
            with self._explained():
                self._bound()
                self._check_or_make()
        except BaseException:
            self._connection.close()
            if made and not path.stat().st_size:
                path.unlink()
            raise

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(sqlite3.Error):
            self._connection.close()

    def get(self, key: bytes) -> bytes | None:
        """The result of ``key``, None if there is none by this code."""
        with self._explained():
            row = self._one(
                "SELECT document FROM results WHERE key = ? AND code = ?", (key, self._code)
            )
        if row is None:
            return None
        if not isinstance(row[0], str) or len(row[0]) > MAX_DOCUMENT:
            raise self._refused("a result that is no text of a result's size")
        return row[0].encode("utf-8", "surrogateescape")

    def put(self, results: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep (key, result), all or none of them."""
        rows = [(key, self._code, document.decode()) for key, document in results]
        assert all(len(key) == KEY_BYTES for key, _, _ in rows)
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows
                )
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def of_other_code(self) -> int:
        """How many results there are that are not given out."""
        with self._explained():
            return self._number("SELECT count(*) FROM results WHERE code <> ?", (self._code,))

    def _bound(self) -> None:
        connection = self._connection
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MAX_DOCUMENT)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1)
        connection.set_progress_handler(self._step, _EVERY)
        for pragma in (
            "trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0", "synchronous = NORMAL",
            f"max_page_count = {MAX_FILE // 4096}",
        ):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")

    def _step(self) -> int:
        """Asked by SQLite every so often; anything but 0 ends the statement."""
        self._steps += _EVERY
        return int(self._steps > MAX_STEPS)

    def _check_or_make(self) -> None:
        application, version = (
            self._number(f"PRAGMA {name}") for name in ("application_id", "user_version")
        )
        schema = self._connection.execute("SELECT sql FROM sqlite_master").fetchmany(2)
        if not schema and application == version == 0:
            self._connection.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {VERSION_OF_SCHEMA}; {SCHEMA_TEXT}; COMMIT"
            )
            return
        if application != APPLICATION_ID:
            raise self._refused("a database of another program")
        if version != VERSION_OF_SCHEMA:
            raise self._refused(f"results of version {version}; this is {VERSION_OF_SCHEMA}")
        if schema != [(SCHEMA_TEXT,)]:
            raise self._refused("a database with other tables than results have")
        # So that no question meets what is broken: a handful of milliseconds for 10,000 results.
        [told] = self._connection.execute("PRAGMA quick_check(1)").fetchmany(1)
        if told != ("ok",):
            raise self._refused("damaged")

    def _number(self, question: str, values: tuple[bytes, ...] = ()) -> int:
        row = self._one(question, values)
        assert row is not None
        assert isinstance(row[0], int)
        return row[0]

    def _one(self, question: str, values: tuple[bytes, ...] = ()) -> tuple[object, ...] | None:
        rows: list[tuple[object, ...]] = self._connection.execute(question, values).fetchmany(1)
        return rows[0] if rows else None

    def _refused(self, what: str) -> FormatError:
        return FormatError(
            f"not a file of results: {what}",
            where=str(self.path),
            hint="give another file, or none",
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        self._steps = 0
        try:
            yield
        except sqlite3.OperationalError as error:
            raise RelokitError(
                f"cannot be used: {error}",
                where=str(self.path),
                hint="check that it can be written, has room, and that no other campaign uses it",
            ) from None
        except (sqlite3.Error, UnicodeError, OverflowError) as error:
            raise self._refused(str(error)[:200]) from None


def _check_file(path: Path) -> None:
    """Only a regular file of some size, or none, is opened at all."""
    try:
        for suffix in _BESIDE:
            _check_beside(Path(os.path.realpath(path) + suffix))
        facts = os.stat(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise RelokitError(f"cannot be opened: {error}", where=str(path)) from None
    if not stat.S_ISREG(facts.st_mode):
        raise FormatError("not a file, so no file of results", where=str(path))
    if facts.st_size > MAX_FILE:
        raise FormatError(
            f"{facts.st_size} bytes, more than the {MAX_FILE} of a file of results", where=str(path)
        )
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError as error:
        raise RelokitError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if head and head != _MAGIC:
        raise FormatError("not an SQLite database, so no file of results", where=str(path))


def _check_beside(path: Path) -> None:
    """What lies beside a file of results is one that SQLite made for it, or is refused."""
    try:
        facts = os.lstat(path)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > 2 * MAX_FILE:
            raise _foreign(path, "is no file, or too large")
        with path.open("rb") as file:
            file.seek(max(0, facts.st_size - len(_OF_SEVERAL)))
            end = file.read(len(_OF_SEVERAL))
    except FileNotFoundError:
        return
    except OSError as error:
        raise RelokitError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if end == _OF_SEVERAL and path.name.endswith(_BESIDE[0]):
        raise _foreign(path, "names another file that would be deleted")


def _foreign(path: Path, what: str) -> FormatError:
    return FormatError(
        f"{what}: SQLite did not make it for results", where=str(path), hint="remove it"
    )


def _made(path: Path) -> bool:
    """Whether there was no file, and now is one: SQLite would leave it where it cannot be written.

    Who says why there can be none is SQLite.
    """
    try:
        with path.open("xb"):
            return True
    except OSError:
        return False
