"""A RAM disk whose /init says that it was reached and powers off."""

from __future__ import annotations

import gzip
import random
import subprocess
from pathlib import Path

REACHED = "relokit initrd: userspace reached"

# write(1, ...), then reboot(..., LINUX_REBOOT_CMD_POWER_OFF).
_INIT = f"""
	.globl	_start
_start:
	mov	x0, #1
	adr	x1, words
	mov	x2, #words_end - words
	mov	x8, #64
	svc	#0
	ldr	w0, =0xfee1dead
	ldr	w1, =672274793
	ldr	w2, =0x4321fedc
	mov	x8, #142
	svc	#0
	b	.
words:	.ascii	"{REACHED}\\n"
words_end:
"""


def build_initrd(folder: Path) -> Path:
    """Make a gzipped cpio archive in ``folder``: /init, and 3 MiB of noise. Needs GNU as and ld."""
    source, init = folder / "init.s", folder / "init"
    source.write_text(_INIT)
    tools = "aarch64-linux-gnu-"
    subprocess.run([f"{tools}as", "-o", folder / "init.o", source], check=True)
    subprocess.run([f"{tools}ld", "-o", init, folder / "init.o"], check=True)
    noise = random.Random(0).randbytes(3 << 20)
    archive = (
        _cpio_entry("init", init.read_bytes(), mode=0o100755)
        + _cpio_entry("noise", noise)
        + _cpio_entry("TRAILER!!!", b"", mode=0)
    )
    path = folder / "initrd.gz"
    path.write_bytes(gzip.compress(archive, compresslevel=1, mtime=0))
    return path


def _cpio_entry(name: str, content: bytes, mode: int = 0o100644) -> bytes:
    """One member of a "newc" archive (Documentation/driver-api/early-userspace)."""
    # inode, mode, uid, gid, links, mtime, size, device twice, special device twice, name, check
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % value for value in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(part: bytes) -> bytes:
    """``part`` up to the next multiple of four bytes."""
    return part + bytes(-len(part) % 4)
