"""What ``import relokit`` gives: all that the README's lines need, at no cost."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import relokit

ROOT = Path(relokit.__file__).resolve().parents[1]
EXAMPLES = sorted(
    path
    for room in ("api", "codegen", "linker", "runtime", "diffing")
    for path in (ROOT / room).rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", relokit.__all__)
def test_every_name_is_there_and_stays_what_it_is(name: str) -> None:
    first = getattr(relokit, name)
    assert not isinstance(first, ModuleType)
    # A module of the same name, once imported, would take its place.
    assert getattr(relokit, name) is first
    assert name in dir(relokit)


def test_what_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Tarket'"):
        relokit.Tarket  # noqa: B018


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys, relokit; print(*(m for m in sys.modules if m.startswith('relokit.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {
        "relokit.codegen",
        "relokit.codegen.base",
        "relokit.codegen.base.version",
    }


def test_the_lines_of_the_readme_run() -> None:
    text = (ROOT / "README.md").read_text()
    section = text.partition("## From Python")[2].partition("\n## ")[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    assert "import relokit" in lines
    code = "\n".join(lines).replace("84 << 20", "1 << 20")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pass ")


def test_there_are_examples() -> None:
    assert {"api", "codegen", "runtime"} <= {path.relative_to(ROOT).parts[0] for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_do_what_they_say(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "api" else parts
    name = ".".join(("relokit", *(part for part in parts if part != "__init__")))
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed
