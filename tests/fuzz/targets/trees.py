"""Trees of files: a user space to pack, and what assembly includes.

A case is files behind one another: a letter of KINDS, the path, a NUL, the content or where a link
leads to.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from fuzz import files
from fuzz.door import Door, WrongError
from fuzz.mutations import mutated, text_of
from relokit.building import encoder
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.gas.includes import Includes
from relokit.codegen.object import Object
from relokit.codegen.source import Unit
from relokit.linker.elf.elf_writer import write_rel
from relokit.runtime.guest.payload import ARCHIVES
from relokit.runtime.live.cpio import ArchiveEntry, archive
from relokit.runtime.live.userland import read_userland, with_next
from support.cpio_members import members
from support.kernel_images import PACKED

BETWEEN = b"\n-- the next file --\n"
FILE, PROGRAM, DIRECTORY, LINK, PIPE, SPARSE = KINDS = b"fpdlis"
MOST = 64
"""Files of a tree."""
SECRET = b"S3CR3T-0f-somebody-else"
"""What is in a file beside the tree."""
MODES = {FILE: 0o644, PROGRAM: 0o755}


def made(case: bytes) -> Path:
    """The tree of ``case``, new; nothing is written through a link."""
    root = files.folder() / "tree"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    (files.folder() / "secret").write_bytes(SECRET)
    for part in case.split(BETWEEN)[:MOST]:
        name, _, content = part.partition(b"\0")
        with suppress(OSError, ValueError):
            _make(root, name[:1], name[1:], content)
    return root


def _make(root: Path, kind: bytes, name: bytes, content: bytes) -> None:
    parts = [one for one in os.fsdecode(name).split("/") if one not in ("", ".", "..")]
    at = root
    for part in parts[:-1]:
        at /= part
        at.mkdir(exist_ok=True)
        if at.is_symlink():
            return
    if not parts or os.path.lexists(at / parts[-1]):
        return
    at /= parts[-1]
    if kind[:1] == bytes([DIRECTORY]):
        at.mkdir()
    elif kind[:1] == bytes([LINK]):
        os.symlink(content, os.fsencode(at))
    elif kind[:1] == bytes([PIPE]):
        os.mkfifo(at)
    else:
        at.write_bytes(content)
        at.chmod(MODES.get((kind or b"f")[0], 0o600))
        if kind[:1] == bytes([SPARSE]):
            os.truncate(at, 3 << 29)


def tree(*entries: tuple[int, str, bytes]) -> bytes:
    """The case that makes these."""
    parts = (bytes([kind]) + name.encode() + b"\0" + content for kind, name, content in entries)
    return BETWEEN.join(parts)


def _changed(change: Callable[[Random, Sequence[bytes]], bytes]) -> Callable[..., bytes]:
    """Files of the seeds, some with another content (by ``change``), name or kind, or there twice;
    where there is a first one that counts, it is changed most.
    """

    def mutate(random: Random, seeds: Sequence[bytes]) -> bytes:
        parts = random.choice(seeds).split(BETWEEN)
        others = [part for seed in seeds for part in seed.split(BETWEEN)]
        for _ in range(1 << random.randrange(4)):
            at = 0 if random.random() < 0.3 else random.randrange(len(parts))
            name, _, content = parts[at].partition(b"\0")
            how = random.randrange(8)
            if how == 0:
                parts[at : at + 1] = []
                parts = parts or [b""]
            elif how == 1:
                parts.insert(at, random.choice(others))
            elif how == 2:
                parts[at] = name[:1] + random.choice(NAMES) + b"\0" + content
            elif how == 3:
                parts[at] = bytes([random.choice(KINDS)]) + name[1:] + b"\0" + content
            elif how == 4:
                parts[at] = b"l" + name[1:] + b"\0" + random.choice(NAMES)
            elif how == 5:
                parts[at] = mutated(random, [name]) + b"\0" + content
            else:
                parts[at] = name + b"\0" + change(random, [content])
        return BETWEEN.join(parts)

    return mutate


NAMES = (
    b"init", b"dev", b"dev/console", b"TRAILER!!!", b"a/TRAILER!!!", b"../secret", b"../../etc",
    b"/dev/zero", b"a" * 255, b"/".join([b"d" * 200] * 40), b"\xff\xfe", b"a\nb", b"one.inc",
    b"two.inc", b"sub/three.inc", b"data.bin", b".", b"link", b"next", b"070701", b"/",
)  # fmt: skip


def _userlands() -> Sequence[bytes]:
    return [
        tree((PROGRAM, "init", b"#!/bin/sh\n"), (DIRECTORY, "proc", b""), (FILE, "etc/a", b"text"),
             (LINK, "bin", b"usr/bin"), (PROGRAM, "usr/bin/sh", b"\x7fELF" * 99)),
        tree((LINK, "init", b"/sbin/init"), (FILE, "dev/null", b""), (DIRECTORY, "sys", b""),
             (PIPE, "run/pipe", b""), (LINK, "etc/link", b"../../secret"), (FILE, "b/c/d", b"")),
    ]  # fmt: skip


def _packed_up(case: bytes) -> object:
    root = made(case)
    expected = dict(_there(root))
    data = read_userland(root)
    if data != read_userland(root):
        raise WrongError("another archive the second time")
    found = members(data)
    for name in ("dev", "dev/console"):
        if name not in expected:
            found.pop(name, None)
            expected.pop(name, None)
    expected.pop("dev/console", None)
    found.pop("dev/console", None)
    if found != expected:
        raise WrongError("another archive than there are files")
    return len(found)


def _there(root: Path) -> Iterator[tuple[str, tuple[int, bytes]]]:
    """What an archive of ``root`` has, by a walk that shares nothing with relokit's."""
    for folder, folders, names in os.walk(os.fsencode(root)):
        for name in (*folders, *names):
            path = folder + b"/" + name
            mode = os.lstat(path).st_mode
            own = os.fsdecode(os.path.relpath(path, os.fsencode(root)))
            if stat.S_ISLNK(mode):
                yield own, (mode, os.readlink(path))
            elif stat.S_ISREG(mode):
                size = os.lstat(path).st_size
                yield own, (mode, Path(os.fsdecode(path)).read_bytes() if size < 1 << 30 else b"")
            elif stat.S_ISDIR(mode):
                yield own, (mode, b"")


def _archives() -> Sequence[bytes]:
    plain = archive([ArchiveEntry("init", 0o100755, b"program"), ArchiveEntry("d", 0o40755)])
    packed = [pack(plain) for pack in PACKED.values()]
    return [plain, bytes(512) + plain, *(one for one in packed if one.startswith(ARCHIVES))]


def _archive(case: bytes) -> object:
    data = read_userland(files.put(case, "initrd"))
    whole = with_next(data, {"next": b"kernel", "next.dtb": b"tree"})
    if data != case or not whole.endswith(case) or (len(whole) - len(case)) % 4:
        raise WrongError("not what was given")
    own = members(whole[: len(whole) - len(case)])
    if {name: content for name, (_, content) in own.items()} != {"next": b"kernel",
                                                                 "next.dtb": b"tree"}:  # fmt: skip
        raise WrongError("the next kernel is not what was given")
    return whole


MAIN = b"""
	.include "one.inc"
	.incbin "data.bin"
	.incbin "data.bin", 4, 8
	.rept 2
	.include "sub/three.inc"
	.endr
	.ifdef known
	.include "two.inc"
	.endif
	.incbin "sub/data.bin", 1
"""
ONE = b"""
	.set known, 1
	.macro thrice what
	.rept 3
	.byte \\what
	.endr
	.endm
	.include "sub/three.inc"
	thrice 5
"""
TWO = b"two:\t.word two - .\n\tthrice 1\n"
THREE = b'\t.ascii "3"\n\t.balign 4\n\tnop\n'


def _sources() -> Sequence[bytes]:
    return [
        tree((FILE, "main.S", MAIN), (FILE, "one.inc", ONE), (FILE, "two.inc", TWO),
             (FILE, "sub/three.inc", THREE), (FILE, "data.bin", bytes(range(64))),
             (FILE, "sub/data.bin", b"12345")),
        tree((FILE, "main.S", b'\t.include "link"\n\t.incbin "a/../data.bin"\n' + ONE),
             (LINK, "link", b"../secret"), (LINK, "dir", b".."), (FILE, "one.inc", ONE)),
    ]  # fmt: skip


def _included(case: bytes) -> object:
    root = made(case)
    head, _, main = case.split(BETWEEN)[0].partition(b"\0")
    text = main.decode("utf-8", "replace")
    try:
        first, second = (_assembled(root, text) for _ in range(2))
    except RelokitError as error:
        if SECRET.decode() in str(error):
            raise WrongError("a message has what is in a file beside the tree") from None
        raise
    if first != second:
        raise WrongError("another object the second time")
    if SECRET in first:
        raise WrongError("an object has what is in a file beside the tree")
    return head


def _assembled(root: Path, text: str) -> bytes:
    includes = Includes(root)
    try:
        made_of: Object = assemble(Unit.from_text("case.S", text), encoder().encode, includes)
        if any(not Path(one.where).resolve().is_relative_to(root) for one in includes.used):
            raise WrongError("a file that is not below the directory")
        return write_rel(made_of)
    finally:
        includes.close()


_lines = text_of(
    '.include .incbin "one.inc" "two.inc" "sub/three.inc" "../secret" "link" "dir/secret" '
    '"/etc/passwd" "data.bin", 0 4 99999999 .macro .endm .rept .endr .if .endif "" "." \\ thrice'
)

DOORS = (
    Door("userland", "trees of files as a user space", _userlands, _changed(mutated), _packed_up,
         1.0),
    Door("initrd", "archives as a user space", _archives, mutated, _archive, 0.2),
    Door("include", "--include-dir: trees, links, and assembly that includes them", _sources,
         _changed(_lines), _included, 2.0),
)  # fmt: skip
