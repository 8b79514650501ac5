"""What people do from the first command to what they take away: in CI, for a release, in a course.

The boot engineer's walk is beside what records a machine: tests/oracles/test_oracle_snapshot.py.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from support.text_images import ADD, ISB, LDR, MOV, RET, image

Cli = Callable[..., Any]
RELOCATE = "relocate_kernel.S.j2"
PACIASP = 0xD503233F


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1801353600")
    return tmp_path


def test_a_kernel_developer_puts_it_into_ci(cli: Cli, here: Path) -> None:
    """init, a change of the routine, a run, what a pipeline takes, and a baseline."""
    assert cli("init").code == 0
    assert cli("generate", "-o", "src", "--el", "vhe").code == 0
    source = Path("src") / "relocate_kernel.S"
    good = source.read_text()
    Path("relokit.toml").write_text(
        '[options]\nel = "vhe"\n[run]\ncode-from = ["src/relocate_kernel.S"]\n'
    )
    run = ("run", "--size", "4k")
    assert cli(*run, "--write-baseline", "baseline.json").code == 0
    assert cli(*run, "--baseline", "baseline.json").code == 0
    # A change that breaks the hand-over, at a line of the developer's own file.
    bad = good.replace("\tmov\tx1, xzr\n", "\tmov\tx1, #1\n", 1)
    line = 1 + next(
        at for at, (one, other) in enumerate(zip(good.splitlines(), bad.splitlines(), strict=True))
        if one != other
    )  # fmt: skip
    source.write_text(bad)
    assert cli(*run, "--baseline", "baseline.json").code == 1
    assert cli(*run, "--format", "sarif", "-o", "out.sarif").code == 1
    (found,) = json.loads(Path("out.sarif").read_text())["runs"][0]["results"]
    place = found["locations"][0]["physicalLocation"]
    assert found["ruleId"] == "handoff.x1"
    assert place["artifactLocation"]["uri"] == "src/relocate_kernel.S"
    assert place["region"]["startLine"] == line
    assert cli(*run, "--format", "junit", "-o", "out.xml").code == 1
    (failed,) = etree.parse("out.xml").findall(".//failure")
    assert failed.getparent().get("name") == "handoff.x1"
    marked = cli(*run, "--format", "github").out.splitlines()[0]
    assert marked.startswith(f"::error title=handoff.x1,file=src/relocate_kernel.S,line={line}::")
    # Mended, it is as it was.
    source.write_text(good)
    assert cli(*run, "--baseline", "baseline.json").code == 0


def test_a_distribution_engineer_compares_two_builds(cli: Cli, here: Path) -> None:
    """All functions of two kernels, with and without what a compiler's option has added."""
    body = (MOV, LDR, ADD, ISB, RET)
    left = [(f"f{n}", body) for n in range(20)]
    right = [(name, (PACIASP, *words)) for name, words in left]
    right[7] = ("f7", (PACIASP, MOV, LDR, ADD, RET))
    Path("old").write_bytes(image(left))
    Path("new").write_bytes(image(right))
    assert "20 changed" in cli("diff", "old", "new", "--all").out
    ignoring = ("diff", "old", "new", "--all", "--ignore", "pac,bti,hints,offsets")
    told = cli(*ignoring)
    assert told.code == 1
    assert "20 differences ignored: 20 pac" in told.out.replace("\n", " ")
    listed = cli(*ignoring, "--format", "csv")
    (row,) = csv.DictReader(StringIO(listed.out))
    assert (row["function"], row["deleted"], row["about"]) == ("f7", "1", "barrier")
    assert cli(*ignoring, "--format", "html", "-o", "page.html").code == 1
    page = Path("page.html").read_text()
    assert "20 differences ignored: 20 pac" in page
    (link,) = re.findall(r'<a href="#(behind-[0-9]+)">f7</a>', page)
    behind = page.partition(f'<details id="{link}">')[2].partition("</details>")[0]
    assert "-isb" in behind
    (command,) = re.findall(r"^  relokit (diff .*)$", told.out, re.MULTILINE)
    assert "-isb" in cli(*command.split(), "--format", "unified").out
    # And the new one is moved by all that it may be moved by.
    cell = "series15/4k/va48/vhe/normal/shuffled"
    assert cli("matrix", "--cell", cell, "--kernel", "new", "--plain").code == 0


def test_a_student_breaks_a_line_and_finds_out(cli: Cli, here: Path) -> None:
    """generate, a copy of the templates, a line too few, what it says, and a look."""
    assert cli("generate", "-o", "src").code == 0
    assert "arm64_relocate_new_kernel" in Path("src/relocate_kernel.S").read_text()
    assert cli("templates", "--copy", "mine").code == 0
    template = Path("mine") / RELOCATE
    good = template.read_text()
    template.write_text(good.replace("\tmov\tx1, xzr\n", "\tmov\tx1, x2\n", 1))
    mine = ("--templates", "mine", "--el", "vhe")
    broken = cli("run", "--size", "4k", "--plain", *mine)
    assert broken.code == 1
    (rule,) = re.findall(r"^(handoff\.\S+)  ", broken.out, re.MULTILINE)
    explained = cli("explain", rule)
    assert (explained.code, "x1 is 0" in explained.out) == (0, True)
    shown = cli("show", "code", "--size", "4k", *mine)
    assert (shown.code, "mov x1, x2" in shown.out) == (0, True)
    assert cli("show", "memory", "--size", "4k", "--svg", "memory.svg").code == 0
    assert etree.parse("memory.svg").getroot().tag.endswith("svg")
    template.write_text(good)
    assert cli("run", "--size", "4k", "--plain", *mine).code == 0
