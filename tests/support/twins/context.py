"""Twins of context.*, and of errata that are about the same."""

from __future__ import annotations

from dataclasses import replace

from relokit.codegen.facts import HCR_EL2_E2H, HCR_EL2_TGE
from relokit.runtime.judge.model.pending import SCTLR_EIS
from relokit.runtime.judge.model.pending_uses import SCTLR_EE
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.scene import SeenWord
from support import records as r
from support.traces import MMU_OFF, SCTLR_ON, Story
from support.twins.twins import Twins

OLD, NEW = 0x6100_0000, 0x6200_0000
"""Tables."""
UPPER = 0xFFFF_0000_0000_0000
HOST = HCR_EL2_E2H | HCR_EL2_TGE
FADD = 0x1E602820


def _good() -> Story:
    """What GOOD has, where more may follow."""
    return r.moved().fetchable()


def _read(story: Story) -> Story:
    """A load by way of TTBR1."""
    return story.load(r.KERNEL, 16, va=UPPER + r.KERNEL)


def _tables(*, isb: bool) -> Story:
    story = _good().starting(TTBR1_EL1=OLD).msr("TTBR1_EL1", NEW)
    return _read(story.isb() if isb else story)


def _at_el2(*, isb: bool) -> Story:
    story = _good().exception().starting(HCR_EL2=0).msr("HCR_EL2", HOST)
    return (story.isb() if isb else story).eret(2)


def _with_exs(*, eis: int) -> Story:
    story = _good().exception().eret().starting(ID_AA64MMFR0_EL1=1 << 44, SCTLR_EL1=SCTLR_ON | eis)
    return story.msr("VBAR_EL1", 0x7000_1000).exception(1, offset=0x200)


def _executed(story: Story) -> CodeSeen:
    """CODE, with an addition of floating-point numbers where ``story`` has come to."""
    words = dict(r.CODE.words) | {story.pc: SeenWord(story.pc, FADD, None)}
    return CodeSeen(words, r.CODE.places)


def _adding(*, isb: bool) -> r.Record:
    story = _good().msr("CPACR_EL1", 3 << 20)
    story = story.isb() if isb else story
    code = _executed(story)
    return replace(r.traced(story.fetch(story.pc)), code=code)


def _off(story: Story) -> Story:
    story.attributes = MMU_OFF
    return story


def _turned_off(*, late: bool) -> r.Record:
    """The MMU off, and a load behind the ISB that follows, or before it."""
    story = _off(_good().executed(r.CONTROL).isb().msr("SCTLR_EL1", 0)).fetch(r.CONTROL)
    return r.traced((story if late else story.isb()).load(r.CONTROL, 16).isb())


def _left_on(*, isb: bool) -> r.Record:
    entered = replace(r.BOOTED, el=1)
    story = _good().executed(r.CONTROL).isb().msr("SCTLR_EL1", 0)
    story = _off(story.isb() if isb else story).fetch(r.CONTROL)
    cpu = r.cpu(el=1)
    return replace(r.traced(story), regime=r.Regime.EL1, promises=(entered,), reached=(cpu,))


CONTEXT: dict[str, Twins] = {
    "context.mmu": Twins(_turned_off(late=True), _turned_off(late=False)),
    "context.tables": Twins(r.traced(_tables(isb=False)), r.traced(_tables(isb=True))),
    "context.hypervisor": Twins(r.traced(_at_el2(isb=False)), r.traced(_at_el2(isb=True))),
    "context.traps": Twins(_adding(isb=False), _adding(isb=True)),
    "context.vectors": Twins(r.traced(_with_exs(eis=0)), r.traced(_with_exs(eis=SCTLR_EIS))),
    "context.entry": Twins(_left_on(isb=False), _left_on(isb=True)),
    "context.translation-result": Twins(
        r.traced(_good().at().mrs()), r.traced(_good().at().isb().mrs())
    ),
    "context.host": Twins(
        r.traced(_good().starting(SCTLR_EL2=1).exception().msr("HCR_EL2", HOST).isb()),
        r.traced(_good().exception().msr("HCR_EL2", HOST).isb()),
    ),
    "context.endianness": Twins(
        r.traced(_good().msr("SCTLR_EL1", SCTLR_ON | SCTLR_EE).isb()),
        r.traced(_good().mmu_off().msr("SCTLR_EL1", SCTLR_EE).isb()),
    ),
    "errata.e1041": Twins(
        r.traced(_good().executed(r.CONTROL).dsb().msr("SCTLR_EL1", 0).isb()),
        r.traced(_good().executed(r.CONTROL).isb().msr("SCTLR_EL1", 0).isb()),
    ),
}
