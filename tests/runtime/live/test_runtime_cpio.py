"""The archive that is written here, as GNU cpio's format has it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.live.cpio import FILE, ArchiveEntry, archive, user_space
from support.cpio_members import members


@given(st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.binary(max_size=40)))
def test_what_is_written_is_read_back(files: dict[str, bytes]) -> None:
    written = archive(ArchiveEntry(name, FILE, data) for name, data in files.items())
    assert members(written) == {name: (FILE, data) for name, data in files.items()}
    assert len(written) % 4 == 0


def test_an_initramfs_has_a_console_and_its_program_last_what_is_handed_in() -> None:
    found = members(user_space(b"program", b"segments"))
    assert found == {
        "dev": (0o040755, b""),
        "dev/console": (0o020600, bytes((5, 1))),
        "proc": (0o040755, b""),
        "sys": (0o040755, b""),
        "init": (0o100755, b"program"),
        "hand-over": (0o100644, b"segments"),
    }
    assert list(found).index("dev") < list(found).index("dev/console")
    assert "hand-over" not in members(user_space(b"program"))
