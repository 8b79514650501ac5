"""A running machine to a Stopped one, at the last branch of machine_kexec."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.host_file import HostFile
from relokit.linker.kernel.opened import OpenedKernel
from relokit.runtime.capture.cpu_reading import cpu_snapshot, devices
from relokit.runtime.capture.gdb import GdbClient, RegisterSpot
from relokit.runtime.capture.last_branch import LEAVES, VECTORS, branches_of, leaves
from relokit.runtime.capture.load_window import PREPARES, Prints, prints_of, seen
from relokit.runtime.snapshot.snapshot import RamExtent
from relokit.runtime.snapshot.snapshot_writing import Stopped

POLL = 0.25
"""Seconds that the machine runs before it is asked again where its kernel is."""
PROBE = 16
"""Bytes of the vectors that tell that they are this kernel's; boot leaves those for EL1 alone."""
IMAGE_ALIGN = 1 << 16
Report = Callable[[str, int, int], None]


class Capture:
    """``client``'s machine, in which ``kernel`` runs or is about to.

    Raises MachineError naming what does not come within ``seconds``.
    """

    def __init__(
        self, client: GdbClient, kernel: OpenedKernel, seconds: float, report: Report
    ) -> None:
        self._client, self._kernel = client, kernel
        self._end = time.monotonic() + seconds
        self._seconds, self._report = seconds, report
        self._branches = branches_of(kernel)
        self._spots = client.registers()
        self._cpu = ""
        self._loads: dict[int | None, tuple[Prints, Prints]] = {}

    def to_last_branch(self, ram: HostFile | None = None) -> int:
        """Run on to the branch by which machine_kexec leaves; returns kimage's VA.

        Loads on the way are looked at if ``ram`` is the machine's RAM.
        """
        client, base, symbols = self._client, self._base(), self._kernel.symbols
        entry = base + symbols.offset(LEAVES)
        prepares = base + symbols.offset(PREPARES) if PREPARES in symbols else entry
        stops = {entry} if ram is None else {entry, prepares}
        for place in stops:
            client.break_at(place)
        while self._run_to(stops, f"{LEAVES} is never called") != entry:
            assert ram is not None
            self._watch_load(prepares, ram)
        kimage = self._register("x0")
        for place in stops:
            client.unbreak(place)
        places = {base + one.offset: one.register for one in self._branches}
        for place in places:
            client.break_at(place)
        while True:
            at = self._run_to(set(places), f"{LEAVES} never leaves the kernel")
            if leaves(self._register(f"x{places[at]}")):
                break
        for place in places:
            client.unbreak(place)
        return kimage

    def _watch_load(self, entry: int, ram: HostFile) -> None:
        """From the entry of machine_kexec_post_load to its return."""
        client, kimage, back = self._client, self._register("x0"), self._register("x30")
        before = prints_of(ram)
        client.unbreak(entry)
        client.break_at(back)
        self._run_to({back}, f"{PREPARES} never returns")
        client.unbreak(back)
        client.break_at(entry)
        self._loads[kimage] = before, prints_of(ram)

    def run_to_physical(self, pa: int) -> None:
        """Run on to PA ``pa``, where the MMU is off."""
        self._client.break_at(pa)
        self._run_to({pa}, f"PA {pa:#x} is never executed")
        self._client.unbreak(pa)

    def stopped(
        self, base: int, ram: HostFile, kimage: int | None, tree: int | None = None
    ) -> Stopped:
        """The machine as it is, with its RAM, which begins at PA ``base``.

        ``tree`` is the PA of the device tree that its kernel was booted with, if that is known.
        """
        client, leaving = self._client, self._cpu
        names = client.cpus()
        # A stub that names no CPU has one.
        leaving = leaving if leaving in names else names[0]
        cpus = tuple(
            cpu_snapshot(client, self._spots, name, leaving=name == leaving) for name in names
        )
        client.look_at(leaving)
        client.physical(True)
        found = devices(client, len(names))
        client.physical(False)
        bank, piece = (base, ram.size), RamExtent(base, ram.size, 0)
        load = None
        if kimage in self._loads:
            load = seen(base, *self._loads[kimage], prints_of(ram))
        number = names.index(leaving)
        return Stopped((bank,), (piece,), ram, number, cpus, kimage, found, tree, load)

    def _base(self) -> int:
        """VA of the Image's first byte, KASLR included: told by the vectors."""
        offset = self._kernel.symbols.offset(VECTORS)
        probe = bytes(self._kernel.file.image[offset : offset + PROBE])
        while True:
            for name in ("VBAR", "VBAR_EL1", "VBAR_EL2"):
                spot: RegisterSpot | None = self._spots.get(name)
                vectors = self._client.register(spot) if spot else None
                if not vectors or leaves(vectors) or (vectors - offset) % IMAGE_ALIGN:
                    continue
                if self._client.memory(vectors, PROBE) == probe:
                    return vectors - offset
            self._go(POLL, "the kernel never has its vectors: is this the one that boots?")

    def _run_to(self, places: set[int], why: str) -> int:
        while (at := self._go(None, why)) not in places:
            pass
        assert at is not None
        return at

    def _go(self, seconds: float | None, why: str) -> int | None:
        """Let the machine run; where it stopped by itself, or None if it was stopped."""
        left = self._end - time.monotonic()
        done = int(1000 * (1 - max(left, 0) / self._seconds))
        self._report("record", min(done, 1000), 1000)
        stop = self._client.go(min(left, seconds or left), interrupt=True) if left > 0 else None
        if time.monotonic() >= self._end:
            raise MachineError(
                f"{why}, within {self._seconds:g} s", hint="give more with --timeout"
            )
        self._cpu = stop or ""
        if stop:
            self._client.look_at(stop)
        return self._register("pc")

    def _register(self, name: str) -> int:
        spots: Mapping[str, RegisterSpot] = self._spots
        value = self._client.register(spots[name]) if name in spots else None
        if value is None:
            raise MachineError(f"the stub has no register {name}")
        return value
