"""``relokit.open`` of a shipped kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

import relokit

pytestmark = pytest.mark.oracle
VHE = relokit.Target(regime=relokit.Regime.VHE)


def test_a_kernel_says_what_it_is(kernel_6_1: Path) -> None:
    found = relokit.open(str(kernel_6_1))
    assert isinstance(found, relokit.KernelImage)
    assert found.page_size == 4096
    assert (found.banner or "").startswith("Linux version 6.1.")
    assert found.layout.name == "6.1"
    assert found.address("_stext") >> 47 == 0x1FFFF
    assert found.machine(VHE).job.kernel == kernel_6_1
    with pytest.raises(relokit.FormatError, match="no symbol 'nothing'"):
        found.address("nothing")
