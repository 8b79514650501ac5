"""The new kernel, let run on: what it says, and where it ends."""

from __future__ import annotations

from dataclasses import replace

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch.exceptions import ExceptionClass
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.record.given import Given
from relokit.runtime.record.record import BootFacts, Record
from relokit.runtime.record.scene import Scene
from relokit.runtime.record.stop import StopReason
from support import records as r
from support.twins.twins import Twins

HELLO = "hello\n"
NO_ROOT = "[    1.25] Kernel panic - not syncing: VFS: Unable to mount root fs on x\n"
_GIVEN = Given(r.IMAGE, replace(r.TREE, bootargs="quiet earlycon=pl011,0x9000000"))


@dataclass(frozen=True, slots=True)
class _End:
    """How it ends: ``mmu`` at the end, by an exception of ``raised``."""

    reason: StopReason = StopReason.POWERED_OFF
    mmu: bool = True
    raised: ExceptionClass | None = None


_OFF = _End()


def ran(console: str = HELLO, end: _End = _OFF, *, expected: str | None = None) -> Record:
    """A kernel that printed ``console`` and ended so."""
    ended = r.ended(end.reason, end.raised)
    scene: Scene | None = ended.scene
    assert scene is not None
    scene = replace(scene, cpu=r.cpu(el=1, pc=r.CONTROL, mmu=end.mmu), place="start_kernel+0x10")
    itself = end.reason in (StopReason.POWERED_OFF, StopReason.PRINTED)
    boot = BootFacts(
        PayloadKind.KERNEL,
        console,
        scene.stop,
        5.0,
        expected=expected,
        scene=None if itself else scene,
    )
    return replace(r.GOOD, boot=boot, given=_GIVEN)


def ended(reason: StopReason, *, mmu: bool = True, raised: ExceptionClass | None = None) -> Record:
    """A kernel that printed something, and ended so."""
    return ran(end=_End(reason, mmu, raised))


RAN = ran()

BOOTS: dict[str, Twins] = {
    "boot.demo": Twins(replace(r.RAN_ON, boot=replace(r.BOOT, console="FAIL\n")), r.RAN_ON),
    "boot.expect": Twins(
        ran(expected="login:"), ran(end=_End(StopReason.PRINTED), expected="login:")
    ),
    "boot.silent": Twins(ran("\n \n"), RAN),
    "boot.panic": Twins(ran("[    0.1] BUG: x\n"), ran("cmdline: BUG: x\n")),
    "boot.root": Twins(ran(NO_ROOT), RAN),
    "boot.parked": Twins(ended(StopReason.HALTED, mmu=False), ended(StopReason.HALTED, mmu=True)),
    "boot.idle": Twins(ended(StopReason.HALTED, mmu=True), ended(StopReason.HALTED, mmu=False)),
    "boot.vector": Twins(ended(StopReason.BAD_VECTOR), RAN),
    "boot.exception": Twins(ended(StopReason.EXCEPTION, raised=ExceptionClass.SMC64), RAN),
    "boot.storm": Twins(
        ended(StopReason.STORM, raised=ExceptionClass.BRK64), ended(StopReason.INSTRUCTION_LIMIT)
    ),
    "boot.outside": Twins(ended(StopReason.UNMAPPED), RAN),
    "boot.unanswered": Twins(ended(StopReason.TIMEOUT), ended(StopReason.INSTRUCTION_LIMIT)),
}
