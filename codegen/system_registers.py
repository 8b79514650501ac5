"""AArch64 system registers and system instructions: their names and encodings, in one table.

Source of every number: ARM DDI 0487, D19 "AArch64 System Register Encoding" (MRS/MSR, op0 2..3),
C5.1 "The System instruction class encoding space" (SYS: DC, IC, AT, TLBI), C5.2 (PSTATE fields).
GICv3 CPU interface registers: ARM IHI 0069, 12.2.
"""

from __future__ import annotations

import re

from relokit.codegen.base.nouns import dataclass

# name=op0:op1:CRn:CRm:op2
_REGISTERS = """
MDSCR_EL1=2:0:0:2:2 OSLAR_EL1=2:0:1:0:4 OSDLR_EL1=2:0:1:3:4 MIDR_EL1=3:0:0:0:0 MPIDR_EL1=3:0:0:0:5
REVIDR_EL1=3:0:0:0:6 ID_ISAR6_EL1=3:0:0:2:7 ID_PFR2_EL1=3:0:0:3:4 ID_DFR1_EL1=3:0:0:3:5
ID_MMFR5_EL1=3:0:0:3:6 ID_AA64PFR0_EL1=3:0:0:4:0 ID_AA64PFR1_EL1=3:0:0:4:1
ID_AA64PFR2_EL1=3:0:0:4:2 ID_AA64ZFR0_EL1=3:0:0:4:4 ID_AA64SMFR0_EL1=3:0:0:4:5
ID_AA64DFR0_EL1=3:0:0:5:0 ID_AA64DFR1_EL1=3:0:0:5:1 ID_AA64ISAR0_EL1=3:0:0:6:0
ID_AA64ISAR1_EL1=3:0:0:6:1 ID_AA64ISAR2_EL1=3:0:0:6:2 ID_AA64ISAR3_EL1=3:0:0:6:3
ID_AA64MMFR0_EL1=3:0:0:7:0 ID_AA64MMFR1_EL1=3:0:0:7:1 ID_AA64MMFR2_EL1=3:0:0:7:2
ID_AA64MMFR3_EL1=3:0:0:7:3 ID_AA64MMFR4_EL1=3:0:0:7:4 SCTLR_EL1=3:0:1:0:0 ACTLR_EL1=3:0:1:0:1
CPACR_EL1=3:0:1:0:2 SCTLR2_EL1=3:0:1:0:3 GCR_EL1=3:0:1:0:6 ZCR_EL1=3:0:1:2:0 TRFCR_EL1=3:0:1:2:1
SMPRI_EL1=3:0:1:2:4 SMCR_EL1=3:0:1:2:6 TTBR0_EL1=3:0:2:0:0 TTBR1_EL1=3:0:2:0:1 TCR_EL1=3:0:2:0:2
TCR2_EL1=3:0:2:0:3 APIAKEYLO_EL1=3:0:2:1:0 APIAKEYHI_EL1=3:0:2:1:1 APIBKEYLO_EL1=3:0:2:1:2
APIBKEYHI_EL1=3:0:2:1:3 APDAKEYLO_EL1=3:0:2:2:0 APDAKEYHI_EL1=3:0:2:2:1 APDBKEYLO_EL1=3:0:2:2:2
APDBKEYHI_EL1=3:0:2:2:3 APGAKEYLO_EL1=3:0:2:3:0 APGAKEYHI_EL1=3:0:2:3:1 SPSR_EL1=3:0:4:0:0
ELR_EL1=3:0:4:0:1 SP_EL0=3:0:4:1:0 SPSel=3:0:4:2:0 CurrentEL=3:0:4:2:2 PAN=3:0:4:2:3 UAO=3:0:4:2:4
ALLINT=3:0:4:3:0 ICC_PMR_EL1=3:0:4:6:0 AFSR0_EL1=3:0:5:1:0 AFSR1_EL1=3:0:5:1:1 ESR_EL1=3:0:5:2:0
ERRIDR_EL1=3:0:5:3:0 ERRSELR_EL1=3:0:5:3:1 ERXFR_EL1=3:0:5:4:0 ERXCTLR_EL1=3:0:5:4:1
ERXSTATUS_EL1=3:0:5:4:2 ERXADDR_EL1=3:0:5:4:3 ERXPFGF_EL1=3:0:5:4:4 ERXPFGCTL_EL1=3:0:5:4:5
ERXPFGCDN_EL1=3:0:5:4:6 ERXMISC0_EL1=3:0:5:5:0 ERXMISC1_EL1=3:0:5:5:1 ERXMISC2_EL1=3:0:5:5:2
ERXMISC3_EL1=3:0:5:5:3 TFSR_EL1=3:0:5:6:0 TFSRE0_EL1=3:0:5:6:1 FAR_EL1=3:0:6:0:0 PAR_EL1=3:0:7:4:0
PMBLIMITR_EL1=3:0:9:10:0 PMBPTR_EL1=3:0:9:10:1 PMBSR_EL1=3:0:9:10:3 PMBIDR_EL1=3:0:9:10:7
PMINTENCLR_EL1=3:0:9:14:2 MAIR_EL1=3:0:10:2:0 PIRE0_EL1=3:0:10:2:2 PIR_EL1=3:0:10:2:3
AMAIR_EL1=3:0:10:3:0 LORSA_EL1=3:0:10:4:0 LOREA_EL1=3:0:10:4:1 LORN_EL1=3:0:10:4:2
LORC_EL1=3:0:10:4:3 LORID_EL1=3:0:10:4:7 VBAR_EL1=3:0:12:0:0 ISR_EL1=3:0:12:1:0
DISR_EL1=3:0:12:1:1 ICC_IAR0_EL1=3:0:12:8:0 ICC_EOIR0_EL1=3:0:12:8:1 ICC_HPPIR0_EL1=3:0:12:8:2
ICC_BPR0_EL1=3:0:12:8:3 ICC_AP0R0_EL1=3:0:12:8:4 ICC_AP1R0_EL1=3:0:12:9:0 ICC_DIR_EL1=3:0:12:11:1
ICC_RPR_EL1=3:0:12:11:3 ICC_SGI1R_EL1=3:0:12:11:5 ICC_IAR1_EL1=3:0:12:12:0
ICC_EOIR1_EL1=3:0:12:12:1 ICC_HPPIR1_EL1=3:0:12:12:2 ICC_BPR1_EL1=3:0:12:12:3
ICC_CTLR_EL1=3:0:12:12:4 ICC_SRE_EL1=3:0:12:12:5 ICC_IGRPEN0_EL1=3:0:12:12:6
ICC_IGRPEN1_EL1=3:0:12:12:7 CONTEXTIDR_EL1=3:0:13:0:1 TPIDR_EL1=3:0:13:0:4 SCXTNUM_EL1=3:0:13:0:7
CNTKCTL_EL1=3:0:14:1:0 CCSIDR_EL1=3:1:0:0:0 CLIDR_EL1=3:1:0:0:1 CCSIDR2_EL1=3:1:0:0:2
SMIDR_EL1=3:1:0:0:6 CSSELR_EL1=3:2:0:0:0 CTR_EL0=3:3:0:0:1 DCZID_EL0=3:3:0:0:7 RNDR=3:3:2:4:0
RNDRRS=3:3:2:4:1 NZCV=3:3:4:2:0 DAIF=3:3:4:2:1 SVCR=3:3:4:2:2 DIT=3:3:4:2:5 SSBS=3:3:4:2:6
TCO=3:3:4:2:7 FPCR=3:3:4:4:0 FPSR=3:3:4:4:1 DLR_EL0=3:3:4:5:1 PMCR_EL0=3:3:9:12:0
PMCNTENCLR_EL0=3:3:9:12:2 PMOVSCLR_EL0=3:3:9:12:3 PMCCNTR_EL0=3:3:9:13:0 PMUSERENR_EL0=3:3:9:14:0
TPIDR_EL0=3:3:13:0:2 TPIDRRO_EL0=3:3:13:0:3 TPIDR2_EL0=3:3:13:0:5 SCXTNUM_EL0=3:3:13:0:7
CNTFRQ_EL0=3:3:14:0:0 CNTPCT_EL0=3:3:14:0:1 CNTVCT_EL0=3:3:14:0:2 CNTPCTSS_EL0=3:3:14:0:5
CNTVCTSS_EL0=3:3:14:0:6 CNTP_TVAL_EL0=3:3:14:2:0 CNTP_CTL_EL0=3:3:14:2:1 CNTP_CVAL_EL0=3:3:14:2:2
CNTV_TVAL_EL0=3:3:14:3:0 CNTV_CTL_EL0=3:3:14:3:1 CNTV_CVAL_EL0=3:3:14:3:2 VPIDR_EL2=3:4:0:0:0
VMPIDR_EL2=3:4:0:0:5 SCTLR_EL2=3:4:1:0:0 ACTLR_EL2=3:4:1:0:1 SCTLR2_EL2=3:4:1:0:3
HCR_EL2=3:4:1:1:0 MDCR_EL2=3:4:1:1:1 CPTR_EL2=3:4:1:1:2 HSTR_EL2=3:4:1:1:3 HFGRTR_EL2=3:4:1:1:4
HFGWTR_EL2=3:4:1:1:5 HFGITR_EL2=3:4:1:1:6 HACR_EL2=3:4:1:1:7 ZCR_EL2=3:4:1:2:0 TRFCR_EL2=3:4:1:2:1
HCRX_EL2=3:4:1:2:2 SMPRIMAP_EL2=3:4:1:2:5 SMCR_EL2=3:4:1:2:6 TTBR0_EL2=3:4:2:0:0
TTBR1_EL2=3:4:2:0:1 TCR_EL2=3:4:2:0:2 TCR2_EL2=3:4:2:0:3 VTTBR_EL2=3:4:2:1:0 VTCR_EL2=3:4:2:1:2
VNCR_EL2=3:4:2:2:0 VSTTBR_EL2=3:4:2:6:0 VSTCR_EL2=3:4:2:6:2 HDFGRTR_EL2=3:4:3:1:4
HDFGWTR_EL2=3:4:3:1:5 HAFGRTR_EL2=3:4:3:1:6 SPSR_EL2=3:4:4:0:0 ELR_EL2=3:4:4:0:1 SP_EL1=3:4:4:1:0
AFSR0_EL2=3:4:5:1:0 AFSR1_EL2=3:4:5:1:1 ESR_EL2=3:4:5:2:0 VSESR_EL2=3:4:5:2:3 TFSR_EL2=3:4:5:6:0
FAR_EL2=3:4:6:0:0 HPFAR_EL2=3:4:6:0:4 MAIR_EL2=3:4:10:2:0 PIRE0_EL2=3:4:10:2:2 PIR_EL2=3:4:10:2:3
AMAIR_EL2=3:4:10:3:0 VBAR_EL2=3:4:12:0:0 VDISR_EL2=3:4:12:1:1 ICC_SRE_EL2=3:4:12:9:5
ICH_HCR_EL2=3:4:12:11:0 ICH_VTR_EL2=3:4:12:11:1 ICH_MISR_EL2=3:4:12:11:2 ICH_VMCR_EL2=3:4:12:11:7
CONTEXTIDR_EL2=3:4:13:0:1 TPIDR_EL2=3:4:13:0:2 SCXTNUM_EL2=3:4:13:0:7 CNTVOFF_EL2=3:4:14:0:3
CNTPOFF_EL2=3:4:14:0:6 CNTHCTL_EL2=3:4:14:1:0 CNTHP_TVAL_EL2=3:4:14:2:0 CNTHP_CTL_EL2=3:4:14:2:1
CNTHP_CVAL_EL2=3:4:14:2:2 CNTHV_TVAL_EL2=3:4:14:3:0 CNTHV_CTL_EL2=3:4:14:3:1
CNTHV_CVAL_EL2=3:4:14:3:2 CNTHVS_TVAL_EL2=3:4:14:4:0 CNTHVS_CTL_EL2=3:4:14:4:1
CNTHVS_CVAL_EL2=3:4:14:4:2 CNTHPS_TVAL_EL2=3:4:14:5:0 CNTHPS_CTL_EL2=3:4:14:5:1
CNTHPS_CVAL_EL2=3:4:14:5:2 SCTLR_EL12=3:5:1:0:0 CPACR_EL12=3:5:1:0:2 SCTLR2_EL12=3:5:1:0:3
ZCR_EL12=3:5:1:2:0 TRFCR_EL12=3:5:1:2:1 SMCR_EL12=3:5:1:2:6 TTBR0_EL12=3:5:2:0:0
TTBR1_EL12=3:5:2:0:1 TCR_EL12=3:5:2:0:2 TCR2_EL12=3:5:2:0:3 SPSR_EL12=3:5:4:0:0 ELR_EL12=3:5:4:0:1
AFSR0_EL12=3:5:5:1:0 AFSR1_EL12=3:5:5:1:1 ESR_EL12=3:5:5:2:0 TFSR_EL12=3:5:5:6:0
FAR_EL12=3:5:6:0:0 MAIR_EL12=3:5:10:2:0 PIRE0_EL12=3:5:10:2:2 PIR_EL12=3:5:10:2:3
AMAIR_EL12=3:5:10:3:0 VBAR_EL12=3:5:12:0:0 CONTEXTIDR_EL12=3:5:13:0:1 SCXTNUM_EL12=3:5:13:0:7
CNTKCTL_EL12=3:5:14:1:0 CNTP_TVAL_EL02=3:5:14:2:0 CNTP_CTL_EL02=3:5:14:2:1
CNTP_CVAL_EL02=3:5:14:2:2 CNTV_TVAL_EL02=3:5:14:3:0 CNTV_CTL_EL02=3:5:14:3:1
CNTV_CVAL_EL02=3:5:14:3:2 SCTLR_EL3=3:6:1:0:0 SCR_EL3=3:6:1:1:0 CPTR_EL3=3:6:1:1:2
ZCR_EL3=3:6:1:2:0 SMCR_EL3=3:6:1:2:6 MDCR_EL3=3:6:1:3:1 TTBR0_EL3=3:6:2:0:0 TCR_EL3=3:6:2:0:2
SPSR_EL3=3:6:4:0:0 ELR_EL3=3:6:4:0:1 SP_EL2=3:6:4:1:0 ESR_EL3=3:6:5:2:0 TFSR_EL3=3:6:5:6:0
FAR_EL3=3:6:6:0:0 MAIR_EL3=3:6:10:2:0 VBAR_EL3=3:6:12:0:0 ICC_SRE_EL3=3:6:12:12:5
TPIDR_EL3=3:6:13:0:2 SCXTNUM_EL3=3:6:13:0:7
"""

ALIASES = {"SPSR_SVC": "SPSR_EL1", "SPSR_HYP": "SPSR_EL2"}
"""Second names of registers."""

# instruction:operation=op1:CRn:CRm:op2 (op0 is 1)
_OPERATIONS = """
ic:ialluis=0:7:1:0 ic:iallu=0:7:5:0 dc:ivac=0:7:6:1 dc:isw=0:7:6:2 dc:igvac=0:7:6:3
dc:igsw=0:7:6:4 dc:igdvac=0:7:6:5 dc:igdsw=0:7:6:6 at:s1e1r=0:7:8:0 at:s1e1w=0:7:8:1
at:s1e0r=0:7:8:2 at:s1e0w=0:7:8:3 at:s1e1rp=0:7:9:0 at:s1e1wp=0:7:9:1 dc:csw=0:7:10:2
dc:cgsw=0:7:10:4 dc:cgdsw=0:7:10:6 dc:cisw=0:7:14:2 dc:cigsw=0:7:14:4 dc:cigdsw=0:7:14:6
tlbi:vmalle1os=0:8:1:0 tlbi:vae1os=0:8:1:1 tlbi:aside1os=0:8:1:2 tlbi:vaae1os=0:8:1:3
tlbi:vale1os=0:8:1:5 tlbi:vaale1os=0:8:1:7 tlbi:rvae1is=0:8:2:1 tlbi:rvaae1is=0:8:2:3
tlbi:rvale1is=0:8:2:5 tlbi:rvaale1is=0:8:2:7 tlbi:vmalle1is=0:8:3:0 tlbi:vae1is=0:8:3:1
tlbi:aside1is=0:8:3:2 tlbi:vaae1is=0:8:3:3 tlbi:vale1is=0:8:3:5 tlbi:vaale1is=0:8:3:7
tlbi:rvae1os=0:8:5:1 tlbi:rvaae1os=0:8:5:3 tlbi:rvale1os=0:8:5:5 tlbi:rvaale1os=0:8:5:7
tlbi:rvae1=0:8:6:1 tlbi:rvaae1=0:8:6:3 tlbi:rvale1=0:8:6:5 tlbi:rvaale1=0:8:6:7
tlbi:vmalle1=0:8:7:0 tlbi:vae1=0:8:7:1 tlbi:aside1=0:8:7:2 tlbi:vaae1=0:8:7:3 tlbi:vale1=0:8:7:5
tlbi:vaale1=0:8:7:7 dc:zva=3:7:4:1 dc:gva=3:7:4:3 dc:gzva=3:7:4:4 ic:ivau=3:7:5:1 dc:cvac=3:7:10:1
dc:cgvac=3:7:10:3 dc:cgdvac=3:7:10:5 dc:cvau=3:7:11:1 dc:cvap=3:7:12:1 dc:cgvap=3:7:12:3
dc:cgdvap=3:7:12:5 dc:cvadp=3:7:13:1 dc:cgvadp=3:7:13:3 dc:cgdvadp=3:7:13:5 dc:civac=3:7:14:1
dc:cigvac=3:7:14:3 dc:cigdvac=3:7:14:5 at:s1e2r=4:7:8:0 at:s1e2w=4:7:8:1 at:s12e1r=4:7:8:4
at:s12e1w=4:7:8:5 at:s12e0r=4:7:8:6 at:s12e0w=4:7:8:7 tlbi:ipas2e1is=4:8:0:1
tlbi:ripas2e1is=4:8:0:2 tlbi:ipas2le1is=4:8:0:5 tlbi:ripas2le1is=4:8:0:6 tlbi:alle2os=4:8:1:0
tlbi:vae2os=4:8:1:1 tlbi:alle1os=4:8:1:4 tlbi:vale2os=4:8:1:5 tlbi:vmalls12e1os=4:8:1:6
tlbi:rvae2is=4:8:2:1 tlbi:rvale2is=4:8:2:5 tlbi:alle2is=4:8:3:0 tlbi:vae2is=4:8:3:1
tlbi:alle1is=4:8:3:4 tlbi:vale2is=4:8:3:5 tlbi:vmalls12e1is=4:8:3:6 tlbi:ipas2e1os=4:8:4:0
tlbi:ipas2e1=4:8:4:1 tlbi:ripas2e1=4:8:4:2 tlbi:ripas2e1os=4:8:4:3 tlbi:ipas2le1os=4:8:4:4
tlbi:ipas2le1=4:8:4:5 tlbi:ripas2le1=4:8:4:6 tlbi:ripas2le1os=4:8:4:7 tlbi:rvae2os=4:8:5:1
tlbi:rvale2os=4:8:5:5 tlbi:rvae2=4:8:6:1 tlbi:rvale2=4:8:6:5 tlbi:alle2=4:8:7:0 tlbi:vae2=4:8:7:1
tlbi:alle1=4:8:7:4 tlbi:vale2=4:8:7:5 tlbi:vmalls12e1=4:8:7:6 at:s1e3r=6:7:8:0 at:s1e3w=6:7:8:1
dc:cipapa=6:7:14:1 dc:cigdpapa=6:7:14:5 tlbi:alle3os=6:8:1:0 tlbi:vae3os=6:8:1:1
tlbi:paallos=6:8:1:4 tlbi:vale3os=6:8:1:5 tlbi:rvae3is=6:8:2:1 tlbi:rvale3is=6:8:2:5
tlbi:alle3is=6:8:3:0 tlbi:vae3is=6:8:3:1 tlbi:vale3is=6:8:3:5 tlbi:rpaos=6:8:4:3
tlbi:rpalos=6:8:4:7 tlbi:rvae3os=6:8:5:1 tlbi:rvale3os=6:8:5:5 tlbi:rvae3=6:8:6:1
tlbi:rvale3=6:8:6:5 tlbi:alle3=6:8:7:0 tlbi:vae3=6:8:7:1 tlbi:paall=6:8:7:4 tlbi:vale3=6:8:7:5
"""

_PSTATE_FIELDS = {
    (0, 3): "UAO",
    (0, 4): "PAN",
    (0, 5): "SPSel",
    (3, 1): "SSBS",
    (3, 2): "DIT",
    (3, 4): "TCO",
    (3, 6): "DAIFSet",
    (3, 7): "DAIFClr",
}

_GENERIC = re.compile(r"S([0-3])_([0-7])_C(\d{1,2})_C(\d{1,2})_([0-7])")


def encode_key(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """Pack an encoding into 16 bits, as bits 20:5 of the instruction hold it."""
    return op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


def split_key(key: int) -> tuple[int, int, int, int, int]:
    """Unpack :func:`encode_key`: (op0, op1, CRn, CRm, op2)."""
    return key >> 14 & 3, key >> 11 & 7, key >> 7 & 15, key >> 3 & 15, key & 7


def _parse(table: str, *fixed: int) -> dict[str, int]:
    entries = (entry.partition("=") for entry in table.split())
    return {
        name.replace(":", " "): encode_key(*fixed, *map(int, code.split(":")))
        for name, _, code in entries
    }


REGISTERS: dict[str, int] = _parse(_REGISTERS)
OPERATIONS: dict[str, int] = _parse(_OPERATIONS, 1)
_REGISTER_NAMES = {key: name for name, key in REGISTERS.items()}
_OPERATION_NAMES = {key: name for name, key in OPERATIONS.items()}
_UPPER = {name.upper(): key for name, key in REGISTERS.items()}
_UPPER |= {alias: _UPPER[name] for alias, name in ALIASES.items()}


def register_key(name: str) -> int:
    """Encoding of a register by name (any case) or ``S3_0_C1_C0_0``; KeyError names it."""
    upper = name.upper()
    if upper in _UPPER:
        return _UPPER[upper]
    generic = _GENERIC.fullmatch(upper)
    if generic:
        op0, op1, crn, crm, op2 = map(int, generic.groups())
        if crn < 16 and crm < 16:
            return encode_key(op0, op1, crn, crm, op2)
    raise KeyError(f"no system register {name!r}")


def register_name(key: int) -> str:
    """Name of an encoding; one the table lacks is spelt ``S<op0>_<op1>_C<n>_C<m>_<op2>``."""
    op0, op1, crn, crm, op2 = split_key(key)
    return _REGISTER_NAMES.get(key, f"S{op0}_{op1}_C{crn}_C{crm}_{op2}")


def operation_name(key: int) -> str:
    """``dc civac``, ``tlbi vmalle1`` ...; an unknown one is ``sys #op1, Cn, Cm, #op2``."""
    _, op1, crn, crm, op2 = split_key(key)
    return _OPERATION_NAMES.get(key, f"sys #{op1}, C{crn}, C{crm}, #{op2}")


@dataclass(frozen=True, slots=True)
class SystemInstruction:
    """A decoded MRS, MSR, MSR (immediate), SYS or SYSL.

    ``form`` is ``mrs``, ``msr``, ``msr-imm``, ``sys`` or ``sysl``; ``name`` the register,
    operation or PSTATE field; ``key`` its encoding; ``rt`` the general register (31: XZR), or
    the immediate of ``msr-imm``.
    """

    form: str
    name: str
    key: int
    rt: int

    @property
    def text(self) -> str:
        """The instruction as GNU as spells it, in lower case."""
        register = "xzr" if self.rt == 31 else f"x{self.rt}"
        name = self.name.lower()
        match self.form:
            case "mrs":
                return f"mrs {register}, {name}"
            case "msr":
                return f"msr {name}, {register}"
            case "msr-imm":
                return f"msr {name}, #{self.rt}"
            case "sysl":
                _, op1, crn, crm, op2 = split_key(self.key)
                return f"sysl {register}, #{op1}, C{crn}, C{crm}, #{op2}"
        return self.name if self.rt == 31 else f"{self.name}, {register}"


def decode_system(word: int) -> SystemInstruction | None:
    """Decode an instruction word of the System class; None if it is none of the five forms."""
    key, rt = word >> 5 & 0xFFFF, word & 31
    if word & 0xFFF00000 == 0xD5300000:
        return SystemInstruction("mrs", register_name(key), key, rt)
    if word & 0xFFF00000 == 0xD5100000:
        return SystemInstruction("msr", register_name(key), key, rt)
    if word & 0xFFF80000 == 0xD5080000:
        return SystemInstruction("sys", operation_name(key), key, rt)
    if word & 0xFFF80000 == 0xD5280000:
        return SystemInstruction("sysl", operation_name(key), key, rt)
    if word & 0xFFF8F01F == 0xD500401F:
        field = _PSTATE_FIELDS.get((word >> 16 & 7, word >> 5 & 7))
        if field:
            return SystemInstruction("msr-imm", field, key, word >> 8 & 15)
    return None
