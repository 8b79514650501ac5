"""Guest to Ownership: what its list asks for, before anything runs."""

from __future__ import annotations

import numpy as np

from relokit.codegen.base.errors import MachineError
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.kexec.hibernate import ENTRY_WORDS, Resume
from relokit.runtime.kexec.kimage import WORD, read_field, walk_list
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.claims import Claim, Claimed, Ownership
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.prehistory import Range, merged
from relokit.runtime.run.prehistories import page_runs


def ownership_of(machine: Machine) -> Ownership | Unknown:
    """Unknown if the list is broken."""
    kimage, page = machine.kimage, machine.target.page_size
    segments = tuple((one.mem, one.mem + one.pages(page) * page) for one in kimage.segments)
    targets = sources = np.empty(0, np.uint64)
    listed: tuple[Range, ...] = ()
    if not kimage.in_place:
        head = read_field(machine.memory, kimage, "head")
        try:
            targets, sources = walk_list(machine.memory, head, page)
        except MachineError as error:
            return Unknown(f"the list is broken: {error.message}")
        listed = merged(kimage.list_extents)
    readable = [
        (kimage.pa, kimage.pa + kimage.layout.size),
        (kimage.control_page, kimage.control_page + page),
        *listed,
        *page_runs(sources, page),
    ]
    return Ownership(
        page_size=page,
        filled=() if kimage.in_place else segments,
        kept=segments if kimage.in_place else (),
        readable=merged(readable),
        listed=listed,
        sources=sources.tobytes(),
        targets=targets.tobytes(),
        claims=tuple(
            Claimed(Claim.RESERVED, at, at + size) for at, size in machine.inputs.ram.reserved
        ),
        made=_made(machine),
    )


def _made(machine: Machine) -> tuple[Range, ...]:
    """The control page where others' machine_kexec copies the code, as before the series."""
    control = machine.kimage.control_page
    if machine.found is None or machine.kimage.layout.arch is not None:
        return ()
    return ((control, control + machine.target.page_size),)


def ownership_of_resume(resume: Resume) -> Ownership:
    """The same of a resume, whose list has an entry a page."""
    page = resume.target.page_size
    regions = resume.allocator.regions
    words = [resume.memory.u64(one, (end - one) // WORD) for one, end in resume.listed]
    entries = np.concatenate([np.empty(0, np.uint64), *words]).reshape(-1, ENTRY_WORDS)
    pages = entries - np.uint64(resume.old.linear_offset)
    readable = [*resume.listed, *page_runs(pages[:, 0], page)]
    readable += [(one.base, one.end) for one in regions if one.owner.kind is OwnerKind.EXIT_CODE]
    return Ownership(
        page_size=page,
        filled=merged(resume.filled),
        kept=(),
        readable=merged(readable),
        listed=merged(resume.listed),
        sources=pages[:, 0].tobytes(),
        targets=pages[:, 1].tobytes(),
        claims=(),
    )
