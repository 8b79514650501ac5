"""GNU ld with a script as the kernel's: same symbols, same bytes, same addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.gnu_ld import assemble, compare

pytestmark = pytest.mark.oracle

KERNEL_UNITS = {
    "head.S": """
        .section .head.text,"ax"
        .globl _text
_text:  b primary_entry
        .quad 0
        .quad _kernel_size
        .text
        .globl primary_entry
        .type primary_entry, %function
primary_entry:
        bl early_setup
        adrp x0, message
        add x0, x0, :lo12:message
        ldr x1, [x0, :lo12:counter]
        adr x2, local
local:  ret
        .size primary_entry, . - primary_entry
        """,
    "hyp.S": """
        .section .hyp.idmap.text,"ax"
        .globl hyp_init
hyp_init: mov x0, #1
        hvc #0
        .section .hyp.text,"ax"
        .balign 2048
        .globl hyp_vectors
hyp_vectors:
        .rept 16
        b .
        .balign 128
        .endr
        """,
    "idmap.S": """
        .section .idmap.text,"ax"
        .globl cpu_soft_restart
        .type cpu_soft_restart, %function
cpu_soft_restart:
        cbz x0, 1f
        bl hyp_init
1:      br x1
        .size cpu_soft_restart, . - cpu_soft_restart
        .section .hibernate_exit.text,"ax"
        .globl swsusp_exit
swsusp_exit: b cpu_soft_restart
        """,
    "relocate.S": """
        .section .kexec_relocate.text,"ax"
        .balign 4
        .globl relocate_new_kernel
        .type relocate_new_kernel, %function
relocate_new_kernel:
        ldr x16, [x0]
2:      tbnz x16, #2, 3f
        add x16, x16, #8
        b.ne 2b
        b 2b
3:      br x17
        .size relocate_new_kernel, . - relocate_new_kernel
        .section .tramp.text,"ax"
        .globl tramp
tramp:  nop
        """,
    "data.S": """
        .section .rodata,"a"
        .globl message
message: .asciz "relocating"
        .balign 8
        .quad primary_entry, hyp_vectors
        .word relocate_new_kernel - .
        .data
        .globl counter
        .type counter, %object
        .size counter, 8
counter: .quad 42
        .quad table
        .bss
        .balign 64
        .globl table
table:  .space 200
        .comm shared_page, 128, 32
        """,
    "setup.S": """
        .text
        .globl early_setup
early_setup:
        adrp x3, shared_page
        ldr w4, [x3, :lo12:shared_page]
        bl weak_hook
        ret
        .weak weak_hook
        .section .discard.me,"a"
        .quad 1
        """,
}

KERNEL_SCRIPT = """
ENTRY(_text)
OUTPUT_ARCH(aarch64)
OUTPUT_FORMAT("elf64-littleaarch64")
PHDRS
{
    text PT_LOAD FLAGS(5);
    rodata PT_LOAD FLAGS(4);
    data PT_LOAD FLAGS(6);
}
PA_BASE = 0x40200000;
VA_BASE = 0xffff800008000000;
OFFSET = VA_BASE - PA_BASE;
SECTIONS
{
    /DISCARD/ : { *(.discard.*) *(.comment) }
    . = VA_BASE;
    .head.text : AT(ADDR(.head.text) - OFFSET) { KEEP(*(.head.text)) } :text
    .text : AT(ADDR(.text) - OFFSET) ALIGN(4K) {
        _stext = .;
        *(.text .text.*)
        . = ALIGN(4K);
        __hyp_idmap_text_start = .;
        *(.hyp.idmap.text)
        __hyp_idmap_text_end = .;
        __hyp_text_start = .;
        *(.hyp.text)
        . = ALIGN(4K);
        __hyp_text_end = .;
        . = ALIGN(4K);
        __idmap_text_start = .;
        *(.idmap.text)
        __idmap_text_end = .;
        . = ALIGN(4K);
        __hibernate_exit_text_start = .;
        *(.hibernate_exit.text)
        __hibernate_exit_text_end = .;
        . = ALIGN(4K);
        __relocate_new_kernel_start = .;
        *(.kexec_relocate.text)
        __relocate_new_kernel_end = .;
        . = ALIGN(4K);
        __tramp_text_start = .;
        *(.tramp.text)
        . = ALIGN(4K);
        __tramp_text_end = .;
        _etext = .;
    } =0xd503201f
    . = ALIGN(64K);
    .rodata : AT(ADDR(.rodata) - OFFSET) { *(.rodata .rodata.*) } :rodata
    PROVIDE(__etext = _etext);
    PROVIDE(weak_hook = early_setup);
    . = ALIGN(64K);
    _data = .;
    .data : AT(ADDR(.data) - OFFSET) { *(.data) . = ALIGN(8); _edata = .; } :data
    .bss : AT(ADDR(.bss) - OFFSET) ALIGN(4K) {
        __bss_start = .;
        *(.bss .bss.*)
        *(COMMON)
        . = ALIGN(16);
        __bss_stop = .;
    }
    _end = .;
    _kernel_size = _end - _text;
}
ASSERT(__hyp_idmap_text_end - (__hyp_idmap_text_start & ~(4K - 1)) <= 4K,
       "HYP init code too big or misaligned")
ASSERT(__idmap_text_end - (__idmap_text_start & ~(4K - 1)) <= 4K, "ID map text too big")
ASSERT(__relocate_new_kernel_end - (__relocate_new_kernel_start & ~(4K - 1)) <= 4K,
       "kexec relocation code is too big or misaligned")
ASSERT(_text == VA_BASE, "head is misplaced")
"""


def test_a_kernel_like_script_gives_the_same_image(tmp_path: Path) -> None:
    units = [assemble(tmp_path, name, text) for name, text in KERNEL_UNITS.items()]
    compare(tmp_path, KERNEL_SCRIPT, units)
