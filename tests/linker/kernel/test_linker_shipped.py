"""A kernel made here, of a few hundred bytes of code, and what is found in it."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import HostFile
from relokit.codegen.object import Binding
from relokit.linker.kernel.call_scan import calls
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.kernel_file import ImageHeader, KernelFile
from relokit.linker.kernel.shipped import (
    RelocationCode,
    copied_code,
    relocation_code,
    shipped_image,
    shipped_series,
)

BASE = 0xFFFF_8000_0800_0000

# What a compiler makes of the copy; encoded by GNU as.
POST_LOAD = (
    0xB0000017,  # 1000: adrp x23, 2000
    0xB0000001,  # 1004: adrp x1, 2000
    0x910872F7,  # 1008: add x23, x23, #0x21c
    0x9103F021,  # 100c: add x1, x1, #0xfc
    0xCB0102F7,  # 1010: sub x23, x23, x1
    0xAA0103F3,  # 1014: mov x19, x1
    0x94000012,  # 1018: bl 1060 <other>
    0xF9000BF7,  # 101c: str x23, [sp, #16]
    0xAA1303E1,  # 1020: mov x1, x19
    0xA90063F7,  # 1024: stp x23, x24, [sp]
    0xAA1703E2,  # 1028: mov x2, x23
    0xAA1803E0,  # 102c: mov x0, x24
    0xB4000000,  # 1030: cbz x0, 1030
    0x9400000C,  # 1034: bl 1064 <memcpy>
    0x10FFFE54,  # 1038: adr x20, 1000
    0x91400695,  # 103c: add x21, x20, #1, lsl #12
    0x8B1402B6,  # 1040: add x22, x21, x20
    0xD10042B9,  # 1044: sub x25, x21, #0x10
    0x94000007,  # 1048: bl 1064 <memcpy>
    0xA8C257F4,  # 104c: ldp x20, x21, [sp], #32
    0xF94003F6,  # 1050: ldr x22, [sp]
    0xD63F0060,  # 1054: blr x3
    0x92401F39,  # 1058: and x25, x25, #0xff
    0x94000002,  # 105c: bl 1064 <memcpy>
    0xD65F03C0,  # 1060: ret
    0xD65F03C0,  # 1064: ret
)
LDR_X28_X0 = 0xF9400C1C
START, END = 0x20FC, 0x221C


def content() -> bytearray:
    data = bytearray(range(256)) * 0x80
    struct.pack_into(f"<{len(POST_LOAD)}I", data, 0x1000, *POST_LOAD)
    struct.pack_into("<I", data, START, LDR_X28_X0)
    return data


def in_memory(image: bytes | memoryview) -> HostFile:
    descriptor = os.memfd_create("image", os.MFD_CLOEXEC)
    os.write(descriptor, image)
    return HostFile(descriptor, len(image), "vmlinuz")


def kernel(data: bytearray | None = None) -> KernelFile:
    image = memoryview(bytes(content() if data is None else data))
    header = ImageHeader(0, 0, 0, len(image), 0xA, 0)
    return KernelFile(Path("vmlinuz"), "none", header, in_memory(image))


def symbols(**changes: int | None) -> Kallsyms:
    table: dict[str, int | None] = {
        "_text": 0,
        "machine_kexec_post_load": 0x1000,
        "other": 0x1060,
        "memcpy": 0x1064,
        "__hyp_set_vectors": 0x1100,
        "__hyp_reset_vectors": 0x1114,
        "finalise_el2": 0x1124,
        "next": 0x1140,
        "trans_pgd_stub_vectors": 0x3000,
        "after": 0x3800,
        "__hyp_stub_vectors": 0x4000,
        "elx_sync": 0x4800,
        "cpu_soft_restart": 0x6000,
        "enter_vhe": 0x6040,
        "_end": 0x7F00,
    }
    table |= changes
    found = sorted((at, name) for name, at in table.items() if at is not None)
    return Kallsyms.of(((name, "t" if name == "elx_sync" else "T", at) for at, name in found), BASE)


def test_calls_know_the_constants_before_them() -> None:
    found = list(calls(kernel().image, 0x1000, 0x1068))
    assert [(call.at, call.target) for call in found] == [
        (0x1018, 0x1060),
        (0x1034, 0x1064),
        (0x1048, 0x1064),
        (0x105C, 0x1064),
    ]
    other, copy, sums, last = (dict(call.constants) for call in found)
    assert other == {1: START, 19: START, 23: END - START}
    # x1 did not survive the first call, but came back from x19.
    assert copy == {1: START, 2: END - START, 19: START, 23: END - START}
    assert sums == {
        19: START,
        20: 0x1000,
        21: 0x2000,
        22: 0x3000,
        23: END - START,
        25: 0x1FF0,
    }
    # Loads, arithmetic that is not followed and calls leave nothing of it.
    assert last == {19: START, 23: END - START}


def words(*values: int) -> memoryview:
    return memoryview(struct.pack(f"<{len(values)}I", *values))


@pytest.mark.parametrize(
    ("word", "lost"),
    [
        (0xF9400001, {1}),  # ldr x1, [x0]
        (0xB9800001, {1}),  # ldrsw x1, [x0]
        (0xF9000001, set()),  # str x1, [x0]
        (0xF8008401, {0}),  # str x1, [x0], #8
        (0xF8408401, {0, 1}),  # ldr x1, [x0], #8
        (0xF8408C01, {0, 1}),  # ldr x1, [x0, #8]!
        (0xF8408001, {1}),  # ldur x1, [x0, #8]
        (0xF8626801, {1}),  # ldr x1, [x0, x2]
        (0xF8226801, set()),  # str x1, [x0, x2]
        (0xF8220001, {1}),  # ldadd x2, x1, [x0]
        (0xA9400801, {1, 2}),  # ldp x1, x2, [x0]
        (0xA9000801, set()),  # stp x1, x2, [x0]
        (0xA8810801, {0}),  # stp x1, x2, [x0], #16
        (0x58000001, {1}),  # ldr x1, .
        (0xD2800001, {1}),  # mov x1, #0
        (0xD503201F, set()),  # nop
        (0xB4000000, set()),  # cbz x0, .
        (0xD63F0060, {0, 1, 2}),  # blr x3
    ],
)
def test_what_an_instruction_makes_unknown(word: int, lost: set[int]) -> None:
    adr = [0x10000000 | register for register in (0, 1, 2)]
    (call,) = calls(words(*adr, word, 0x94000000), 0, 20)
    assert set(call.constants) == {0, 1, 2} - lost


def test_backward_and_forward_targets() -> None:
    (call,) = calls(words(0x97FFFFFF), 0, 4)
    assert call.target == -4
    (back, forth) = calls(words(0x90FFFFE0, 0x94000000, 0xB0000001, 0x94000000), 0, 16)
    assert back.constants == {0: -0x4000}
    assert forth.constants == {1: 0x1000}


def test_code_is_found_by_its_symbols_first() -> None:
    table = symbols(__relocate_new_kernel_start=0x2200, __relocate_new_kernel_end=0x2300)
    assert relocation_code(kernel(), table) == RelocationCode(0x2200, 0x2300)


def test_code_is_found_by_the_size_behind_it() -> None:
    data = content()
    struct.pack_into("<Q", data, 0x3800, 216)
    table = symbols(
        arm64_relocate_new_kernel=0x2800,
        arm64_relocate_new_kernel_size=0x3800,
        trans_pgd_stub_vectors=None,
        after=None,
    )
    assert relocation_code(kernel(data), table) == RelocationCode(0x2800, 0x2800 + 216)
    image = shipped_image(kernel(data), table)
    assert shipped_series(image) == 0
    assert image.read(image.symbol("arm64_relocate_new_kernel_size"), 8) == struct.pack("<Q", 216)
    assert image.symbol("__relocate_new_kernel_end") == BASE + 0x2800 + 216


def test_code_is_found_by_what_is_copied() -> None:
    assert relocation_code(kernel(), symbols()) == RelocationCode(START, END)
    assert RelocationCode(START, END).size == 288


def test_copies_of_something_else_are_passed_over() -> None:
    data = content()
    # No load from x0 at its start.
    struct.pack_into("<I", data, START, 0xD503201F)
    assert copied_code(kernel(data), symbols()) is None
    # Unless it leaves by a branch to a register, as code does that saves its argument first.
    struct.pack_into("<2I", data, START, 0xAA0003F9, LDR_X28_X0)
    struct.pack_into("<I", data, END - 8, 0xD61F0380)
    assert copied_code(kernel(data), symbols()) == RelocationCode(START, END)
    # Not memcpy that is called.
    assert copied_code(kernel(), symbols(memcpy=None)) is None
    # More than fits the control page.
    data = content()
    struct.pack_into("<I", data, 0x1008, 0x910872F7 | 1 << 22)
    assert copied_code(kernel(data), symbols()) is None
    assert copied_code(kernel(), symbols(machine_kexec_post_load=None)) is None


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"machine_kexec_post_load": None}, "no kexec relocation code"),
        ({"__hyp_stub_vectors": None}, "no __hyp_stub_vectors"),
        ({"__hyp_stub_vectors": 0x7800}, "outside the Image"),
        ({"__relocate_new_kernel_start": 0x2200, "__relocate_new_kernel_end": 0x2200}, "0 bytes"),
        ({"__relocate_new_kernel_start": 0x2202, "__relocate_new_kernel_end": 0x2300}, "at 0x2202"),
        (
            {"__relocate_new_kernel_start": 0x20, "__relocate_new_kernel_end": 0x2300},
            "are possible",
        ),
        (
            {"__relocate_new_kernel_start": 0x9000, "__relocate_new_kernel_end": 0x9100},
            "are possible",
        ),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, int | None], cause: str) -> None:
    with pytest.raises(FormatError, match=cause) as caught:
        shipped_image(kernel(), symbols(**changes))
    assert str(caught.value).startswith("vmlinuz: ")


def test_image_has_the_bytes_where_the_kernel_is_linked() -> None:
    opened = kernel()
    image = shipped_image(opened, symbols())
    assert image.name == "vmlinuz"
    assert shipped_series(image) == 15
    assert image.entry == image.symbol("arm64_relocate_new_kernel") == BASE + START
    assert image.symbol("__relocate_new_kernel_start") == BASE + START
    assert image.symbol("__relocate_new_kernel_end") == BASE + END
    for name, at, size in (
        ("arm64_relocate_new_kernel", START, END - START),
        ("trans_pgd_stub_vectors", 0x3000, 0x800),
        ("__hyp_stub_vectors", 0x4000, 0x1000),
        ("__hyp_set_vectors", 0x1100, 20),
        ("__hyp_reset_vectors", 0x1114, 16),
        ("finalise_el2", 0x1124, 28),
        ("cpu_soft_restart", 0x6000, 64),
        ("enter_vhe", 0x6040, 0x1000),
    ):
        assert image.symbol(name) == BASE + at
        assert image.read(BASE + at, size) == opened.image[at : at + size]
        section = image.section_at(BASE + at)
        assert section is not None
        assert section.pa == at
        assert section.va % section.align == 0
    assert not image.has_symbol("machine_kexec_post_load")
    assert image.symbol_at(BASE + 0x4804) == ("elx_sync", 4)
    bindings = {symbol.name: (symbol.binding, symbol.size) for symbol in image.symbols}
    assert bindings["elx_sync"] == (Binding.LOCAL, 0x800)
    assert bindings["__hyp_stub_vectors"] == (Binding.GLOBAL, 0x800)
    ends = 0
    for section in image.sections:
        assert section.va >= ends
        ends = section.va + section.size
    assert [segment.sections for segment in image.segments] == [
        (index,) for index in range(len(image.sections))
    ]


def test_functions_inside_the_stub_are_no_sections_of_their_own() -> None:
    image = shipped_image(kernel(), symbols(__hyp_set_vectors=0x4868, __hyp_reset_vectors=0x4878))
    assert image.symbol("__hyp_set_vectors") == BASE + 0x4868
    names = [section.name for section in image.sections]
    assert ".text.__hyp_set_vectors" not in names
    assert (
        sum(section.va <= BASE + 0x4868 < section.va + section.size for section in image.sections)
        == 1
    )


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_any_words_can_be_scanned(code: bytes) -> None:
    for call in calls(memoryview(code), 0, len(code)):
        assert call.at % 4 == 0
    table = replace(symbols(), link_base=0)
    data = content()
    data[0x1000 : 0x1000 + len(code)] = code
    found = copied_code(kernel(data), table)
    assert found is None or 0 < found.size <= 4096
