"""AArch64 system registers and system instructions: names, encodings and fields.

Source of every number: ARM DDI 0487, D19 "AArch64 System Register Encoding" (MRS/MSR, op0 2..3),
C5.1 "The System instruction class encoding space" (SYS: DC, IC, AT, TLBI) and, for fields, the
register descriptions of D19.2. GICv3 CPU interface registers: ARM IHI 0069, 12.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# name op0 op1 CRn CRm op2
_REGISTERS = """
OSDLR_EL1 2 0 1 3 4          OSLAR_EL1 2 0 1 0 4          MDSCR_EL1 2 0 0 2 2
MIDR_EL1 3 0 0 0 0           MPIDR_EL1 3 0 0 0 5          REVIDR_EL1 3 0 0 0 6
ID_AA64PFR0_EL1 3 0 0 4 0    ID_AA64PFR1_EL1 3 0 0 4 1    ID_AA64ZFR0_EL1 3 0 0 4 4
ID_AA64SMFR0_EL1 3 0 0 4 5   ID_AA64DFR0_EL1 3 0 0 5 0    ID_AA64DFR1_EL1 3 0 0 5 1
ID_AA64ISAR0_EL1 3 0 0 6 0   ID_AA64ISAR1_EL1 3 0 0 6 1   ID_AA64ISAR2_EL1 3 0 0 6 2
ID_AA64MMFR0_EL1 3 0 0 7 0   ID_AA64MMFR1_EL1 3 0 0 7 1   ID_AA64MMFR2_EL1 3 0 0 7 2
ID_AA64MMFR3_EL1 3 0 0 7 3   ID_AA64MMFR4_EL1 3 0 0 7 4
SCTLR_EL1 3 0 1 0 0          ACTLR_EL1 3 0 1 0 1          CPACR_EL1 3 0 1 0 2
SCTLR2_EL1 3 0 1 0 3         ZCR_EL1 3 0 1 2 0            SMPRI_EL1 3 0 1 2 4
SMCR_EL1 3 0 1 2 6
TTBR0_EL1 3 0 2 0 0          TTBR1_EL1 3 0 2 0 1          TCR_EL1 3 0 2 0 2
TCR2_EL1 3 0 2 0 3
SPSR_EL1 3 0 4 0 0           ELR_EL1 3 0 4 0 1            SP_EL0 3 0 4 1 0
SPSel 3 0 4 2 0              CurrentEL 3 0 4 2 2          PAN 3 0 4 2 3
UAO 3 0 4 2 4                ICC_PMR_EL1 3 0 4 6 0
AFSR0_EL1 3 0 5 1 0          AFSR1_EL1 3 0 5 1 1          ESR_EL1 3 0 5 2 0
FAR_EL1 3 0 6 0 0            PAR_EL1 3 0 7 4 0
PMINTENCLR_EL1 3 0 9 14 2    MAIR_EL1 3 0 10 2 0          PIRE0_EL1 3 0 10 2 2
PIR_EL1 3 0 10 2 3           AMAIR_EL1 3 0 10 3 0
VBAR_EL1 3 0 12 0 0          ISR_EL1 3 0 12 1 0           DISR_EL1 3 0 12 1 1
ICC_IAR0_EL1 3 0 12 8 0      ICC_EOIR0_EL1 3 0 12 8 1     ICC_HPPIR0_EL1 3 0 12 8 2
ICC_BPR0_EL1 3 0 12 8 3      ICC_AP0R0_EL1 3 0 12 8 4     ICC_AP1R0_EL1 3 0 12 9 0
ICC_DIR_EL1 3 0 12 11 1      ICC_RPR_EL1 3 0 12 11 3      ICC_SGI1R_EL1 3 0 12 11 5
ICC_IAR1_EL1 3 0 12 12 0     ICC_EOIR1_EL1 3 0 12 12 1    ICC_HPPIR1_EL1 3 0 12 12 2
ICC_BPR1_EL1 3 0 12 12 3     ICC_CTLR_EL1 3 0 12 12 4     ICC_SRE_EL1 3 0 12 12 5
ICC_IGRPEN0_EL1 3 0 12 12 6  ICC_IGRPEN1_EL1 3 0 12 12 7
CONTEXTIDR_EL1 3 0 13 0 1    TPIDR_EL1 3 0 13 0 4         CNTKCTL_EL1 3 0 14 1 0
CCSIDR_EL1 3 1 0 0 0         CLIDR_EL1 3 1 0 0 1          CSSELR_EL1 3 2 0 0 0
CTR_EL0 3 3 0 0 1            DCZID_EL0 3 3 0 0 7          NZCV 3 3 4 2 0
DAIF 3 3 4 2 1               FPCR 3 3 4 4 0               FPSR 3 3 4 4 1
DLR_EL0 3 3 4 5 1            PMCR_EL0 3 3 9 12 0          PMCNTENCLR_EL0 3 3 9 12 2
PMOVSCLR_EL0 3 3 9 12 3      PMCCNTR_EL0 3 3 9 13 0       PMUSERENR_EL0 3 3 9 14 0
TPIDR_EL0 3 3 13 0 2         TPIDRRO_EL0 3 3 13 0 3
CNTFRQ_EL0 3 3 14 0 0        CNTPCT_EL0 3 3 14 0 1        CNTVCT_EL0 3 3 14 0 2
CNTP_TVAL_EL0 3 3 14 2 0     CNTP_CTL_EL0 3 3 14 2 1      CNTP_CVAL_EL0 3 3 14 2 2
CNTV_TVAL_EL0 3 3 14 3 0     CNTV_CTL_EL0 3 3 14 3 1      CNTV_CVAL_EL0 3 3 14 3 2
VPIDR_EL2 3 4 0 0 0          VMPIDR_EL2 3 4 0 0 5
SCTLR_EL2 3 4 1 0 0          ACTLR_EL2 3 4 1 0 1          SCTLR2_EL2 3 4 1 0 3
HCR_EL2 3 4 1 1 0            MDCR_EL2 3 4 1 1 1           CPTR_EL2 3 4 1 1 2
HSTR_EL2 3 4 1 1 3           HFGRTR_EL2 3 4 1 1 4         HFGWTR_EL2 3 4 1 1 5
HACR_EL2 3 4 1 1 7           ZCR_EL2 3 4 1 2 0            HCRX_EL2 3 4 1 2 2
SMPRIMAP_EL2 3 4 1 2 5       SMCR_EL2 3 4 1 2 6
TTBR0_EL2 3 4 2 0 0          TTBR1_EL2 3 4 2 0 1          TCR_EL2 3 4 2 0 2
TCR2_EL2 3 4 2 0 3           VTTBR_EL2 3 4 2 1 0          VTCR_EL2 3 4 2 1 2
SPSR_EL2 3 4 4 0 0           ELR_EL2 3 4 4 0 1            SP_EL1 3 4 4 1 0
AFSR0_EL2 3 4 5 1 0          AFSR1_EL2 3 4 5 1 1          ESR_EL2 3 4 5 2 0
FAR_EL2 3 4 6 0 0            HPFAR_EL2 3 4 6 0 4
MAIR_EL2 3 4 10 2 0          PIRE0_EL2 3 4 10 2 2         PIR_EL2 3 4 10 2 3
AMAIR_EL2 3 4 10 3 0         VBAR_EL2 3 4 12 0 0
ICC_SRE_EL2 3 4 12 9 5       ICH_HCR_EL2 3 4 12 11 0      ICH_VTR_EL2 3 4 12 11 1
ICH_MISR_EL2 3 4 12 11 2     ICH_VMCR_EL2 3 4 12 11 7
CONTEXTIDR_EL2 3 4 13 0 1    TPIDR_EL2 3 4 13 0 2         CNTVOFF_EL2 3 4 14 0 3
CNTHCTL_EL2 3 4 14 1 0
CNTHP_TVAL_EL2 3 4 14 2 0    CNTHP_CTL_EL2 3 4 14 2 1     CNTHP_CVAL_EL2 3 4 14 2 2
CNTHV_TVAL_EL2 3 4 14 3 0    CNTHV_CTL_EL2 3 4 14 3 1     CNTHV_CVAL_EL2 3 4 14 3 2
SCTLR_EL12 3 5 1 0 0         CPACR_EL12 3 5 1 0 2         ZCR_EL12 3 5 1 2 0
SMCR_EL12 3 5 1 2 6          TTBR0_EL12 3 5 2 0 0         TTBR1_EL12 3 5 2 0 1
TCR_EL12 3 5 2 0 2           TCR2_EL12 3 5 2 0 3          SPSR_EL12 3 5 4 0 0
ELR_EL12 3 5 4 0 1           AFSR0_EL12 3 5 5 1 0         AFSR1_EL12 3 5 5 1 1
ESR_EL12 3 5 5 2 0           FAR_EL12 3 5 6 0 0           MAIR_EL12 3 5 10 2 0
PIRE0_EL12 3 5 10 2 2        PIR_EL12 3 5 10 2 3          AMAIR_EL12 3 5 10 3 0
VBAR_EL12 3 5 12 0 0         CONTEXTIDR_EL12 3 5 13 0 1   CNTKCTL_EL12 3 5 14 1 0
CNTP_TVAL_EL02 3 5 14 2 0    CNTP_CTL_EL02 3 5 14 2 1     CNTP_CVAL_EL02 3 5 14 2 2
CNTV_TVAL_EL02 3 5 14 3 0    CNTV_CTL_EL02 3 5 14 3 1     CNTV_CVAL_EL02 3 5 14 3 2
SCTLR_EL3 3 6 1 0 0          SCR_EL3 3 6 1 1 0            CPTR_EL3 3 6 1 1 2
MDCR_EL3 3 6 1 3 1           TTBR0_EL3 3 6 2 0 0          TCR_EL3 3 6 2 0 2
SPSR_EL3 3 6 4 0 0           ELR_EL3 3 6 4 0 1            SP_EL2 3 6 4 1 0
ESR_EL3 3 6 5 2 0            FAR_EL3 3 6 6 0 0            MAIR_EL3 3 6 10 2 0
VBAR_EL3 3 6 12 0 0          ICC_SRE_EL3 3 6 12 12 5      TPIDR_EL3 3 6 13 0 2
"""

# operation op1 CRn CRm op2 (op0 is 1)
_OPERATIONS = """
ic:ialluis 0 7 1 0      ic:iallu 0 7 5 0        ic:ivau 3 7 5 1
dc:ivac 0 7 6 1         dc:isw 0 7 6 2          dc:csw 0 7 10 2         dc:cisw 0 7 14 2
dc:zva 3 7 4 1          dc:gva 3 7 4 3          dc:gzva 3 7 4 4
dc:cvac 3 7 10 1        dc:cvau 3 7 11 1        dc:cvap 3 7 12 1        dc:cvadp 3 7 13 1
dc:civac 3 7 14 1
at:s1e1r 0 7 8 0        at:s1e1w 0 7 8 1        at:s1e0r 0 7 8 2        at:s1e0w 0 7 8 3
at:s1e1rp 0 7 9 0       at:s1e1wp 0 7 9 1       at:s1e2r 4 7 8 0        at:s1e2w 4 7 8 1
at:s12e1r 4 7 8 4       at:s12e1w 4 7 8 5       at:s12e0r 4 7 8 6       at:s12e0w 4 7 8 7
at:s1e3r 6 7 8 0        at:s1e3w 6 7 8 1
tlbi:vmalle1os 0 8 1 0  tlbi:vae1os 0 8 1 1     tlbi:aside1os 0 8 1 2   tlbi:vaae1os 0 8 1 3
tlbi:vale1os 0 8 1 5    tlbi:vaale1os 0 8 1 7
tlbi:rvae1is 0 8 2 1    tlbi:rvaae1is 0 8 2 3   tlbi:rvale1is 0 8 2 5   tlbi:rvaale1is 0 8 2 7
tlbi:vmalle1is 0 8 3 0  tlbi:vae1is 0 8 3 1     tlbi:aside1is 0 8 3 2   tlbi:vaae1is 0 8 3 3
tlbi:vale1is 0 8 3 5    tlbi:vaale1is 0 8 3 7
tlbi:rvae1os 0 8 5 1    tlbi:rvaae1os 0 8 5 3   tlbi:rvale1os 0 8 5 5   tlbi:rvaale1os 0 8 5 7
tlbi:rvae1 0 8 6 1      tlbi:rvaae1 0 8 6 3     tlbi:rvale1 0 8 6 5     tlbi:rvaale1 0 8 6 7
tlbi:vmalle1 0 8 7 0    tlbi:vae1 0 8 7 1       tlbi:aside1 0 8 7 2     tlbi:vaae1 0 8 7 3
tlbi:vale1 0 8 7 5      tlbi:vaale1 0 8 7 7
tlbi:ipas2e1is 4 8 0 1  tlbi:ripas2e1is 4 8 0 2 tlbi:ipas2le1is 4 8 0 5
tlbi:ripas2le1is 4 8 0 6
tlbi:alle2os 4 8 1 0    tlbi:vae2os 4 8 1 1     tlbi:alle1os 4 8 1 4    tlbi:vale2os 4 8 1 5
tlbi:vmalls12e1os 4 8 1 6
tlbi:rvae2is 4 8 2 1    tlbi:rvale2is 4 8 2 5
tlbi:alle2is 4 8 3 0    tlbi:vae2is 4 8 3 1     tlbi:alle1is 4 8 3 4    tlbi:vale2is 4 8 3 5
tlbi:vmalls12e1is 4 8 3 6
tlbi:ipas2e1os 4 8 4 0  tlbi:ipas2e1 4 8 4 1    tlbi:ripas2e1 4 8 4 2   tlbi:ripas2e1os 4 8 4 3
tlbi:ipas2le1os 4 8 4 4 tlbi:ipas2le1 4 8 4 5   tlbi:ripas2le1 4 8 4 6  tlbi:ripas2le1os 4 8 4 7
tlbi:rvae2os 4 8 5 1    tlbi:rvale2os 4 8 5 5   tlbi:rvae2 4 8 6 1      tlbi:rvale2 4 8 6 5
tlbi:alle2 4 8 7 0      tlbi:vae2 4 8 7 1       tlbi:alle1 4 8 7 4      tlbi:vale2 4 8 7 5
tlbi:vmalls12e1 4 8 7 6
tlbi:alle3os 6 8 1 0    tlbi:alle3is 6 8 3 0    tlbi:vae3is 6 8 3 1     tlbi:vale3is 6 8 3 5
tlbi:alle3 6 8 7 0      tlbi:vae3 6 8 7 1       tlbi:vale3 6 8 7 5
"""

# register family (name without _ELx) -> field -> (high bit, low bit)
FIELDS: dict[str, dict[str, tuple[int, int]]] = {
    "SCTLR": {
        "M": (0, 0),
        "A": (1, 1),
        "C": (2, 2),
        "SA": (3, 3),
        "I": (12, 12),
        "WXN": (19, 19),
        "SPAN": (23, 23),
        "EE": (25, 25),
        "DSSBS": (44, 44),
    },
    "HCR": {
        "VM": (0, 0),
        "SWIO": (1, 1),
        "FMO": (3, 3),
        "IMO": (4, 4),
        "AMO": (5, 5),
        "TSC": (19, 19),
        "TVM": (26, 26),
        "TGE": (27, 27),
        "HCD": (29, 29),
        "RW": (31, 31),
        "E2H": (34, 34),
    },
    "TCR": {
        "T0SZ": (5, 0),
        "EPD0": (7, 7),
        "TG0": (15, 14),
        "T1SZ": (21, 16),
        "A1": (22, 22),
        "EPD1": (23, 23),
        "TG1": (31, 30),
        "IPS": (34, 32),
        "AS": (36, 36),
        "HA": (39, 39),
        "HD": (40, 40),
        "DS": (59, 59),
    },
    "CTR": {
        "IminLine": (3, 0),
        "L1Ip": (15, 14),
        "DminLine": (19, 16),
        "ERG": (23, 20),
        "CWG": (27, 24),
        "IDC": (28, 28),
        "DIC": (29, 29),
    },
    "SCR": {"NS": (0, 0), "SMD": (7, 7), "HCE": (8, 8), "RW": (10, 10)},
    "PSTATE": {
        "NZCV": (31, 28),
        "PAN": (22, 22),
        "IL": (20, 20),
        "D": (9, 9),
        "A": (8, 8),
        "I": (7, 7),
        "F": (6, 6),
        "nRW": (4, 4),
        "EL": (3, 2),
        "SP": (0, 0),
    },
}
FIELDS["SPSR"] = FIELDS["PSTATE"]

# MSR (immediate): (op1, op2) -> PSTATE field (C6.2, MSR (immediate)).
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


def _parse(table: str, fixed: tuple[int, ...]) -> dict[str, int]:
    words = table.split()
    step = 6 - len(fixed)
    return {
        words[at].replace(":", " "): encode_key(*fixed, *map(int, words[at + 1 : at + step]))
        for at in range(0, len(words), step)
    }


REGISTERS: dict[str, int] = _parse(_REGISTERS, ())
OPERATIONS: dict[str, int] = _parse(_OPERATIONS, (1,))
_REGISTER_NAMES = {key: name for name, key in REGISTERS.items()}
_OPERATION_NAMES = {key: name for name, key in OPERATIONS.items()}
_UPPER = {name.upper(): key for name, key in REGISTERS.items()}


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


def field(name: str, value: int, field_name: str) -> int:
    """One field of register ``name``'s ``value``: ``field("TCR_EL1", tcr, "T0SZ")``."""
    high, low = FIELDS[_family(name)][field_name]
    return value >> low & (1 << high - low + 1) - 1


def describe(name: str, value: int) -> str:
    """``value`` in hex with the set fields the table knows: ``0x30d00801 (M=1 I=0 ...)``."""
    fields = FIELDS.get(_family(name))
    if fields is None:
        return f"{value:#x}"
    return f"{value:#x} (" + " ".join(f"{key}={field(name, value, key):#x}" for key in fields) + ")"


def _family(name: str) -> str:
    return name.upper().split("_", 1)[0]
