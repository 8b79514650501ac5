"""A QEMU of ours: started stopped, spoken to over a socket, and never left running."""

from __future__ import annotations

import ctypes
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from threading import Thread
from types import TracebackType

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.host_file import HostFile, open_file
from relokit.codegen.base.told_to_end import keep, remove_at_last
from relokit.codegen.target import Regime
from relokit.runtime.capture.gdb import GdbClient

PROGRAM = "qemu-system-aarch64"
START_SECONDS = 60.0
GRACE = 2.0
LOG_LINES = 40
LOG_LINE = 300
LINES_TOLD = 6
DEFAULT_MEMORY = 1 << 30
INITRD_MOST = 128 << 20
LEAST_MEMORY, MOST_MEMORY = 64 << 20, 1 << 40
DEFAULT_CPU = "cortex-a72"
RAM, RAM_FILE = "relokit-ram", "ram"
_FILES = RAM_FILE, "gdb", "initrd"
"""What its directory may have in it."""
RESERVED = ("-gdb", "-s", "-S", "-kernel", "-mem-path", "-daemonize", "-incoming", "-loadvm")
"""What says how QEMU is driven: that is ours."""
_SIZE = re.compile(r"(?:size=)?([0-9]{1,12})([KMGT]?)B?(?:,.*)?", re.IGNORECASE)
_TWO_DASHES = re.compile("--[A-Za-z][A-Za-z0-9-]*")
_EL2 = re.compile(r"(?:^|,)virtualization=(\w+)")
_UNITS = {"": 20, "K": 10, "M": 20, "G": 30, "T": 40}
_PR_SET_PDEATHSIG = 1


def memory_of(arguments: Sequence[str]) -> int:
    """Bytes of RAM that ``arguments`` of QEMU ask for with -m; MachineError for what is no size."""
    if "-m" not in arguments:
        return DEFAULT_MEMORY
    at = arguments.index("-m") + 1
    text = arguments[at] if at < len(arguments) else ""
    found = _SIZE.fullmatch(text)
    size = int(found[1]) << _UNITS[found[2].upper()] if found else 0
    if not LEAST_MEMORY <= size <= MOST_MEMORY or size % LEAST_MEMORY:
        raise MachineError(
            f"-m {text!r} is no memory for a hand-over", hint="give a multiple of 64M, like 1G"
        )
    return size


def initrd_at(base: int, size: int) -> int:
    """PA at which QEMU puts an initrd in RAM of ``size`` bytes from ``base`` (hw/arm/boot.c)."""
    return base + min(size // 2, INITRD_MOST)


def regime_of(arguments: Sequence[str]) -> Regime:
    """EL1 where ``arguments`` of QEMU give the board no EL2: it has one only if it is asked for.

    With one, PSCI is called by SMC, and else by HVC, as QEMU's own tree has it.
    """
    has_el2 = False
    for option, value in pairwise(arguments):
        if option in ("-M", "-machine"):
            for one in _EL2.finditer(value):
                has_el2 = one[1] in ("on", "true", "yes")
    return Regime.NVHE if has_el2 else Regime.EL1


def check(arguments: Sequence[str]) -> None:
    """Refuse what this program sets itself: MachineError."""
    for name in RESERVED:
        if name in arguments:
            raise MachineError(
                f"{name} is not yours to give: QEMU is driven with it", hint=f"leave {name} out"
            )
    for one in arguments:
        if _TWO_DASHES.fullmatch(one):
            raise MachineError(
                f"{one} has two dashes: QEMU would take it, and nobody here has looked at it",
                hint=f"write it with one dash, {one[1:]}",
            )


class Qemu:
    """The machine that ``arguments`` describe, with ``kernel``, before its first instruction.

    ``initrd`` is what it finds beside those, with ``cmdline``, whatever -append they have.

    Its RAM is the file ``ram``, which has no name any more once QEMU has been reached: nothing is
    left if we are killed. Use as a context manager. Raises MachineError with QEMU's own words if it
    does not start.
    """

    def __init__(
        self,
        kernel: Path,
        arguments: Sequence[str],
        initrd: bytes | memoryview | None = None,
        cmdline: str = "",
    ) -> None:
        check(arguments)
        program = shutil.which(PROGRAM)
        if program is None:
            raise MachineError(
                f"there is no {PROGRAM}", hint="install it (Debian: qemu-system-arm)"
            )
        self.memory = memory_of(arguments)
        self._directory = Path(tempfile.mkdtemp(prefix="relokit-record-"))
        self._leftovers = *(self._directory / one for one in _FILES), self._directory
        remove_at_last(*self._leftovers)
        self._ram: HostFile | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._client: GdbClient | None = None
        try:
            self._check_room()
            if initrd is not None:
                path = self._directory / "initrd"
                path.write_bytes(initrd)
                arguments = [*arguments, "-initrd", str(path), "-append", cmdline]
            self._process = self._started(program, kernel, arguments)
            self._reader = Thread(target=self._read, daemon=True)
            self._reader.start()
            self._client = GdbClient(self._connected(), PROGRAM)
            # It has read its files, and has RAM mapped.
            self._ram = open_file(
                self._directory / RAM_FILE, what="RAM", limit=MOST_MEMORY, settled=False
            )
            shutil.rmtree(self._directory)
            keep(*self._leftovers)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Qemu:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if isinstance(error, MachineError):
            said = self.said
            if said:
                error.message = f"{error.message}; its last lines: {said}"

    @property
    def client(self) -> GdbClient:
        """The connection to its stub."""
        assert self._client is not None
        return self._client

    @property
    def ram(self) -> HostFile:
        """Its RAM, as long as it runs."""
        assert self._ram is not None
        return self._ram

    @property
    def said(self) -> str:
        """The last lines that QEMU and the guest's console have printed."""
        return " | ".join(list(self._log)[-LINES_TOLD:])

    def close(self) -> None:
        """End QEMU, and remove its RAM."""
        if self._client is not None:
            self._client.close()
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
            self._reader.join(GRACE)
            assert process.stdout is not None
            process.stdout.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        keep(*self._leftovers)

    def _check_room(self) -> None:
        free = shutil.disk_usage(self._directory).free
        if self.memory > free:
            raise MachineError(
                f"{self.memory >> 20:,} MiB of RAM, and {self._directory.parent} has room for "
                f"{free >> 20:,}",
                hint="give a smaller -m, or another TMPDIR",
            )

    def _started(
        self, program: str, kernel: Path, arguments: Sequence[str]
    ) -> subprocess.Popen[bytes]:
        own = [
            *("-object", f"memory-backend-file,id={RAM},size={self.memory},"
              f"mem-path={self._directory / RAM_FILE},share=on"),
            *("-m", str(self.memory >> 20)),
            *("-kernel", str(kernel)),
            *("-gdb", f"unix:{self._directory / 'gdb'},server=on,wait=off", "-S"),
            *("-display", "none", "-no-reboot"),
        ]  # fmt: skip
        if not {"-nographic", "-serial"} & set(arguments):
            own += ["-monitor", "none", "-serial", "stdio"]
        if not {"-nic", "-net", "-netdev"} & set(arguments):
            own += ["-nic", "none"]
        boards = [two for one, two in pairwise(arguments) if one in ("-M", "-machine")]
        machine = [] if boards else ["-machine", "virt"]
        if "-cpu" not in arguments and all(one.startswith("virt") for one in boards[:1]):
            # QEMU's own choice for its virt is one without AArch64; other boards have theirs.
            machine += ["-cpu", DEFAULT_CPU]
        return subprocess.Popen(
            # Its own last: they say where RAM is, whatever was said before.
            [program, *machine, *arguments, "-machine", f"memory-backend={RAM}", *own],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            while line := self._process.stdout.readline(LOG_LINE):
                text = line.decode("ascii", "replace").strip()
                shown = "".join(one if one.isprintable() else "?" for one in text)
                if shown:
                    self._log.append(shown)
        except (OSError, ValueError):
            return

    def _connected(self) -> socket.socket:
        assert self._process is not None
        path, end = str(self._directory / "gdb"), time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                self._reader.join(GRACE)
                raise MachineError(
                    f"QEMU ends at once: {self.said or 'without a word'}",
                    where=PROGRAM,
                    hint="try the arguments behind -- by themselves",
                )
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(path)
            except OSError:
                connection.close()
                time.sleep(0.02)
                continue
            return connection
        raise MachineError(f"QEMU does not answer within {START_SECONDS:g} s", where=PROGRAM)


def attached(address: str) -> GdbClient:
    """A client of the stub at ``host:port``; MachineError if nobody listens there."""
    host, _, port = address.rpartition(":")
    digits = port.isascii() and port.isdigit() and len(port) <= 5
    if not host or not digits or not 0 < int(port) < 1 << 16:
        raise MachineError(f"{address!r} is no HOST:PORT", hint="like localhost:1234")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), START_SECONDS)
    except OSError as error:
        raise MachineError(
            f"nobody to speak to: {error.strerror or error}",
            where=address,
            hint="start QEMU with -gdb tcp::1234",
        ) from None
    return GdbClient(connection, address)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
