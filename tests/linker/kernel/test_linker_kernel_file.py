"""Kernels made here, byte by byte, whole and damaged: what is accepted, what is said if not."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import lz4.block
import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import open_file
from relokit.linker.kernel.kernel_file import open_kernel
from support.bounds import cpu_time_below
from support.kernel_images import (
    FOLLOWED,
    IMAGE_SIZE,
    KINDS,
    PACKED,
    TREE,
    ZSTD,
    header,
    image,
    skipped,
    with_pe,
    zboot,
)


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "vmlinuz"
    path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        open_kernel(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_plain_image_is_mapped_and_its_header_read(tmp_path: Path) -> None:
    content = image(text_offset=0x80000, flags=0b1100, pe_offset=0)
    kernel = open_kernel(write(tmp_path, content))
    assert kernel.compression == "none"
    assert kernel.image == content
    assert kernel.image.readonly
    assert kernel.header.text_offset == 0x80000
    assert kernel.header.image_size == IMAGE_SIZE
    assert kernel.header.page_size == 16384
    assert kernel.header.placed_anywhere
    assert not kernel.header.big_endian


def test_flags_may_leave_page_size_and_placement_open(tmp_path: Path) -> None:
    kernel = open_kernel(write(tmp_path, image(flags=0)))
    assert kernel.header.page_size is None
    assert not kernel.header.placed_anywhere


@pytest.mark.parametrize("name", KINDS)
def test_what_builds_and_packagers_make_of_an_image(tmp_path: Path, name: str) -> None:
    content = image(IMAGE_SIZE)
    kernel = open_kernel(write(tmp_path, KINDS[name](content)))
    assert kernel.compression == name
    assert kernel.image == content


@pytest.mark.parametrize("name", FOLLOWED)
def test_one_member_behind_the_other(tmp_path: Path, name: str) -> None:
    content = image(IMAGE_SIZE)
    kernel = open_kernel(write(tmp_path, FOLLOWED[name](content)))
    assert kernel.compression == name
    assert kernel.image == content


@pytest.mark.parametrize("name", ["zstd", "lz4"])
@pytest.mark.parametrize("sizes", [(0,), (4, 70000)])
def test_frames_to_be_skipped(tmp_path: Path, name: str, sizes: tuple[int, ...]) -> None:
    """Before, between and behind; what is in them is nobody's."""
    frames = b"".join(skipped(size) for size in sizes)
    content = image(IMAGE_SIZE)
    packed = frames + FOLLOWED[name](content) + frames
    assert open_kernel(write(tmp_path, packed)).image == content


def test_a_frame_to_be_skipped_that_does_not_end(tmp_path: Path) -> None:
    packed = skipped(100)[:-1] + ZSTD.compress(image())
    assert "not an arm64 Image" in refusal(write(tmp_path, packed[:90]))


@pytest.mark.parametrize("trees", [TREE, TREE + TREE])
@pytest.mark.parametrize("name", ["none", *PACKED])
def test_device_trees_behind_it_are_left_out(tmp_path: Path, name: str, trees: bytes) -> None:
    """Image-dtb and Image.gz-dtb: boot loaders of some boards take them apart."""
    content = with_pe(0x8000, 0x8000)
    packed = PACKED[name](content) if name != "none" else content
    assert open_kernel(write(tmp_path, packed + trees)).image == content
    content = image(0x8000)
    packed = PACKED[name](content) if name != "none" else content
    assert open_kernel(write(tmp_path, packed + trees)).image == content


def test_what_only_looks_like_a_device_tree_is_part_of_the_image(tmp_path: Path) -> None:
    content = with_pe(0x8000 + len(TREE), 0x8000) + TREE
    assert open_kernel(write(tmp_path, content)).image == content
    content = image(0x8000) + TREE[:-1]
    assert open_kernel(write(tmp_path, content)).image == content
    content = image(0x8000) + TREE[:7]
    assert open_kernel(write(tmp_path, content)).image == content


def test_many_that_look_like_device_trees_cost_little(tmp_path: Path) -> None:
    content = header(image_size=4 << 20) + TREE[:4] * (1 << 19)
    with cpu_time_below(1):
        assert open_kernel(write(tmp_path, content)).image == content


def test_without_the_library_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, lz4.frame.compress(image()))
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    assert "relokit[lz4]" in refusal(path)
    path = write(tmp_path, lzma.compress(image()))
    monkeypatch.setitem(sys.modules, "lzma", None)
    assert "built without it" in refusal(path)


def test_a_dictionary_larger_than_any_kernel_has_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20, "preset": 0}]
    packed = lzma.compress(image(), filters=filters)
    assert "corrupt xz data: Memory usage limit" in refusal(write(tmp_path, packed))


@pytest.mark.parametrize("name", PACKED)
def test_packed_image_expands_to_the_same_bytes(tmp_path: Path, name: str) -> None:
    content = image(IMAGE_SIZE)
    kernel = open_kernel(write(tmp_path, PACKED[name](content)))
    assert kernel.compression == name
    assert kernel.image == content
    assert kernel.image.readonly


def test_zboot_payload_may_end_with_its_expanded_size(tmp_path: Path) -> None:
    content = image()
    packed = zstandard.ZstdCompressor().compress(content) + struct.pack("<I", len(content))
    assert open_kernel(write(tmp_path, zboot(packed, b"zstd"))).image == content


def test_zero_padding_after_gzip_is_no_garbage(tmp_path: Path) -> None:
    assert (
        open_kernel(write(tmp_path, gzip.compress(image(), mtime=0) + bytes(512))).image == image()
    )


def test_image_that_starts_like_a_compression_is_still_an_image(tmp_path: Path) -> None:
    # b +0x174 has the bytes that lzma starts with.
    content = b"\x5d\x00\x00\x14" + image()[4:]
    assert open_kernel(write(tmp_path, content)).compression == "none"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "empty"),
        (b"MZ", "truncated"),
        (image()[:63], "truncated"),
        (image(image_size=0), "image_size is 0"),
        (image(image_size=(1 << 30) + 1), "more than the"),
        (image(image_size=(1 << 64) - 1), "more than the"),
        (image(flags=0xB), "big-endian"),
        (image(text_offset=(1 << 30) + 4096), "text_offset"),
        (image(text_offset=8), "text_offset"),
        (image(0x8000, image_size=0x7FFF), "trailing garbage"),
        (with_pe(0x5000, 0x4000), "truncated"),
        (with_pe(0x5000, 0x5000, sections=0xFFFF), "truncated"),
        (b"\0" * 4096, "not an arm64 Image"),
        (b"\x7fELF" + bytes(100), "ELF"),
        (bytes(0x202) + b"HdrS" + bytes(100), "x86 bzImage"),
        (bytes(0x24) + b"\x18\x28\x6f\x01" + bytes(100), "32-bit arm zImage"),
        (b"MZ" + bytes(0x2E) + b"RISCV\0\0\0RSC\x05" + bytes(100), "RISC-V"),
        (b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0\x64\x86" + bytes(100), "x86-64"),
        (b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0\x64\x62" + bytes(100), "LoongArch"),
        (b"MZ" + bytes(58) + b"\xff\xff\xff\xff" + bytes(100), "machine 0x0"),
        (b"\x27\x05\x19\x56" + bytes(100), "uImage"),
        (b"\xd0\x0d\xfe\xed" + bytes(100), "device tree"),
        (b"070701" + bytes(100), "cpio"),
        (b"\xfd7zXZ\0" + bytes(100), "corrupt xz"),
        (b"\x02\x21\x4c\x18" + bytes(100), "truncated: 0 bytes"),
        (b"\x02\x21\x4c\x18\x64\0\0\0" + bytes(100), "corrupt lz4"),
        (b"BZh9" + bytes(100), "corrupt bzip2"),
        (b"\x89LZO\0" + bytes(100), "lzo, which is unsupported"),
        (zboot(b"x" * 100, b"lzo"), "lzo, which is unsupported"),
        (zboot(b"x" * 100, b"lzma"), "corrupt lzma"),
        (zboot(b"x" * 100, b"zip"), "'zip', which is unsupported"),
        (
            gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(image()))))),
            "gzip",
        ),
        (zboot(b"x" * 100, b"gzip", size=101), "truncated EFI zboot"),
        (zboot(b"x" * 100, b"gzip"), "corrupt gzip"),
        (b"MZ\0\0zimg", "truncated EFI zboot header"),
        (gzip.compress(b"hello", mtime=0), "truncated"),
        (gzip.compress(b"", mtime=0), "truncated"),
        (gzip.compress(b"\x7fELF" + bytes(100), mtime=0), "ELF"),
        (gzip.compress(image(), mtime=0) + b"garbage", "trailing garbage"),
        (zstandard.ZstdCompressor().compress(image()) + b"garbage", "trailing garbage"),
        (gzip.compress(image(), mtime=0)[:-20], "truncated"),
        (zstandard.ZstdCompressor().compress(image())[:-20], "truncated"),
        (gzip.compress(image(image_size=0x4000), mtime=0), "expands past"),
    ],
)
def test_refused_by_name(tmp_path: Path, content: bytes, cause: str) -> None:
    assert cause in refusal(write(tmp_path, content))


@pytest.mark.parametrize("name", ["gzip", "zstd", "xz", "lzma", "bzip2", "lz4"])
def test_corrupt_stream_is_named(tmp_path: Path, name: str) -> None:
    packed = bytearray(PACKED[name](image(IMAGE_SIZE)))
    packed[len(packed) // 2] ^= 0xFF
    packed[-3] ^= 0xFF
    said = refusal(write(tmp_path, bytes(packed)))
    assert any(word in said for word in ("corrupt", "truncated", "expands past"))


@pytest.mark.parametrize(("flags", "size"), [(0b0010, 4096), (0b0100, 16384), (0b0110, 65536)])
def test_page_size(tmp_path: Path, flags: int, size: int) -> None:
    assert open_kernel(write(tmp_path, image(flags=flags))).header.page_size == size


def test_what_is_no_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "gone")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "no such file" in refusal(tmp_path / "nothing")
    assert "directory, not a file" in refusal(tmp_path)
    assert "symbolic link to a directory" in refusal(link)
    assert "which is not there" in refusal(dangling)
    assert "FIFO" in refusal(fifo)
    assert "character device" in refusal(Path("/dev/zero"))
    assert "cannot be opened" in refusal(loop)
    assert "cannot be opened" in refusal(tmp_path / ("n" * 300))
    with pytest.raises(FormatError, match="cannot be opened"):
        open_kernel("vm\0linuz")


def test_file_over_the_limit_is_not_mapped(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)
    assert "more than the" in refusal(path)


def test_open_file_gives_the_bytes_and_keeps_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path, b"initrd")
    assert open_file(path, what="an initrd", limit=6).content == b"initrd"
    with pytest.raises(FormatError, match="give an initrd"):
        open_file(path, what="an initrd", limit=5)


OPEN_WITHIN = """
import resource, sys
limit = int(sys.argv[2]) << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from relokit.codegen.base.errors import FormatError
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.runtime.board.devicetree import virt_dtb
try:
    open_kernel(sys.argv[1])
except FormatError as error:
    print(error)
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(int(status["VmHWM"].split()[0]) // 1024)
"""


def open_within(megabytes: int, path: Path) -> tuple[str, int]:
    """What a process of its own, limited in memory, says of the file, and the MiB it took."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN_WITHIN, str(path), str(megabytes)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, int(done.stdout.split()[-1])


def test_text_offset_beyond_2_mib(tmp_path: Path) -> None:
    """The base is a multiple of 2 MiB; how far the Image is behind it is its own affair."""
    assert (
        open_kernel(write(tmp_path, image(text_offset=0x108_0000))).header.text_offset == 0x108_0000
    )


@pytest.mark.parametrize("name", ["gzip", "zstd", "lz4"])
def test_bomb_is_stopped_early(tmp_path: Path, name: str) -> None:
    """Zeros behind a header that promises half a GiB of them: memory is not spent on them."""
    packed = PACKED[name](header(image_size=512 << 20) + bytes(160 << 20))
    said, megabytes = open_within(1024, write(tmp_path, packed))
    assert "decompression bomb" in said
    assert megabytes < 150


def test_image_larger_than_memory_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(image(image_size=512 << 20), mtime=0)
    said, _ = open_within(256, write(tmp_path, packed))
    assert "no memory to expand it into" in said


def test_memory_of_a_plain_image_is_not_read(tmp_path: Path) -> None:
    """A sparse 900 MiB Image opens at once and without taking memory."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(header(image_size=1 << 30))
        file.truncate(900 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with cpu_time_below(1):
        kernel = open_kernel(path)
    assert len(kernel.image) == 900 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


@settings(max_examples=300)
@given(
    st.sampled_from(
        [
            image(4096),
            image(4096) + TREE,
            *(pack(image(4096)) for pack in (PACKED | KINDS | FOLLOWED).values()),
        ]
    ),
    st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=6),
    st.integers(0, 4096),
)
def test_damage_never_gives_anything_but_a_kernel_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    damage: list[tuple[int, int]],
    cut: int,
) -> None:
    data = bytearray(content)
    for at, value in damage:
        data[at % len(data)] = value
    path = tmp_path_factory.mktemp("damage") / "vmlinuz"
    path.write_bytes(data[: len(data) - cut % len(data)])
    with contextlib.suppress(FormatError):
        kernel = open_kernel(path)
        assert len(kernel.image) <= kernel.header.image_size
