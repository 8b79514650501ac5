"""Files that relokit once took and made something else of, or that GNU refuses: always tried."""

from __future__ import annotations

_GAS = {
    "gas/all": "warn-1",
    "gas/cfi": "cfi-diag-1",
    "gas/elf": "dwarf2-10 dwarf2-8 ehopt0 pr14891 pr27355 section2",
    "llvm/AArch64": "arm64-condbr-without-dots dot-req-case-insensitive arm64-aliases "
    "neon-simd-ldst-multi-elem neon-compare-instructions neon-facge-facgt",
    "llvm/AsmParser": "ifc",
    "llvm/ELF": "debug-md5 dwarf-loc0",
}
FILES = frozenset(f"{folder}/{name}.s" for folder, names in _GAS.items() for name in names.split())
_LD = {
    "ld-scripts": "align-with-input.d align-with-input.t alignof.t assign-loc.d expr2.t phdrs2.t",
    "ld-elf": "expr1.t merge.d merge2.d merge3.d merge.ld pr16498a.t pr25022.d pr26256-2a.d "
    "pr26256-3b.d provide-hidden-2.ld",
    "ld-aarch64": "variant_pcs.ld",
    "lld": "at-addr.s empty-synthetic-removed-flags.s got-write-offset.s linkorder.s loadaddr.s "
    "orphan-discard.s orphan-report.s sections-padding.s sections.s sort.s symbol-ordering-file.s",
}
SCRIPTS = frozenset(f"{folder}/{name}" for folder, names in _LD.items() for name in names.split())
