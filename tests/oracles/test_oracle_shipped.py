"""Real kernels: header, symbols, struct layout and machine code against what is known of them.

Known are facts read out of the binaries by other tools (disassembly, BTF dumps), for the releases
named; where the archive has moved on, what holds across releases is still checked.
"""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from relokit.codegen.kimage_layouts import LAYOUTS
from relokit.linker.image import Image
from relokit.linker.kernel.btf import kimage_layout_from
from relokit.linker.kernel.kallsyms import Kallsyms, read_kallsyms
from relokit.linker.kernel.kernel_file import KernelFile, open_kernel
from relokit.linker.kernel.lowest_symbol import lowest_symbol
from relokit.linker.kernel.shipped import (
    copied_code,
    relocation_code,
    shipped_image,
    shipped_series,
)

pytestmark = pytest.mark.oracle

LINK_BASES = {
    "5.10": 0xFFFF_8000_1000_0000,
    "6.1": 0xFFFF_8000_0800_0000,
    "6.12": 0xFFFF_8000_8000_0000,
    "6.12-16k": 0xFFFF_C000_8000_0000,
    "7": 0xFFFF_8000_8000_0000,
}
CODE_SIZES = {"5.10": 216, "6.1": 288, "6.12": 296, "6.12-16k": 296, "7": 328}
AFTER_SERIES = ("6.1", "6.12", "6.12-16k", "7")

# Image offset and bytes to the next symbol.
KNOWN = {
    "5.10.0-32-cloud-arm64": {
        "arm64_relocate_new_kernel": (0x3A4C0, 4096),
        "arm64_relocate_new_kernel_size": (0x3B4C0, None),
        "__hyp_stub_vectors": (0xA7F000, 2048),
        "__cpu_soft_restart": (0xA893F8, 60),
        "__hyp_set_vectors": (0xA7F868, 16),
        "__hyp_reset_vectors": (0xA7F878, None),
        "machine_kexec": (0x39D94, 764),
        "machine_kexec_post_load": (0x16F3B0, 32),
        "_kexec_image_info": (0x39AC0, 368),
        "kexec_segment_flush": (0x39C30, 224),
        "el2_setup": (0xA89000, 92),
        "install_el2_stub": (0xA8912C, 84),
    },
    "6.1.0-50-cloud-arm64": {
        "__hyp_stub_vectors": (0xBBC000, 2048),
        "elx_sync": (0xBBC800, 80),
        "__finalise_el2": (0xBBC850, 484),
        "enter_vhe": (0xBCB000, 56),
        "cpu_soft_restart": (0xBCB060, 56),
        "trans_pgd_stub_vectors": (0x3F000, None),
        "__hyp_set_vectors": (0x218B4, 20),
        "__hyp_reset_vectors": (0x218C8, 16),
        "finalise_el2": (0x218D8, 40),
        "machine_kexec": (0x35D90, 532),
        "machine_kexec_post_load": (0x35A60, 816),
        "kexec_page_alloc": (0x35794, 92),
        "trans_pgd_create_copy": (0x3E2A0, 1168),
        "trans_pgd_idmap_page": (0x3E730, 432),
        "trans_pgd_copy_el2_vectors": (0x3E8E0, 1824),
        "init_kernel_el": (0xBCB098, 16),
        "init_el1": (0xBCB0A8, 40),
        "init_el2": (0xBCB0D0, 416),
    },
    "6.12.107+deb13-cloud-arm64": {
        "arm64_relocate_new_kernel": (0x188C108, 296),
        "__hyp_stub_vectors": (0xDDE000, 2048),
        "elx_sync": (0xDDE800, 80),
        "enter_vhe": (0x188D000, 56),
        "cpu_soft_restart": (0x188D0B8, 56),
        "trans_pgd_stub_vectors": (0x3F000, None),
        "machine_kexec": (0x33668, 464),
        "machine_kexec_post_load": (0x33328, 832),
    },
    "6.12.107+deb13-arm64-16k": {
        "arm64_relocate_new_kernel": (0x1D44108, 296),
        "__hyp_stub_vectors": (0xF4D000, 2048),
        "trans_pgd_stub_vectors": (0x3F000, None),
        "machine_kexec_post_load": (0x33828, 832),
    },
    "7.2.13+deb14-cloud-arm64": {
        "arm64_relocate_new_kernel": (0x1E97110, 328),
        "__hyp_stub_vectors": (0x10DE000, 2048),
        "elx_sync": (0x10DE800, 96),
        "__finalise_el2": (0x10DE860, 848),
        "enter_vhe": (0x1E98000, 56),
        "cpu_soft_restart": (0x1E980B8, 56),
        "trans_pgd_stub_vectors": (0x60800, None),
        "__hyp_set_vectors": (0x3AE68, 24),
        "__hyp_reset_vectors": (0x3AE80, 16),
        "finalise_el2": (0x3AE90, 56),
        "machine_kexec": (0x50408, 464),
        "machine_kexec_post_load": (0x4FF88, 1152),
        "kexec_page_alloc": (0x4FDB0, 104),
        "trans_pgd_create_copy": (0x5F788, 2752),
        "trans_pgd_idmap_page": (0x60248, 640),
        "trans_pgd_copy_el2_vectors": (0x604C8, 824),
        "init_kernel_el": (0x1E98160, 16),
        "init_el1": (0x1E98170, 44),
        "init_el2": (0x1E9819C, 980),
    },
}
HEADERS = {
    "5.10.0-32-cloud-arm64": (23171008, 0x16B0000),
    "6.1.0-50-cloud-arm64": (27236288, 0x1AA0000),
    "6.12.107+deb13-cloud-arm64": (30889920, 0x1E70000),
    "6.12.107+deb13-arm64-16k": (38207424, 0x25A0000),
    "7.2.13+deb14-cloud-arm64": (38629312, 0x25C0000),
}


class Shipped:
    """A kernel, opened and read once for all tests here."""

    def __init__(self, version: str, path: Path) -> None:
        self.version = version
        self.release = path.name.removeprefix("vmlinuz-")
        self.kernel: KernelFile = open_kernel(path)
        started = time.process_time()
        self.symbols: Kallsyms = read_kallsyms(self.kernel.image)
        self.seconds = time.process_time() - started
        self.image: Image = shipped_image(self.kernel, self.symbols)

    def code(self) -> bytes:
        """The bytes that go to the control page."""
        start = self.image.symbol("__relocate_new_kernel_start")
        return self.image.read(start, self.image.symbol("__relocate_new_kernel_end") - start)


@pytest.fixture(scope="module")
def shipped(
    kernel_5_10: Path, kernel_6_1: Path, kernel_6_12: Path, kernel_6_12_16k: Path, kernel_7: Path
) -> dict[str, Shipped]:
    paths = (kernel_5_10, kernel_6_1, kernel_6_12, kernel_6_12_16k, kernel_7)
    return {
        version: Shipped(version, path) for version, path in zip(LINK_BASES, paths, strict=True)
    }


@pytest.fixture(params=list(LINK_BASES))
def one(request: pytest.FixtureRequest, shipped: dict[str, Shipped]) -> Shipped:
    return shipped[request.param]


def disassembly(code: bytes, tmp_path: Path) -> list[str]:
    """GNU objdump's mnemonics and operands, an instruction each."""
    path = tmp_path / "code.bin"
    path.write_bytes(code)
    command = ["aarch64-linux-gnu-objdump", "-D", "-b", "binary", "-m", "aarch64", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^\s+[0-9a-f]+:\t[0-9a-f]{8} \t(.*?)(?:\s*//.*)?$", text, re.MULTILINE)
    return [re.sub(r"\s+", " ", row).strip() for row in rows]


def test_without_kallsyms_all_functions_tell_where_they_are(one: Shipped) -> None:
    """What is left of its symbols then: those of .text and .init.text."""
    symbols = one.symbols
    kept = [("_stext", "_etext"), ("_sinittext", "_einittext")]
    parts = [range(symbols.offset(low), symbols.offset(high) + 1) for low, high in kept]
    left = Kallsyms.of(
        (
            (name, letter, offset - symbols.offset("_stext"))
            for name, letter, offset in zip(
                symbols.names, symbols.types, symbols.offsets, strict=True
            )
            if any(offset in part for part in parts) and name != "primary_entry"
        ),
        0,
    )
    assert "_text" not in left
    found = lowest_symbol(one.kernel.image, left.offsets, left.number, one.release)
    assert found == symbols.offset("_stext") == 0x1_0000


def test_header(one: Shipped) -> None:
    assert one.kernel.compression == "none"
    assert one.kernel.header.text_offset == 0
    assert one.kernel.header.page_size == (16384 if one.version == "6.12-16k" else 4096)
    assert one.kernel.header.placed_anywhere
    if one.release in HEADERS:
        length, image_size = HEADERS[one.release]
        assert (len(one.kernel.image), one.kernel.header.image_size) == (length, image_size)


def test_symbols_are_where_they_are_known_to_be(one: Shipped) -> None:
    assert one.symbols.link_base == LINK_BASES[one.version]
    assert len(one.symbols) > 30_000
    for name, (offset, size) in KNOWN.get(one.release, {}).items():
        assert hex(one.symbols.offset(name)) == hex(offset), name
        if size is not None:
            assert one.symbols.end(offset) - offset == size, name


def test_symbols_are_read_fast_enough_to_wait_for(one: Shipped) -> None:
    assert one.seconds < 2


def test_5_10_handlers_share_a_name(shipped: dict[str, Shipped]) -> None:
    old = shipped["5.10"].symbols
    assert old.offset("__hyp_stub_vectors") + 0x800 in old.offsets_of("el1_sync")


def test_kimage_layout_is_the_one_in_the_table(one: Shipped) -> None:
    layout = kimage_layout_from(one.kernel.image)
    version = ".".join(one.release.split(".")[:2])
    assert layout.name == version
    if version in LAYOUTS:
        assert layout == LAYOUTS[version]


def test_relocation_code_has_its_size(one: Shipped) -> None:
    code = one.code()
    assert len(code) == CODE_SIZES[one.version]
    start = one.image.symbol("arm64_relocate_new_kernel")
    assert start == one.image.entry
    assert start % 4096 + len(code) <= 4096 or one.version == "5.10"
    assert shipped_series(one.image) == (0 if one.version == "5.10" else 15)


def test_relocation_code_of_6_1_is_where_it_is_known_to_be(shipped: dict[str, Shipped]) -> None:
    """kallsyms leaves it out there; the disassembly has it at 0x13770fc."""
    one = shipped["6.1"]
    assert "arm64_relocate_new_kernel" not in one.symbols
    if one.release == "6.1.0-50-cloud-arm64":
        assert one.image.symbol("arm64_relocate_new_kernel") - one.symbols.link_base == 0x13770FC


@pytest.mark.parametrize("version", ["6.12", "6.12-16k", "7"])
def test_scanned_calls_say_the_same_as_the_symbols(
    version: str, shipped: dict[str, Shipped]
) -> None:
    one = shipped[version]
    assert "__relocate_new_kernel_start" in one.symbols
    assert copied_code(one.kernel, one.symbols) == relocation_code(one.kernel, one.symbols)


@pytest.mark.parametrize("version", AFTER_SERIES)
def test_code_loads_the_members_that_btf_places(
    version: str, shipped: dict[str, Shipped], tmp_path: Path
) -> None:
    one = shipped[version]
    layout = kimage_layout_from(one.kernel.image)
    text = disassembly(one.code(), tmp_path)
    loads = [row for row in text if re.fullmatch(r"ldr x\d+, \[x0(, #\d+)?\]", row)]
    offsets = [int(match[1]) if (match := re.search(r"#(\d+)", row)) else 0 for row in loads]
    assert offsets == [
        layout.start,
        layout.el2_vectors,
        layout.dtb_mem,
        layout.zero_page,
        layout.ttbr1,
        layout.head,
        layout.phys_offset,
    ]
    assert "br x28" in text
    assert "hvc #0x0" in text
    assert any(row.startswith("dc civac") for row in text)


def test_code_of_5_10_runs_without_kimage(shipped: dict[str, Shipped], tmp_path: Path) -> None:
    one = shipped["5.10"]
    text = disassembly(one.code(), tmp_path)
    assert not any(re.fullmatch(r"ldr x\d+, \[x0.*\]", row) for row in text[:4])
    assert any(row.startswith("dc ivac") for row in text)
    size_at = one.image.symbol("arm64_relocate_new_kernel_size")
    assert size_at == one.image.symbol("arm64_relocate_new_kernel") + 4096
    assert int.from_bytes(one.image.read(size_at, 8), "little") == 216


def test_what_no_release_changed(shipped: dict[str, Shipped]) -> None:
    def same(name: str, size: int, versions: tuple[str, ...]) -> bool:
        pieces = {
            shipped[version].image.read(shipped[version].image.symbol(name), size)
            for version in versions
        }
        return len(pieces) == 1

    assert same("cpu_soft_restart", 56, AFTER_SERIES)
    assert same("enter_vhe", 56, AFTER_SERIES)
    assert same("trans_pgd_stub_vectors", 2048, ("6.12", "6.12-16k", "7"))


@pytest.mark.parametrize("version", AFTER_SERIES)
def test_kexec_vectors_have_their_handler_inside(
    version: str, shipped: dict[str, Shipped], tmp_path: Path
) -> None:
    image = shipped[version].image
    start = image.symbol("trans_pgd_stub_vectors")
    assert start % 2048 == 0
    text = disassembly(image.read(start, 0x800), tmp_path)
    handler = text[0x400 // 4 - 0x80 // 4 : 0x480 // 4]
    assert "msr vbar_el2, x1" in handler
    assert sum("eret" in row for row in text) >= 1


def test_main_vectors_branch_into_the_stub(one: Shipped, tmp_path: Path) -> None:
    start = one.image.symbol("__hyp_stub_vectors")
    assert start % 4096 == 0
    text = disassembly(one.image.read(start, 0x800), tmp_path)
    # From the lower EL to the handler right behind the table.
    assert text[0x400 // 4] == "b 0x800"
    handler = "el1_sync" if one.version == "5.10" else "elx_sync"
    assert one.image.symbol_at(start + 0x800) == (handler, 0)


def test_packed_by_gzip_it_is_the_same_kernel(shipped: dict[str, Shipped], tmp_path: Path) -> None:
    one = shipped["6.1"]
    packed = tmp_path / "vmlinuz.gz"
    with packed.open("wb") as out:
        subprocess.run(["gzip", "-1", "-c", str(one.kernel.path)], stdout=out, check=True)
    opened = open_kernel(packed)
    assert opened.compression == "gzip"
    assert opened.image == one.kernel.image
