"""An opened file travels as a value: within this process, and to another one."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

from relokit.codegen.base.child import Child
from relokit.codegen.base.errors import FormatError, RelokitError
from relokit.codegen.base.host_file import (
    HostFile,
    check_unchanged,
    open_file,
    pack,
    read_small,
    reading,
    unpack,
)
from relokit.codegen.base.serving import MAX_FILES

SERVED = """
from relokit.codegen.base.host_file import unpack

def serve(request, progress, descriptors=()):
    files, text = unpack(request, descriptors)
    return b"|".join([text.encode(), *(bytes(one.content) for one in files)])
"""


def opened(path: Path, content: bytes) -> HostFile:
    path.write_bytes(content)
    return open_file(path, what="anything", limit=1 << 20)


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_the_content_outlives_the_file_and_its_descriptor(tmp_path: Path) -> None:
    before = descriptors()
    file = opened(tmp_path / "a", b"content")
    content = file.content
    assert file.content is content
    (tmp_path / "a").unlink()
    del file
    # As long as the mapping is there it has a descriptor of its own, and it is seen if it changes.
    assert descriptors() <= before + 2
    assert bytes(content) == b"content"


CUT_READER = """
import os
from relokit.codegen.base.host_file import unpack

def serve(request, progress, descriptors=()):
    file, is_cut = unpack(request, descriptors)
    content = file.content
    progress(b"mapped")
    while is_cut and os.fstat(file.descriptor).st_size == file.size:
        os.sched_yield()
    return bytes(content)
"""


def test_a_file_that_is_cut_short_is_an_error_and_no_signal(tmp_path: Path) -> None:
    file = opened(tmp_path / "a", b"x" * (1 << 16))
    content = file.content
    os.truncate(tmp_path / "a", 4096)
    assert content[0] == ord("x")
    assert content[-1] == 0
    with pytest.raises(FormatError, match="a: changed while it was read"):
        check_unchanged()
    del file
    with pytest.raises(FormatError, match="a: changed while it was read"):
        check_unchanged()
    # Nobody reads it any more: that is told once.
    del content
    with pytest.raises(FormatError, match="a: changed while it was read"):
        check_unchanged()
    check_unchanged()


def test_a_file_that_is_written_anew_in_place_is_an_error(tmp_path: Path) -> None:
    file = opened(tmp_path / "a", b"content")
    check_unchanged()
    (tmp_path / "other").write_bytes(b"another")
    (tmp_path / "other").replace(tmp_path / "a")
    # Under the name there is another file; what was opened is as it was.
    with reading():
        assert bytes(file.content) == b"content"
    again = open_file(tmp_path / "a", what="anything", limit=100)
    with pytest.raises(FormatError, match="a: changed while it was read"), reading():
        (tmp_path / "a").write_bytes(b"tnetnoc")
    del again
    with pytest.raises(FormatError, match="a: changed while it was read"):
        check_unchanged()
    check_unchanged()


def test_what_a_changed_file_seems_to_be_is_not_told(tmp_path: Path) -> None:
    file = opened(tmp_path / "a", b"content")

    @reading()
    def read() -> None:
        raise RelokitError("not a kernel")

    with pytest.raises(RelokitError, match="not a kernel"):
        read()
    os.truncate(tmp_path / "a", 1)
    with pytest.raises(FormatError, match="changed while it was read"):
        read()
    del file
    with pytest.raises(FormatError, match="changed while it was read"):
        check_unchanged()


def test_of_a_file_that_is_written_to_as_is_meant_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    file = open_file(tmp_path / "a", what="anything", limit=100, settled=False)
    (tmp_path / "a").write_bytes(b"another")
    check_unchanged()
    assert bytes(file.content) == b"another"


def test_a_child_that_reads_behind_the_end_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cut_reader.py").write_text(CUT_READER)
    file = opened(tmp_path / "a", b"x" * (1 << 16))
    given = [file.descriptor]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with Child("cut_reader") as child:
        request, _ = pack((file, True))
        with pytest.raises(FormatError, match="cut short while it was read"):
            child.call(
                request,
                timeout=60,
                progress=lambda _: os.truncate(tmp_path / "a", 1),
                descriptors=given,
            )
        # It lives on, and the next request has nothing to do with it.
        os.truncate(tmp_path / "a", 1 << 16)
        request, _ = pack((file, False))
        assert len(child.call(request, timeout=60, descriptors=given)) == 1 << 16
        assert child.started == 1


def test_files_that_were_never_looked_at_are_closed(tmp_path: Path) -> None:
    before = descriptors()
    for _ in range(100):
        opened(tmp_path / "a", b"content")
    assert descriptors() <= before


def test_a_value_with_files_is_packed_without_their_content(tmp_path: Path) -> None:
    large, other = opened(tmp_path / "a", bytes(1 << 20)), opened(tmp_path / "b", b"b")
    packed, files = pack({"one": large, "again": [large, other], "text": "t"})
    assert len(packed) < 1000
    assert files == (large, other)
    read = unpack(packed, tuple(os.dup(file.descriptor) for file in files))
    assert read["one"] is read["again"][0]
    assert (read["one"].where, read["one"].size) == (large.where, 1 << 20)
    assert bytes(read["again"][1].content) == b"b"


def test_another_process_reads_what_is_open_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reading_child.py").write_text(SERVED)
    monkeypatch.syspath_prepend(tmp_path)
    files = [opened(tmp_path / f"file{n}", b"%d" % n) for n in range(MAX_FILES)]
    for path in tmp_path.glob("file*"):
        path.unlink()  # nobody can open it by name any more
    before = descriptors()
    with Child("reading_child") as child:
        for count in (0, 1, MAX_FILES, 2):
            packed, together = pack((files[:count], "text"))
            answer = child.call(
                packed, timeout=30, descriptors=[one.descriptor for one in together]
            )
            assert answer == b"|".join([b"text", *(b"%d" % n for n in range(count))])
    assert descriptors() <= before


def test_a_small_file_is_read_as_far_as_its_size_says(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"")
    assert read_small(path, what="words", limit=4) == b""
    path.write_bytes(b"1234")
    assert read_small(path, what="words", limit=4) == b"1234"
    with pytest.raises(FormatError, match="has more than 3 bytes\nhint: give words"):
        read_small(path, what="words", limit=3)
    # A regular file of no size that has no end: reading it waits for the kernel's next message.
    assert read_small("/proc/kmsg", what="words", limit=4) == b""
    with pytest.raises(FormatError, match="@none: no such file"):
        read_small(tmp_path / "none", what="words", limit=4, where="@none")
