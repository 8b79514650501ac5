"""Architectural names that Keystone 0.9.2 does not know, as encodings it does know.

Source: ARM DDI 0487, C5.1 (op0=1: SYS aliases; op0=0: hints and PSTATE), C5.3, C6.2 (HINT) and
D19 / D24 (system register encodings). Register names that Keystone knows are not repeated here.
"""

from __future__ import annotations

from relokit.codegen.system_registers import OPERATIONS, register_key, split_key

# Registers and operations that Keystone lacks by name; the encodings are in system_registers.
_LACKING = """
    afsr0_el12 afsr1_el12 allint amair_el12 apdakeyhi_el1 apdakeylo_el1 apdbkeyhi_el1
    apdbkeylo_el1 apgakeyhi_el1 apgakeylo_el1 apiakeyhi_el1 apiakeylo_el1 apibkeyhi_el1
    apibkeylo_el1 ccsidr2_el1 cnthps_ctl_el2 cnthps_cval_el2 cnthps_tval_el2 cnthv_ctl_el2
    cnthv_cval_el2 cnthv_tval_el2 cnthvs_ctl_el2 cnthvs_cval_el2 cnthvs_tval_el2 cntkctl_el12
    cntp_ctl_el02 cntp_cval_el02 cntp_tval_el02 cntpctss_el0 cntpoff_el2 cntv_ctl_el02
    cntv_cval_el02 cntv_tval_el02 cntvctss_el0 contextidr_el12 contextidr_el2 cpacr_el12
    disr_el1 dit elr_el12 erridr_el1 errselr_el1 erxaddr_el1 erxctlr_el1 erxfr_el1 erxmisc0_el1
    erxmisc1_el1 erxmisc2_el1 erxmisc3_el1 erxpfgcdn_el1 erxpfgctl_el1 erxpfgf_el1 erxstatus_el1
    esr_el12 far_el12 gcr_el1 hafgrtr_el2 hcrx_el2 hdfgrtr_el2 hdfgwtr_el2 hfgitr_el2 hfgrtr_el2
    hfgwtr_el2 id_aa64isar2_el1 id_aa64isar3_el1 id_aa64mmfr2_el1 id_aa64mmfr3_el1
    id_aa64mmfr4_el1 id_aa64pfr2_el1 id_aa64smfr0_el1 id_aa64zfr0_el1 id_dfr1_el1 id_isar6_el1
    id_mmfr5_el1 id_pfr2_el1 lorc_el1 lorea_el1 lorid_el1 lorn_el1 lorsa_el1 mair_el12 pan
    pir_el1 pir_el12 pir_el2 pire0_el1 pire0_el12 pire0_el2 pmbidr_el1 pmblimitr_el1 pmbptr_el1
    pmbsr_el1 rndr rndrrs sctlr2_el1 sctlr2_el12 sctlr2_el2 sctlr_el12 scxtnum_el0 scxtnum_el1
    scxtnum_el12 scxtnum_el2 scxtnum_el3 smcr_el1 smcr_el12 smcr_el2 smcr_el3 smidr_el1
    smpri_el1 smprimap_el2 spsr_el12 spsr_hyp spsr_svc ssbs svcr tco tcr2_el1 tcr2_el12 tcr2_el2
    tcr_el12 tfsr_el1 tfsr_el12 tfsr_el2 tfsr_el3 tfsre0_el1 tpidr2_el0 trfcr_el1 trfcr_el12
    trfcr_el2 ttbr0_el12 ttbr1_el12 ttbr1_el2 uao vbar_el12 vdisr_el2 vncr_el2 vsesr_el2
    vstcr_el2 vsttbr_el2 zcr_el1 zcr_el12 zcr_el2 zcr_el3
"""

_LACKING_OPERATIONS = """
    at:s1e1rp at:s1e1wp dc:cgdsw dc:cgdvac dc:cgdvadp dc:cgdvap dc:cgsw dc:cgvac dc:cgvadp dc:cgvap
    dc:cigdpapa dc:cigdsw dc:cigdvac dc:cigsw dc:cigvac dc:cipapa dc:cvadp dc:cvap dc:gva dc:gzva
    dc:igdsw dc:igdvac dc:igsw dc:igvac tlbi:alle1os tlbi:alle2os tlbi:alle3os tlbi:aside1os
    tlbi:ipas2e1os tlbi:ipas2le1os tlbi:paall tlbi:paallos tlbi:ripas2e1 tlbi:ripas2e1is
    tlbi:ripas2e1os tlbi:ripas2le1 tlbi:ripas2le1is tlbi:ripas2le1os tlbi:rpalos tlbi:rpaos
    tlbi:rvaae1 tlbi:rvaae1is tlbi:rvaae1os tlbi:rvaale1 tlbi:rvaale1is tlbi:rvaale1os tlbi:rvae1
    tlbi:rvae1is tlbi:rvae1os tlbi:rvae2 tlbi:rvae2is tlbi:rvae2os tlbi:rvae3 tlbi:rvae3is
    tlbi:rvae3os tlbi:rvale1 tlbi:rvale1is tlbi:rvale1os tlbi:rvale2 tlbi:rvale2is tlbi:rvale2os
    tlbi:rvale3 tlbi:rvale3is tlbi:rvale3os tlbi:vaae1os tlbi:vaale1os tlbi:vae1os tlbi:vae2os
    tlbi:vae3os tlbi:vale1os tlbi:vale2os tlbi:vale3os tlbi:vmalle1os tlbi:vmalls12e1os
"""

# Operations on everything at once, which take no register.
_WITHOUT_REGISTER = {
    "tlbi alle1os",
    "tlbi alle2os",
    "tlbi alle3os",
    "tlbi paall",
    "tlbi paallos",
    "tlbi vmalle1os",
    "tlbi vmalls12e1os",
}


def _generic(name: str) -> str:
    return "s{}_{}_c{}_c{}_{}".format(*split_key(register_key(name)))


def _sys(name: str) -> tuple[str, bool]:
    _, op1, crn, crm, op2 = split_key(OPERATIONS[name])
    return f"#{op1}, c{crn}, c{crm}, #{op2}", name not in _WITHOUT_REGISTER


SYSTEM_REGISTERS: dict[str, str] = {name: _generic(name) for name in _LACKING.split()}
"""Register name to its generic spelling ``s<op0>_<op1>_c<CRn>_c<CRm>_<op2>``."""

SYSTEM_OPERATIONS: dict[tuple[str, str], tuple[str, bool]] = {
    (instruction, operation): _sys(f"{instruction} {operation}")
    for instruction, _, operation in (entry.partition(":") for entry in _LACKING_OPERATIONS.split())
}
"""(instruction, operation) to its ``sys`` operands, and whether it takes a register."""

HINTS = {
    "dgh": 6,
    "xpaclri": 7,
    "pacia1716": 8,
    "pacib1716": 10,
    "autia1716": 12,
    "autib1716": 14,
    "esb": 16,
    "psb csync": 17,
    "tsb csync": 18,
    "csdb": 20,
    "paciaz": 24,
    "paciasp": 25,
    "pacibz": 26,
    "pacibsp": 27,
    "autiaz": 28,
    "autiasp": 29,
    "autibz": 30,
    "autibsp": 31,
    "bti": 32,
    "bti c": 34,
    "bti j": 36,
    "bti jc": 38,
}
"""Names of HINT numbers (ARM DDI 0487, C6.2 HINT)."""

SPELLINGS = {"ssbb": "dsb #0", "pssbb": "dsb #4"}
"""Barriers that are other spellings of DSB (ARM DDI 0487, C6.2 SSBB, PSSBB)."""

WORDS = {
    "sb": 0xD50330FF,
    "eretaa": 0xD69F0BFF,
    "eretab": 0xD69F0FFF,
    "retaa": 0xD65F0BFF,
    "retab": 0xD65F0FFF,
}
"""Instructions without operands that Keystone cannot be asked for (ARM DDI 0487, C6.2)."""

# PSTATE field: op1, op2, largest immediate (ARM DDI 0487, C5.2 and C6.2 MSR (immediate)).
_PSTATE = {
    "uao": (0, 3, 1),
    "pan": (0, 4, 1),
    "spsel": (0, 5, 1),
    "ssbs": (3, 1, 1),
    "dit": (3, 2, 1),
    "tco": (3, 4, 1),
    "daifset": (3, 6, 15),
    "daifclr": (3, 7, 15),
}


def register(name: str) -> str:
    """The spelling of system register ``name`` (lower case) that Keystone takes."""
    return SYSTEM_REGISTERS.get(name, name)


def pstate_limit(field: str) -> int | None:
    """Largest immediate of ``msr <field>, #imm``; None if there is no such PSTATE field."""
    entry = _PSTATE.get(field)
    return None if entry is None else entry[2]


def pstate_word(field: str, immediate: int) -> int:
    """The MSR (immediate) word that writes ``immediate`` to PSTATE ``field``."""
    op1, op2, _ = _PSTATE[field]
    return 0xD500401F | op1 << 16 | immediate << 8 | op2 << 5
