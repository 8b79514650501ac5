"""The system register and operation tables against GNU as."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from relokit.codegen.system_registers import OPERATIONS, REGISTERS, decode_system

pytestmark = pytest.mark.oracle

# Registers newer than the oldest GNU as we test with (2.40) knows by name.
NEWER = {
    "SCTLR2_EL1", "SCTLR2_EL2", "TCR2_EL1", "TCR2_EL2", "TCR2_EL12", "PIR_EL1", "PIR_EL2",
    "PIR_EL12", "PIRE0_EL1", "PIRE0_EL2", "PIRE0_EL12", "ID_AA64MMFR3_EL1", "ID_AA64MMFR4_EL1",
    "ID_AA64PFR2_EL1", "ID_AA64ISAR3_EL1", "SCTLR2_EL12",
}  # fmt: skip
WRITE_ONLY = {"OSLAR_EL1", "ICC_EOIR0_EL1", "ICC_EOIR1_EL1", "ICC_DIR_EL1", "ICC_SGI1R_EL1"}


def words(tmp_path: Path, lines: list[str]) -> list[int]:
    source, obj, flat = tmp_path / "t.s", tmp_path / "t.o", tmp_path / "t.bin"
    source.write_text("\n".join(lines) + "\n")
    arch = "-march=armv8.8-a+sve+sme+memtag+profile+rng"
    subprocess.run(["aarch64-linux-gnu-as", arch, "-o", obj, source], check=True, timeout=60)
    subprocess.run(
        ["aarch64-linux-gnu-objcopy", "-O", "binary", "-j", ".text", obj, flat],
        check=True,
        timeout=60,
    )
    data = flat.read_bytes()
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def test_register_encodings_are_those_of_gnu_as(tmp_path: Path) -> None:
    names = [name for name in REGISTERS if name not in NEWER]
    lines = [f"msr {name}, x5" if name in WRITE_ONLY else f"mrs x5, {name}" for name in names]
    for name, word in zip(names, words(tmp_path, lines), strict=True):
        decoded = decode_system(word)
        assert decoded is not None
        assert (decoded.name, decoded.key, decoded.rt) == (name, REGISTERS[name], 5)
        assert decoded.form == ("msr" if name in WRITE_ONLY else "mrs")


def test_operation_encodings_are_those_of_gnu_as(tmp_path: Path) -> None:
    without = ("all", "iall", "paall")
    lines = [
        name if name.split()[1].startswith(without) or "vmall" in name else f"{name}, x7"
        for name in OPERATIONS
    ]
    for name, line, word in zip(OPERATIONS, lines, words(tmp_path, lines), strict=True):
        decoded = decode_system(word)
        assert decoded is not None
        assert (decoded.form, decoded.name, decoded.key) == ("sys", name, OPERATIONS[name])
        assert decoded.text == line


def test_pstate_immediates_are_those_of_gnu_as(tmp_path: Path) -> None:
    lines = ["msr daifset, #15", "msr daifclr, #2", "msr spsel, #1", "msr pan, #1"]
    decoded = [decode_system(word) for word in words(tmp_path, lines)]
    assert [entry.text if entry else None for entry in decoded] == lines
