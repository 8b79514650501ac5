"""Two stages of relokit as two installations: the first one's last commit, and this tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from guest import bootable
from measurement import progress
from usage import BenchError, Peak, Usage, measure, peak_memory

ROOT = Path(__file__).resolve().parents[1]
FIRST_STAGE = "5839b86"
"""The last commit of the first stage."""
HOME = ROOT / "build" / "stages"
THIS = "this tree"


@dataclass(frozen=True)
class Installation:
    """An installed relokit: its interpreter, and a directory for what it keeps between runs."""

    name: str
    python: Path
    cache: Path

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """``relokit arguments`` of this installation."""
        return [self.python, "-m", "relokit", *arguments]

    def run(self, *arguments: str | Path) -> Usage:
        """Run it, nothing of this tree in its way."""
        return measure(self.command(*arguments), self.environment(), self.cache.parent)

    def peak(self, *arguments: str | Path) -> Peak:
        """Its memory at the peak."""
        return peak_memory(self.command(*arguments), self.environment(), self.cache.parent)

    def passed(self, *arguments: str | Path) -> dict[str, Any]:
        """The document that a command prints; what did not pass is no measurement."""
        document: dict[str, Any] = json.loads(self.run(*arguments).out)
        if document["status"] != "pass":
            raise BenchError(f"a run of the benchmark did not pass: {document['status']}")
        return document

    def bootable(self, path: Path, *options: str | Path) -> list[str]:
        """A bootable ELF of it, and the QEMU command that boots it."""
        return bootable(path, *map(str, options), python=self.python)

    @cached_property
    def plain(self) -> tuple[str, ...]:
        """What has it record nothing, as the first stage never does: like is compared with like."""
        return ("--plain",) if "--plain" in self.run("run", "--help").out else ()

    def templates(self) -> Path:
        """Directory of its own templates."""
        script = "import relokit.templates; print(relokit.templates.__path__[0])"
        return Path(measure([self.python, "-c", script], self.environment(), HOME).out.strip())

    def environment(self) -> dict[str, str]:
        """Bytecode is kept, as it is for everybody who has installed it."""
        away = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "RELOKIT_CACHE"}
        kept = {name: value for name, value in os.environ.items() if name not in away}
        return kept | {"RELOKIT_CACHE": str(self.cache)}

    def forget(self) -> None:
        """Empty the cache: the next run is as the first one ever."""
        shutil.rmtree(self.cache, ignore_errors=True)
        self.cache.mkdir(parents=True)


def here(work: Path) -> Installation:
    """This tree as it is installed for this interpreter, with a cache of its own in ``work``."""
    stage = Installation("relokit", Path(sys.executable), work / "cache")
    stage.forget()
    return stage


def installed(
    commit: str = FIRST_STAGE, name: str = "first stage"
) -> tuple[Installation, Installation]:
    """``commit`` under that name, and the files of this tree that git knows, as they are: each in
    a virtual environment of its own. One that is there already is brought up to date.
    """
    return _installed(name, full_name(commit)), _installed(THIS, None)


def full_name(commit: str) -> str:
    """The commit's full hash. Raises BenchError for what names none."""
    try:
        named = _output(
            "git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"
        )
    except BenchError:
        raise BenchError(
            f"{commit!r} is no commit of this repository; `git log --oneline` lists them"
        ) from None
    return named.decode().strip()


def described() -> dict[str, Any]:
    """Which commit this tree is, its date, and whether files differ from it."""
    try:
        commit, date = _output("git", "log", "-1", "--format=%H %cs").decode().split()
        # Pages are no code: this one is made of what is measured, and parts of it one by one.
        files = ("--untracked-files=no", "--", ".", ":!docs")
        changed = bool(_output("git", "status", "--porcelain", *files).strip())
    except BenchError:
        # Out of a source archive: the page says so, and the history takes nothing.
        return {"commit": None, "date": None, "changed": True}
    return {"commit": commit, "date": date, "changed": changed}


def _installed(name: str, commit: str | None) -> Installation:
    home = HOME / name.replace(" ", "-")
    tree, python, mark = home / "tree", home / "venv" / "bin" / "python", home / "commit"
    stage = Installation(name, python, home / "cache")
    stage.forget()
    if commit is not None and mark.exists() and mark.read_text() == commit:
        return stage
    progress(f"stages: installing {name} ({commit or 'this tree'})")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    if commit is None:
        names = _output("git", "ls-files", "-z").decode().split("\0")
        for path in filter(None, names):
            if (ROOT / path).is_file():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, tree / path)
    else:
        archive = _output("git", "archive", commit)
        subprocess.run(["tar", "-x", "-C", tree], input=archive, check=True)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        tree,
    ]
    if subprocess.run(pip, check=False).returncode:
        raise BenchError(f"{name} ({commit or 'as it is'}) cannot be installed")
    if commit is not None:
        mark.write_text(commit)
    return stage


def _output(*command: str) -> bytes:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stderr.decode().strip()}")
    return done.stdout
