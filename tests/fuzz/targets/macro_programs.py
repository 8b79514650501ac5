"""Assembly with macros, loops and conditionals deep within one another, and what it comes to by a
second implementation: the bytes of a case say what the program is, and it is written and carried
out here.

Names and numbers of it are such that both GNU as and we take all of it: another answer is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from fuzz.door import Door, WrongError
from fuzz.mutations import mutated
from relokit.building import encoder
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit

DEEP = 24
"""Statements within statements."""
MOST = 3000
"""Statements that a program comes to; one that comes to more is cut short before."""
MACROS = 5
NAMES = ("a", "b", "c")
"""Parameters of every macro."""


class Bytes:
    """A case, byte by byte; zeros behind its end, so that every case is a program."""

    def __init__(self, data: bytes) -> None:
        self._rest = iter(data)
        self.left = len(data)

    def next(self, below: int) -> int:
        self.left -= 1
        return next(self._rest, 0) % below


class Program:
    """What a case says: lines of assembly, and at the same time the bytes that they come to.

    Every statement is (its text, a function of the world to bytes); a world is what is known where
    it is carried out: parameters, symbols, the number of macros so far.
    """

    def __init__(self, case: bytes) -> None:
        count = case[0] % (MACROS + 1) if case else 0
        # Each has its share, or the first would be all there is.
        share = len(case) // (count + 1) + 1
        self._macros: list[Body] = []
        for number in range(count):
            self._given = Bytes(case[1 + number * share :][:share])
            self._macros.append(self._body(1, NAMES, number))
        self._given = Bytes(case[1 + count * share :])
        self._main = self._body(1, (), count)
        self._count = self._said = 0
        self._symbols: dict[str, int] = {}

    def text(self) -> str:
        lines = []
        for number, body in enumerate(self._macros):
            lines += [f"\t.macro m{number} {NAMES[0]}, {NAMES[1]}=7, {NAMES[2]}:req"]
            lines += [*body.lines(), "\t.endm"]
        start = [f"\t.set s{number}, {number}" for number in range(3)]
        return "\n".join([*start, *lines, *self._main.lines(), ""])

    def carried_out(self) -> bytes | None:
        """What it comes to; None if that is more than anybody waits for."""
        self._symbols = {f"s{number}": number for number in range(3)}
        self._count = self._said = 0
        out = bytearray()
        return bytes(out) if self._run(self._main, {}, 0, out) is not None else None

    def _run(self, body: Body, known: Mapping[str, str], own: int, out: bytearray) -> bool | None:
        """False after an .exitm, None if it is too much."""
        for one in body.statements:
            self._said += 1
            if self._said > MOST:
                return None
            done = self._one(one, known, own, out)
            if done is not True:
                return done
        return True

    def _one(
        self, one: Statement, known: Mapping[str, str], own: int, out: bytearray
    ) -> bool | None:
        kind, words, bodies = (
            one.kind,
            [_filled(word, known, own) for word in one.words],
            one.bodies,
        )
        if kind == "byte":
            out.append(self._value(words[0]) & 0xFF)
        elif kind == "set":
            self._symbols[words[0]] = self._value(words[1])
        elif kind == "if":
            chosen = bodies[0] if self._value(words[0]) else bodies[1]
            return self._run(chosen, known, own, out)
        elif kind == "rept":
            for _ in range(self._value(words[0])):
                done = self._run(bodies[0], known, own, out)
                if done is not True:
                    return done
        elif kind in ("irp", "irpc"):
            name, *values = words
            for value in values if kind == "irp" else words[1]:
                done = self._run(bodies[0], {**known, name: value}, own, out)
                if done is not True:
                    return done
        elif kind == "exitm":
            return False
        elif kind == "call":
            count, self._count = self._count, self._count + 1
            given = dict(zip(NAMES, words[1:], strict=True))
            given["b"] = given["b"] or "7"
            number = int(words[0])
            return None if self._run(self._macros[number], given, count, out) is None else True
        return True

    def _value(self, text: str) -> int:
        """Of our own expressions: numbers and symbols with ^ and & between, from left to right."""
        first, *rest = text.split(" ")
        value = self._term(first)
        for sign, term in zip(rest[::2], rest[1::2], strict=True):
            other = self._term(term)
            value = value ^ other if sign == "^" else value & other
        return value

    def _term(self, text: str) -> int:
        return self._symbols[text] if text in self._symbols else int(text)

    def _body(self, depth: int, names: Sequence[str], callable_: int) -> Body:
        given = self._given
        count = 1 + given.next(5)
        found = []
        for _ in range(count):
            if given.left > 0 or not found:
                found.append(self._statement(depth, names, callable_))
        return Body(found)

    def _statement(self, depth: int, names: Sequence[str], callable_: int) -> Statement:
        kind = self._given.next(9)
        if depth >= DEEP or kind < 2:
            return Statement("byte", (self._expression(names),))
        inner = depth + 1
        if kind == 2:
            return Statement("set", (f"s{self._given.next(3)}", self._expression(names)))
        if kind == 3:
            bodies = [self._body(inner, names, callable_) for _ in range(2)]
            return Statement("if", (self._expression(names) + " & 1",), bodies)
        if kind == 4:
            body = self._body(inner, (*names, *names[:1]), callable_)
            return Statement("rept", (str(self._given.next(4)),), [body])
        if kind == 5:
            name = f"v{depth}"
            values = [self._term_of(names) for _ in range(1 + self._given.next(3))]
            return Statement("irp", (name, *values), [self._body(inner, (*names, name), callable_)])
        if kind == 6:
            name = f"v{depth}"
            letters = "".join(str(self._given.next(10)) for _ in range(1 + self._given.next(4)))
            return Statement(
                "irpc", (name, letters), [self._body(inner, (*names, name), callable_)]
            )
        if kind == 7 and callable_:
            words = [self._term_of(names) for _ in NAMES]
            words[1] = words[1] if self._given.next(2) else ""
            return Statement("call", (str(self._given.next(callable_)), *words))
        if kind == 8 and names == NAMES and not self._given.next(4):
            return Statement("exitm", ())
        return Statement("byte", (self._expression(names),))

    def _expression(self, names: Sequence[str]) -> str:
        found = self._term_of(names)
        for _ in range(self._given.next(3)):
            found += (" ^ ", " & ")[self._given.next(2)] + self._term_of(names)
        return found

    def _term_of(self, names: Sequence[str]) -> str:
        """A number below 128, a symbol, a parameter, or the number of this macro's call."""
        kind = self._given.next(4)
        if kind == 0 and names:
            return f"\\{names[self._given.next(len(names))]}"
        if kind == 1:
            return f"s{self._given.next(3)}"
        if kind == 2 and "a" in names:
            return "\\@"
        return str(self._given.next(128))


class Body:
    """Statements behind one another."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self.statements = statements

    def lines(self) -> Iterator[str]:
        for one in self.statements:
            yield from one.lines()


class Statement:
    """One, with the words that it has and the bodies within it."""

    def __init__(self, kind: str, words: Sequence[str], bodies: Sequence[Body] = ()) -> None:
        self.kind, self.words, self.bodies = kind, tuple(words), bodies

    def lines(self) -> Iterator[str]:
        kind, words = self.kind, self.words
        if kind == "call":
            yield f"\tm{words[0]} {', '.join(words[1:])}"
        elif kind == "byte":
            yield f"\t.byte ({words[0]}) & 255"
        else:
            yield f"\t.{kind} {', '.join(words)}"
        for number, body in enumerate(self.bodies):
            if number:
                yield "\t.else"
            yield from body.lines()
        if self.bodies:
            yield "\t.endif" if kind == "if" else "\t.endr"


def _filled(word: str, known: Mapping[str, str], own: int) -> str:
    word = word.replace("\\@", str(own))
    # The longest first: one name may begin with another.
    for name in sorted(known, key=len, reverse=True):
        word = word.replace(f"\\{name}", known[name])
    return word


def _programs() -> Sequence[bytes]:
    random = Random(0)
    return [random.randbytes(400) for _ in range(40)]


def _assembled(case: bytes) -> object:
    program = Program(case)
    expected = program.carried_out()
    if expected is None:
        return None
    found = assemble(Unit.from_text("case.S", program.text()), encoder().encode)
    content = b"".join(bytes(one.data) for one in found.sections if one.name == ".text")
    if content != expected:
        raise WrongError(f"{content[:16].hex()} in place of {expected[:16].hex()}")
    return content


DOORS = (
    Door("macros", "macros, loops and conditionals within one another, carried out twice",
         _programs, mutated, _assembled, 1.5),
)  # fmt: skip
