"""What is in a file never forges either: traces, trees, objects, snapshots, projects, consoles."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from relokit.cli.main import main
from relokit.cli.overwriting import may_overwrite
from relokit.codegen.base import child
from relokit.machines.showing import evidence_in
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.evidence.evidence_file import evidence_chunks
from support.kernels import kernel_image
from support.snapshots import write as write_snapshot

from .conftest import Cli
from .test_cli_forging import EVIL, MARK, forged

LONG = "x" * (1 << 16)
HOSTILE = (b"\nrelokit: FORGED\x1b[31m", b"\xe2\x80\xae\xe2\x80\x8b\r\n::error::x")
"""As much of it as a name is long: a line of its own, a colour; another direction, no width."""
SAID = (
    r"\r\nrelokit: FORGED\n::error::x\nok 1 - x\n"
    r"\033[31m<b>%0A]]>&\b\302\205\342\200\256x\342\200\250\n"
)
PROJECT = f"""[[suppress]]
rule = "handoff.x1"
place = {json.dumps(EVIL)}
reason = {json.dumps(EVIL)}
until = 2999-01-01
"""


class Terminal(StringIO):
    """Who answers questions."""

    def isatty(self) -> bool:
        return True


def spoilt(value: Any) -> Any:
    """``value`` with EVIL behind each text in it that may be any, as far as it takes that."""
    if isinstance(value, str) and not isinstance(value, enum.Enum):
        return value + EVIL
    if isinstance(value, tuple):
        return tuple(map(spoilt, value)) if type(value) is tuple else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            old = getattr(value, field.name)
            try:
                value = dataclasses.replace(value, **{field.name: spoilt(old)})
            except Exception:
                continue  # a text that may not be any
    return value


def renamed(data: bytes, hostile: bytes) -> bytes:
    """An ELF file with ``hostile`` behind the first letter of every symbol and section of it."""
    for name in set(re.findall(rb"\0([A-Za-z_.$][A-Za-z0-9_.$/]{5,60})(?=\0)", data)):
        end = min(len(name), 1 + len(hostile))
        new = name[:1] + hostile[: end - 1] + name[end:]
        data = data.replace(b"\0" + name + b"\0", b"\0" + new + b"\0")
    return data


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each."""
    place = tmp_path_factory.mktemp("inputs")
    assert main(["run", "--size", "64k", "--trace", str(place / "trace")]) == 0
    evidence = evidence_in(place / "trace")
    (place / "trace").write_bytes(b"".join(evidence_chunks(spoilt(evidence))))
    for number, state in enumerate(("11", "15")):
        path = place / f"object{number}"
        assert main(["export", "--type", "rel", "--series", state, "-o", str(path)]) == 0
        data = path.read_bytes()
        for kind, hostile in zip("nd", HOSTILE, strict=True):
            (place / f"{kind}{number}").write_bytes(renamed(data, hostile))
    tree = virt_dtb(1 << 30, 1 << 28)
    for old, new in (
        (b"pl011@", b"p\n\x1b[3@"),
        (b"arm,pl011", b"a\n\x1b[31\r\x85\x9b"),
        (b"clock-names", b"c\nck\x1b[31m\r\x85"),
    ):
        assert old in tree
        assert len(old) == len(new)
        tree = tree.replace(old, new)
    (place / "tree").write_bytes(tree)
    machine = write_snapshot(place)
    for file in machine.glob("*.json"):
        text = file.read_text().replace('"vmlinuz"', json.dumps(EVIL))
        file.write_text(text.replace('"PC"', json.dumps(EVIL)) if "reg" in file.name else text)
    (place / "kernel").write_bytes(kernel_image(f'\tsay "{SAID}"\n\toff\n'))
    (place / "project").mkdir()
    (place / "project" / "relokit.toml").write_text(PROJECT)
    (place / "bad.S").write_text(f'.text\n.loc 1 1\n.file 1 "{EVIL!r}"\nfoo\x1b[31m\u202e x0\n')
    (place / "long.S").write_text(f".text\nfoo: bl {LONG}\n.{LONG} 1\n")
    child._close_all()
    return place


CONSOLE = ("run", "--plain", "--kernel", "kernel", "--boot", "1", "--expect", "nothing")


@pytest.mark.parametrize(
    "words",
    [
        ("judge", "trace"),
        ("judge", "trace", "--json"),
        *(("judge", "trace", "--format", one) for one in ("junit", "sarif", "github", "ktap")),
        *(
            ("show", one, "--record", "trace")
            for one in ("memory", "list", "tables", "vectors", "code", "timeline", "trace")
        ),
        *(
            ("show", one, "--record", "trace", "--svg", "out")
            for one in ("memory", "tables", "timeline")
        ),
        ("show", "code", "--size", "64k", "--code-from", "n1"),
        ("run", "--size", "64k", "--dtb", "tree"),
        ("show", "memory", "--dtb", "tree", "--size", "64k", "--svg", "out"),
        ("diff", "--all", "n0", "n1"),
        ("diff", "--all", "d0", "d1"),
        ("diff", "--all", "n0", "n1", "--json"),
        ("diff", "--all", "d0", "d1", "--format", "html", "-o", "out"),
        ("diff", "n0", "n1"),
        ("run", "--size", "64k", "--code-from", "n1"),
        ("run", "--snapshot", "snapshot"),
        ("show", "memory", "--snapshot", "snapshot"),
        CONSOLE,
        (*CONSOLE, "--json"),
        *((*CONSOLE, "--format", one) for one in ("junit", "sarif", "github", "ktap")),
        *((*CONSOLE, "--format", one, "-o", "out") for one in ("junit", "sarif", "ktap")),
        ("diff", "bad.S", "bad.S"),
        ("diff", "long.S", "long.S"),
    ],
    ids=" ".join,
)
def test_nothing_in_a_file_makes_a_line(
    cli: Cli, inputs: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(inputs)
    result = cli(*words)
    assert result.code in (0, 1, 2)
    assert "defect of relokit" not in result.err
    assert forged(result.out) == []
    assert forged(result.err) == []
    assert not [one for one in result.out.split("\n") if one.strip().startswith("ok 1 - x")]
    assert len(result.err) < 3000
    assert max(map(len, result.out.split("\n"))) < 1 << 16
    out = inputs / "out"
    if out.exists():
        text = out.read_text()
        out.unlink()
        assert forged(text) == []
        assert "<b>" not in text or not text.startswith("<")


@pytest.mark.parametrize("more", [(), ("--json",), ("--format", "github"), ("--format", "ktap")])
def test_nothing_in_a_project_does(
    cli: Cli, inputs: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    monkeypatch.chdir(inputs / "project")
    result = cli("run", "--size", "64k", *more)
    assert result.code == 0
    assert MARK in result.err
    assert forged(result.out) + forged(result.err) == []
    assert len(result.err.splitlines()) == 1


def test_nor_does_a_name_in_a_question(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert not may_overwrite(force=False)([inputs / EVIL])
    told = "".join(capsys.readouterr())
    assert "Go on?" in told
    assert forged(told) == []
