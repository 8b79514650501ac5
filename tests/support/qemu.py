"""QEMU as another machine: exports that it boots, and what their consoles say."""

from __future__ import annotations

import io
import os
import selectors
import shlex
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from relokit.cli.main import main

SILENCE = 120.0
"""Seconds without a word from the guest after which it is given up, on a busy machine too."""
MAX_CONSOLE = 1 << 20


def export(path: Path, *options: str) -> list[str]:
    """``relokit export --type bootable``; returns the QEMU command that it prints."""
    output = io.StringIO()
    with redirect_stdout(output):
        code = main(["export", "--type", "bootable", "-o", str(path), *options])
    assert code == 0, output.getvalue()
    _, _, command = output.getvalue().partition("boot it with: ")
    return shlex.split(command)


def boot(command: list[str]) -> str:
    """Run QEMU until it ends by itself; returns the console.

    Fails when nothing comes for SILENCE, and at MAX_CONSOLE bytes.
    """
    console = b""
    with subprocess.Popen(
        [*command, "-no-reboot", "-nic", "none"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            try:
                while ready.select(SILENCE) and len(console) < MAX_CONSOLE:
                    part = os.read(process.stdout.fileno(), 1 << 16)
                    if not part:
                        break
                    console += part
                else:
                    pytest.fail(f"{shlex.join(command)} went on; its console:\n{text(console)}")
            finally:
                process.kill()
    return text(console)


def text(console: bytes) -> str:
    """What a guest printed, with the lines ended as Python does it."""
    return console.decode(errors="backslashreplace").replace("\r\n", "\n")
