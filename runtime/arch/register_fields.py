"""Fields of system registers, for messages and decisions.

Source: ARM DDI 0487, D19.2 (register descriptions).
"""

from __future__ import annotations

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
