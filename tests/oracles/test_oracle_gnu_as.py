"""The same text through GNU as and through relokit: sections, symbols and relocations agree."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.source import Unit
from support.gnu_as import agree, gnu

pytestmark = pytest.mark.oracle

SNIPPETS = {
    "labels and comments": """
        # a comment line
        .text
        a: b: nop // to the end of the line
        nop /* in the line */
        /* over
           lines */ nop
        ; nop ;; nop ;
        x0: b x0b ; x0b: nop
        1: b 1b; b 1f; 1: b 1b; 22: cbz x0, 22b; cbz w0, 1b
        a.b$c_1: nop
    """,
    "branches in a section": """
        .globl g
        start: b start; b g; bl g; b .Lx; b ext; bl ext + 4; b . + 8; b .; bl g - 4
        g: b g; b.eq start; b.hs g; bne .Lx; cbz x0, g; cbnz w1, start; tbz x0, #33, start
        .Lx: tbnz w0, #1, ext; adr x0, g; adr x1, .Lx; adr x2, ext + 1; adr x3, . + 1
        ldr x0, .Lx; ldr w0, g; ldrsw x1, start; ldr q0, ext; prfm pldl1keep, .Lx
        b 0x1000; b.ne #8; adr x9, #-3; ldr x8, 16
    """,
    "addresses": """
        adrp x0, local; add x0, x0, :lo12:local; ldr x1, [x0, #:lo12:local + 8]
        adrp x0, ext + 0x12345; add w0, w0, #:lo12:ext - 4
        ldrb w0, [x1, :lo12:ext]; ldrh w0, [x1, :lo12:ext]; ldr w0, [x1, :lo12:ext]
        strb w0, [x1, :lo12:g]; str d0, [x1, :lo12:g]; ldr q0, [x1, :lo12:g]
        ldrsw x0, [sp, :lo12:g]; prfm pldl1keep, [x0, :lo12:g]
        adrp x0, :pg_hi21:g; adrp x0, :pg_hi21_nc:g; adrp x5, .
        movz x0, #:abs_g3:ext; movk x0, #:abs_g2_nc:ext; movk x0, #:abs_g1_nc:local
        movk x0, :abs_g0_nc:ext + 8; movz w3, #:abs_g1:ext; movz x0, #:abs_g1:0x12345678
        movz x0, #:abs_g0:local; movz x0, #:abs_g2:ext; movk x1, #:abs_g2:ext
        .globl g
        g: nop
        .data
        .zero 24
        local: .quad 1
    """,
    "data": """
        .globl g
        text: nop
        g: nop
        .quad g, text, text - g, . - g, g - ., . - text, .
        .word text - g, 1f - 2f, 2f - 1f, 0x80000000, -0x80000000, 'a, 'b', '\\n, ';'
        1: nop
        2:
        .data
        .quad g, text, text - ., ext - ., ext - . + 4, g - ., .Lend - .Lstart
        .Lstart:
        .long ext, text - ., g
        .short ext; .hword 1; .2byte -1, 0xffff, ext - .
        .byte -128, 255, 'x, .Lend - .Lstart
        .4byte 1; .int 2; .8byte 3; .xword ext + 1; .dword -1
        .ascii "a\\n\\t\\\\\\"\\001\\x41\\101\\r\\f\\b;//" "second", "x" // comment
        .asciz "a", "b" "c"
        .string ""
        .Lend:
    """,
    "fill": """
        .data
        .zero 3; .skip 3, 4; .space 2, -1; .fill 2, 4, 0x11223344; .fill 3; .fill 2, 8, -1
        .fill 2, 3, 0x112233; .fill 0, 4, 1; .fill 2, 0, 0; .fill 2, 2
        .org 64; .byte 1; .org . + 7, 0xff; label: .org label + 3
        .bss
        .zero 100; .balign 64; buffer: .skip 8; .byte 0, 0
        .text
        .zero 8; nop; .org 32; nop; .skip 4; nop
    """,
    "alignment of code": """
        nop; .align 4; nop; .p2align 3; nop; .balign 32; nop
        .byte 1; .balign 16; nop; .byte 1, 2; .align 2; nop
        .balign 16, 0; nop; .p2align 4, , 4; nop; .p2align 4, , 12; nop
        .align 0; nop; .balign 1; .byte 7; .p2align 1; .byte 8, 9, 10; .balign 4; nop
        .quad 1; .balign 16; nop
    """,
    "alignment of data": """
        .data
        .byte 1; .balign 8; .byte 2; .align 3, 0xaa; .byte 3; .p2align 4, , 3; .byte 4
        .p2align 3, , 7; .byte 5; .balign 2; .byte 6; .balign 256
        .section .rodata; .byte 1; .align 5
    """,
    "vectors": """
        .section .vectors, "ax"
        .balign 2048
        .globl vectors
        vectors:
        b sync_t; .balign 0x80; b . ; .balign 0x80; b .
        .org vectors + 0x400; b sync; .org vectors + 0x480; b irq
        .org vectors + 0x800
        .align 7
        sync_t: eret
        sync: hvc #0; eret
        irq: b irq
    """,
    "sections": """
        .section .head.text, "ax"; nop
        .section .init.data, "aw", @progbits; .quad 1f
        .pushsection .extable, "a"; .balign 4; .long 1f - ., 2f - .; .popsection
        1: .quad 2f
        .section .rodata.str, "aMS", %progbits, 1; s0: .asciz "x"; .Ls1: .asciz "y"
        .section .note.x, "a"; .long 1; .section .note.y, "a", @note; .long 2
        .section .bss.x; .zero 4; .section .nb, "aw", @nobits; .skip 16
        .section .data.x; .quad s0, .Ls1, .Ls1 + 1; .section .text.x; nop; .previous; .byte 1
        .section plain; .byte 1; .section "quoted-name", "awx"; nop
        .text 0; 2: nop; .data; .byte 9; .text; adrp x0, .Ls1
        .pushsection .a, "a"; .pushsection .b, "aw"; .byte 1; .popsection; .byte 2; .popsection
        nop; .section .head.text; nop; .section .head.text, "ax"; nop; .subsect = 4
    """,
    "symbols": """
        .globl f, h; .global e
        .type f, %function
        f: nop
        .size f, . - f
        h: nop; .type h, @function; .size h, 4
        .weak w, undefined_weak; w: nop; b w; bl undefined_weak
        .hidden hid; .globl hid; hid: nop; b hid
        .hidden lochid; lochid: nop
        .local l; l: nop; b l
        .weak wg; .globl wg; wg: nop; .local lg; .globl lg; lg: nop; .local lw; .weak lw; lw: b lw
        .type o, %object; .type n, %notype; n: nop
        .globl .Lglobal; .Lglobal: b .Lglobal
        .data
        .size o, oend - o
        o: .quad f, w, l, n; oend:
        .globl never_defined; .type typed_only, STT_FUNC
    """,
    "assignments": """
        .set one, 1; .equ two, one + one; three = two + one; .equiv four, 4
        mov x0, #one; mov x1, two; add x2, x2, #(three << 2); ldr x3, [x4, #four * 2]
        .set one, 7
        mov x0, #one; .quad one, two, later, size
        mov x5, #later; and x6, x6, #~(later - 1); svc #later; add x0, x0, #e - s; cmp x0, later
        later = 8
        .set size, e - s
        s: nop; nop
        e: alias = s; beyond = s + 4; here = .
        b alias; b beyond; b here; .quad alias, beyond, here - s
        .globl galias; .set galias, s; b galias; .quad galias
        .type func, %function; func: nop; .size func, 4; .set falias, func
        .weak walias; .set walias, func; b walias
        .globl absolute; absolute = 0x1000; mov x0, #absolute; .quad absolute
        outside = ext; bl outside; .quad outside + 4
        .equ count, 3; .fill count, 4, count; .balign count + 1
    """,
    "literal pool": """
        ldr x0, =0x123456789abcdef0; ldr x1, =g; ldr x2, =g; ldr w3, =0x12345678
        ldr x4, =1; ldr w4, =1; ldr x5, =-1; ldr x6, =.Llocal + 4; ldr x7, =ext - 8
        ldr q0, =5; ldrsw x8, =-7; ldr d1, =0x3ff0000000000000; ldr s1, =later
        .ltorg
        .Llocal: nop
        ldr x0, =1; ldr x1, =g + 0; ldr x1, =g
        .globl g
        g: nop
        .section .other, "ax"; nop; ldr x9, =g; .pool; nop; ldr w10, =3
        later = 9
    """,
    "own spellings": """
        bti; bti c; bti j; bti jc; paciasp; autiasp; pacibsp; xpaclri; esb; csdb; psb csync; dgh
        pacia1716; sb; ssbb; pssbb; eretaa; retab; udf #0; udf #0xffff; tsb csync
        dc cvap, x1; dc cvadp, x2; dc gva, x3; tlbi rvae1is, x4; tlbi vae1os, x5; tlbi vmalle1os
        at s1e1rp, x6; tlbi ripas2e1is, x7; tlbi alle2os
        msr sctlr_el12, x0; mrs x1, mair_el12; MRS X2, ID_AA64MMFR2_EL1; msr zcr_el2, x3
        msr pan, #1; msr uao, #0; msr ssbs, #1; msr dit, #1; msr daifset, #0xf; msr DAIFClr, 2
        msr spsel, #0; msr pan, x0; mrs x0, dit; mrs x0, daif; msr tpidr_el0, x1
        mrs x0, S3_0_C1_C0_0; msr s3_4_c12_c0_0, x9
        sub x0, x0, #-4096; add x0, x0, #-1; cmp w0, #-5; cmn x0, #-4096; subs x1, x2, #-16, lsl #12
        mov FP, LR; mov ip0, ip1; Add X0, X1, #1; NOP
        .inst 0xd503201f, 0x14000000; .inst 0xffffffff
    """,
    "system": """
        msr sctlr_el1, x0; msr sctlr_el2, x0; msr ttbr0_el1, x1; msr ttbr1_el1, x1; isb
        msr tcr_el1, x2; msr mair_el1, x3; msr vbar_el2, x4; msr hcr_el2, x5; msr cptr_el2, x6
        msr spsr_el2, x7; msr elr_el2, x8; msr sp_el1, x9; mrs x10, currentel; mrs x11, ctr_el0
        mrs x12, id_aa64mmfr0_el1; mrs x13, dczid_el0; mrs x14, mpidr_el1; msr contextidr_el1, x15
        msr cnthctl_el2, x1; msr cntvoff_el2, xzr; msr vttbr_el2, x2; msr vtcr_el2, x3
        msr mdcr_el2, x4; msr hstr_el2, x5; msr vpidr_el2, x6; msr vmpidr_el2, x7; msr cpacr_el1, x8
        dc civac, x0; dc cvac, x0; dc cvau, x0; dc ivac, x0; dc zva, x0; dc isw, x1; dc cisw, x2
        ic ivau, x0; ic iallu; ic ialluis; at s1e1r, x0; at s12e1w, x0; at s1e2r, x3
        tlbi vmalle1; tlbi vmalle1is; tlbi vae1is, x0; tlbi alle2; tlbi alle2is; tlbi aside1, x1
        tlbi alle1; tlbi vmalls12e1is; tlbi vale1is, x2; tlbi vae2is, x3; tlbi ipas2e1is, x4
        dsb sy; dsb ish; dsb nsh; dsb ishst; dsb nshst; dsb oshld; dsb #3; dsb ld; dmb ish
        dmb ishld; dmb sy; isb; isb sy; hvc #0; smc #0xffff; svc #1; brk #0x800; hlt #2; eret
        wfi; wfe; sev; sevl; yield; clrex; drps; hint #5; sys #0, c7, c1, #0
        sysl x0, #3, c7, c4, #1
        ldxr x0, [x1]; stxr w2, x0, [x1]; ldaxr w0, [x1]; stlxr w3, w0, [x1]; ldar x0, [x1]
        stlr x0, [x1]; ldp x0, x1, [sp], #16; stp x29, x30, [sp, #-16]!; ldnp x0, x1, [x2, #16]
        stnp x4, x5, [x6]; ldr x0, [x1, x2, lsl #3]; ldr w0, [x1, w2, uxtw #2]; ldrb w0, [x1], #1
        ubfx x0, x1, #16, #4; bfi x0, x1, #3, #5; lsl x0, x1, x2; lsr w0, w1, #3; tst x0, #0xfff
        and x0, x1, #0xfffffffffffff000; bic x0, x0, #0xff; orr x0, xzr, #0x30; eor w0, w1, w2
        mov x0, #0xffff0000; mov w0, #0xffffffff; mov x0, #~0xfff; movk x0, #0x1234, lsl #48
        csel x0, x1, x2, lo; cset w0, ne; csinc x1, x2, x3, hs; ccmp x0, #0, #4, eq; clz x0, x1
        madd x0, x1, x2, x3; udiv x0, x1, x2; umulh x0, x1, x2; rbit x0, x1; rev x0, x1
        add x0, x1, w2, uxtw #2; add sp, sp, #0x10; sub sp, sp, x0; cmp x0, x1, lsl #3; neg x0, x1
        crc32x w0, w1, x2; br x17; blr x16; ret; ret x1; extr x0, x1, x2, #3; sxtw x0, w1
        ld1 {v0.16b, v1.16b}, [x0], #32; st1 {v0.16b-v3.16b}, [x1]; movi v0.2d, #0; fmov d0, x0
        stp q0, q1, [x0]; ldp q2, q3, [x1, #32]; prfm pldl1strm, [x0, #8]; prfm #5, [x0]
    """,
    "expressions": """
        .data
        .quad 7 / -2, -7 / 2, -7 % 3, 7 % -3, -1 >> 60, 1 << 63, 2 + 3 * 4, 1 | 2 + 4, 6 & 3 + 1
        .quad 1 == 1, 1 != 1, 1 <> 2, 2 > 1, 1 >= 2, !5, !0, ~0, 5 ! 2, 6 ^ 3, 1 && 2, 0 || 3
        .quad 017, 0b101, 0xFF, 0X1f, -(-3), 2 * -3, 1 << 2 + 1, 8 >> 1 << 1, 3 - 2 - 1, [1 + 2] * 3
        .quad 0xffffffffffffffff, 18446744073709551615, -1, 1 + 2 == 3, 1 == 2 || 3 == 3 && 0
        .quad -9223372036854775808, 0x8000000000000000 / 2, 0xffffffffffffffff >> 1
        .quad 0xffffffffffffffff < 1, -8 >> 1, 0xffffffffffffffff % 10, - - 1, ~-1, !-1, 1 - -2
        .quad 'a + 1, a < b, a == a, (a - b) * 2, (a - b) / -4, c - b + a - a, -(a - b)
        .quad (b - a) >> 2
        .text
        a: nop; nop
        b: c = b + 9
    """,
    "the place assigned": """
        entry: mov x0, #1
        . = . + 12
        mov x0, #2
        .set ., 32; .equ ., . + 8
        after: ret
        .data
        .byte 1
        . = 16
        .byte 2
    """,
    "floating immediates": """
        fmov s7, 0x3fc00000; fmov d3, 0x4004000000000000; fmov s0, #0xC1400000
        fmov s0, #1; fmov d0, 2; fmov s0, #1.5; fmov d0, #-0.125; fmov s1, .5; fmov s1, #1.
        fmov d1, #31e0; fmov d1, #+19.0e0; fmov v0.4s, 0x3fc00000; fmov v0.2s, #1
        fmov v0.2d, 0x3ff8000000000000; fmov v2.2d, #-1.0
        fmov s0, wzr; fmov d0, xzr; fmov x0, d1; fmov v1.d[1], x2
        fcmp s0, #0; fcmp s0, #0.0; fcmp d0, 0.0; fcmpe d1, #0; fcmpe s1, s2
        fcmeq v0.4s, v1.4s, #0; fcmeq v0.4s, v1.4s, #0.0; fcmge s0, s1, #0.0; fcmlt d0, d1, #0
    """,
    "widened by a move": "uxtw x8, wzr; uxtw x7, w15; uxtw xzr, w1; uxtb w1, w2",
    "the last that can be": """
        ext v0.8b, v1.8b, v2.8b, #7; ext v0.16b, v1.16b, v2.16b, #15
        eon x0, x1, x2, asr #63; add w0, w1, w2, lsl #31; movk x0, #1, lsl #48
        st2 {v0.4s, v1.4s}, [x3], x4; ld1r {v1.2s}, [x3], #4
    """,
    "numbers that others may define": """
        .globl c; .quad c, c - 1, 1 - 1; bl c; adr x0, c; c = 1
        .weak d; d = 4; .quad d; .quad e; .weak e; e = 2
        .local never; .word gone - gone; .weak nobody; .size f, 4
    """,
    "aliases before and after": """
        .set early, f
        f: nop; .type f, %function; .size f, . - f
        .set late, f; g: nop; .set before, g; .type g, %function
        h = . - 8; i = -1
    """,
    "macros": """
        .macro one a, b=2, c:req
        .quad \\a, \\b, \\c ; .byte \\@
        .endm
        .macro rest first, others:vararg
        .irp each, \\others
        .byte \\first, \\each
        .endr
        .endm
        .macro nested n
        .if \\n
        one \\n, c=\\n + 1
        nested "(\\n - 1)"
        .elseif 0
        .error "never"
        .else
        .exitm
        .byte 99
        .endif
        .endm
        .data
        one 1,,3; one 4 5 6; one c = 7, a = "8"; lab: one (1 + 2), [1] + 3, 4
        rest 1, 2, 3
        nested 3
        .irpc d, 0123
        .byte \\d\\d, 0x1\\d
        .endr
        .rept 3; .byte 5; .endr
        .rept 0; frob; .endr
        .macro other name, val
        .set \\name\\()_x, \\val&1 & 3
        .quad \\name\\()_x
        .ascii "\\name: &val"
        .endm
        other foo, 7
        .purgem other
        .macro other; .byte 42; .endm
        other
        """,
    "conditions": """
        .set four, 4
        .ifdef four; .byte 1; .else; .byte 2; .endif
        .ifndef five; .byte 3; .endif
        .ifc a b,a b; .byte 4; .endif
        .ifc "x",x; .byte 5; .else; .byte 6; .endif
        .ifnc x0, x1; .byte 7; .endif
        .ifb; .byte 8; .endif
        .ifnb  q; .byte 9; .endif
        .ifeq four - 4; .byte 10; .endif
        .ifge -1; .byte 11; .endif
        .iflt -1; .byte 12; .endif
        .ifgt four; .byte 13; .endif
        .ifle 0; .byte 14; .endif
        .if 0; .if 1; .byte 15; .else; .byte 16; .endif; .elseif four == 4; .byte 17; .endif
        """,
    "names of registers": """
        tmp .req x9
        wide .req tmp
        add tmp, wide, x1 ; ldr x0, [tmp, #8]
        .unreq tmp
        """,
    "subsections": """
        nop; 1: b 3f; .subsection 2; 2: ret; .previous; nop
        .subsection 1; 3: b 2b; .p2align 2; 4: nop; .text 0; b 4b
        .pushsection .rodata, "a"; .quad 3b, 2b - 1b, 4b - 3b; .popsection
        .subsection 1; .org . - (4b - 3b) + 4; nop
        """,
    "numbers in groups": """
        movz x0, :abs_g1_s:0x30d00800 ; movk x0, :abs_g0_nc:0x30d00800
        movz x1, :abs_g1_s:-5; movz x2, :abs_g2_s:-0x100000001; movz x3, :abs_g0_s:-1
        movz x4, :abs_g0_s:32767; movz x5, #:abs_g2_s:sym; movz x6, #:abs_g3:0x1122334455667788
        """,
    "sections by their names": """
        .section .noinit; .skip 4; .section .persistent; .byte 1
        .section .init; nop; .section .data1; .byte 1; .section .note.GNU-stack; .byte 0
        """,
    "labels in strings that are merged": """
        .section .r, "aMS", @progbits, 1; 1: .asciz "x"; 1: .asciz "y"; l: .asciz "z"
        .data; .quad 1b + 1, 1b, l, l + 1; .long 1b - .
        """,
    "ignored": """
        .arch armv8.5-a; .cpu cortex-a72; .arch_extension crc; .file "x.c"
        nop
    """,
}


@pytest.mark.parametrize("name", SNIPPETS)
def test_snippet(name: str, tmp_path: Path, encoder: Encoder) -> None:
    agree(textwrap.dedent(SNIPPETS[name]), tmp_path, encoder, maps="pool" not in name)


REFUSED = [
    "frob x0", "nop nop", "mov x0", "b", "b 1f", "b 1b", "cbz x0", "tbz x0, #64, .",
    "tbz w0, #32, .", "add x0, x0, #4097", "mov x0, #0x12345", "mov w0, #0x100000000",
    "ldr x0, [x1", "ldr x0, x1]", "ldr x0, [x1, foo]", "add x0, x0, foo", "adds x0, x0, :lo12:a",
    "cmp x0, :lo12:a", "ldur x0, [x0, :lo12:a]", "movz w0, #:abs_g2:a",
    "movz x0, #:abs_g3:a, lsl #48", "movz x0, #:abs_g0:0x10000", "adr x0, :lo12:a",
    "add x0, x0, :frob:a", "dsb nxs", "msr daifset, #16", "msr daifset, x", "mrs x0, foo_el1",
    "tlbi vae1is", "tlbi vmalle1, x0", "dc cvap", "dc civac", "ic iallu, x0", "sxtw x0, x1",
    "orn x0, x1, #1", "eon w0, w1, #1", "svc #65536", "hint #128", "ldr x0, [x1, #32768]",
    "ldp x0, x1, [x2, #4]", "movk x0, #1, lsl #8", "udf #65536", "sub x0, sp, #1, lsl #3",
    "q: nop; q: nop", "q: nop; .set q, 1", ".equiv q, 1; .equiv q, 2",
    ".equiv q, 3; .set q, 4", ".set q, 3; .equiv q, 4",
    ".macro", ".macro a b b; .endm", ".macro a; .endm; .macro a; .endm", ".macro a; nop",
    ".rept 2", ".rept -1; .endr", ".if", ".endif", ".else", ".if 1; .else; .else; .endif",
    ".if foo; .endif", ".macro a b:req; .endm; a", ".macro a b; .endm; a 1 2", '.error "x"',
    ".macro a b; .endm; a c=1", ".macro a b c; .endm; a b=1, 2", ".macro a; a; .endm; a",
    ".unreq nothing", ".frob 1", ".byte foo", ".quad 1.5", ".quad (1", ".quad 1)", ".quad 08",
    ".quad foo + bar", ".quad foo - bar", ".quad -foo", ".quad foo * 2", ".quad 5 6", ".balign 3",
    ".org . - 4", "nop; .org 0", ".zero foo", ".set a, b; .set b, a; .quad a",
    ".equiv a, 4; .equiv a, 5", "a: nop; a: nop", "a: nop; a = 4", ".type a, %frob", ".globl a b",
    '.section .x, "a"; .section .x, "aw"', '.section .x, "q"', ".bss; .byte 1",
    '.section .n, "aw", @nobits; .word 4', ".inst foo", "b a + 2; a: nop", "b . + 0x8000000",
    "tbz x0, #1, . + 0x8000", "adr x0, . + 0x100000", "b.eq . + 0x100000", "nop @ x", "nop # x",
    "msr 5, x0", "fmov d0, 0x3fc00000", "fmov s0, #0x11", "fmov v2.4s, #-32", "fmov s0, #1.55",
    "fmov d0, #0.0", "fmov s0, #0e1.5", "fmov s0, #1+1", "fcmp s0, #1.0", "fcmp s0, #-0.0",
    "ext v5.8b, v6.8b, v7.8b, #8", "ext v0.16b, v1.16b, v2.16b, 20",
    "ext v1.8b, v0.8b, v0.8b, #-256", "st2 {v10.4s, v11.4s}, [x3], xzr", "ld1r {v1.2s}, [x1], xzr",
    "ld4 {v1.s-v4.s}[0], [sp], xzr", "uxtw x7, x15", "eon w1, w5, w16, asr #0x100000000",
    "cmp sp, w15, uxtw #0x100000000", "movk w0, #0x24, lsl #0x100000000", ". = 0; nop; . = 0",
    ".equiv c, 1; .equ c, 2", ".equiv c, a + 4; c = 2",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_gnu_as_refuses_we_refuse(text: str, tmp_path: Path, encoder: Encoder) -> None:
    assert isinstance(gnu(text + "\n", tmp_path, check=False), str)
    with pytest.raises(AssemblyError) as caught:
        assemble(Unit.from_text("t.s", text + "\n"), encoder.encode)
    assert (caught.value.where or "").startswith("t.s")
