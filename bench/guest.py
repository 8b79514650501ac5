"""A bootable ELF in QEMU, timed from the first instruction to what the new kernel prints."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from time import perf_counter

from usage import BenchError, Usage, children_cpu

GUEST_SECONDS = 300.0
GREETING = b"relokit demo kernel: entered"


def bootable(path: Path, *options: str, python: str | Path = sys.executable) -> list[str]:
    """Export a bootable ELF; returns the QEMU command that ``relokit export`` prints."""
    relokit = [python, "-m", "relokit", "export", "--type", "bootable", "-o", str(path)]
    done = subprocess.run([*relokit, *options], check=True, text=True, stdout=subprocess.PIPE)
    _, _, command = done.stdout.partition("boot it with: ")
    return shlex.split(command)


def seconds_to_greeting(command: list[str]) -> float:
    """Boot, and return the time from letting the CPU go to the demo kernel's first line.

    The ELF is in guest RAM by then, and RAM is backed by the host's, so neither is counted.
    """
    with _paused(command) as (process, control):
        assert process.stdout is not None
        start = perf_counter()
        _send(control, "cont")
        line = process.stdout.readline()
        seconds = perf_counter() - start
    if not line.startswith(GREETING):
        raise BenchError(f"the guest did not get to its new kernel within {GUEST_SECONDS:.0f} s")
    return seconds


def until_line(command: list[str], text: str) -> Usage:
    """Boot as a shell would, until ``text`` is printed: CPU and wall time of all that."""
    before = children_cpu()
    start = perf_counter()
    process = subprocess.Popen(
        [*command, "-no-reboot", "-nic", "none"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    watchdog = Timer(GUEST_SECONDS, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        found = any(text.encode() in line for line in process.stdout)
        wall = perf_counter() - start
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()
    if not found:
        raise BenchError(f"QEMU's guest did not print {text!r} within {GUEST_SECONDS:.0f} s")
    return Usage(children_cpu() - before, wall, "")


@contextmanager
def _paused(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """QEMU with everything loaded and the CPU stopped, and its QMP connection."""
    ours, theirs = socket.socketpair()
    with ours, ours.makefile("rb") as replies:
        with theirs:
            process = subprocess.Popen(
                [*_with_backed_ram(command), *_with_control(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )
        watchdog = Timer(GUEST_SECONDS, process.kill)
        watchdog.start()
        try:
            # QMP greets first, and answers each command with a line.
            if not replies.readline():
                raise BenchError(f"{shlex.join(command)} did not start")
            _send(ours, "qmp_capabilities")
            replies.readline()
            yield process, ours
        finally:
            watchdog.cancel()
            process.kill()
            process.communicate()


def _with_backed_ram(command: list[str]) -> list[str]:
    """The command without its terminal, and with RAM that the host has handed out already."""
    words = [word for word in command if word != "-nographic"]
    machine, memory = words.index("-M") + 1, words.index("-m") + 1
    words[machine] += ",memory-backend=ram"
    backend = f"memory-backend-ram,id=ram,size={words[memory]}M,prealloc=on"
    return [*words, "-object", backend, "-display", "none", "-nic", "none", "-serial", "stdio"]


def _with_control(fd: int) -> list[str]:
    """Start stopped, and take QMP commands on socket ``fd``."""
    return ["-S", "-chardev", f"socket,id=control,fd={fd}", "-mon", "chardev=control,mode=control"]


def _send(control: socket.socket, command: str) -> None:
    control.sendall(json.dumps({"execute": command}).encode() + b"\n")
