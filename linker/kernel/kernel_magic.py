"""What else a file given as a kernel may be: magic numbers, with the way out for each.

Sources: Documentation/arch/x86/boot.rst (HdrS), arch/riscv/boot-image-header.rst,
arch/arm/booting.rst (zImage), PE/COFF (machine types), each compression's own format note.
"""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class Magic:
    """``magic`` at byte ``offset`` means ``what``."""

    offset: int
    magic: bytes
    what: str
    hint: str | None = None


_ARM64 = "give a kernel for arm64"

# Order matters: an x86 or arm zImage can be an EFI program too, and more is said of it here.
FOREIGN: tuple[Magic, ...] = (
    Magic(0x202, b"HdrS", "x86 bzImage", _ARM64),
    Magic(0x24, b"\x18\x28\x6f\x01", "32-bit arm zImage", _ARM64),
    Magic(0x30, b"RISCV\0\0\0", "RISC-V Image", _ARM64),
    Magic(0x38, b"RSC\x05", "RISC-V Image", _ARM64),
    Magic(
        0,
        b"\x7fELF",
        "ELF file",
        "give arch/arm64/boot/Image, not vmlinux; from a vmlinux "
        "'aarch64-linux-gnu-objcopy -O binary vmlinux Image' makes it",
    ),
    Magic(0, b"\x27\x05\x19\x56", "U-Boot uImage", "give the Image that was put into it"),
    Magic(0, b"\xd0\x0d\xfe\xed", "device tree or FIT image", "give the Image that is in it"),
    Magic(0, b"ANDROID!", "Android boot image", "give the Image that is in it"),
    Magic(0, b"!<arch>\n", "Debian package or ar archive", "unpack it: dpkg -x FILE DIR"),
    Magic(0, b"\xed\xab\xee\xdb", "RPM package", "unpack it and give the vmlinuz in it"),
    Magic(0, b"070701", "cpio archive, maybe an initrd", "give a kernel here"),
)

# ``what`` is the compression's name, as decompression.py has it.
COMPRESSIONS: tuple[Magic, ...] = (
    Magic(0, b"\x1f\x8b", "gzip"),
    Magic(0, b"\x28\xb5\x2f\xfd", "zstd"),
    Magic(0, b"\xfd7zXZ\0", "xz"),
    Magic(0, b"BZh", "bzip2"),
    Magic(0, b"\x5d\0\0", "lzma"),
    Magic(0, b"\x02\x21\x4c\x18", "lz4"),
    Magic(0, b"\x04\x22\x4d\x18", "lz4"),
    Magic(0, b"\x89LZO\0", "lzo"),
)

PE_MACHINES = {
    0x014C: "x86",
    0x8664: "x86-64",
    0x01C0: "32-bit arm",
    0x01C2: "32-bit arm",
    0xAA64: "arm64, without a kernel's header",
    0x5032: "RISC-V 32",
    0x5064: "RISC-V 64",
    0x6232: "LoongArch 32",
    0x6264: "LoongArch 64",
}
