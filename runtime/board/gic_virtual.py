"""System registers of a GICv3 that only keep what is written: ARM IHI 0069, 12.2 and 12.4.

SRE has system registers enabled for good. ICH registers are for a hypervisor with a guest, which
is not modelled: ICH_VTR_EL2 promises four list registers.
"""

from __future__ import annotations

KEPT: dict[str, int] = {
    "ICC_SRE_EL1": 0b111,
    "ICC_SRE_EL2": 0b1111,
    "ICH_HCR_EL2": 0,
    "ICH_VTR_EL2": 4 << 29 | 4 << 26 | 3,
    "ICH_VMCR_EL2": 0,
    "ICH_MISR_EL2": 0,
    "S3_4_C12_C11_3": 0,  # ICH_EISR_EL2
    "S3_4_C12_C11_5": 0xF,  # ICH_ELRSR_EL2: no list register is in use
    "S3_4_C12_C8_0": 0,  # ICH_AP0R0_EL2
    "S3_4_C12_C9_0": 0,  # ICH_AP1R0_EL2
    **{f"S3_4_C12_C12_{number}": 0 for number in range(4)},  # ICH_LR0_EL2 to ICH_LR3_EL2
}
"""Name and value at reset."""
