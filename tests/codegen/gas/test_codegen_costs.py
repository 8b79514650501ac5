"""What costs more than it weighs: small files that took minutes."""

from __future__ import annotations

import pytest

from relokit.building import encoder
from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.object import Object
from relokit.codegen.source import Unit
from support.bounds import cpu_time_below


def assembled(text: str) -> Object:
    return assemble(Unit.from_text("t.S", text), encoder().encode)


def test_a_chain_of_symbols_is_paid_once_a_datum() -> None:
    chain = ".data\nbase: .quad 0\n.set a0, fwd - base\n"
    chain += "".join(f".set a{i}, a{i - 1} + a{i - 1} - a{i - 1}\n" for i in range(1, 30))
    with cpu_time_below(20):
        unit = assembled(chain + ".quad a29\n" * 5000 + "fwd: .quad 0\n")
    section = next(one for one in unit.sections if one.name == ".data")
    assert {section.data[at : at + 8] for at in range(8, 8 * 5001, 8)} == {
        (8 * 5001).to_bytes(8, "little")
    }


def test_a_literal_is_found_among_many_at_once() -> None:
    pool = "".join(f" ldr x0, =s{i}\n" for i in range(4096)) + " ldr x0, =s4095\n" * 5000
    with cpu_time_below(30):
        unit = assembled(f"bar:\n{pool}")
    assert unit.sections[0].size == 4 * (4096 + 5000) + 8 * 4096
    with pytest.raises(AssemblyError, match="4096 literals"):
        assembled("".join(f" ldr x0, =s{i}\n" for i in range(4097)))


def test_a_string_that_is_never_closed_is_read_once() -> None:
    with cpu_time_below(5), pytest.raises(AssemblyError, match="never closed"):
        assembled(("foo: .ascii " + '"\\' * 7000 + "\n") * 20 + "/* c */\n")


@pytest.mark.parametrize("line", ["x" * 1_000_000, ".quad " + "y" * 16000, "z" * 16000 + ": z: y:"])
def test_a_long_line_does_not_come_back_whole(line: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assembled(f"foo: ret\n{line}\n{'z' * 16000}: nop\nadd {'y' * 16000}\n")
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize(
    ("loads", "literals"),
    [
        (("x0, =s", "x1, =s", "x2, =s+8", "x3, =8+s", "x4, =s+0"), 2),
        (("x0, =5000000001", "x1, =5000000000+1", "x2, =5000000002"), 2),
        (("w0, =0x12345678", "w1, =0x12345678"), 1),
        (("x0, =later", "x1, =later"), 1),
        (("x0, =s", "x1, =t"), 2),
    ],
)
def test_equal_literals_share_their_place(loads: tuple[str, ...], literals: int) -> None:
    unit = assembled("".join(f" ldr {one}\n" for one in loads) + ".ltorg\n.set later, s + 4\n")
    size = 8 if loads[0][0] == "x" else 4
    code = (4 * len(loads) + size - 1) // size * size
    assert unit.sections[0].size == code + size * literals
