"""What a CPU's ID registers promise to code: fields of four bits (ARM DDI 0487, D19.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

_FIELDS = {
    # FP and AdvSIMD are there, or nothing runs: their fields have a sign.
    "ID_AA64PFR0_EL1": "- - - - - - GIC RAS SVE SEL2 MPAM AMU DIT RME",
    "ID_AA64PFR1_EL1": "BT SSBS MTE - - - SME - - NMI - GCS THE",
    "ID_AA64ISAR0_EL1": ("- AES SHA1 SHA2 CRC32 Atomic TME RDM SHA3 SM3 SM4 DP FHM TS TLB RNDR"),
    "ID_AA64ISAR1_EL1": (
        "DPB APA API JSCVT FCMA LRCPC GPA GPI FRINTTS SB SPECRES BF16 DGH I8MM XS LS64"
    ),
    "ID_AA64ISAR2_EL1": "WFxT RPRES GPA3 APA3 MOPS BC - CLRBHB - - PRFMSLC - RPRFM CSSC",
    "ID_AA64MMFR0_EL1": "PARange ASIDBits - - - - - - - - - - - - FGT ECV",
    "ID_AA64MMFR1_EL1": "HAFDBS VMIDBits VH HPDS LO PAN - XNX TWED ETS HCX AFP - TIDCP1",
    "ID_AA64MMFR2_EL1": "CnP UAO LSM IESB - CCIDX NV ST AT IDS FWB - TTL BBM EVT E0PD",
    "ID_AA64MMFR3_EL1": "TCRX SCTLRX S1PIE S2PIE S1POE S2POE AIE MEC D128 D128_2",
    # Code that keeps instructions and data apart leaves maintenance out by them.
    "CTR_EL0": "- - - - - - - IDC/DIC",
}
"""Names from bit 0 up; what is no feature that code uses is a dash."""
_BITS = 4


def promised(told: Mapping[str, int], seen: Callable[[str], int]) -> Iterator[str]:
    """Fields of the ID registers ``told`` that promise more than the CPU that is ``seen`` has."""
    for register, names in _FIELDS.items():
        if register not in told:
            continue
        own = seen(register)
        for number, name in enumerate(names.split()):
            wanted = told[register] >> number * _BITS & 0xF
            if name != "-" and wanted > own >> number * _BITS & 0xF:
                yield f"{register}.{name} = {wanted}"
