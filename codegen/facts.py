"""Architectural and contract numbers the generated code and the runtime both use."""

from __future__ import annotations

# SCTLR_EL1 as a kernel leaves it when the MMU goes off: the RES1 bits of ARMv8.0
# (DDI 0487, SCTLR_EL1: 11 EOS, 20 TSCXT, 22 EIS, 28 nTLSMD, 29 LSMAOE), everything else 0.
SCTLR_EL1_MMU_OFF = 0x3050_0800
# SCTLR_EL2 at the same moment, without E2H: its RES1 bits (4, 5, 11, 16, 18, 22, 23, 28, 29).
SCTLR_EL2_MMU_OFF = 0x30C5_0830

# HCR_EL2 (DDI 0487): RW bit 31, TGE bit 27, E2H bit 34.
HCR_EL2_RW = 1 << 31
HCR_EL2_TGE = 1 << 27
HCR_EL2_E2H = 1 << 34
HCR_EL2_AUTHENTICATION = 0b11 << 40  # APK, API: pointer authentication is not trapped
HCR_EL2_VHE = HCR_EL2_E2H | HCR_EL2_RW | HCR_EL2_TGE
# What an nVHE kernel starts from: RW, APK and API (bits 40, 41: pointer authentication is not
# trapped), ATA (bit 56: nor are allocation tags). Shipped kernels write exactly this.
HCR_EL2_NVHE = 0x0100_0300_8000_0000

CPTR_EL2_TZ = 1 << 8
CPTR_EL2_TSM = 1 << 12
SCTLR_EL2_ENTP2 = 1 << 60
SMCR_EL2_FA64 = 1 << 31
MDCR_EL2_E2PB = 0b11 << 12
MDCR_EL2_E2TB = 0b11 << 24
SPSR_MODE_EL2H = 0b1001
SPSR_MODE_EL1H = 0b0101
SPSR_DAIF = 0b1111 << 6
CURRENT_EL_EL1 = 1 << 2

# __boot_cpu_mode values (arch/arm64 boot contract).
BOOT_CPU_MODE_EL1 = 0xE11
BOOT_CPU_MODE_EL2 = 0xE12

# The stub's function numbers in x0, and its "no such call".
HVC_SET_VECTORS = 0
HVC_SOFT_RESTART = 1
HVC_RESET_VECTORS = 2
HVC_FINALISE_EL2 = 3
HVC_STUB_ERR = 0xBADCA11
HVC_NO_FUNCTION = 0x6B6B_A5A5_0000_0000
"""A number that no stub has a function for; its low half is that of HVC_SET_VECTORS."""

# PSCI 1.1 (ARM DEN 0022), SMC32 calling convention; a bit makes it the SMC64 one.
PSCI_CPU_SUSPEND = 0x8400_0001
PSCI_CPU_OFF = 0x8400_0002
PSCI_CPU_ON = 0x8400_0003
PSCI_MIGRATE = 0x8400_0005
PSCI_SYSTEM_OFF = 0x8400_0008
PSCI_64_BIT = 1 << 30

POISON = 0x6B6B_A5A5_6B6B_A000
"""What memory and registers hold that nobody has set: no VA, no PA, no zero. x0 to x28
hold it plus their number and 32, x29 and SP as it is."""

NEVER_CLEANED = 0x60DE_CADE_60DE_CADE
"""What a run with effects finds in memory that no cache was cleaned to: no VA, no PA, no zero, and
twice a word that is no instruction (DDI 0487, C4.1: reserved)."""

KEXEC_CONTROL_PAGE_SIZE = 4096
"""Bytes that relocation code may have, whatever the page size (the ld script's ASSERT)."""
VECTOR_TABLE_SIZE = 0x800
"""16 slots of 0x80 bytes (DDI 0487, D1.3)."""

RELOCATION = "arm64_relocate_new_kernel"
"""Symbol of the code that is copied to the control page."""

ASSEMBLY = (".S", ".s")
"""How the names of files end that are taken for assembly."""
