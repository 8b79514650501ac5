"""ELF64 as numbers: the records and constants that reader and writer share (gABI)."""

from __future__ import annotations

import struct

ET_REL = 1
ET_EXEC = 2
ET_DYN = 3
ET_CORE = 4

PT_LOAD = 1
PT_NOTE = 4
PT_PHDR = 6

SHT_SYMTAB = 2
SHT_STRTAB = 3
SHT_RELA = 4
SHT_REL = 9
SHT_INIT_ARRAY = 14
SHT_FINI_ARRAY = 15
SHT_PREINIT_ARRAY = 16
SHT_SYMTAB_SHNDX = 18

SHF_INFO_LINK = 0x40
SHF_TLS = 0x400
SHF_COMPRESSED = 0x800

SHN_UNDEF = 0
SHN_LORESERVE = 0xFF00
SHN_ABS = 0xFFF1
SHN_COMMON = 0xFFF2
SHN_XINDEX = 0xFFFF
"""The number is elsewhere: in section 0, or in the table of type SHT_SYMTAB_SHNDX."""
COMMON = "COMMON"
"""Name of the sections that hold what ``.comm`` asks for (``*(COMMON)``)."""

STV_DEFAULT = 0
STV_INTERNAL = 1
STV_HIDDEN = 2

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
SHDR = struct.Struct("<IIQQQQIIQQ")
SYM = struct.Struct("<IBBHQQ")
SHNDX = struct.Struct("<I")
RELA = struct.Struct("<QQq")

ELF_MAGIC = b"\x7fELF"
IDENT = ELF_MAGIC + b"\x02\x01\x01" + bytes(9)
"""e_ident: 64-bit, little-endian, version 1, System V."""

PAGE = 4096
"""Bytes of the pages that segments are cut for, as with ld's -z max-page-size=4096."""
