"""The native library built with GCC's sanitizers for addresses and undefined behaviour, and the
tests run with it: ``make sanitize``, or ``python -m support.sanitized [PYTEST ARGUMENTS]``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
ROOMS = ("codegen", "templates", "linker", "runtime", "diffing", "cli")
SANITIZERS = ("libasan.so", "libubsan.so")
COMPILER = "gcc -g -fsanitize=address,undefined -fno-sanitize-recover=all"
"""What is found ends the process."""
TESTS = (
    "runtime/engine",
    "runtime/guest",
    "runtime/board",
    "linker/kernel",
    "diffing",
    "codegen/base",
    "oracles/test_oracle_relocation.py",
    "oracles/test_oracle_recorder.py",
    "oracles/test_oracle_kallsyms.py",
    "oracles/test_oracle_alternatives.py",
)
"""Those of every user of the library, but for such as run shipped kernels for long."""
UNFIT = "not resource_limit and not bomb_is_stopped and not larger_than_memory"
"""Tests that limit a process's addresses: a sanitizer takes terabytes of them."""
START = """
import os
os.RTLD_DEEPBIND = 0
"""
"""Capstone asks the loader for what a sanitizer refuses."""


def build(folder: Path) -> None:
    """relokit as it is installed, its library with the sanitizers in it."""
    package = folder / "relokit"
    unwanted = shutil.ignore_patterns("__pycache__", "*.so", "*.pyc")
    shutil.copytree(TOP / "api", package, ignore=unwanted)
    for room in ROOMS:
        shutil.copytree(TOP / room, package / room, ignore=unwanted)
    (folder / "sitecustomize.py").write_text(START)
    script = (
        "from build_backend import compile_library, Path, sys\ncompile_library(Path(sys.argv[1]))"
    )
    library = package / "codegen" / "base" / "_native.so"
    subprocess.run(
        [sys.executable, "-c", script, library],
        cwd=TOP,
        env=os.environ | {"CC": COMPILER},
        check=True,
    )


def run_tests(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest with the relokit in ``folder``, in a process of its own."""
    preloaded = (
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], check=True, text=True, stdout=subprocess.PIPE
        ).stdout.strip()
        for name in SANITIZERS
    )
    # The engine has handlers of its own, and what Python leaves at its end is no leak of ours.
    environment = {
        "LD_PRELOAD": " ".join(preloaded),
        "ASAN_OPTIONS": "detect_leaks=0:handle_segv=0:handle_sigbus=0",
        "PYTHONPATH": str(folder),
    }
    # What pytest is told besides is for the tests that run this one.
    environment["PYTEST_ADDOPTS"] = ""
    return subprocess.run(
        # Their reports are not for pytest to keep.
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--capture=sys",
            "-p",
            "no:cacheprovider",
            *arguments,
        ],
        cwd=TOP / "tests",
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main(arguments: list[str]) -> int:
    """Build, run, tell; what a sanitizer finds fails a test, or takes pytest with it."""
    with tempfile.TemporaryDirectory(prefix="relokit-sanitized-") as name:
        build(Path(name))
        done = run_tests(Path(name), *(arguments or ("-n", "auto", "-k", UNFIT, *TESTS)))
    print(done.stdout)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
