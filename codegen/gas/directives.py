"""The directives of GNU as that relokit understands, one function each.

Macros, loops and conditions are carried out before (expansion.py); what is not here is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.includes import file_and_rest, included_by
from relokit.codegen.gas.instructions.arithmetic import parse
from relokit.codegen.gas.instructions.insn import AsmInstruction
from relokit.codegen.gas.instructions.operands import split_operands
from relokit.codegen.gas.notes import FORMS, note
from relokit.codegen.gas.open_section import usual_attributes
from relokit.codegen.gas.unit import ALIGN_LIMIT, UnitState
from relokit.codegen.gas.values import evaluate
from relokit.codegen.object import Binding, SectionFlag, SectionType, SymbolType

Handler = Callable[[UnitState, str], None]

_NAME = re.compile(r"[A-Za-z_.$][\w.$]*", re.ASCII)
_SECTION_NAME = re.compile(r'"(?P<quoted>[^"\\\n]{1,128})"|(?P<plain>[\w.$\-+/]{1,128})', re.ASCII)
_STRING = re.compile(r'"((?:\\.|[^"\\])*)"')
_ESCAPE = re.compile(r"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]+)|(?P<char>.))")
_ESCAPES = {"n": 10, "t": 9, "r": 13, "b": 8, "f": 12, "\\": 92, '"': 34}
_TYPE = re.compile(
    r'(?P<name>[\w.$]+)[ \t]*[, \t][ \t]*(?:[@%#]?(?P<type>\w+)|"(?P<quoted>\w+)")', re.ASCII
)

_FLAGS = {
    "a": SectionFlag.ALLOC,
    "w": SectionFlag.WRITE,
    "x": SectionFlag.EXEC,
    "M": SectionFlag.MERGE,
    "S": SectionFlag.STRINGS,
}
_SECTION_TYPES = {
    "progbits": SectionType.PROGBITS,
    "nobits": SectionType.NOBITS,
    "note": SectionType.NOTE,
}
_SYMBOL_TYPES = {
    "function": SymbolType.FUNC,
    "STT_FUNC": SymbolType.FUNC,
    "object": SymbolType.OBJECT,
    "STT_OBJECT": SymbolType.OBJECT,
    "notype": SymbolType.NOTYPE,
    "STT_NOTYPE": SymbolType.NOTYPE,
}

_REFUSED = dict.fromkeys(
    (".altmacro", ".noaltmacro"), "relokit has the ordinary macro language only"
)


def directive(unit: UnitState, name: str, rest: str) -> None:
    """Carry out ``name`` (lower case) with its operands. Raises AssemblyError, no position."""
    handler = _HANDLERS.get(name)
    if handler is not None:
        handler(unit, rest)
    elif name in FORMS:
        note(unit, name, rest)
    else:
        raise AssemblyError(f"directive {name} is not supported", hint=_REFUSED.get(name))


def _operands(rest: str, least: int, most: int) -> tuple[str, ...]:
    operands = split_operands(rest)
    if not least <= len(operands) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise AssemblyError(f"wants {wanted} operands, not {len(operands)}")
    return operands


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or text == ".":
        raise AssemblyError(f"`{text}' is no symbol name")
    return text


# Data.


def _data(size: int) -> Handler:
    def handler(unit: UnitState, rest: str) -> None:
        for operand in split_operands(rest):
            unit.datum(parse(operand), size)

    return handler


def _string(terminator: bytes) -> Handler:
    def handler(unit: UnitState, rest: str) -> None:
        unit.emit(_strings(rest, terminator))

    return handler


@lru_cache(maxsize=1024)
def _strings(rest: str, terminator: bytes) -> bytes:
    """``"a", "b" "c"``: strings beside one another are one; each gets the terminator."""
    data, at = b"", 0
    rest = rest.strip(" \t")
    while at < len(rest):
        match = _STRING.match(rest, at)
        if match is None:
            raise AssemblyError("wants strings in double quotes")
        data += _unescape(match[1])
        at = match.end()
        while at < len(rest) and rest[at] in " \t":
            at += 1
        if at == len(rest) or rest[at] == ",":
            data += terminator
            at += 1
            while at < len(rest) and rest[at] in " \t":
                at += 1
            if at == len(rest) and rest[-1] == ",":
                raise AssemblyError("empty operand")
    return data


def _unescape(text: str) -> bytes:
    data, at = b"", 0
    for match in _ESCAPE.finditer(text):
        data += text[at : match.start()].encode()
        at = match.end()
        if match["octal"]:
            code = int(match["octal"], 8)
        elif match["hex"]:
            code = int(match["hex"], 16) if len(match["hex"]) < 16 else 256
        else:
            code = _ESCAPES.get(match["char"], 256)
        if code > 255:
            raise AssemblyError(f"unknown escape `{match[0]}' in string")
        data += bytes([code])
    return data + text[at:].encode()


def _fill(unit: UnitState, rest: str) -> None:
    """``.fill repeat, size, value``; as in GNU as only the low 4 bytes of ``value`` count."""
    operands = _operands(rest, 1, 3)
    numbers = [unit.number(parse(operand), ".fill", now=False) for operand in operands]
    repeat, size, value = (*numbers, 1, 0)[:3] if len(numbers) == 1 else (*numbers, 0)[:3]
    if repeat < 0 or not 0 <= size <= 8:
        raise AssemblyError(".fill wants a repeat of 0 or more and a size of 0 to 8")
    width = min(size, 4)
    bits = 8 * width
    if size and not -(1 << (bits - 1)) <= value < 1 << bits:
        raise AssemblyError(
            f".fill value {value} does not fit in {width} bytes",
            hint="GNU as puts at most 4 bytes of a value there; use .quad for 8",
        )
    pattern = (value & ((1 << bits) - 1)).to_bytes(width, "little") + bytes(size - width)
    unit.fill(repeat if size else 0, pattern)


def _byte(unit: UnitState, text: str, what: str) -> int:
    value = unit.number(parse(text), what)
    if not -128 <= value <= 255:
        raise AssemblyError(f"{what} {value} does not fit in a byte")
    return value & 0xFF


def _space(unit: UnitState, rest: str) -> None:
    operands = _operands(rest, 1, 2)
    count = unit.number(parse(operands[0]), "the size", now=False)
    if count < 0:
        raise AssemblyError(f"a size of {count} bytes")
    fill = _byte(unit, operands[1], "the fill value") if len(operands) == 2 else 0
    unit.fill(count, bytes([fill]))


def _org(unit: UnitState, rest: str) -> None:
    operands = _operands(rest, 1, 2)
    fill = _byte(unit, operands[1], "the fill value") if len(operands) == 2 else 0
    move_to(unit, operands[0], fill)


def move_to(unit: UnitState, place: str, fill: int = 0) -> None:
    """``. = place``: fill up to there, a place in this section at or behind this one."""
    section = unit.current
    value = evaluate(unit.bind(parse(place)))
    if not isinstance(value, int):
        if value.plus is None or value.minus is not None or value.plus.section != section.index:
            raise AssemblyError("wants a place in this section that is known here")
        value = value.plus.offset + value.offset
    if value < section.size:
        raise AssemblyError(f"{value:#x} would move backwards from {section.size:#x}")
    unit.fill(value - section.size, bytes([fill]), padding=True)
    section.stretch += 1


def _align(power: bool) -> Handler:
    def handler(unit: UnitState, rest: str) -> None:
        # ".p2align 3,,7": the fill value may be left out, and nothing else.
        texts = [text.strip() for text in rest.split(",")]
        if not texts[0] or len(texts) > 3 or (len(texts) > 1 and not texts[-1]):
            raise AssemblyError("wants an alignment, and perhaps a fill value and a maximum")
        size = unit.number(parse(texts[0]), "the alignment")
        if power:
            if not 0 <= size < ALIGN_LIMIT.bit_length():
                raise AssemblyError(f"an alignment of 2 to the {size}")
            size = 1 << size
        if not 0 <= size <= ALIGN_LIMIT or size & (size - 1):
            raise AssemblyError(f"an alignment of {size}, not a power of two up to {ALIGN_LIMIT}")
        fill = _byte(unit, texts[1], "the fill value") if len(texts) > 1 and texts[1] else None
        most = unit.number(parse(texts[2]), "the maximum") if len(texts) > 2 else 0
        if most < 0:
            raise AssemblyError(f"a maximum of {most} bytes")
        unit.align(max(size, 1), fill, most)

    return handler


def _inst(unit: UnitState, rest: str) -> None:
    for operand in _operands(rest, 1, 64):
        word = unit.number(parse(operand), ".inst")
        if not -(1 << 31) <= word < 1 << 32:
            raise AssemblyError(f"{word} does not fit in an instruction")
        unit.instruction(AsmInstruction(word=word & 0xFFFFFFFF))


def _pool(unit: UnitState, rest: str) -> None:
    _operands(rest, 0, 0)
    unit.place_literals()


def _incbin(unit: UnitState, rest: str) -> None:
    """``.incbin "file" [, skip [, count]]``: bytes of a file, all behind ``skip`` if not told."""
    includes = included_by(unit.includes, ".incbin")
    name, more = file_and_rest(rest)
    content = includes.file(name).content
    skip, comma, count = more.partition(",")
    first = unit.number(parse(skip), "what is skipped") if skip.strip() else 0
    size = unit.number(parse(count), "the count") if comma else len(content) - first
    if comma and not size:
        raise AssemblyError(
            "a count of 0: GNU as takes all that is left", hint="leave the count out for that"
        )
    if not 0 <= first <= len(content) or not 0 <= size <= len(content) - first:
        raise AssemblyError(
            f"`{name}' has {len(content)} bytes, and wanted are {size} from {first} on"
        )
    if size:
        unit.emit(content[first : first + size])


# Sections.


def _plain_section(name: str) -> Handler:
    def handler(unit: UnitState, rest: str) -> None:
        unit.switch(name)
        if rest.strip():
            _subsection(unit, rest)

    return handler


def _section(unit: UnitState, rest: str) -> None:
    """``.section name [, "flags" [, @type [, entsize]]]``."""
    name, flags, kind, entsize = _attributes(rest)
    unit.switch(name, flags, kind, entsize)


def _pushsection(unit: UnitState, rest: str) -> None:
    attributes = _attributes(rest)
    unit.push()
    unit.switch(*attributes)


@lru_cache(maxsize=1024)
def _attributes(rest: str) -> tuple[str, SectionFlag | None, SectionType | None, int]:
    operands = _operands(rest, 1, 4)
    match = _SECTION_NAME.fullmatch(operands[0])
    if match is None:
        raise AssemblyError(f"`{operands[0]}' is no section name")
    name = match["quoted"] or match["plain"]
    if len(operands) == 1:
        return name, None, None, 0
    text = operands[1]
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        raise AssemblyError("section flags stand in double quotes")
    flags = SectionFlag(0)
    for letter in text[1:-1]:
        if letter not in _FLAGS:
            raise AssemblyError(f"section flag `{letter}' is not supported", hint="there are awxMS")
        flags |= _FLAGS[letter]
    # A name that has attributes of its own has these, too, whatever is said.
    kind, usual = usual_attributes(name)
    flags |= usual
    if len(operands) > 2:
        text = operands[2].strip('"')
        if operands[2][0] not in '@%"' or text.lstrip("@%") not in _SECTION_TYPES:
            raise AssemblyError(
                f"section type `{operands[2]}' is not supported",
                hint="there are @progbits, @nobits and @note",
            )
        kind = _SECTION_TYPES[text.lstrip("@%")]
    entsize = 0
    if bool(flags & SectionFlag.MERGE) != (len(operands) == 4):
        raise AssemblyError("flag M and an entry size go together")
    if len(operands) == 4:
        size = parse(operands[3])
        if not isinstance(size, int) or not 1 <= size <= 4096:
            raise AssemblyError(f"entry size `{operands[3]}' is not 1 to 4096")
        entsize = size
    return name, flags, kind, entsize


def _subsection(unit: UnitState, rest: str) -> None:
    (number,) = _operands(rest, 1, 1)
    unit.switch_subsection(unit.number(parse(number), "a subsection"))


def _popsection(unit: UnitState, rest: str) -> None:
    _operands(rest, 0, 0)
    unit.pop()


def _previous(unit: UnitState, rest: str) -> None:
    _operands(rest, 0, 0)
    unit.swap()


# Symbols.


def _bind(binding: Binding) -> Handler:
    def handler(unit: UnitState, rest: str) -> None:
        for operand in _operands(rest, 1, 256):
            symbol = unit.symbol(_name(operand))
            if binding is Binding.LOCAL and symbol.binding is not Binding.LOCAL:
                raise AssemblyError(f"`{operand}' is {symbol.binding.name.lower()} already")
            # Weak wins over global in either order.
            symbol.binding = max(symbol.binding, binding)
            symbol.bound = True

    return handler


def _hidden(unit: UnitState, rest: str) -> None:
    for operand in _operands(rest, 1, 256):
        symbol = unit.symbol(_name(operand))
        symbol.hidden = True


def _type(unit: UnitState, rest: str) -> None:
    match = _TYPE.fullmatch(rest.strip())
    if match is None:
        raise AssemblyError("wants a symbol and a type", hint=".type name, %function")
    name = match["type"] or match["quoted"]
    if name not in _SYMBOL_TYPES:
        raise AssemblyError(f"symbol type `{name}' is not supported")
    symbol = unit.symbol(_name(match["name"]))
    symbol.type = _SYMBOL_TYPES[name]


def _size(unit: UnitState, rest: str) -> None:
    name, size = _operands(rest, 2, 2)
    symbol = unit.symbol(_name(name))
    symbol.size = unit.bind(parse(size))


def _set(once: bool) -> Handler:
    def handler(unit: UnitState, rest: str) -> None:
        name, value = _operands(rest, 2, 2)
        if name == ".":
            move_to(unit, value)
        else:
            unit.assign(_name(name), parse(value), once)

    return handler


_HANDLERS: dict[str, Handler] = {
    ".byte": _data(1),
    **dict.fromkeys((".2byte", ".hword", ".short"), _data(2)),
    **dict.fromkeys((".4byte", ".word", ".long", ".int"), _data(4)),
    **dict.fromkeys((".8byte", ".quad", ".xword", ".dword"), _data(8)),
    ".ascii": _string(b""),
    **dict.fromkeys((".asciz", ".string"), _string(b"\0")),
    ".fill": _fill,
    **dict.fromkeys((".zero", ".skip", ".space"), _space),
    ".org": _org,
    **dict.fromkeys((".align", ".p2align"), _align(True)),
    ".balign": _align(False),
    ".inst": _inst,
    ".incbin": _incbin,
    **dict.fromkeys((".ltorg", ".pool"), _pool),
    ".text": _plain_section(".text"),
    ".data": _plain_section(".data"),
    ".bss": _plain_section(".bss"),
    ".section": _section,
    ".pushsection": _pushsection,
    ".popsection": _popsection,
    ".previous": _previous,
    ".subsection": _subsection,
    **dict.fromkeys((".globl", ".global"), _bind(Binding.GLOBAL)),
    ".weak": _bind(Binding.WEAK),
    ".local": _bind(Binding.LOCAL),
    ".hidden": _hidden,
    ".type": _type,
    ".size": _size,
    **dict.fromkeys((".set", ".equ"), _set(False)),
    ".equiv": _set(True),
}
