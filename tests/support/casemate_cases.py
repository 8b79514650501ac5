"""Runs that are written for casemate: what is changed in them, and what casemate says to it.

`python tests/support/casemate_cases.py`, in the tree, writes the golden files anew.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "runtime" / "evidence" / "casemate"
NOT_BROKEN, NOT_EMPTY = "BBM invalid unclean->valid", "BBM valid->valid"
LIVE = "must write to pte while holding owner lock"
PASSES = "log checked successfully"

TTBR1 = "arm64_relocate_new_kernel"
TTBR0 = "cpu_install_ttbr0"
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "good": ({}, PASSES),
    "no-tlbi": ({"edit": [["tlbi vmalle1", "nop"]]}, NOT_BROKEN),
    "no-empty-table": ({"edit": [["msr ttbr1_el1, x18", "nop"]]}, NOT_EMPTY),
    "no-isb": ({"edit": [["isb ; tlbi vmalle1", "nop"]]}, NOT_BROKEN),
    "tlbi-before-isb": ({"edit": [["isb ; tlbi vmalle1", "tlbi vmalle1 ; isb"]]}, NOT_BROKEN),
    "no-dsb": ({"edit": [["dsb nsh ; msr ttbr1_el1, x17", "nop"]]}, NOT_BROKEN),
    "dsb-for-stores": ({"edit": [["dsb nsh ; msr ttbr1_el1, x17", "dsb nshst"]]}, NOT_BROKEN),
    "dsb-for-loads": ({"edit": [["dsb nsh ; msr ttbr1_el1, x17", "dsb nshld"]]}, NOT_BROKEN),
    "ttbr0-no-tlbi": ({"routine": TTBR0, "edit": [["tlbi vmalle1", "nop"]]}, NOT_BROKEN),
    "ttbr0-no-empty-table": ({"routine": TTBR0, "edit": [["msr ttbr0_el1, x2", "nop"]]}, NOT_EMPTY),
    "ttbr0-no-dsb": ({"routine": TTBR0, "edit": [["dsb nsh", "nop"]]}, NOT_BROKEN),
    "a-page-onto-the-copy": ({"damage": [{"entry": 0, "leads_to": "linear map copy"}]}, LIVE),
    "a-page-onto-the-idmap": ({"damage": [{"entry": 0, "leads_to": "control page idmap"}]}, LIVE),
    "a-page-onto-an-old-table": ({"damage": [{"entry": 0, "leads_to": "swapper_pg_dir"}]}, PASSES),
}
"""By name: what of a scenario's fields, and the answer."""


def written(name: str, path: Path, **target: Any) -> None:
    """Write the trace of the case ``name``, of state 15 at EL1 unless ``target`` says otherwise."""
    from relokit.runtime.kexec.job import TraceFormat
    from support.scenarios import Scenario, judged

    job = {"size": 8 << 10, "trace_format": TraceFormat.CASEMATE, "max_instructions": 20_000}
    fields = {"name": name, "target": {"regime": "el1", **target}, "job": job, **CASES[name][0]}
    judged(Scenario("casemate", fields["target"].pop("series", 15), fields), trace=path)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    GOLDEN.mkdir(exist_ok=True)
    for one in CASES:
        written(one, GOLDEN / f"{one}.trace")
