"""The console of the new kernel, while it runs: into a pipe, line by line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.kernels import kernel_image

Cli = Callable[..., Any]
TALK = """
	say	"hello\\n"
1:	add	x1, x1, #1
	b	1b
"""


def test_the_console_streams_into_a_pipe(tmp_path: Path) -> None:
    """Its first line is there while the kernel runs, for as long as anybody likes."""
    path = tmp_path / "Image"
    path.write_bytes(kernel_image(TALK))
    command = [sys.executable, "-m", "relokit", "run", "--plain", "--kernel", str(path)]
    with subprocess.Popen(
        [*command, "--boot", "600"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while "console" not in lines[-1]:
            assert lines[-1]
            lines.append(process.stdout.readline())
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert lines[0].startswith("relokit ")
    assert lines[-1] == "  console      hello\n"
    assert process.returncode == 130


def test_what_is_shown_is_the_same_at_once_or_as_it_comes(cli: Cli) -> None:
    document = cli("run", "--json").document
    rows = [line for line in cli("run").out.splitlines() if line.startswith("  console ")]
    assert [row.split("console", 1)[1].strip() for row in rows] == document["console"].splitlines()
