"""Architectural names that Keystone 0.9.2 does not know, as encodings it does know.

Source: ARM DDI 0487, C5.1 (op0=1: SYS aliases; op0=0: hints and PSTATE), C5.3, C6.2 (HINT) and
D19 / D24 (system register encodings). Register names that Keystone knows are not repeated here.
"""

from __future__ import annotations

import re

# name=op0:op1:CRn:CRm:op2
_REGISTERS = """
    afsr0_el12=3:5:5:1:0 afsr1_el12=3:5:5:1:1 allint=3:0:4:3:0 amair_el12=3:5:10:3:0
    apdakeyhi_el1=3:0:2:2:1 apdakeylo_el1=3:0:2:2:0 apdbkeyhi_el1=3:0:2:2:3
    apdbkeylo_el1=3:0:2:2:2 apgakeyhi_el1=3:0:2:3:1 apgakeylo_el1=3:0:2:3:0
    apiakeyhi_el1=3:0:2:1:1 apiakeylo_el1=3:0:2:1:0 apibkeyhi_el1=3:0:2:1:3
    apibkeylo_el1=3:0:2:1:2 ccsidr2_el1=3:1:0:0:2 cnthps_ctl_el2=3:4:14:5:1
    cnthps_cval_el2=3:4:14:5:2 cnthps_tval_el2=3:4:14:5:0 cnthv_ctl_el2=3:4:14:3:1
    cnthv_cval_el2=3:4:14:3:2 cnthv_tval_el2=3:4:14:3:0 cnthvs_ctl_el2=3:4:14:4:1
    cnthvs_cval_el2=3:4:14:4:2 cnthvs_tval_el2=3:4:14:4:0 cntkctl_el12=3:5:14:1:0
    cntp_ctl_el02=3:5:14:2:1 cntp_cval_el02=3:5:14:2:2 cntp_tval_el02=3:5:14:2:0
    cntpctss_el0=3:3:14:0:5 cntpoff_el2=3:4:14:0:6 cntv_ctl_el02=3:5:14:3:1
    cntv_cval_el02=3:5:14:3:2 cntv_tval_el02=3:5:14:3:0 cntvctss_el0=3:3:14:0:6
    contextidr_el12=3:5:13:0:1 contextidr_el2=3:4:13:0:1 cpacr_el12=3:5:1:0:2 disr_el1=3:0:12:1:1
    dit=3:3:4:2:5 elr_el12=3:5:4:0:1 erridr_el1=3:0:5:3:0 errselr_el1=3:0:5:3:1
    erxaddr_el1=3:0:5:4:3 erxctlr_el1=3:0:5:4:1 erxfr_el1=3:0:5:4:0 erxmisc0_el1=3:0:5:5:0
    erxmisc1_el1=3:0:5:5:1 erxmisc2_el1=3:0:5:5:2 erxmisc3_el1=3:0:5:5:3 erxpfgcdn_el1=3:0:5:4:6
    erxpfgctl_el1=3:0:5:4:5 erxpfgf_el1=3:0:5:4:4 erxstatus_el1=3:0:5:4:2 esr_el12=3:5:5:2:0
    far_el12=3:5:6:0:0 gcr_el1=3:0:1:0:6 hafgrtr_el2=3:4:3:1:6 hcrx_el2=3:4:1:2:2
    hdfgrtr_el2=3:4:3:1:4 hdfgwtr_el2=3:4:3:1:5 hfgitr_el2=3:4:1:1:6 hfgrtr_el2=3:4:1:1:4
    hfgwtr_el2=3:4:1:1:5 id_aa64isar2_el1=3:0:0:6:2 id_aa64isar3_el1=3:0:0:6:3
    id_aa64mmfr2_el1=3:0:0:7:2 id_aa64mmfr3_el1=3:0:0:7:3 id_aa64mmfr4_el1=3:0:0:7:4
    id_aa64pfr2_el1=3:0:0:4:2 id_aa64smfr0_el1=3:0:0:4:5 id_aa64zfr0_el1=3:0:0:4:4
    id_dfr1_el1=3:0:0:3:5 id_isar6_el1=3:0:0:2:7 id_mmfr5_el1=3:0:0:3:6 id_pfr2_el1=3:0:0:3:4
    lorc_el1=3:0:10:4:3 lorea_el1=3:0:10:4:1 lorid_el1=3:0:10:4:7 lorn_el1=3:0:10:4:2
    lorsa_el1=3:0:10:4:0 mair_el12=3:5:10:2:0 pan=3:0:4:2:3 pir_el1=3:0:10:2:3 pir_el12=3:5:10:2:3
    pir_el2=3:4:10:2:3 pire0_el1=3:0:10:2:2 pire0_el12=3:5:10:2:2 pire0_el2=3:4:10:2:2
    pmbidr_el1=3:0:9:10:7 pmblimitr_el1=3:0:9:10:0 pmbptr_el1=3:0:9:10:1 pmbsr_el1=3:0:9:10:3
    rndr=3:3:2:4:0 rndrrs=3:3:2:4:1 sctlr2_el1=3:0:1:0:3 sctlr2_el12=3:5:1:0:3
    sctlr2_el2=3:4:1:0:3 sctlr_el12=3:5:1:0:0 scxtnum_el0=3:3:13:0:7 scxtnum_el1=3:0:13:0:7
    scxtnum_el12=3:5:13:0:7 scxtnum_el2=3:4:13:0:7 scxtnum_el3=3:6:13:0:7 smcr_el1=3:0:1:2:6
    smcr_el12=3:5:1:2:6 smcr_el2=3:4:1:2:6 smcr_el3=3:6:1:2:6 smidr_el1=3:1:0:0:6
    smpri_el1=3:0:1:2:4 smprimap_el2=3:4:1:2:5 spsr_el12=3:5:4:0:0 spsr_hyp=3:4:4:0:0
    spsr_svc=3:0:4:0:0 ssbs=3:3:4:2:6 svcr=3:3:4:2:2 tco=3:3:4:2:7 tcr2_el1=3:0:2:0:3
    tcr2_el12=3:5:2:0:3 tcr2_el2=3:4:2:0:3 tcr_el12=3:5:2:0:2 tfsr_el1=3:0:5:6:0
    tfsr_el12=3:5:5:6:0 tfsr_el2=3:4:5:6:0 tfsr_el3=3:6:5:6:0 tfsre0_el1=3:0:5:6:1
    tpidr2_el0=3:3:13:0:5 trfcr_el1=3:0:1:2:1 trfcr_el12=3:5:1:2:1 trfcr_el2=3:4:1:2:1
    ttbr0_el12=3:5:2:0:0 ttbr1_el12=3:5:2:0:1 ttbr1_el2=3:4:2:0:1 uao=3:0:4:2:4
    vbar_el12=3:5:12:0:0 vdisr_el2=3:4:12:1:1 vncr_el2=3:4:2:2:0 vsesr_el2=3:4:5:2:3
    vstcr_el2=3:4:2:6:2 vsttbr_el2=3:4:2:6:0 zcr_el1=3:0:1:2:0 zcr_el12=3:5:1:2:0
    zcr_el2=3:4:1:2:0 zcr_el3=3:6:1:2:0
"""

# name=op1:CRn:CRm:op2, with :- where the operation takes no register
_OPERATIONS = {
    "at": """
    s1e1rp=0:7:9:0 s1e1wp=0:7:9:1
    """,
    "dc": """
    cgdsw=0:7:10:6 cgdvac=3:7:10:5 cgdvadp=3:7:13:5 cgdvap=3:7:12:5 cgsw=0:7:10:4 cgvac=3:7:10:3
    cgvadp=3:7:13:3 cgvap=3:7:12:3 cigdpapa=6:7:14:5 cigdsw=0:7:14:6 cigdvac=3:7:14:5
    cigsw=0:7:14:4 cigvac=3:7:14:3 cipapa=6:7:14:1 cvadp=3:7:13:1 cvap=3:7:12:1 gva=3:7:4:3
    gzva=3:7:4:4 igdsw=0:7:6:6 igdvac=0:7:6:5 igsw=0:7:6:4 igvac=0:7:6:3
    """,
    "tlbi": """
    alle1os=4:8:1:4:- alle2os=4:8:1:0:- alle3os=6:8:1:0:- aside1os=0:8:1:2 ipas2e1os=4:8:4:0
    ipas2le1os=4:8:4:4 paall=6:8:7:4:- paallos=6:8:1:4:- ripas2e1=4:8:4:2 ripas2e1is=4:8:0:2
    ripas2e1os=4:8:4:3 ripas2le1=4:8:4:6 ripas2le1is=4:8:0:6 ripas2le1os=4:8:4:7 rpalos=6:8:4:7
    rpaos=6:8:4:3 rvaae1=0:8:6:3 rvaae1is=0:8:2:3 rvaae1os=0:8:5:3 rvaale1=0:8:6:7
    rvaale1is=0:8:2:7 rvaale1os=0:8:5:7 rvae1=0:8:6:1 rvae1is=0:8:2:1 rvae1os=0:8:5:1
    rvae2=4:8:6:1 rvae2is=4:8:2:1 rvae2os=4:8:5:1 rvae3=6:8:6:1 rvae3is=6:8:2:1 rvae3os=6:8:5:1
    rvale1=0:8:6:5 rvale1is=0:8:2:5 rvale1os=0:8:5:5 rvale2=4:8:6:5 rvale2is=4:8:2:5
    rvale2os=4:8:5:5 rvale3=6:8:6:5 rvale3is=6:8:2:5 rvale3os=6:8:5:5 vaae1os=0:8:1:3
    vaale1os=0:8:1:7 vae1os=0:8:1:1 vae2os=4:8:1:1 vae3os=6:8:1:1 vale1os=0:8:1:5 vale2os=4:8:1:5
    vale3os=6:8:1:5 vmalle1os=0:8:1:0:- vmalls12e1os=4:8:1:6:-
    """,
}

SYSTEM_REGISTERS: dict[str, str] = {}
"""Register name to its generic spelling ``s<op0>_<op1>_c<CRn>_c<CRm>_<op2>``."""
for _entry in _REGISTERS.split():
    _name, _, _code = _entry.partition("=")
    SYSTEM_REGISTERS[_name] = "s{}_{}_c{}_c{}_{}".format(*_code.split(":"))

SYSTEM_OPERATIONS: dict[tuple[str, str], tuple[str, bool]] = {}
"""(instruction, operation) to its ``sys`` operands, and whether it takes a register."""
for _instruction, _table in _OPERATIONS.items():
    for _entry in _table.split():
        _name, _, _code = _entry.partition("=")
        _op1, _crn, _crm, _op2, *_none = _code.split(":")
        SYSTEM_OPERATIONS[_instruction, _name] = (f"#{_op1}, c{_crn}, c{_crm}, #{_op2}", not _none)

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

_GENERIC = re.compile(r"s[0-3]_[0-7]_c(?:1[0-5]|[0-9])_c(?:1[0-5]|[0-9])_[0-7]", re.ASCII)


def register(name: str) -> str:
    """The spelling of system register ``name`` (lower case) that Keystone takes."""
    return SYSTEM_REGISTERS.get(name, name)


def is_generic(name: str) -> bool:
    """Whether ``name`` is a well-formed ``s<op0>_<op1>_c<n>_c<m>_<op2>``."""
    return _GENERIC.fullmatch(name) is not None


def pstate_limit(field: str) -> int | None:
    """Largest immediate of ``msr <field>, #imm``; None if there is no such PSTATE field."""
    entry = _PSTATE.get(field)
    return None if entry is None else entry[2]


def pstate_word(field: str, immediate: int) -> int:
    """The MSR (immediate) word that writes ``immediate`` to PSTATE ``field``."""
    op1, op2, _ = _PSTATE[field]
    return 0xD500401F | op1 << 16 | immediate << 8 | op2 << 5
