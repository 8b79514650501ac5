"""System registers that the machine says nothing of, so that assembly may name them.

Debug and trace, branch records, profiling, performance and activity monitors, memory partitioning,
the MPU of the R profile; and read-only or write-only ones, which the assembler takes in both ways.

Source of every number: ARM DDI 0487, D19 "AArch64 System Register Encoding"; GICv3: ARM IHI 0069,
12.2; ETMv4: ARM IHI 0064, 7; R profile: ARM DDI 0600, G1.
"""

from __future__ import annotations

from relokit.codegen.system_registers import encode_key

# name=op0:op1:CRn:CRm:op2
_SINGLE = """
TRCIDR8=2:1:0:0:6 TRCIDR9=2:1:0:1:6 TRCIDR10=2:1:0:2:6 TRCIDR11=2:1:0:3:6 TRCIDR12=2:1:0:4:6
TRCIDR13=2:1:0:5:6 TRCPIDR4=2:1:7:4:7 TRCPIDR5=2:1:7:5:7 TRCPIDR6=2:1:7:6:7 TRCPIDR7=2:1:7:7:7
MDRAR_EL1=2:0:1:0:0 OSLAR_EL1=2:0:1:0:4 OSLSR_EL1=2:0:1:1:4 DBGAUTHSTATUS_EL1=2:0:7:14:6
CSRCR_EL1=2:0:8:0:0 CSRPTR_EL1=2:0:8:0:1 CSRPTRIDX_EL1=2:0:8:0:3 TRCSTATR=2:1:0:3:0
TRCRSR=2:1:0:10:0 TRCOSLAR=2:1:1:0:4 TRCOSLSR=2:1:1:1:4 TRCPDSR=2:1:1:5:4 TRCDEVID=2:1:7:2:7
TRCDEVTYPE=2:1:7:3:7 TRCDEVAFF0=2:1:7:10:6 TRCDEVAFF1=2:1:7:11:6 TRCLAR=2:1:7:12:6 TRCLSR=2:1:7:13:6
TRCAUTHSTATUS=2:1:7:14:6 TRCDEVARCH=2:1:7:15:6 BRBCR_EL1=2:1:9:0:0 BRBFCR_EL1=2:1:9:0:1
BRBTS_EL1=2:1:9:0:2 BRBINFINJ_EL1=2:1:9:1:0 BRBSRCINJ_EL1=2:1:9:1:1 BRBTGTINJ_EL1=2:1:9:1:2
BRBIDR0_EL1=2:1:9:2:0 MDCCSR_EL0=2:3:0:1:0 DBGDTRRX_EL0=2:3:0:5:0 DBGDTRTX_EL0=2:3:0:5:0
CSRCR_EL0=2:3:8:0:0 CSRPTR_EL0=2:3:8:0:1 CSRIDR_EL0=2:3:8:0:2 CSRPTRIDX_EL0=2:3:8:0:3
CSRCR_EL2=2:4:8:0:0 CSRPTR_EL2=2:4:8:0:1 CSRPTRIDX_EL2=2:4:8:0:3 BRBCR_EL2=2:4:9:0:0
CSRCR_EL12=2:5:8:0:0 CSRPTR_EL12=2:5:8:0:1 BRBCR_EL12=2:5:9:0:0 MIDR_EL1=3:0:0:0:0
MPUIR_EL1=3:0:0:0:4 MPIDR_EL1=3:0:0:0:5 REVIDR_EL1=3:0:0:0:6 ID_PFR0_EL1=3:0:0:1:0
ID_PFR1_EL1=3:0:0:1:1 ID_DFR0_EL1=3:0:0:1:2 ID_AFR0_EL1=3:0:0:1:3 ID_MMFR4_EL1=3:0:0:2:6
ID_AA64PFR0_EL1=3:0:0:4:0 ID_AA64PFR1_EL1=3:0:0:4:1 ID_AA64DFR0_EL1=3:0:0:5:0
ID_AA64DFR1_EL1=3:0:0:5:1 ID_AA64AFR0_EL1=3:0:0:5:4 ID_AA64AFR1_EL1=3:0:0:5:5
ID_AA64ISAR0_EL1=3:0:0:6:0 ID_AA64ISAR1_EL1=3:0:0:6:1 ID_AA64MMFR0_EL1=3:0:0:7:0
ID_AA64MMFR1_EL1=3:0:0:7:1 RGSR_EL1=3:0:1:0:5 PRENR_EL1=3:0:6:1:1 PRSELR_EL1=3:0:6:2:1
PRBAR_EL1=3:0:6:8:0 PRLAR_EL1=3:0:6:8:1 PMSCR_EL1=3:0:9:9:0 PMSNEVFR_EL1=3:0:9:9:1
PMSICR_EL1=3:0:9:9:2 PMSIRR_EL1=3:0:9:9:3 PMSFCR_EL1=3:0:9:9:4 PMSEVFR_EL1=3:0:9:9:5
PMSLATFR_EL1=3:0:9:9:6 PMSIDR_EL1=3:0:9:9:7 TRBLIMITR_EL1=3:0:9:11:0 TRBPTR_EL1=3:0:9:11:1
TRBBASER_EL1=3:0:9:11:2 TRBSR_EL1=3:0:9:11:3 TRBMAR_EL1=3:0:9:11:4 TRBTRG_EL1=3:0:9:11:6
TRBIDR_EL1=3:0:9:11:7 PMMIR_EL1=3:0:9:14:6 MPAMIDR_EL1=3:0:10:4:4 MPAM1_EL1=3:0:10:5:0
MPAM0_EL1=3:0:10:5:1 MPAMSM_EL1=3:0:10:5:3 RVBAR_EL1=3:0:12:0:1 ISR_EL1=3:0:12:1:0
ICC_IAR0_EL1=3:0:12:8:0 ICC_EOIR0_EL1=3:0:12:8:1 ICC_HPPIR0_EL1=3:0:12:8:2 ICC_NMIAR1_EL1=3:0:12:9:5
ICC_DIR_EL1=3:0:12:11:1 ICC_RPR_EL1=3:0:12:11:3 ICC_SGI1R_EL1=3:0:12:11:5 ICC_ASGI1R_EL1=3:0:12:11:6
ICC_SGI0R_EL1=3:0:12:11:7 ICC_IAR1_EL1=3:0:12:12:0 ICC_EOIR1_EL1=3:0:12:12:1
ICC_HPPIR1_EL1=3:0:12:12:2 ACCDATA_EL1=3:0:13:0:5 CCSIDR_EL1=3:1:0:0:0 CLIDR_EL1=3:1:0:0:1
GMID_EL1=3:1:0:0:4 AIDR_EL1=3:1:0:0:7 CTR_EL0=3:3:0:0:1 DCZID_EL0=3:3:0:0:7 PMSWINC_EL0=3:3:9:12:4
AMCR_EL0=3:3:13:2:0 AMCFGR_EL0=3:3:13:2:1 AMCGCR_EL0=3:3:13:2:2 AMUSERENR_EL0=3:3:13:2:3
AMCNTENCLR0_EL0=3:3:13:2:4 AMCNTENSET0_EL0=3:3:13:2:5 AMCG1IDR_EL0=3:3:13:2:6
AMCNTENCLR1_EL0=3:3:13:3:0 AMCNTENSET1_EL0=3:3:13:3:1 CNTPCT_EL0=3:3:14:0:1 CNTVCT_EL0=3:3:14:0:2
MPUIR_EL2=3:4:0:0:4 SDER32_EL2=3:4:1:3:1 VSCTLR_EL2=3:4:2:0:0 PRENR_EL2=3:4:6:1:1
PRSELR_EL2=3:4:6:2:1 PRBAR_EL2=3:4:6:8:0 PRLAR_EL2=3:4:6:8:1 PMSCR_EL2=3:4:9:9:0
MPAMHCR_EL2=3:4:10:4:0 MPAMVPMV_EL2=3:4:10:4:1 MPAM2_EL2=3:4:10:5:0 RVBAR_EL2=3:4:12:0:1
ICH_VTR_EL2=3:4:12:11:1 ICH_EISR_EL2=3:4:12:11:3 ICH_ELRSR_EL2=3:4:12:11:5 PMSCR_EL12=3:5:9:9:0
MPAM1_EL12=3:5:10:5:0 GPTBR_EL3=3:6:2:1:4 GPCCR_EL3=3:6:2:1:6 MFAR_EL3=3:6:6:0:5
MPAM3_EL3=3:6:10:5:0 RVBAR_EL3=3:6:12:0:1
"""

# The first of a run: name=op0:op1:CRn:CRm:op2, how many; op2 counts, and CRm with every eighth.
_BY_OP2 = """
ID_ISAR{}_EL1=3:0:0:2:0,6 ID_MMFR{}_EL1=3:0:0:1:4,4 MVFR{}_EL1=3:0:0:3:0,3 PMCEID{}_EL0=3:3:9:12:6,2
AMEVCNTR0{}_EL0=3:3:13:4:0,4 AMEVTYPER0{}_EL0=3:3:13:6:0,4 AMEVCNTR1{}_EL0=3:3:13:12:0,16
AMEVTYPER1{}_EL0=3:3:13:14:0,16 AMEVCNTVOFF0{}_EL2=3:4:13:8:0,16 AMEVCNTVOFF1{}_EL2=3:4:13:10:0,16
MPAMVPM{}_EL2=3:4:10:6:0,8
"""
# The same, where CRm counts: the sixteenth and what follows have 4 more in op2.
_BY_CRM = """
BRBINF{}_EL1=2:1:8:0:0,32 BRBSRC{}_EL1=2:1:8:0:1,32 BRBTGT{}_EL1=2:1:8:0:2,32
TRCIDR{}=2:1:0:8:7,8 TRCEXTINSELR{}=2:1:0:8:4,4 TRCCIDR{}=2:1:7:12:7,4 TRCPIDR{}=2:1:7:8:7,4
"""


def _registers() -> dict[str, int]:
    found = {}
    for entry in _SINGLE.split():
        name, _, code = entry.partition("=")
        found[name] = encode_key(*map(int, code.split(":")))
    for table, by_op2 in ((_BY_OP2, True), (_BY_CRM, False)):
        for entry in table.split():
            name, _, rest = entry.partition("=")
            code, _, count = rest.partition(",")
            op0, op1, crn, crm, op2 = map(int, code.split(":"))
            for at in range(int(count)):
                eighths, within = divmod(op2 + at, 8) if by_op2 else (at % 16, op2 + 4 * (at // 16))
                found[name.format(at)] = encode_key(op0, op1, crn, crm + eighths, within)
    for region in range(1, 16):
        # Base and limit of a region of the MPU: two to a CRm (ARM DDI 0600, G1.1).
        crm, op2 = 8 + region // 2, region % 2 * 4
        for level, op1 in (("EL1", 0), ("EL2", 4)):
            found[f"PRBAR{region}_{level}"] = encode_key(3, op1, 6, crm, op2)
            found[f"PRLAR{region}_{level}"] = encode_key(3, op1, 6, crm, op2 + 1)
    return found


PERIPHERAL_REGISTERS: dict[str, int] = _registers()
"""Name to its encoding, as :func:`relokit.codegen.system_registers.encode_key` packs it."""
