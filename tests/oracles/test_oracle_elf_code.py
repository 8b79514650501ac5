"""Code out of files that GNU ld linked in other ways than a kernel's: pie, shared, with TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from relokit.cli.main import main

pytestmark = pytest.mark.oracle

SOURCE = """
	.text
	.globl	first, chosen, _start
	.type	first, %function
first:	mrs	x1, tpidr_el0
	adrp	x0, :gottprel:local
	ldr	x0, [x0, :gottprel_lo12:local]
	add	x0, x0, x1
	ret
	.size	first, . - first
	.type	chosen, %gnu_indirect_function
chosen:	mov	x0, xzr
	ret
	.size	chosen, . - chosen
	.type	_start, %function
_start:	bl	first
	dsb	{domain}
	b	.
	.size	_start, . - _start
	.section .tbss, "awT", %nobits
	.globl	local
	.type	local, %object
local:	.zero	8
	.size	local, 8
"""


@pytest.fixture
def linked(tmp_path: Path) -> list[list[Path]]:
    """By way of linking: two files that differ in a barrier."""
    found = []
    for way in ("-static", "-pie", "-shared"):
        pair = []
        for domain in ("sy", "ish"):
            unit, item = tmp_path / f"{domain}.S", tmp_path / f"{domain}.o"
            unit.write_text(SOURCE.format(domain=domain))
            subprocess.run(["aarch64-linux-gnu-as", "-o", item, unit], check=True)
            pair.append(tmp_path / f"{domain}{way}")
            command = [
                "aarch64-linux-gnu-ld",
                way,
                "-Bsymbolic",
                "-e",
                "_start",
                "-o",
                pair[-1],
                item,
            ]
            subprocess.run(command, check=True)
        found.append(pair)
    return found


def test_any_linked_file_can_be_compared(
    linked: list[list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    for one, other in linked:
        for mode in ([], ["--all"]):
            assert main(["diff", str(one), str(one), *mode]) == 0
            capsys.readouterr()
            assert main(["diff", str(one), str(other), *mode, "--only", "barrier"]) == 1
            said = capsys.readouterr().out
            assert "_start" in said
            assert "chosen" not in said
        assert main(["diff", str(one), str(other), "--only", "tlb"]) == 0
        assert main(["diff", str(one), f"{other}:first"]) == 0
        capsys.readouterr()
        assert main(["diff", str(linked[0][0]), f"{one}:chosen"]) == 0
