"""The script language's parser: from ready tables where they fit, else from the grammar's text.

Making LALR tables of ``ldscript.lark`` takes ten times as long as reading them, so they lie beside
it as ``grammar.json``, in plain JSON. They say which grammar text and which lark they are of, and
are left aside when either is another: an edited grammar is what is parsed by, only slower, until
``make linker/script/grammar.json`` has made the tables anew.
"""

from __future__ import annotations

import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

from relokit.linker.script.builder import Builder

GRAMMAR = Path(__file__).with_name("ldscript.lark")
TABLES = Path(__file__).with_name("grammar.json")


@cache
def parser() -> lark.Lark:
    """The parser that reduces a script's text to a Script."""
    text = GRAMMAR.read_text(encoding="utf-8")
    tables = _read_tables()
    if tables is None or tables["made_of"] != _made_of(text):
        return lark.Lark(text, parser="lalr", transformer=Builder())
    return _from_tables(tables)


def tables_text() -> str:
    """What ``grammar.json`` has to hold."""
    text = GRAMMAR.read_text(encoding="utf-8")
    data, memo = lark.Lark(text, parser="lalr").memo_serialize([TerminalDef, Rule])
    data["parser"]["parser"] = _in_order(data["parser"]["parser"])
    document = {"made_of": _made_of(text), "data": data, "memo": memo}
    return json.dumps(document, separators=(",", ":")) + "\n"


def _made_of(text: str) -> dict[str, str]:
    return {"grammar": hashlib.sha256(text.encode()).hexdigest(), "lark": lark.__version__}


def _in_order(table: dict[str, Any]) -> dict[str, Any]:
    """Parse tables numbered as they are met from the start state on, which lark leaves to chance.

    An action is (0, next state) or (1, rule); tokens are numbered by name.
    """
    names = sorted(table["tokens"].values())
    tokens = {number: names.index(name) for number, name in table["tokens"].items()}
    numbers = {state: number for number, state in enumerate(table["start_states"].values())}
    states = []
    met = [*numbers]
    for state in met:  # it grows as states are met
        actions = []
        for token, (reduces, to) in table["states"][state].items():
            actions.append((tokens[token], reduces, to))
        actions.sort(key=lambda action: action[0])
        for _, reduces, to in actions:
            if not reduces and to not in numbers:
                numbers[to] = len(numbers)
                met.append(to)
        states.append(
            {token: (reduces, to if reduces else numbers[to]) for token, reduces, to in actions}
        )
    return {
        "tokens": dict(enumerate(names)),
        "states": dict(enumerate(states)),
        "start_states": {name: numbers[state] for name, state in table["start_states"].items()},
        "end_states": {name: numbers[state] for name, state in table["end_states"].items()},
    }


def _read_tables() -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(TABLES.read_bytes())
    except FileNotFoundError:
        return None
    return document


def _from_tables(document: dict[str, Any]) -> lark.Lark:
    """Lark's own way back, as its stand-alone parsers take it; JSON made texts of the numbers."""
    data = document["data"]
    table = data["parser"]["parser"]
    table["tokens"] = _numbered(table["tokens"])
    table["states"] = {int(state): _numbered(actions) for state, actions in table["states"].items()}
    loaded: lark.Lark = lark.Lark._load_from_dict(  # type: ignore[no-untyped-call]
        data, _numbered(document["memo"]), transformer=Builder()
    )
    return loaded


def _numbered(names: dict[str, Any]) -> dict[int, Any]:
    return {int(number): value for number, value in names.items()}


if __name__ == "__main__":
    sys.stdout.write(tables_text())
