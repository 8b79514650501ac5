"""Kernels of a few instructions, with a console: what a new kernel may do when it is let run on."""

from __future__ import annotations

import os
import struct
from functools import cache
from pathlib import Path

from relokit.building import encoder
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit

HEADER = struct.Struct("<IIQQQ24x4sI")
BRANCH, ANYWHERE_4K = 0x14000010, 0xA

BEFORE = """
	.macro say text:req
	adr	x0, .Ltext\\@
	bl	print
	b	.Lsaid\\@
.Ltext\\@:
	.asciz	"\\text"
	.balign	4
.Lsaid\\@:
	.endm
	.macro off
	movz	x0, #0x8400, lsl #16
	movk	x0, #8
	smc	#0
	.endm
	.text
	mov	x25, #0x9000000
"""
AFTER = """
	b	.
print:
	ldrb	w1, [x0], #1
	cbz	w1, 1f
	str	w1, [x25]
	b	print
1:
	ret
"""


@cache
def kernel_image(code: str) -> bytes:
    """An Image that executes ``code``, with the MMU off and no stack.

    ``say "text"`` prints, ``off`` turns the machine off; x25 is the UART.
    """
    unit = Unit.from_text("kernel.S", f"{BEFORE}{code}{AFTER}")
    text = assemble(unit, encoder().encode).section(".text")
    assert not text.relocations
    head = HEADER.pack(BRANCH, 0, 0, 1 << 16, ANYWHERE_4K, b"ARMd", 0)
    return head + text.data


@cache
def kernel_file(code: str) -> Path:
    """The same as a file."""
    file = os.memfd_create("kernel")
    os.write(file, kernel_image(code))
    return Path(f"/proc/{os.getpid()}/fd/{file}")
