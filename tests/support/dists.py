"""The source distribution and the wheel, installed by every Python that this machine has.

``make dist-check`` builds both twice, compares the bytes, installs each with its dependencies into
a fresh virtual environment of each Python, from a directory that has nothing to do with the tree,
and runs some commands there. It writes the table of docs/install.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
COMMANDS = (
    ("--version", 0, "relokit "),
    ("run", 0, "\nPASS\n"),
    ("generate -o out", 0, ""),
    ("export -o out.elf", 0, ""),
    ("diff series:11 series:12", 1, "\n@@ "),
    ("man --copy man1", 0, "relokit-run.1"),
    ("completion bash", 0, "complete "),
)
"""What each installation runs, with the exit code and a part of what it tells."""
UNWANTED = ("__pycache__", "*.so", "*.egg-info", "build", "dist", ".*")


def copied(folder: Path) -> Path:
    """A copy in ``folder`` of what git would clone: no build, no library."""
    return Path(shutil.copytree(TOP, folder, ignore=shutil.ignore_patterns(*UNWANTED)))


def built(kind: str, tree: Path, folder: Path) -> Path:
    """The "sdist" or "wheel" of ``tree``, in ``folder``; by the backend, as pip would call it."""
    folder.mkdir(parents=True, exist_ok=True)
    script = f"import build_backend; print(build_backend.build_{kind}({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tree, check=True, capture_output=True, text=True
    )
    return folder / done.stdout.split()[-1]


def works(program: Path, folder: Path) -> str:
    """Run all of ``COMMANDS`` in ``folder``; empty, or what went wrong."""
    environment = {**os.environ, "RELOKIT_CACHE": "", "PYTHONSAFEPATH": "1"}
    for words, code, told in COMMANDS:
        done = subprocess.run(
            [program, *words.split()], cwd=folder, env=environment, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != code or told not in done.stdout:
            return f"relokit {words}: {done.returncode}, {(done.stderr or done.stdout)[-300:]}"
    return ""


def pythons(version: str) -> Iterator[Path]:
    """The interpreters of ``version`` here: Debian's, the PATH's, pyenv's; each once."""
    name = f"python{version}"
    places = [Path("/usr/bin") / name, Path(shutil.which(name) or "/absent")]
    places += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/{name}"))
    seen = set()
    for path in places:
        # What pyenv puts onto the PATH is a script that may find no Python.
        if path.exists() and ".pyenv/shims" not in str(path) and path.resolve() not in seen:
            seen.add(path.resolve())
            yield path


def tried(python: Path, artifact: Path, folder: Path) -> str:
    """Install ``artifact`` in a fresh environment in ``folder`` and use it; what came of it."""
    environment, elsewhere = folder / "env", folder / "elsewhere"
    elsewhere.mkdir(parents=True)
    pip = [environment / "bin/python", "-m", "pip", "-qq", "--disable-pip-version-check"]
    for command in ([python, "-m", "venv", environment], [*pip, "install", artifact]):
        done = subprocess.run(command, cwd=elsewhere, check=False, capture_output=True, text=True)
        if done.returncode:
            return done.stderr[-500:]
    return works(environment / "bin/relokit", elsewhere)


def version_of(python: Path) -> str:
    script = "import platform; print(platform.python_version())"
    return subprocess.check_output([python, "-c", script], text=True).strip()


def main() -> int:
    rows: list[Sequence[str]] = []
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree = copied(folder / "tree")
        artifacts = [built(kind, tree, folder / "dist") for kind in ("sdist", "wheel")]
        again = copied(folder / "again" / "tree")
        for kind, artifact in zip(("sdist", "wheel"), artifacts, strict=True):
            same = built(kind, again, folder / "other").read_bytes() == artifact.read_bytes()
            failed |= not same
            print(f"{artifact.name}: two builds are {'the same' if same else 'DIFFERENT'}")
        for version in VERSIONS:
            found = list(pythons(version))
            if not found:
                rows.append((f"Python {version}", "", "not tried: none here"))
            for number, python in enumerate(found):
                for artifact in artifacts:
                    kind = "wheel" if artifact.suffix == ".whl" else "sdist"
                    wrong = tried(python, artifact, folder / f"{version}-{number}-{kind}")
                    failed |= bool(wrong)
                    whose = "Debian's" if python.parent == Path("/usr/bin") else "built by pyenv"
                    end = f"FAILED: {wrong}" if wrong else "works"
                    rows.append((f"Python {version_of(python)}, {whose}", kind, end))
                    print(*rows[-1], sep="  ", flush=True)
    if not failed:
        _into_the_page(rows)
    return int(failed)


def _into_the_page(rows: Sequence[Sequence[str]]) -> None:
    page = TOP / "docs/install.md"
    start, mark, _ = page.read_text("utf-8").partition("<!-- made by `make dist-check` -->\n")
    table = ["| Python | of | |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    page.write_text(start + mark + "\n".join(table) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
