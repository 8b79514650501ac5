"""Twins of the rules that read the facts of a record and not its trace."""

from __future__ import annotations

from dataclasses import replace

from relokit.codegen import facts
from relokit.runtime.arch.exceptions import ExceptionClass
from relokit.runtime.arch.walker import Fault, FaultKind, Walk
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.record.memory_facts import (
    EmptyTable,
    KimageWord,
    ListFacts,
    MisledPage,
    PageUse,
    WordDifference,
)
from relokit.runtime.record.record import JumpFacts, Record
from relokit.runtime.record.stop import StopReason
from support import records as r
from support.twins.twins import Twins


def _jump(**changed: object) -> Record:
    return replace(r.GOOD, jump=JumpFacts(r.RELOCATION, r.cpu(**changed)))  # type: ignore[arg-type]


def _misled() -> MisledPage:
    fault = Fault(FaultKind.TRANSLATION, 3)
    walk = Walk(0x1000, None, fault, 3, 0, (), False, False, None, None)
    return MisledPage(PageUse.DESTINATION, r.KERNEL, 0x1000, walk, fault)


def _copy() -> Record:
    assert r.PREPARED.copies
    code, vectors = r.PREPARED.copies
    wrong = replace(code, difference=WordDifference(r.CONTROL, 0, 0xD503201F))
    return r.prepared(copies=(wrong, vectors))


_ABORT = 0b000111


FACTS: dict[str, Twins] = {
    "handoff.entry": Twins(r.arrived(pc=r.KERNEL + 4)),
    "handoff.stub-error": Twins(r.arrived(x={0: facts.HVC_STUB_ERR})),
    "handoff.el": Twins(r.arrived(el=1)),
    "handoff.mmu": Twins(r.arrived(mmu=True)),
    "handoff.nmi": Twins(r.arrived(sctlr=1 << 61)),
    "handoff.byte-order": Twins(r.image(flags=r.IMAGE.flags | 1)),
    "handoff.sctlr": Twins(r.arrived(system={"SCTLR_EL1": 0})),
    "handoff.daif": Twins(r.arrived(daif=0b1101)),
    "relocation.daif": Twins(r.arrived(system={"SPSR_EL2": r.MASKED_BUT_I})),
    "handoff.dtb": Twins(r.arrived(x={0: 0x1000})),
    "handoff.x1": Twins(r.arrived(x={1: 1})),
    "handoff.x2": Twins(r.arrived(x={2: 1})),
    "handoff.x3": Twins(r.arrived(x={3: 1})),
    "resume.el": Twins(r.awoken(el=2), r.AWAKE),
    "resume.ttbr1": Twins(r.awoken(system={"TTBR1_EL1": 0x6100_0000}), r.AWAKE),
    "resume.mmu": Twins(r.awoken(mmu=False), r.AWAKE),
    "resume.caches": Twins(r.awoken(sctlr=1 << 12), r.AWAKE),
    "resume.masked": Twins(r.awoken(daif=0b1101), r.awoken(daif=0b0011)),
    "resume.vectors": Twins(r.awoken(system={"VBAR_EL2": 0}), r.AWAKE),
    "exception.instruction-abort": Twins(
        r.ended(StopReason.EXCEPTION, ExceptionClass.INSTRUCTION_ABORT_SAME, status=_ABORT)
    ),
    "exception.data-abort": Twins(
        r.ended(StopReason.EXCEPTION, ExceptionClass.DATA_ABORT_SAME, status=_ABORT)
    ),
    "exception.undefined": Twins(r.ended(StopReason.EXCEPTION, ExceptionClass.UNKNOWN)),
    "exception.stray": Twins(r.ended(StopReason.EXCEPTION, ExceptionClass.BRK64)),
    "exception.vector": Twins(r.ended(StopReason.BAD_VECTOR)),
    "bus.unassigned": Twins(r.ended(StopReason.UNMAPPED)),
    "run.spin": Twins(r.ended(StopReason.SPIN)),
    "run.limit": Twins(r.ended(StopReason.INSTRUCTION_LIMIT)),
    "run.timeout": Twins(r.ended(StopReason.TIMEOUT)),
    "run.halted": Twins(r.ended(StopReason.HALTED)),
    "run.off": Twins(r.ended(StopReason.POWERED_OFF)),
    "run.engine": Twins(r.ended(StopReason.ENGINE)),
    "relocation.el": Twins(_jump(el=2, pc=r.CONTROL, mmu=True)),
    "relocation.mmu": Twins(_jump(el=1, pc=r.CONTROL, mmu=False)),
    "relocation.vectors": Twins(
        _jump(el=1, pc=r.CONTROL, mmu=True, system={"VBAR_EL2": 0x4020_2000})
    ),
    "memory.segment": Twins(replace(r.GOOD, arrived=r.misplaced())),
    "memory.resumed": Twins(replace(r.AWAKE, arrived=r.misplaced()), r.AWAKE),
    "setup.kimage": Twins(r.prepared(words=(KimageWord("head", 0, 2, None),))),
    "setup.code": Twins(_copy()),
    "setup.list": Twins(r.prepared(listed=ListFacts(3, 4, None))),
    "setup.zero-page": Twins(r.prepared(empty_table=EmptyTable(r.ZERO_PAGE, r.ZERO_PAGE + 8))),
    "setup.tables": Twins(r.prepared(misled=(_misled(),))),
    "damage.kimage": Twins(
        r.damaged(OwnerKind.KIMAGE), r.damaged(OwnerKind.KIMAGE, in_destination=True)
    ),
    "damage.code": Twins(r.damaged(OwnerKind.CONTROL_PAGE), r.damaged(OwnerKind.LIST)),
    "damage.list": Twins(r.damaged(OwnerKind.LIST), r.damaged(OwnerKind.CONTROL_PAGE)),
    "damage.zero-page": Twins(
        r.damaged(OwnerKind.ZERO_PAGE), r.damaged(OwnerKind.ZERO_PAGE, in_destination=True)
    ),
    "damage.tables": Twins(r.damaged(OwnerKind.LINEAR_MAP), r.damaged(OwnerKind.LIST)),
}
