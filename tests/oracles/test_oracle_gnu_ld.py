"""GNU ld with the same objects and the same script: same symbols, same bytes, same addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.gnu_ld import assemble, compare

pytestmark = pytest.mark.oracle

PLAIN_UNITS = {
    "a.S": """
        .section .text.a,"ax"
        .globl _start, ea
_start: bl wfn
        b wfn
        adr x0, wfn
        adrp x0, wfn
        ldr x1, [x0, :lo12:dat]
        cbz x0, wfn
        nop
ea:     nop
        .weak wfn
        .section .text.b,"ax"
        .balign 16
        nop
b2:     nop
        .globl ext1
        .type ext1, %function
        .size ext1, 4
ext1:   nop
        .section .data.x,"aw"
        .quad 1
dat:    .quad wfn, _start, ext1 - .
        .byte 1
        .section .bss.x,"aw",%nobits
        .space 9
        .comm cc, 16, 8
        """,
    "b.S": """
        .section .text.a,"ax"
        .globl in_b
in_b:   bl _start
        .section .text.c,"ax"
        .hidden secret
        .globl secret
secret: ret
        .section .text.aa,"ax"
        .globl in_aa
in_aa:  b secret
        .section .data.x,"aw"
        .balign 32
        .globl data_b
data_b: .quad in_b
        .section .ro,"a"
        .byte 1, 2, 3
        .set number, 77
        .globl number
        """,
}

SCRIPTS = {
    "files left out of all patterns": """
SECTIONS {
 . = 0x1000;
 .text : { KEEP(EXCLUDE_FILE(*b.o *x.o) *(.text.*)) }
 .data : { EXCLUDE_FILE(*a.o) *(.data.x EXCLUDE_FILE(*b.o) .ro) }
 .rest : { *(.data.x .ro .bss.x COMMON) } .code : { *(.text.*) }
}
""",
    "load addresses aligned as addresses": """
MEMORY { ram : ORIGIN = 0x40000, LENGTH = 0x100000  rom : ORIGIN = 0x1004, LENGTH = 64K }
SECTIONS {
 .ro : { *(.ro) } >ram AT>ram
 .text : { *(.text.*) } >ram AT>ram
 .data : { *(.data.x) } >ram AT>rom
 .bss : { *(.bss.x COMMON) } >ram AT>rom
}
""",
    "what is assigned later": """
SECTIONS {
 . = 0x1000;
 .text : { LONG(s1) *(.text.*) LONG(s2) QUAD(ext1) s1 = 7; }
 s1 = 1; s2 = 3; s2 = 4;
 .data : { LONG(s1) . = ALIGN(8); *(.data.x .ro) ext1 = .; LONG(ext1) }
 s1 = 5; ext1 = . + 8;
 .bss : { *(.bss.x COMMON) }
}
""",
    "empty sections with addresses": """
SECTIONS {
 . = 0x1000; .text : { *(.text.*) }
 .x 0x5000 : { } e1 = .;
 .y 0x6000 : { *(.none) } e2 = .;
 .z ALIGN(0x1000) : { *(.none) } e3 = .;
 .w 0x7000 : { inside = .; } e4 = .;
 .data : { *(.data.x .ro) } . = . + 1; e5 = .; .v : { *(.none) e6 = .; } e7 = .;
 .bss (NOLOAD) : { *(.bss.x COMMON) } e8 = .; . = .; e9 = .;
}
""",
    "what an empty section does to the place": """
SECTIONS {
 . = 0x1000; .text : { *(.text.*) }
 .a : ALIGN(64) { PROVIDE(nobody = .); } a1 = .;
 .b : ALIGN(64) { PROVIDE(number = .); } b1 = .;
 .c : ALIGN(64) { c1 = .; *(.none) } c2 = .;
 .d : ALIGN(64) { HIDDEN(d1 = .); } d2 = .;
 .data : { *(.data.x .ro) } .bss : { *(.bss.x COMMON) }
}
""",
    "sorted": """
SECTIONS {
 . = 0x1000;
 .text : { *(SORT_BY_ALIGNMENT(.text.*)) }
 .ro : { *(SORT_BY_NAME(SORT_BY_ALIGNMENT(.ro*))) *(SORT_NONE(.none)) }
 .data : { *(SORT_BY_ALIGNMENT(SORT_BY_NAME(.data.*))) CONSTRUCTORS }
 .bss : { *(SORT_BY_INIT_PRIORITY(.bss.*)) *(COMMON) }
}
""",
    "alignments": """
MEMORY { ram : ORIGIN = 0x20000001, LENGTH = 1M  rom : ORIGIN = 0x1001, LENGTH = 64K }
SECTIONS {
 .text : SUBALIGN(64) { *(.text.*) } >ram AT>rom
 .data : ALIGN_WITH_INPUT { *(.data.x .ro) } >ram AT>rom
 .bss : ALIGN(16) SUBALIGN(2) { *(.bss.x COMMON) } >ram
}
""",
    "numbers that the linker knows": """
SECTIONS {
 . = 0x10000;
 page = CONSTANT(MAXPAGESIZE); common = CONSTANT(COMMONPAGESIZE);
 l0 = LOG2CEIL(0); l1 = LOG2CEIL(1); l5 = LOG2CEIL(5); l8 = LOG2CEIL(8); l9 = LOG2CEIL(0x101);
 .text : { *(.text.*) }
 ASSERT(SIZEOF(.text) > 0, "empty") last = .;
 .data : { *(.data.x .ro) ASSERT(. != 0, "nothing"); } ASSERT(1, "no")
 .bss : { *(.bss.x COMMON) }
}
""",
    "orphans": """
SECTIONS {
 . = 0x1000; .code : { *(.text.b) } end = .; . = 0x8000;
 .data : { *(.none) } . = 0x20000;
 .last : { *(.text.c) }
}
""",
    "headers": """
PHDRS { text PT_LOAD FLAGS(5); data PT_LOAD FLAGS(6); note PT_NOTE; }
SECTIONS {
 . = 0x10000 + SIZEOF_HEADERS; start = .; size = SIZEOF_HEADERS + 0;
 .text : { *(.text.*) } :text
 .data : { *(.data.x .ro) } :data
 .bss : { *(.bss.x COMMON) } :data
}
""",
    "nothing but orphans": "SECTIONS { . = 0x1000; . = 0x2000; a0 = .; }",
    "whose section a symbol is": """
MEMORY { ram : ORIGIN = 0x20000000, LENGTH = 1M  rom : ORIGIN = 0x80000, LENGTH = 4K }
SECTIONS {
 a1 = .; .text : { *(.text.*) } >ram
 b1 = .; b2 = 5; b3 = . + 1; b4 = ABSOLUTE(.); b5 = . - ea; b6 = b1 + 1; b7 = MAX(., ea);
 b8 = ADDR(.text) + .; b9 = ALIGN(0x1000); c1 = ORIGIN(rom); c2 = ORIGIN(rom) + 1;
 c3 = LENGTH(ram) + 1; c4 = ORIGIN(ram) - ORIGIN(rom); c5 = SIZEOF(.text) + .; c6 = ea + 1;
 .data : { *(.data.x) d1 = ORIGIN(rom); d2 = 5; d3 = ORIGIN(rom) + 1; d4 = b1; d5 = . - b1; } >ram
 . = . + 4; f1 = .;
 .none : { *(.none) } >ram
 f2 = .; .gone : { *(.none) f3 = .; } >ram
 f4 = .; .ro : { *(.ro) } >ram
 f5 = .; . = . + 8; f7 = .; .still : { . = .; } >ram
 .bss : { *(.bss.x COMMON) } >ram
 . = ALIGN(0x1000); f6 = .;
}
""",
    "expressions": """
abs0 = 0x10;
pre = .;
SECTIONS {
 first = .;
 . = 0xffff800008000000;
 base = .;
 afterbase = base + 4;
 .text 0xffff800008000002 : AT(ADDR(.text) - 0xffff800000000000) {
  t0 = .; n0 = 0x10; *(.text.a) . = ALIGN(64); t1 = .; t2 = t1 - t0; t3 = abs0;
  t4 = abs0 + 4; t5 = t0 + abs0; t6 = ABSOLUTE(.); t7 = ext1 - t0; t8 = SIZEOF(.text);
  t9 = ADDR(.text); t10 = LOADADDR(.text); t11 = ALIGN(t0,16); t12 = ALIGN(0x33, 16);
  *(.text.*) t13 = DEFINED(later); t14 = base; t15 = -t0; t16 = t0 | 3; t17 = ~abs0;
  t18 = t0 == t0; t19 = MAX(t0, t1); t20 = ea; t21 = (t0 ? t1 : 4);
  BYTE(0x11) SHORT(0x2233) LONG(0x44556677) QUAD(t0)
 }
 mid = .; mid2 = . + 4; mid3 = ALIGN(4096); later = 4;
 PROVIDE(prov = 5); usep = prov; PROVIDE(pp = 6);
 PROVIDE_HIDDEN(ext2 = 3);
 HIDDEN(hh = .);
 . = ALIGN(0x1000);
 mid4 = .;
 .empty : { e0 = .; }
 .empty2 : { . = .; }
 .empty3 : { *(.nothing) }
 .res : { . += 0x20; }
 .data : { *(.data.x) }
 dend = .; d2 = t0 + 1; d3 = t1 - t0; d4 = t0 + abs0; d5 = t0 - 0x10; d6 = base - t0;
 d7 = SIZEOF(.data); d8 = ext1; d9 = ADDR(.data); d10 = mid + 4; d11 = ~t0;
 d12 = t0 & 0xff; d13 = MIN(t0, mid); d14 = SIZEOF(.empty3); d15 = ALIGNOF(.data);
 .ro : { *(.ro) }
 .bss : { *(.bss.x) *(COMMON) }
 bend = .;
 last = bend - t0;
 ASSERT(1, "fine")
}
""",
    "operators": """
o1 = 1 + 2 * 3 - 8 / 2 % 3; o2 = 1 << 4 >> 1; o3 = 7 & 3 | 8; o4 = 1 ? 2 ? 3 : 4 : 5;
o5 = 0 ? 1 : 0 ? 2 : 3; o6 = 3 > 2 && 2 >= 2 || 0; o7 = !5 + !0; o8 = ~0; o9 = -1 / 2;
o10 = 010 + 0x10K + 2M; o11 = 5 == 5 != 0; o12 = 1 < 2 == 1; o13 = - - 3; o14 = +4;
o15 = (0 - 7) % 4; o16 = 0xffffffffffffffff + 2; o17 = MAX(-1, 1); o18 = MIN(-1, 1);
o19 = ALIGN(13, 8); o20 = ALIGN(7, 3); o21 = -1 >> 60; o22 = 6 - 2 - 1; o23 = 64 / 4 / 2;
o24 = 2; o24 += 3; o24 *= 4; o24 -= 1; o24 <<= 2; o24 |= 1; o24 &= 0xfd; o24 /= 3; o24 >>= 1;
o25 = ABSOLUTE(3) + 1; o26 = DEFINED(o25) + DEFINED(o27) + DEFINED(ea); o27 = 1;
o28 = DEFINED(ea) ? ea : 0; o29 = number + 1;
SECTIONS { .t : { *(.text.*) } .all : { *(.data.x .ro .bss.x COMMON) } . = ASSERT(1, "yes"); }
""",
    "regions": """
MEMORY { rom (rx) : ORIGIN = 0x1000, LENGTH = 64K  ram : org = 0x20000000, len = 1M
         flash2 : o = 0x80000, l = 4K }
SECTIONS {
 .text : { *(.text.*) } >rom
 .ro : { *(.ro) . = ALIGN(4); etext = .; } >rom
 .data : { sdata = .; *(.data.x) edata = .; } >ram AT>rom
 load = LOADADDR(.data); rlen = LENGTH(ram); rorg = ORIGIN(flash2) + 1;
 .second : ALIGN(64) { LONG(0x12345678) } >ram AT>flash2
 .bss : { *(.bss.x) *(COMMON) } >ram
 tail = .;
}
""",
    "fill": """
SECTIONS {
 . = 0x10000;
 .text : { BYTE(1) *(.text.b) . = ALIGN(32); *(.text.*) . += 5; FILL(0xaabb) . += 7;
           BYTE(2) . = ALIGN(16); BYTE(3) } =0x1020304050
 .one : { BYTE(1) . = 0x10; BYTE(1) . = 9 + 8; . = ALIGN(8); *(.data.x) . += 3; } =0x90
 .two : { BYTE(1) . += 9; BYTE(2) } = (0x1234)
 .three : { BYTE(1) . += 9; BYTE(2) } =0x00
 .ro : { *(.ro) } .rest : { *(.bss.x COMMON) }
}
""",
    "order": """
SECTIONS {
 . = 0x1000;
 .text : { s1 = .; b.o(.text.a) s2 = .; *(SORT(.text.*)) s3 = .; }
 .data : { *(EXCLUDE_FILE(*a.o) .data.x) s4 = .; *(.data.*) *(.r[a-o]) }
 .bss : { *(.bs?.x) KEEP(*(COMMON)) }
}
""",
    "together": """
SECTIONS {
 . = 0x1000;
 .text : { *(.text.c .text.a) m = .; *(.text.b) *(.text*) }
 .data : ALIGN(512) { *(.data.x .ro) } .bss : { *(.bss.* COMMON) }
}
""",
    "load addresses": """
SECTIONS {
 .text 0x1000 : AT(0x8000) { *(.text.a) }
 .next : { *(.text.*) }
 .more ALIGN(0x100) : { *(.ro) }
 .data 0x9000 : { *(.data.x) }
 .after : { LONG(1) }
 .bss (NOLOAD) : { *(.bss.x) *(COMMON) }
 .behind : { LONG(2) }
}
""",
    "forward": """
SECTIONS {
 early = ADDR(.data) + SIZEOF(.data) + later;
 . = 0x1000;
 .text : { QUAD(later) QUAD(data_b) QUAD(SIZEOF(.text)) *(.text.*) *(.ro) }
 .data : { *(.data.x) }
 later = . - 1;
 .bss : { *(.bss.x COMMON) }
 PROVIDE(in_b = 1); in_aa = 0x42; alias = ext1; begin = DEFINED(begin) ? begin : 3;
}
""",
    "only data": """
SECTIONS {
 . = 0x2000;
 .vec : { BYTE(1) SHORT(2) LONG(3) QUAD(4) SQUAD(5) BYTE(0x1ff) }
 .stack : { . += 0x100; top = .; }
 .t : { *(.text.*) } .all : { *(.data.x) *(.ro) }
 .none : { nothing = .; }
 .zero : { *(.bss.x) *(COMMON) . += 1; }
 end = .;
}
""",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ld")


@pytest.fixture(scope="module")
def plain(folder: Path) -> list[Path]:
    return [assemble(folder, name, text) for name, text in PLAIN_UNITS.items()]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_same_script_gives_the_same_image(folder: Path, plain: list[Path], name: str) -> None:
    compare(folder, SCRIPTS[name], plain)
