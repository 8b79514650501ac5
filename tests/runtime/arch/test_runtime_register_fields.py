"""System register names, encodings, decoding and fields (GNU as is asked in tests/oracles)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.system_registers import (
    OPERATIONS,
    REGISTERS,
    decode_system,
    encode_key,
    operation_name,
    register_key,
    register_name,
    split_key,
)
from relokit.runtime.arch.register_fields import FIELDS, describe, field

FORMS = {"mrs": 0xD5300000, "msr": 0xD5100000}


def test_no_two_names_share_an_encoding() -> None:
    assert len(set(REGISTERS.values())) == len(REGISTERS)
    assert len(set(OPERATIONS.values())) == len(OPERATIONS)


@given(st.integers(0, 0xFFFF))
def test_every_encoding_has_a_name_that_leads_back(key: int) -> None:
    assert register_key(register_name(key)) == key
    assert encode_key(*split_key(key)) == key


@given(st.sampled_from(sorted(FORMS)), st.integers(0x8000, 0xFFFF), st.integers(0, 31))
def test_register_accesses_decode_to_what_was_encoded(form: str, key: int, rt: int) -> None:
    decoded = decode_system(FORMS[form] | key << 5 & 0xFFFE0 | rt)
    assert decoded is not None
    assert (decoded.form, decoded.name, decoded.rt) == (form, register_name(key), rt)
    assert decoded.key == key


@given(st.integers(0, 0xFFFF_FFFF))
def test_any_word_decodes_or_is_not_of_the_class(word: int) -> None:
    decoded = decode_system(word)
    if decoded is not None:
        assert word >> 22 == 0xD50 >> 2
        assert decoded.text.split()[0] in {
            "mrs", "msr", "sys", "sysl", "dc", "ic", "at", "tlbi",
        }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0xD5033FDF, None),  # isb
        (0xD503201F, None),  # nop
        (0xD50342DF, "msr daifset, #2"),
        (0xD508875F, "tlbi aside1, xzr"),
        (0xD50B7B20, "dc cvau, x0"),
        (0xD50BF020, "sys #3, C15, C0, #1, x0"),
        (0xD52B7A20, "sysl x0, #3, C7, C10, #1"),
    ],
)
def test_texts(word: int, text: str | None) -> None:
    decoded = decode_system(word)
    # An operation without an operand leaves XZR out.
    wanted = text.removesuffix(", xzr") if text else None
    assert (decoded.text if decoded else None) == wanted


def test_unknown_names_raise_and_unknown_encodings_are_kept() -> None:
    for name in ("SCTLR_EL9", "S3_0_C16_C0_0", "S4_0_C1_C0_0", ""):
        with pytest.raises(KeyError, match="no system register"):
            register_key(name)
    assert register_key("s3_0_c1_c0_0") == REGISTERS["SCTLR_EL1"]
    assert register_key("spsel") == REGISTERS["SPSel"]
    assert operation_name(encode_key(1, 7, 11, 3, 5)) == "sys #7, C11, C3, #5"


def test_fields() -> None:
    assert field("SCTLR_EL1", 0x30501805, "M") == 1
    assert field("TCR_EL1", 0x5_B5_50_35_10, "T1SZ") == 0x10
    assert field("HCR_EL2", 0x4_8800_0000, "E2H") == 1
    assert field("HCR_EL2", 0x4_8800_0000, "VM") == 0
    assert describe("CTR_EL0", 0x8444C004).startswith("0x8444c004 (IminLine=0x4 L1Ip=0x3 ")
    assert describe("TPIDR_EL1", 5) == "0x5"
    assert all(0 <= low <= high < 64 for table in FIELDS.values() for high, low in table.values())
