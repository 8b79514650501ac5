"""``relokit debug``, by GDB."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import relokit.templates
from relokit.runtime.debug.packets import framed
from relokit.runtime.kexec.machine import Machine
from support.debuggees import SECONDS, debuggee, gdb, served
from support.kernels import kernel_image

pytestmark = pytest.mark.usefixtures("kept")

TEMPLATES = Path(relokit.templates.__path__[0])


def said(printed: str, command: str) -> str:
    """What GDB has printed for ``command``."""
    return printed.partition(f">>> {command}\n")[2].partition(">>> ")[0]


def test_gdb_steps_halts_goes_back_and_comes_to_the_kernel() -> None:
    with debuggee() as one:
        one.go_to_jump()
        jump, number = one.cpu.pc, one.number
        x0 = one.cpu.x(0)
    with served() as (process, port):
        printed = gdb(
            port,
            "info registers CurrentEL",
            "stepi",
            f"hbreak *{jump:#x}",
            "continue",
            "p/x $x0",
            "monitor where",
            f"monitor walk {jump:#x}",
            f"x/1xw {jump:#x}",
            "reverse-stepi",
            "monitor goto 3",
            "stepi 5",
            "continue",
            "delete",
            "p $SCTLR_EL1 & 1",
            "set var $x9 = 77",
            "p $x9",
            "continue",
            "reverse-continue",
        )
        assert process.wait(SECONDS) == 0
        assert process.stdout is not None
        assert b"left by the debugger" in process.stdout.read()
    assert "0x4 " in said(printed, "info registers CurrentEL")
    assert f"{jump:#018x}" in said(printed, "continue")
    assert f"{x0:#x}" in said(printed, "p/x $x0")
    assert f"{number} instructions" in said(printed, "monitor where")
    assert "arm64_relocate_new_kernel+0x0" in said(printed, "monitor where")
    assert f"PA {jump:#x}, r-x: control code page" in said(printed, f"monitor walk {jump:#x}")
    assert "= 1\n" in said(printed, "p $SCTLR_EL1 & 1")
    assert "= 77\n" in said(printed, "p $x9")
    assert "the new kernel is entered" in printed
    assert "No more reverse-execution history" in said(printed, "reverse-continue")


def test_ctrl_c_ends_it_whatever_a_client_sends() -> None:
    with served() as (process, port), socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"\xff" * 5000 + b"$" + b"m" * 40000 + b"#00" + framed(b"?"))
        answer = b""
        while b"#" not in answer:
            answer += line.recv(1000)
        assert answer.endswith(framed(b"T05thread:1;"))
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
    with served() as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130


def test_a_file_that_changes_while_the_debugger_is_there_ends_it(tmp_path: Path) -> None:
    """What was made of it was told until the debugger left."""
    kernel = tmp_path / "kernel"
    kernel.write_bytes(kernel_image("off").ljust(1 << 16, b"\0"))
    with served("--kernel", kernel) as (process, port):
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(framed(b"?"))
            line.settimeout(SECONDS)
            assert line.recv(1000)
            os.utime(kernel, ns=(1, 1))
            line.sendall(framed(b"g"))
            while line.recv(1000):
                pass
        assert process.wait(SECONDS) == 2
        assert process.stderr is not None
        assert b"kernel: changed while it was read" in process.stderr.read()


def test_a_port_that_is_taken_is_no_port(cli: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("debug", "--port", str(port))
    assert done.code == 2
    assert f"port {port} of 127.0.0.1 cannot be listened on" in done.err


def test_gdb_has_names_and_lines_watches_memory_and_is_told_of_the_exit(tmp_path: Path) -> None:
    with debuggee() as one:
        assert isinstance(one.guest, Machine)
        page = one.guest.inputs.segments[0].segment.mem
        va = page + one.guest.old.linear_offset
    symbols = tmp_path / "with space.elf"
    with served("--el", "vhe", "--symbols-to", symbols) as (process, port):
        printed = gdb(
            port,
            f"directory {TEMPLATES}",
            "break arm64_relocate_new_kernel",
            "continue",
            "monitor where",
            "info symbol $pc",
            "tbreak macros/copy.j2:11",
            "continue 1",
            "next",
            "info line *$pc",
            "delete",
            f"watch *(long *){va:#x}",
            "reverse-continue",
            "x/i $pc",
            "delete ",
            "continue ",
            "continue  ",
            symbols=symbols,
        )
        assert process.wait(SECONDS) == 0
    assert "warning" not in printed
    assert "arm64_relocate_new_kernel () at relocate_kernel.S.j2:" in said(printed, "continue")
    assert "arm64_relocate_new_kernel+0x0" in said(printed, "monitor where")
    assert "arm64_relocate_new_kernel in section" in said(printed, "info symbol $pc")
    assert "macros/copy.j2:11" in said(printed, "continue 1")
    assert "stnp" in said(printed, "next")
    assert 'Line 12 of "macros/copy.j2"' in said(printed, "info line *$pc")
    assert "Hardware watchpoint 3" in said(printed, "reverse-continue")
    assert "stnp" in said(printed, "x/i $pc")
    assert "the new kernel is entered" in said(printed, "continue ")
    assert "exited normally" in said(printed, "continue  ")


def test_what_runs_is_halted_by_an_interrupt_and_by_a_debugger_that_goes() -> None:
    endless = "00040091e0ffffb5"  # add x0, x0, #1; cbnz x0, back there
    with debuggee() as one:
        one.go_to_jump()
        jump = one.cpu.pc
    with served("--max-instructions", str(1 << 33)) as (process, port):
        with socket.create_connection(("127.0.0.1", port)) as line:
            answers = line.makefile("rb")

            def ask(packet: bytes, more: bytes = b"") -> bytes:
                line.sendall(framed(packet) + more)
                assert answers.read(1) == b"+"
                answer = b""
                while answer[-3:-2] != b"#":
                    answer += answers.read(1)
                return answer[1:-3]

            assert ask(b"Z0,%x,4" % jump) == b"OK"
            assert ask(b"c") == b"T05thread:1;"
            assert ask(b"z0,%x,4" % jump) == b"OK"
            assert ask(b"M%x,8:%s" % (jump, endless.encode())) == b"OK"
            assert ask(b"c", b"\x03") == b"T02thread:1;"
            line.sendall(framed(b"c"))
            answers.close()
        # Nobody waits for what runs on.
        assert process.wait(SECONDS) == 0
        assert process.stdout is not None
        assert b"the debugger has gone" in process.stdout.read()
