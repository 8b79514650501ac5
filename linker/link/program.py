"""From a recipe and a Target to a linked Image, in one call: render, assemble, link."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from relokit.codegen.base.errors import LinkError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.build import Recipe, render_recipe
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.object import Object
from relokit.codegen.source import Source, Unit
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.linker.link.linking import link
from relokit.linker.link.substitution import Replacement, substituted
from relokit.linker.script.parser import parse_script


@dataclass(frozen=True, slots=True)
class Program:
    """Every step of one build, for whoever wants to look at it or export it."""

    source: Source
    objects: tuple[Object, ...]
    image: Image


def build_program(
    recipe: Recipe,
    target: Target,
    encoder: Encoder,
    *,
    overrides: Path | None = None,
    extra: Mapping[str, object] = MappingProxyType({}),
    foreign: Replacement | None = None,
) -> Program:
    """Render, assemble and link ``recipe`` for ``target``.

    ``overrides`` is a directory of templates that win over the built-in ones, ``extra`` are
    variables only this recipe has, ``foreign`` are routines that take the place of its own.
    Raises TemplateError, AssemblyError or LinkError naming template, line and cause.
    """
    source = render_recipe(recipe, target, overrides=overrides, extra=extra)
    objects = tuple(_assembled(unit, encoder) for unit in source.units)
    if foreign is None:
        return Program(source, objects, link(objects, source.script, name=recipe.name))
    script = parse_script(source.script)
    objects = substituted(objects, foreign, script.assigned | script.provided.keys())
    try:
        return Program(source, objects, link(objects, source.script, name=recipe.name))
    except LinkError as error:
        # The script is ours, and it is not to blame.
        error.message += f" (linked with {foreign.unit.name})"
        raise


@lru_cache(maxsize=256)
def _assembled(unit: Unit, encoder: Encoder) -> Object:
    """The unit's Object. Most units are the same text in most states and regimes."""
    return assemble(unit, encoder.encode)
