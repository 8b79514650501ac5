"""Each file is opened once: counted in every process of a command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from relokit.building import build_programs
from relokit.codegen.facts import RELOCATION
from relokit.codegen.target import Regime
from relokit.linker.kernel.opened import Files
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.kexec.job import RAM_BASE
from relokit.runtime.kexec.programs import demo_kernel

pytestmark = pytest.mark.oracle

HOOK = """
import os, sys

LOG, WATCHED = os.environ["OPENS_LOG"], os.environ["OPENS_WATCHED"]

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path = os.fsdecode(arguments[0])
        if path.startswith(WATCHED):
            with open(LOG, "a") as log:
                log.write(path + "\\n")

sys.addaudithook(hook)
"""


def opens(directory: Path, *arguments: str | Path, code: int = 0) -> Counter[str]:
    """By name how often a file in ``directory`` was opened, by the command or its children."""
    beside = directory.parent / f"{directory.name}-hook"
    beside.mkdir()
    (beside / "sitecustomize.py").write_text(HOOK)
    log = beside / "log"
    log.touch()
    environment = os.environ | {
        "PYTHONPATH": str(beside),
        "OPENS_LOG": str(log),
        "OPENS_WATCHED": f"{directory}/",
    }
    done = subprocess.run(
        [sys.executable, "-m", "relokit", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return Counter(Path(line).name for line in log.read_text().splitlines())


@pytest.fixture
def room(tmp_path: Path) -> Path:
    directory = tmp_path / "files"
    directory.mkdir()
    return directory


def in_room(room: Path, kernel: Path) -> Path:
    """``kernel`` as a file that is watched."""
    path = room / kernel.name
    path.symlink_to(kernel)
    return path


def test_payload_files_are_opened_once(room: Path) -> None:
    demo = build_programs().demo
    assert demo is not None
    (room / "kernel").write_bytes(demo_kernel(demo))
    (room / "initrd").write_bytes(b"initrd" * 1000)
    (room / "tree.dtb").write_bytes(virt_dtb(RAM_BASE, 1 << 30, regime=Regime.NVHE))
    payload = ("--kernel", room / "kernel", "--initrd", room / "initrd")
    found = opens(room, "run", *payload, "--dtb", room / "tree.dtb")
    assert found == {"kernel": 1, "initrd": 1, "tree.dtb": 1}


def test_one_kernel_as_payload_code_and_layout_is_opened_once(room: Path, kernel_6_1: Path) -> None:
    kernel = in_room(room, kernel_6_1)
    found = opens(room, "run", "--kernel", kernel, "--code-from", kernel, "--layout-from", kernel)
    assert found == {kernel.name: 1}


def test_a_diff_that_runs_two_kernels_opens_two_files(
    room: Path, kernel_6_1: Path, kernel_6_12: Path
) -> None:
    left, right = in_room(room, kernel_6_1), in_room(room, kernel_6_12)
    found = opens(room, "diff", f"{left}:{RELOCATION}", right, "--run", code=1)
    assert found == {left.name: 1, right.name: 1}


def test_all_functions_of_two_kernels_take_two_opens(
    room: Path, kernel_6_1: Path, kernel_6_12: Path
) -> None:
    left, right = in_room(room, kernel_6_1), in_room(room, kernel_6_12)
    assert opens(room, "diff", left, right, "--all", code=1) == {left.name: 1, right.name: 1}


def test_a_matrix_opens_its_kernel_once(room: Path, kernel_6_1: Path) -> None:
    kernel = in_room(room, kernel_6_1)
    target = ("--series", "0,15", "--page-size", "4k", "--va-bits", "48", "--el", "el1")
    some = ("--path", "normal,crash", "--payload", "shuffled,no-list", "--kernel", kernel)
    assert opens(room, "matrix", *target, *some) == {kernel.name: 1}


def test_a_table_of_files_gives_each_once(room: Path) -> None:
    path = room / "some"
    path.write_bytes(b"content")
    files = Files()
    first = files.file(path, what="anything")
    path.unlink()
    assert files.file(str(path), what="anything") is first
    assert bytes(first.content) == b"content"
