"""Twins of interrupt.*, call.*, stack.* and code.*."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from relokit.codegen.facts import HVC_NO_FUNCTION, HVC_SOFT_RESTART, HVC_STUB_ERR
from relokit.runtime.arch import descriptors
from relokit.runtime.record.code_path import PATH_BLOCK, CodePath
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.scene import SeenWord
from support import records as r
from support.traces import Story
from support.twins.twins import Twins

VECTORS = 0xFFFF_8000_0000_0800
VECTORS_AT = r.SPARE + 0x800
ALL, NONE = 0xF, 0
IMO, HCD = 1 << 4, 1 << 29
STP_SP, STP_X1 = 0xA900_07E0, 0xA900_0420
ERET_X0 = 0xD69F_0000
BLR_X0, BTI_C, BTI_J = 0xD63F_0000, 0xD503_245F, 0xD503_249F
CALLER = 0x7100_0000
LDP_TWICE, LDP = 0xA940_0000, 0xA940_0400
AARCH32 = 0b10011


def _good() -> Story:
    return r.moved().fetchable()


def _switched(daif: int) -> r.Record:
    """The vectors are mapped, and then not."""
    story = _good().vectors(VECTORS, daif=daif, pa=VECTORS_AT)
    return r.traced(story.msr("TTBR1_EL1", 0).isb().vectors(VECTORS, daif=daif))


def _called(*, behind: int) -> r.Record:
    """A call that goes on so many bytes behind the HVC."""
    story = _good()
    call = story.pc
    return r.traced(story.hvc(HVC_SOFT_RESTART).exception().eret(back=call + behind))


def _saving(word: int) -> r.Record:
    """The first instruction of the code that moves is ``word``."""
    words = dict(r.CODE.words) | {r.CONTROL: SeenWord(r.CONTROL, word, None)}
    story = r.moved().fetchable().executed(r.CONTROL, 8)
    return replace(r.traced(story), code=CodeSeen(words, r.CODE.places))


def _called_in_guarded(pad: int) -> r.Record:
    """The code that moves begins with ``pad``, in a guarded page, and a BLR leads there."""
    words = {CALLER: BLR_X0, r.CONTROL: pad}
    seen = {at: SeenWord(at, word, None) for at, word in words.items()}
    story = r.moved().fetchable().executed(r.CONTROL, 8, leaf=descriptors.GUARDED)
    record = r.traced(story)
    begun = int(record.trace.records["before"][-1])  # type: ignore[union-attr]
    rows = [(CALLER, begun - 1, 1, 1), (r.CONTROL, begun, 2, 1)]
    return replace(
        record,
        code=CodeSeen(dict(r.CODE.words) | seen, r.CODE.places),
        path=CodePath(np.array(rows, PATH_BLOCK).tobytes()),
    )


INTERRUPTS: dict[str, Twins] = {
    "interrupt.masked": Twins(_switched(NONE), _switched(ALL)),
    "interrupt.alignment": Twins(
        r.traced(_good().exception().msr("VBAR_EL2", 0x5004_0400).eret()),
        r.traced(_good().exception().msr("VBAR_EL2", 0x5004_0800).eret()),
    ),
    "interrupt.routed": Twins(
        r.traced(_good().starting(HCR_EL2=IMO).fetch(r.CONTROL)),
        r.traced(_good().starting(HCR_EL2=0).fetch(r.CONTROL)),
    ),
    "call.hvc": Twins(r.traced(_good().starting(HCR_EL2=HCD).hvc()), r.traced(_good().hvc())),
    "call.refused": Twins(
        r.traced(_good().hvc(HVC_SOFT_RESTART).exception().eret(x0=HVC_STUB_ERR)),
        r.traced(_good().hvc(HVC_SOFT_RESTART).exception().eret(x0=0)),
    ),
    "call.answer": Twins(
        r.traced(_good().hvc(HVC_NO_FUNCTION).exception().eret(x0=0)),
        r.traced(_good().hvc(HVC_NO_FUNCTION).exception().eret(x0=HVC_STUB_ERR)),
    ),
    "call.resumes": Twins(_called(behind=8), _called(behind=4)),
    "call.return": Twins(
        r.traced(_good().exception().eret(mode=AARCH32)), r.traced(_good().exception().eret())
    ),
    "stack.used": Twins(_saving(STP_SP), _saving(STP_X1)),
    "code.allocated": Twins(_saving(ERET_X0), _saving(STP_X1)),
    "code.landing": Twins(_called_in_guarded(BTI_J), _called_in_guarded(BTI_C)),
    "code.predictable": Twins(_saving(LDP_TWICE), _saving(LDP)),
}
