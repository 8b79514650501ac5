"""The native library built with GCC's sanitizers for addresses and undefined behaviour: its calls
made again by a program in C, each in memory of its own, and the tests run with it:
``make sanitize``, or ``python -m support.sanitized [PYTEST ARGUMENTS]`` for tests alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
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
RECORDED = (
    "linker/kernel/test_linker_kallsyms.py",
    "linker/kernel/test_linker_alternatives.py",
    "linker/kernel/test_linker_btf.py",
    "linker/kernel/test_linker_pointers.py",
    "linker/kernel/test_linker_finding.py",
    "diffing/kernels/test_diffing_whole.py",
    "diffing/kernels/test_diffing_whole_parts.py",
    "runtime/guest/test_runtime_content.py",
    "runtime/engine/test_runtime_native_walker.py",
    "runtime/engine/test_runtime_native_hooks.py",
    "runtime/board/test_runtime_board.py",
)
"""Tests whose calls are made again."""
REPLAY = TOP / "tests" / "sanitize" / "replay.c"
WILD = 50
"""How often each call is made with something else."""
UNSUITED = f"{UNFIT} and not may_end_is_not_endless"
"""A test that gives the host some time is not for a process that writes down what it does."""
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


def run_tests(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
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
        env=os.environ | environment | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@dataclass(frozen=True)
class Replayed:
    """How often a function was called as it was recorded, and with something else; and in how many
    of these calls it asked something that is not there of its engine, so that only memory counts.
    """

    name: str
    calls: int
    wild: int
    alone: int


def record_calls(folder: Path, calls: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """The calls that ``tests`` make of the library in ``folder``, as a file."""
    # Each object of Python's has memory of its own: so it is known where it ends.
    more = {"RELOKIT_CALLS": str(calls), "PYTHONMALLOC": "malloc"}
    return run_tests(
        folder, "-n", "0", "-p", "support.recorded_calls", "-k", UNSUITED, *tests, **more
    )


def replay(folder: Path, calls: Path, *, seed: int = 0, wild: int = WILD) -> list[Replayed]:
    """All of the file ``calls`` made again; CalledProcessError for whatever is not clean."""
    program = folder / "replay"
    if not program.exists():
        flags = ("-std=c11", "-Wall", "-Wextra", "-Werror")
        subprocess.run([*COMPILER.split(), *flags, "-o", program, REPLAY], check=True)
    library = folder / "relokit" / "codegen" / "base" / "_native.so"
    done = subprocess.run(
        [program, library, calls, str(seed), str(wild)], check=True, text=True, capture_output=True
    )
    rows = (line.split() for line in done.stdout.splitlines())
    return [Replayed(name, *map(int, counts)) for name, *counts in rows]


def main(arguments: list[str]) -> int:
    """Build, replay, run, tell; what a sanitizer finds fails a test, or takes pytest with it."""
    with tempfile.TemporaryDirectory(prefix="relokit-sanitized-") as name:
        folder, calls = Path(name), Path(name) / "calls"
        build(folder)
        if not arguments:
            recorded = record_calls(folder, calls, *RECORDED)
            print(recorded.stdout)
            if recorded.returncode:
                return recorded.returncode
            try:
                again = replay(folder, calls)
            except subprocess.CalledProcessError as error:
                print(error.stderr)
                return 1
            for one in again:
                print(f"{one.name:24}{one.calls:6} as recorded {one.wild:8} with something else")
            print(Path(f"{calls}.left").read_text())
        done = run_tests(folder, *(arguments or ("-n", "auto", "-k", UNFIT, *TESTS)))
    print(done.stdout)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
