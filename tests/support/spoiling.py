"""What a scenario's `damage` does to a machine that is ready to go: one word of it is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from relokit.runtime.kexec.kimage import read_field, write_field
from relokit.runtime.kexec.machine import Machine
from support.inside import control, destination, entries, linear, trail


def _source(machine: Machine) -> int:
    """The linear-map VA of the first source page."""
    return linear(machine, machine.memory.read_u64(entries(machine) + 8) & ~0xFFF)


SPARE = 0x7000_0000
"""PA of memory that nobody needs."""
PLACES: Mapping[str, Callable[[Machine], int]] = {
    "destination": destination,
    "source": _source,
    "control page": control,
    "spare": lambda machine: linear(machine, SPARE),
    "list": lambda machine: linear(machine, entries(machine)),
}
"""Whose translation `maps` names: the address that the move uses."""


def spoiled(machine: Machine, what: Mapping[str, Any]) -> Machine:
    """``machine`` with one word changed, by one of

    - `field`: that of struct kimage;
    - `entry`: that number in the first list page;
    - `maps`: the descriptor of `level` (0 the first one, -1 the leaf) for one of PLACES, where
      the move is translated;
    - `page`: the word at `offset` in the first page of that owner;
    - `register`: that system register at the start.

    It is `set` to a value, or those bits of it are changed that `xor`, `orr` or `clear` names,
    or it `leads_to` the first page of that owner and keeps its bits 11:0.
    """
    memory = machine.memory
    if "leads_to" in what:
        what = dict(what) | {"page_at": owned(machine, what["leads_to"])}
    match what:
        case {"field": name}:
            word = changed(read_field(memory, machine.kimage, name), what)
            write_field(memory, machine.kimage, name, word)
        case {"entry": number}:
            at = entries(machine) + 8 * number
            memory.write_u64(at, changed(memory.read_u64(at), what))
        case {"maps": place}:
            at = trail(machine, PLACES[place](machine))[what.get("level", -1)].entry
            memory.write_u64(at, changed(memory.read_u64(at), what))
        case {"page": owner}:
            at = owned(machine, owner) + what["offset"]
            memory.write_u64(at, changed(memory.read_u64(at), what))
        case {"register": name}:
            registers = dict(machine.state.sysregs)
            registers[name] = changed(registers.get(name, 0), what)
            state = replace(machine.state, sysregs=tuple(registers.items()))
            return replace(machine, state=state)
    return machine


def owned(machine: Machine, owner: str) -> int:
    """PA of the first page of ``owner``, as that is shown."""
    return next(one.base for one in machine.allocator.regions if str(one.owner) == owner)


def changed(word: int, what: Mapping[str, Any]) -> int:
    match what:
        case {"set": value}:
            return int(value)
        case {"xor": bits}:
            return word ^ int(bits)
        case {"orr": bits}:
            return word | int(bits)
        case {"clear": bits}:
            return word & ~int(bits)
        case {"page_at": page}:
            return int(page) | word & 0xFFF
    raise AssertionError(f"nothing is changed by {what}")
