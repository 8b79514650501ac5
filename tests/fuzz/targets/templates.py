"""Templates that a user gives: Jinja, in a sandbox with limits."""

from __future__ import annotations

from collections.abc import Sequence

from fuzz import files
from fuzz.door import Door
from fuzz.mutations import text_of
from relokit.codegen.build import variables
from relokit.codegen.built_in import TEMPLATES
from relokit.codegen.render import render
from relokit.codegen.target import Target

NAME = "cpu_reset.S.j2"
OWN = """
{% macro twice(a, b=1) %}{% for i in range(a) %}{{ caller() if b else loop.index }}
{% endfor %}{% endmacro %}
{% call twice(3) %}	mov x{{ page_size }}, #{{ "%#x" % page_mask }}{% endcall %}
{% set list = [1, 2, 3] | map("string") | join(",") %}{{ list | upper | replace("1", "x" * 9) }}
{% if kimage is defined and not mmu_on or hvc.set_vectors > 2 ** 3 %}{{ kimage.start // 8 }}
{% elif regime in ("el1", "nvhe", "vhe") %}{{ namespace(a=1).a }}
{% else %}{{ undefined_name }}{% endif %}
{% filter indent(4) %}{{ dict(a=1).items() | list | tojson }}{% endfilter %}
{%- raw %}{{ }}{% endraw -%}{# comment #}
{% from "macros/symbols.j2" import x with context %}
"""
WORDS = """
{{ }} {% %} {# #} {%- -%} if endif else for endfor in range(9) range(999999999) macro endmacro
set block endblock include import from extends "note.S.j2" "../x" loop.index cycler joiner
namespace lipsum() dict self.__class__ ''.__class__.__mro__ |attr("__init__") |format
|center(99999999) |join |list |batch(2) |slice(99999) |wordcount |indent(999999)
|replace("","x"*999) |sort |unique |sum |int |float |round(99999) |tojson |xmlattr |urlize
|filesizeformat |pprint |random |groupby(0) |reject |map |select |first |last ** * // % ~
99999999999 10**99999 "x"*99999 [] {} () . , : caller varargs kwargs is defined not and or
page_size kimage hvc ttbr recursive do autoescape trans with endwith filter endfilter call
endcall raw
"""


def _texts() -> Sequence[bytes]:
    small = [path for path in TEMPLATES.rglob("*.j2") if path.stat().st_size < 3000]
    texts = [path.read_bytes() for path in sorted(small) if path.name != "Makefile.j2"]
    return [*(one for one in texts if b"{{" in one or b"{%" in one), OWN.encode()]


def _rendered(case: bytes) -> object:
    folder = files.put(case, NAME).parent
    return render(NAME, variables(Target()), overrides=folder)


DOORS = (
    Door("template", "templates that take the place of ours", _texts, text_of(WORDS), _rendered,
         10.0, seconds=45.0),
)  # fmt: skip
