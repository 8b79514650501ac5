"""What the CPU's tests share: small programs, and a CPU to run them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keystone
import pytest

from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.record.stop import Stop

RAM = 0x4000_0000
CODE = RAM + 0x10_0000


@dataclass
class Bench:
    """A CPU and RAM; programs go to ``CODE`` unless told otherwise."""

    cpu: Cpu
    memory: GuestMemory

    def load(self, text: str, at: int = CODE) -> int:
        """Assemble ``text`` to PA ``at``; returns the address after it."""
        code, _ = keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN).asm(
            text, addr=at, as_bytes=True
        )
        self.memory.write(at, code)
        return int(at + len(code))

    def run(
        self,
        text: str,
        *,
        at: int = CODE,
        max_instructions: int = 1_000_000,
        timeout_s: float = 20.0,
    ) -> Stop:
        """Assemble and run ``text`` to its end."""
        end = self.load(text, at)
        return self.cpu.run(at, until=end, max_instructions=max_instructions, timeout_s=timeout_s)


@pytest.fixture(name="bench")
def _bench() -> Callable[..., Bench]:
    """Make a Bench: ``bench("max", cache_line=128)``."""

    def make(
        model: str = "a72",
        *,
        cache_line: int | None = None,
        has_el2: bool = True,
        banks: tuple[tuple[int, int], ...] = ((RAM, 16 << 20),),
    ) -> Bench:
        memory = GuestMemory.of(banks)
        cpu = Cpu(model, memory, cache_line=cache_line, has_el2=has_el2)
        return Bench(cpu, memory)

    return make
