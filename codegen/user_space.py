"""What the tiny user space of ours and the host that hands it its files agree upon."""

from __future__ import annotations

import struct

START = 0x40_0000
"""VA at which /init is entered: there is no kernel, and a page of any size begins."""
HAND_OVER_FILE = "/hand-over"
GREETING = "user space"
REFUSAL = "refused: error "
"""What it says when a system call gives an error, whose number follows."""

KEXEC_SEGMENT_MAX = 16
HEADER = struct.Struct("<5Q")
"""Entry, segments, flags, bytes of the file; where in it the program headers of a crash's notes are
that it fills in, those of CPU 0 and of the kernel (0: nowhere)."""
SEGMENT = struct.Struct("<4Q")
"""Offset in the file, bytes, PA, bytes of memory."""
WORDS_SIZE = 64
"""Bytes of what it reads of sysfs: two numbers."""
TABLE_SIZE = HEADER.size + KEXEC_SEGMENT_MAX * SEGMENT.size

KEXEC_ON_CRASH = 1
KEXEC_ARCH_AARCH64 = 183 << 16
"""Flags of kexec_load: include/uapi/linux/kexec.h."""

SYSTEM_CALLS = {
    "mount": 40,
    "openat": 56,
    "read": 63,
    "write": 64,
    "kexec_load": 104,
    "reboot": 142,
    "mmap": 222,
}
"""Numbers: include/uapi/asm-generic/unistd.h."""


def variables() -> dict[str, object]:
    """What the template of /init asks for."""
    return {
        "calls": SYSTEM_CALLS,
        "header_size": HEADER.size,
        "table_size": TABLE_SIZE,
        "words_size": WORDS_SIZE,
        "start": START,
        "file": HAND_OVER_FILE,
        "greeting": GREETING,
        "refusal": REFUSAL,
    }
