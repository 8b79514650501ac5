"""What was kept never forges either: results, baselines, what is accepted; archives and kernels."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import libfdt
import pytest

from relokit.cli.main import main
from relokit.cli.results.annotations import github
from relokit.cli.results.ktap import ktap
from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet
from relokit.codegen.base import child
from relokit.runtime.board.devicetree import virt_dtb
from support import btf_blobs, symbol_tables
from support.archives import archive, member
from support.btf_blobs import KIMAGE_6_1

from .conftest import TEMPLATES, Cli
from .test_cli_forging import EVIL, MARK, SOURCE, forged

HOSTILE = EVIL + "</td>\nSubtest: x\nok 1 - x"
SHORT = "\n\x1b[31m\r::err.o"
"""A member's name that stands in its header."""
TOKEN = "\n::error::x\x1b[31m\r\x85<b>"
"""What a letter of kallsyms' names stands for."""
BANNER = b"6.1.0-50\x1b[31m\r<b>\xc2\x85 (gcc)"
"""What a kernel says it is."""
QUOTED = (
    '''.text
.globl "f\\n::error::x\\033[31m\\000x"
.type "f\\n::error::x\\033[31m\\000x", %function
"f\\n::error::x\\033[31m\\000x": ret
.section ".text\\n::error::x", "ax"
"'''
    + "y" * (1 << 16)
    + """": bl "\\r<b>\\0"
"""
)
MUTATE = ("mutate", "--operator=weaken", "--routine=soft-restart", "--el=el1", "--jobs=1")
RUN = ("run", "--size", "64k", "--el", "vhe")
X1 = (*RUN, "--templates", "templates", "--baseline", "baseline")
"""A run with a finding of handoff.x1, and without one that its baseline has."""
FORMS = tuple(("--format", one) for one in ("junit", "sarif", "github", "ktap"))
ALL = ((), ("--json",), *FORMS, ("--report", "out"))
ENDS = (
    {"status": "survived", "warnings": [HOSTILE], "not_judged": [HOSTILE], "why": HOSTILE},
    {"status": "no answer", "why": HOSTILE, "layout": HOSTILE},
)
SUPPRESSED = "".join(
    f"[[suppress]]\nrule = {json.dumps(rule)}\nreason = {json.dumps(HOSTILE)}\nuntil = 2999-01-01\n"
    for rule in ("handoff.x1", "mutant.weaken", "diff.arithmetic", "diff.changed")
)


def spoilt_results(path: Path) -> None:
    """The two results of a campaign, with ends and texts that it did not come to."""
    with sqlite3.connect(path) as file:
        rows = list(file.execute("SELECT key, document FROM results"))
        for (key, text), end in zip(rows, ENDS, strict=True):
            new = json.dumps({"id": json.loads(text)["id"]} | end)
            file.execute("UPDATE results SET document = ? WHERE key = ?", (new, key))


def spoilt_tree() -> bytes:
    """A device tree whose /chosen is hostile."""
    fdt = libfdt.Fdt(virt_dtb(1 << 30, 1 << 28))
    fdt.resize(fdt.totalsize() + 4096)
    chosen = fdt.path_offset("/chosen")
    for name in ("bootargs", "stdout-path", "kaslr-seed", "linux,initrd-start"):
        fdt.setprop(chosen, name, HOSTILE.encode() + b"\0")
    fdt.pack()
    return bytes(fdt.as_bytearray())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each."""
    place = tmp_path_factory.mktemp("kept")
    assert main([*MUTATE, "--results", str(place / "results")]) == 0
    spoilt_results(place / "results")
    assert main([*RUN, "--write-baseline", str(place / "baseline")]) == 0
    baseline = json.loads((place / "baseline").read_text())
    for run in baseline["runs"].values():
        run["findings"] = [HOSTILE]
    (place / "baseline").write_text(json.dumps(baseline))
    (place / "templates").mkdir()
    routine = (TEMPLATES / "relocate_kernel.S.j2").read_text()
    new = routine.replace("\tmov\tx1, xzr\n", "\tmov\tx1, #1\n")
    assert new != routine
    (place / "templates" / "relocate_kernel.S.j2").write_text(new)
    (place / "project.toml").write_text(SUPPRESSED)
    assert main(["export", "--type", "rel", "-o", str(place / "object")]) == 0
    data = (place / "object").read_bytes()
    (place / "short.a").write_bytes(b"!<arch>\n" + member(SHORT, data))
    (place / "long.a").write_bytes(archive({f"{HOSTILE[:99]}.o": data}))
    for number in range(2):
        (place / f"{number}.S").write_text(SOURCE.format(number))
    with pytest.MonkeyPatch.context() as patch:
        tokens = [*symbol_tables.TOKENS]
        tokens[ord("Z")] = TOKEN
        patch.setattr(symbol_tables, "TOKENS", tokens)
        kernel = symbol_tables.Synthetic("6.1", first=0x1_0000, extra=[("tfZa", 0x1_0008)])
        image = kernel.image()
    for number in range(2):
        image[0x1_0008] = number
        (place / f"kernel{number}").write_bytes(image)
    fields = {("segm\x1b[31m\n<b>" if n == "segment" else n): at for n, at in KIMAGE_6_1.items()}
    for name, members in (("btf", fields), ("banner", KIMAGE_6_1)):
        image[0x10_0000:0x11_0000] = bytes(1 << 16)
        blob = bytes(btf_blobs.kernel(members, btf_blobs.ARCH)).replace(b"6.1.0-50 (gcc)", BANNER)
        image[0x10_0000 : 0x10_0000 + len(blob)] = blob
        (place / name).write_bytes(image)
    (place / "quoted.S").write_text(QUOTED)
    (place / "tree").write_bytes(spoilt_tree())
    child._close_all()
    return place


@pytest.mark.parametrize(
    "words",
    [
        *((*RUN, "--code-from", one) for one in ("short.a", "long.a")),
        *(("diff", "--all", one, one) for one in ("short.a", "long.a")),
        *(("diff", one, one) for one in ("short.a", "long.a")),
        ("diff", "--all", "kernel0", "kernel1"),
        ("run", "--code-from", "kernel0"),
        (*RUN, "--layout-from", "btf"),
        (*RUN, "--layout-from", "banner"),
        (*RUN, "--code-from", "quoted.S"),
        ("diff", "quoted.S", "quoted.S"),
        (*RUN, "--dtb", "tree"),
        (*RUN, "--dtb", "tree", "--json"),
    ],
    ids=" ".join,
)
def test_no_name_in_what_is_read_makes_a_line(
    cli: Cli, kept: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(kept)
    result = cli(*words)
    assert result.code in (0, 1, 2, 3)
    assert "defect of relokit" not in result.err
    no_line_of(result.out, result.err, kept / "out")


def no_line_of(out: str, err: str, page: Path) -> None:
    """Hold all that was said, and the ``page`` if there is one, to no line of HOSTILE's making."""
    assert forged(out) + forged(err) == []
    # A document of our own has what it was given, spelt out; a form of others, lines of its own.
    told = "" if '"schema": "relokit' in out else out
    assert not re.search(
        r"(^|\\n|%0A)\s*((# )?Subtest: x|ok 1 - x|relokit: FORGED)", told, re.MULTILINE
    )
    assert len(err) < 3000
    if page.exists():
        text = page.read_text()
        page.unlink()
        assert forged(text) == []
        assert not re.search(r"<b>|\]></td>", text)


@pytest.mark.parametrize(
    "words",
    [
        *((*X1, *more) for more in ALL),
        (*MUTATE, "--results", "results", "--format", "ktap", "--report", "out"),
        ("diff", "0.S", "1.S"),
        *(("diff", "0.S", "1.S", *more) for more in FORMS),
    ],
    ids=" ".join,
)
def test_nothing_that_is_kept_or_accepted_does(
    cli: Cli, kept: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(kept)
    monkeypatch.setenv("RELOKIT_PROJECT", "project.toml")
    result = cli(*words)
    assert MARK in result.out or "--report" in words
    no_line_of(result.out, result.err, kept / "out")


def test_nor_do_notes_and_why_there_is_no_answer(tmp_path: Path) -> None:
    case = ResultCase("g", HOSTILE, CaseEnd.NO_ANSWER, HOSTILE)
    some = ResultSet("relokit run", (case,), (HOSTILE,))
    for text in (github(some), ktap(some, timings=False)):
        no_line_of(text, "", tmp_path / "none")
