"""The recipes of docs/ci.md: what can be tried here of them is."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

PAGE = Path(__file__).resolve().parents[3] / "docs" / "ci.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
Cli = Callable[..., Any]


def lines(part: object) -> Iterator[str]:
    """Every text in it that is a command of relokit."""
    if isinstance(part, dict):
        for value in part.values():
            yield from lines(value)
    elif isinstance(part, list):
        for value in part:
            yield from lines(value)
    elif isinstance(part, str) and part.startswith("relokit "):
        yield part


@pytest.mark.parametrize(
    ("block", "schema"), [(0, "github-workflows"), (1, "gitlab-ci")], ids=["github", "gitlab"]
)
def test_a_recipe_is_what_its_schema_asks_for(block: int, schema: str) -> None:
    vendor = files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{schema}.json"
    document = json.loads(vendor.read_text("utf-8"))
    recipe = yaml.safe_load(BLOCKS[block])
    # YAML 1.1 takes the key `on` for true.
    recipe = {"on" if key is True else key: value for key, value in recipe.items()}
    jsonschema.validators.validator_for(document)(document).validate(recipe)


def test_every_command_of_the_recipes_works(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [line for block in BLOCKS for line in lines(yaml.safe_load(block))]
    assert len(commands) == 4
    for command in commands:
        assert cli(*shlex.split(command)[1:]).code == 0, command
    assert {path.name for path in tmp_path.iterdir()} == {"relokit.sarif", "relokit.xml"}
    # What later steps take is what was written.
    for name in ("relokit.sarif", "relokit.xml"):
        assert any(f": {name}\n" in block for block in BLOCKS)
