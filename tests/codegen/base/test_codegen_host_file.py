"""An opened file travels as a value: within this process, and to another one."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from relokit.codegen.base.child import Child
from relokit.codegen.base.host_file import HostFile, open_file, pack, unpack
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
    # The mapping has a descriptor of its own as long as it is there.
    assert descriptors() <= before + 1
    assert bytes(content) == b"content"


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
