"""Instruction statements: what the encoder is asked, and what a symbol will fill.

The encoder sees numbers only. A branch target, a literal, ``:lo12:`` and the like become zero
and a field to fill; an immediate that is an expression waits until its symbols are known.
"""

from __future__ import annotations

import re

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.gas.instructions import extensions, gnu_sysregs
from relokit.codegen.gas.instructions.arithmetic import Expr, parse
from relokit.codegen.gas.instructions.fields import (
    ADDRESS,
    BRANCH,
    CALL,
    CONDITIONAL,
    LITERAL,
    OPERATORS,
    PAGE,
    TEST,
    AbsoluteField,
    Field,
)
from relokit.codegen.gas.instructions.floating import FLOATING, immediate
from relokit.codegen.gas.instructions.keystone_faults import checked
from relokit.codegen.gas.instructions.operands import (
    BARRIERS,
    CONDITIONS,
    SVE_CONDITIONS,
    keyword,
    register,
    split_operands,
)


@dataclass(frozen=True, slots=True)
class AsmInstruction:
    """One parsed instruction.

    Either ``word`` (the encoding itself) or ``text`` (for the encoder), or neither: then
    ``pieces``, with its expressions replaced by numbers, is to be parsed again. ``field`` and
    ``target`` say what is filled in afterwards; ``pool`` is the size in bytes of the literal
    that ``target`` is to be put in (``ldr x0, =target``), 0 if there is none. ``late``: the text in
    front of one of ``pieces`` that should have been a number at once.
    """

    text: str = ""
    word: int | None = None
    pieces: tuple[str | Expr, ...] = ()
    field: Field | AbsoluteField | None = None
    target: Expr = 0
    pool: int = 0
    late: str = ""


_SHIFT = re.compile(
    r"(?P<op>lsl|lsr|asr|ror|msl|[us]xt[bhwx])(?:[ \t]*(?P<hash>\#)|[ \t]+(?=\S)|$)(?P<amount>.*)",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_OPERATOR = re.compile(r"#?[ \t]*:(?P<operator>[A-Za-z0-9_]+):(?P<expr>.*)", re.ASCII)
_LIST = re.compile(r"\{[a-z0-9_., \t\-]+\}(?:\[[0-9]+\])?", re.ASCII)
_SYSTEM_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_POOL_SIZES = {"x": 8, "w": 4, "q": 16, "d": 8, "s": 4}
_PC_RELATIVE = {  # mnemonic: number of operands, field of the last one
    "b": (1, BRANCH),
    "bl": (1, CALL),
    "cbz": (2, CONDITIONAL),
    "cbnz": (2, CONDITIONAL),
    "tbz": (3, TEST),
    "tbnz": (3, TEST),
    "adr": (2, ADDRESS),
}
for _condition in CONDITIONS:
    _PC_RELATIVE["b." + _condition] = (1, CONDITIONAL)
    if _condition not in ("al", "nv"):
        _PC_RELATIVE["b" + _condition] = (1, CONDITIONAL)
for _name, _condition in SVE_CONDITIONS.items():
    _PC_RELATIVE["b." + _name] = _PC_RELATIVE["b." + _condition]
_SYSTEM = frozenset(("at", "dc", "ic", "tlbi"))


def parse_instruction(mnemonic: str, operands: tuple[str, ...]) -> AsmInstruction:
    """Parse one instruction (``mnemonic`` in lower case). Raises AssemblyError, no position."""
    if mnemonic in _PC_RELATIVE:
        return _pc_relative(mnemonic, operands)
    if mnemonic == "adrp":
        return _adrp(operands)
    if mnemonic in ("ldr", "ldrsw", "prfm") and len(operands) == 2 and operands[1][0] != "[":
        return _literal(mnemonic, operands)
    if mnemonic == "mrs":
        _count(mnemonic, operands, 2)
        return _finish(["mrs ", *_operand(operands[0]), ", ", _system_register(operands[1])])
    if mnemonic == "msr":
        return _msr(operands)
    if mnemonic in _SYSTEM:
        return _system(mnemonic, operands)
    if mnemonic in ("dsb", "dmb", "isb") and len(operands) == 1 and operands[0].lower() in BARRIERS:
        return AsmInstruction(f"{mnemonic} {operands[0].lower()}")
    if mnemonic == "udf":
        _count(mnemonic, operands, 1)
        value = _number(operands[0], "udf")
        if not 0 <= value <= 0xFFFF:
            raise AssemblyError(f"udf {value} is outside 0 to 65535")
        return AsmInstruction(word=value)
    plain = " ".join((mnemonic, *(operand.lower() for operand in operands)))
    if plain in gnu_sysregs.HINTS:
        return AsmInstruction(f"hint #{gnu_sysregs.HINTS[plain]}")
    if plain in gnu_sysregs.SPELLINGS:
        return AsmInstruction(gnu_sysregs.SPELLINGS[plain])
    if plain in gnu_sysregs.WORDS:
        return AsmInstruction(word=gnu_sysregs.WORDS[plain])
    if extensions.known(mnemonic):
        return _extension(mnemonic, operands)
    return _general(mnemonic, operands)


def _count(mnemonic: str, operands: tuple[str, ...], count: int) -> None:
    if len(operands) != count:
        raise AssemblyError(f"{mnemonic} takes {count} operands, not {len(operands)}")


def _finish(
    pieces: list[str | Expr],
    field: Field | AbsoluteField | None = None,
    target: Expr = 0,
    pool: int = 0,
) -> AsmInstruction:
    """Join the pieces if they are all known."""
    if all(isinstance(piece, (str, int)) for piece in pieces):
        text = "".join(piece if isinstance(piece, str) else str(piece) for piece in pieces)
        return AsmInstruction(text, None, (), field, target, pool)
    return AsmInstruction("", None, tuple(pieces), field, target, pool)


def _operand(text: str) -> list[str | Expr]:
    """A register, keyword, shift, address, register list or immediate."""
    known = keyword(text)
    if known is not None:
        return [known]
    if text[0] == "[":
        return _address(text)
    if text[0] == "{":
        lower = text.lower()
        if not _LIST.fullmatch(lower):
            raise AssemblyError(f"malformed register list `{text}'")
        return [lower]
    shift = _SHIFT.fullmatch(text)
    if shift is not None:
        if not shift["amount"].strip():
            if shift["hash"]:
                raise AssemblyError(f"`{text}' lacks its amount")
            return [shift["op"].lower()]
        return [shift["op"].lower(), " #", parse(shift["amount"])]
    return ["#", parse(text[1:] if text[0] == "#" else text)]


def _address(text: str) -> list[str | Expr]:
    """``[base, ...]``, perhaps with ``!``."""
    close = text.rfind("]")
    mark = text[close + 1 :].strip()
    if close < 0 or mark not in ("", "!"):
        raise AssemblyError(f"malformed address `{text}'")
    pieces: list[str | Expr] = ["["]
    inner = split_operands(text[1:close])
    if not inner:
        raise AssemblyError(f"malformed address `{text}'")
    for index, operand in enumerate(inner):
        if operand[0] in "[{":
            raise AssemblyError(f"malformed address `{text}'")
        if index:
            pieces.append(", ")
        pieces += _operand(operand)
    pieces.append("]" + mark)
    return pieces


def _target(text: str) -> Expr:
    """An address operand of a PC-relative instruction: ``#`` is allowed, a register is not."""
    if register(text) is not None:
        raise AssemblyError(
            f"`{text}' is a register, not an address", hint="br and blr branch to a register"
        )
    return parse(text[1:] if text[0] == "#" else text)


def _pc_relative(mnemonic: str, operands: tuple[str, ...]) -> AsmInstruction:
    count, field = _PC_RELATIVE[mnemonic]
    if mnemonic[:2] == "b." and mnemonic[2:] in SVE_CONDITIONS:
        mnemonic = "b." + SVE_CONDITIONS[mnemonic[2:]]
    _count(mnemonic, operands, count)
    pieces: list[str | Expr] = [mnemonic, " "]
    for operand in operands[:-1]:
        pieces += [*_operand(operand), ", "]
    return _finish([*pieces, "#0"], field, _target(operands[-1]))


def _adrp(operands: tuple[str, ...]) -> AsmInstruction:
    _count("adrp", operands, 2)
    field: AbsoluteField = PAGE
    target = operands[1]
    if operator := _OPERATOR.fullmatch(target):
        field = _operator(operator["operator"])
        if not field.operator.startswith("pg_"):
            raise AssemblyError(f":{field.operator}: is not for adrp")
        target = operator["expr"]
    return _finish(["adrp ", *_operand(operands[0]), ", #0"], field, _target(target.strip()))


def _literal(mnemonic: str, operands: tuple[str, ...]) -> AsmInstruction:
    """PC-relative load or prefetch, from a label or from the literal pool."""
    pieces: list[str | Expr] = [mnemonic, " ", *_operand(operands[0]), ", #0"]
    target = operands[1]
    if target[0] != "=":
        return _finish(pieces, LITERAL, _target(target))
    loaded = register(operands[0])
    if loaded is None or mnemonic == "prfm":
        raise AssemblyError(f"`{target}' needs a register to load")
    size = 4 if mnemonic == "ldrsw" else _POOL_SIZES.get(loaded[0], 0)
    if not size:
        raise AssemblyError(f"no literal for `{loaded}'")
    return _finish(pieces, LITERAL, parse(target[1:]), size)


def _operator(name: str) -> AbsoluteField:
    field = OPERATORS.get(name.lower())
    if field is None:
        known = ", ".join(f":{operator}:" for operator in OPERATORS)
        raise AssemblyError(
            f"relocation operator :{name}: is not supported", hint=f"there are {known}"
        )
    return field


def _number(text: str, what: str) -> int:
    value = parse(text[1:] if text[0] == "#" else text)
    if not isinstance(value, int):
        raise AssemblyError(f"{what} needs a number here, not `{text}'")
    return value


def _system_register(text: str) -> str:
    name = text.lower()
    if not _SYSTEM_NAME.fullmatch(name) or register(name) is not None:
        raise AssemblyError(f"`{text}' is no system register")
    return gnu_sysregs.register(name)


def _msr(operands: tuple[str, ...]) -> AsmInstruction:
    _count("msr", operands, 2)
    name = operands[0].lower()
    limit = gnu_sysregs.pstate_limit(name)
    if limit is None or register(operands[1]) is not None:
        return _finish(["msr ", _system_register(operands[0]), ", ", *_operand(operands[1])])
    pieces = _operand(operands[1])
    immediate = pieces[-1]
    if len(pieces) != 2 or isinstance(immediate, str):
        raise AssemblyError(f"`{operands[1]}' is no immediate")
    if not isinstance(immediate, int):
        return _finish(["msr ", name, ", ", *pieces])
    if not 0 <= immediate <= limit:
        raise AssemblyError(f"msr {name}, #{immediate} is outside 0 to {limit}")
    return AsmInstruction(word=gnu_sysregs.pstate_word(name, immediate))


def _system(mnemonic: str, operands: tuple[str, ...]) -> AsmInstruction:
    """``dc civac, x0`` and its kin."""
    if not 1 <= len(operands) <= 2:
        raise AssemblyError(f"{mnemonic} takes an operation, and a register if that needs one")
    name = operands[0].lower()
    if not _SYSTEM_NAME.fullmatch(name):
        raise AssemblyError(f"`{operands[0]}' is no {mnemonic} operation")
    xt = None
    if len(operands) == 2:
        xt = register(operands[1])
        if xt is None or xt[0] != "x":
            raise AssemblyError(f"{mnemonic} {name} takes an x register, not `{operands[1]}'")
    pieces: list[str | Expr] = [f"{mnemonic} {name}"]
    known = gnu_sysregs.SYSTEM_OPERATIONS.get((mnemonic, name))
    if known is not None:
        numbers, takes_register = known
        if takes_register != (xt is not None):
            needs = "needs a register" if takes_register else "takes no register"
            raise AssemblyError(f"{mnemonic} {name} {needs}")
        pieces = [f"sys {numbers}"]
    if xt is not None:
        pieces.append(f", {xt}")
    return _finish(pieces)


def _extension(mnemonic: str, operands: tuple[str, ...]) -> AsmInstruction:
    """What our own table encodes, once its numbers are known."""
    parsed = [_operand(operand) for operand in operands]
    known = [[one for one in pieces if isinstance(one, str | int)] for pieces in parsed]
    if known == parsed:
        return AsmInstruction(word=extensions.encoded(mnemonic, known))
    joined: list[str | Expr] = [mnemonic]
    for index, pieces in enumerate(parsed):
        joined += [", " if index else " ", *pieces]
    return _finish(joined)


def _general(mnemonic: str, operands: tuple[str, ...]) -> AsmInstruction:
    """Everything else: operands as they are, at most one ``:operator:`` among them."""
    field: AbsoluteField | None = None
    target: Expr = 0
    parsed: list[list[str | Expr]] = []
    for operand in operands:
        at = operand.find(":")
        if at < 0:
            number = immediate(mnemonic, operands[0], operand) if mnemonic in FLOATING else None
            parsed.append(_operand(operand) if number is None else [number])
            continue
        if field is not None:
            raise AssemblyError("two relocation operators in one instruction")
        field, target, pieces = _with_operator(mnemonic, operand)
        parsed.append(pieces)
    if field is not None and field.group >= 0 and len(operands) != 2:
        raise AssemblyError(f":{field.operator}: says the shift already")
    mnemonic = checked(mnemonic, parsed)
    pieces = [mnemonic]
    for index, operand_pieces in enumerate(parsed):
        pieces += [", " if index else " ", *operand_pieces]
    return _finish(pieces, field, target)


def _with_operator(mnemonic: str, operand: str) -> tuple[AbsoluteField, Expr, list[str | Expr]]:
    """``:lo12:sym``, ``[x0, :lo12:sym]`` or ``:abs_g0:sym``: the field, the symbol, the rest."""
    address = operand[0] == "["
    text = operand
    base = ""
    if address:
        if operand[-1] != "]":
            raise AssemblyError(f"malformed address `{operand}'")
        inner = split_operands(operand[1:-1])
        if len(inner) != 2:
            raise AssemblyError(f"malformed address `{operand}'")
        base, text = inner
    match = _OPERATOR.fullmatch(text)
    if match is None:
        raise AssemblyError(f"malformed operand `{operand}'")
    field = _operator(match["operator"])
    target = parse(match["expr"])
    if field.operator == "lo12":
        if not address and mnemonic != "add":
            raise AssemblyError(f":lo12: is not for {mnemonic}", hint="use add, or a load or store")
    elif field.group < 0 or address or mnemonic not in ("movz", "movk", "movn"):
        raise AssemblyError(f":{field.operator}: is not for {mnemonic} here")
    if address:
        return field, target, ["[", *_operand(base), ", #0]"]
    return field, target, [field.operand]
