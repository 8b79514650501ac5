"""Cut GNU as text into statements: comments, strings, separators, labels, operand lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.instructions.insn import AsmInstruction, parse_instruction
from relokit.codegen.gas.instructions.operands import REMEMBERED, split_operands
from relokit.codegen.source import Origin

LINE_LIMIT = 16384
"""Characters in one line of source."""
BLOCK = 1 << 14
"""Characters, and the rest of a line, that are cut into lines at a time."""


class StatementKind(Enum):
    """What a statement is."""

    LABEL = auto()
    LOCAL = auto()
    ASSIGNMENT = auto()
    DIRECTIVE = auto()
    INSTRUCTION = auto()


class Statement(NamedTuple):
    """``head`` is the label, symbol or lower-case directive; ``rest`` what follows it."""

    kind: StatementKind
    head: str
    rest: str
    text: str
    instruction: AsmInstruction | None = None


_BLOCK = re.compile(
    r"""(?P<keep>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^\\\n])|//[^\n]*|^[ \t]*\#[^\n]*)
      | (?P<comment>/\*.*?\*/) | (?P<open>/\*) | (?P<line>\n)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_PIECE = re.compile(
    r"""(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^\\])'?|[^"'/;]+|/(?!/))
      | (?P<comment>//.*) | (?P<end>;) | (?P<bad>.)""",
    re.VERBOSE,
)
_PREPROCESSOR = re.compile(r"#(?:include|define|undef|if|ifdef|ifndef|else|elif|endif|pragma)\b")
_LABEL = re.compile(r"(?:(?P<name>[A-Za-z_.$][\w.$]*)|(?P<number>[0-9]+))[ \t]*:[ \t]*", re.ASCII)
LABELS = re.compile(r"(?:(?:[A-Za-z_.$][\w.$]*|[0-9]+)[ \t]*:[ \t]*)+", re.ASCII)
"""What may stand before a statement."""
LINE_MARKER = re.compile(r'#(?:line)?[ \t]+(?P<line>[0-9]{1,9})[ \t]+"(?P<file>[^"\n]{1,1024})"')
"""``# 12 "file"``, with which the C preprocessor says where the next line is from."""
_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_.$][\w.$]*)[ \t]*=(?!=)[ \t]*(?P<value>.*)", re.ASCII)
_WORD = re.compile(r"(?P<word>[A-Za-z_.][\w.]*)(?:[ \t]+(?P<rest>.*))?", re.ASCII)
_DIRECTIVE = re.compile(r"(?P<word>\.[\w.]+)[ \t]*(?P<rest>.*)", re.ASCII)


def without_block_comments(text: str, where: str | None = None) -> str:
    """Replace ``/* */`` by a blank; lines keep their numbers.

    A comment over several lines joins its first and last line, as in GNU as; the lines it
    swallowed come back empty after the joined one. Raises AssemblyError on an open comment, with
    ``where`` as its place.
    """
    last = text.rfind("/*")
    if last < 0:
        return text
    # Comments are mostly at the top: what follows the last one's line needs no second look.
    close = text.find("*/", last)
    end = text.find("\n", close) if close >= 0 else -1
    if end < 0:
        end = len(text)
    swallowed = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal swallowed
        if match["keep"] is not None:
            return match[0]
        if match["comment"] is not None:
            swallowed += match[0].count("\n")
            return " "
        if match["open"] is not None:
            line = text.count("\n", 0, match.start()) + 1
            raise AssemblyError(f"comment opened in line {line} is never closed", where=where)
        lines, swallowed = "\n" * (1 + swallowed), 0
        return lines

    return _BLOCK.sub(replace, text[: end + 1]) + text[end + 1 :]


def lines_of(name: str, text: str, origins: Sequence[Origin] = ()) -> Iterator[tuple[str, Origin]]:
    """Each line of ``text`` with where it is from: what the C preprocessor said last, else its one
    of ``origins``, else of the file ``name``.
    """
    marked: Origin | None = None
    for number, line in enumerate(_split(text)):
        marker = LINE_MARKER.match(line) if line.startswith("#") else None
        if marker is not None:
            marked = Origin(marker["file"], int(marker["line"]) - 1)
            continue
        if marked is not None:
            marked = Origin(marked.file, marked.line + 1)
            yield line, marked
        else:
            yield line, origins[number] if number < len(origins) else Origin(name, number + 1)


def _split(text: str) -> Iterator[str]:
    """``text.split("\n")``, without all of them at once."""
    start = 0
    while (end := text.find("\n", start + BLOCK)) >= 0:
        yield from text[start:end].split("\n")
        start = end + 1
    yield from text[start:].split("\n")


@lru_cache(maxsize=REMEMBERED)
def parse_line(line: str) -> tuple[Statement, ...]:
    """The statements of one line (without block comments). Raises AssemblyError, no position."""
    statements: list[Statement] = []
    for text in cut(line):
        _statement(text, statements)
    return tuple(statements)


def cut(line: str) -> list[str]:
    """The texts of a line's statements. Raises AssemblyError, no position."""
    if len(line) > LINE_LIMIT:
        raise AssemblyError(f"line of more than {LINE_LIMIT} characters")
    stripped = line.strip(" \t\r")
    if not stripped or stripped.startswith("//"):
        return []
    if stripped[0] == "#":
        if _PREPROCESSOR.match(stripped):
            raise AssemblyError(
                "C preprocessor directive", hint="preprocess the file, or make it a template"
            )
        return []
    return _cut(stripped)


def _cut(line: str) -> list[str]:
    """Drop the ``//`` comment, split at ``;`` outside strings."""
    if not any(c in line for c in "\"'/;"):
        return [line]
    texts, text = [], ""
    for match in _PIECE.finditer(line):
        if match["text"] is not None:
            text += match[0]
        elif match["end"] is not None:
            texts.append(text.strip(" \t"))
            text = ""
        elif match["comment"] is not None:
            break
        else:
            raise AssemblyError(f"{match[0]} is never closed")
    texts.append(text.strip(" \t"))
    return texts


def _statement(text: str, statements: list[Statement]) -> None:
    """Append the labels, then what follows them."""
    while label := _LABEL.match(text):
        if label["name"] is not None:
            if label["name"] == ".":
                raise AssemblyError("`.' is no label", text=text)
            statements.append(Statement(StatementKind.LABEL, label["name"], "", text))
        else:
            if len(label["number"]) > 9:
                raise AssemblyError("numeric label of more than 9 digits", text=text)
            statements.append(Statement(StatementKind.LOCAL, label["number"], "", text))
        text = text[label.end() :]
    if not text:
        return
    if not text.isascii() and text[0] != ".":
        raise AssemblyError("only strings and comments may hold other characters than ASCII")
    if assignment := _ASSIGNMENT.fullmatch(text):
        statements.append(
            Statement(StatementKind.ASSIGNMENT, assignment["name"], assignment["value"], text)
        )
    elif directive := _DIRECTIVE.fullmatch(text):
        head = directive["word"].lower()
        statements.append(Statement(StatementKind.DIRECTIVE, head, directive["rest"], text))
    elif word := _WORD.fullmatch(text):
        mnemonic, operands = word["word"].lower(), word["rest"] or ""
        instruction = parse_instruction(mnemonic, split_operands(operands))
        statements.append(
            Statement(StatementKind.INSTRUCTION, mnemonic, operands, text, instruction)
        )
    else:
        raise AssemblyError("neither a label, a directive nor an instruction", text=text)
