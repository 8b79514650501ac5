"""Rendering: every line knows where it came from, and a hostile template gets nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import TemplateError
from relokit.codegen.build import DEMO, KERNEL, render_recipe
from relokit.codegen.built_in import TEMPLATES
from relokit.codegen.gas.lexer import lines_of
from relokit.codegen.render import MAX_RENDERED, render, render_source
from relokit.codegen.source import Origin, Unit
from relokit.codegen.target import Regime, Target
from support.bounds import cpu_time_below


def _write(folder: Path, **templates: str) -> Path:
    """``name="text"`` becomes ``name.S.j2``; ``m_name`` becomes ``macros/name.j2``."""
    for name, text in templates.items():
        path = folder / f"{name}.S.j2"
        if name.startswith("m_"):
            path = folder / "macros" / f"{name[2:]}.j2"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def _render(folder: Path, **variables: Any) -> Unit:
    return render("t.S.j2", variables, overrides=folder)


def _lines(unit: Unit) -> list[tuple[str, str, int]]:
    texts = unit.text.split("\n")[:-1]
    assert len(texts) == len(unit.origins)
    return [
        (text, origin.file, origin.line)
        for text, origin in zip(texts, unit.origins, strict=True)
    ]  # fmt: skip


def test_each_line_knows_its_template_line(tmp_path: Path) -> None:
    _write(tmp_path, t="{# a\ncomment #}\nfirst\n{% if on %}\nsecond {{ x }}\n{% endif %}\nthird\n")
    assert _lines(_render(tmp_path, on=True, x=7)) == [
        ("first", "t.S.j2", 3),
        ("second 7", "t.S.j2", 5),
        ("third", "t.S.j2", 7),
    ]
    assert [line[2] for line in _lines(_render(tmp_path, on=False))] == [3, 7]


def test_lines_of_a_macro_are_those_of_the_macro(tmp_path: Path) -> None:
    _write(
        tmp_path,
        m_two="{#- About it. -#}\n{% macro two(r) %}\n\tmov\t{{ r }}, #1\n\tmov\t{{ r }}, #2\n"
        "{% endmacro %}\n",
        t='{% from "macros/two.j2" import two %}\nbefore\n{{ two("x3") }}\nafter\n',
    )
    assert _lines(_render(tmp_path)) == [
        ("before", "t.S.j2", 2),
        ("\tmov\tx3, #1", "macros/two.j2", 3),
        ("\tmov\tx3, #2", "macros/two.j2", 4),
        ("", "t.S.j2", 3),
        ("after", "t.S.j2", 4),
    ]


def test_lines_of_a_loop_repeat(tmp_path: Path) -> None:
    _write(tmp_path, t="{% for n in range(3) %}\n.quad {{ n }}\n{% endfor %}\nend\n")
    assert _lines(_render(tmp_path)) == [
        *((f".quad {n}", "t.S.j2", 2) for n in range(3)),
        ("end", "t.S.j2", 4),
    ]


def test_text_without_a_last_newline_is_complete(tmp_path: Path) -> None:
    _write(tmp_path, t="one\ntwo")
    assert _lines(_render(tmp_path)) == [("one", "t.S.j2", 1), ("two", "t.S.j2", 1)]


def test_a_value_cannot_forge_an_origin(tmp_path: Path) -> None:
    """What is in a variable is not the templates' doing, so neither is its line."""
    _write(tmp_path, t="{{ x }}\n")
    [(_, file, line)] = _lines(_render(tmp_path, x="nop"))
    assert (file, line) == ("t.S.j2", 1)


@pytest.mark.parametrize("recipe", [KERNEL, DEMO])
def test_built_in_templates_map_statement_by_statement(recipe: Any) -> None:
    """An instruction stands in the template, macro or not, on the line it is said to be from."""
    source = render_recipe(recipe, Target(regime=Regime.VHE))
    checked = 0
    for unit in (*source.units, source.script):
        for text, file, line in _lines(unit):
            template = (TEMPLATES / file).read_text().split("\n")[line - 1]
            word = re.match(r"\s*([a-z][a-z.0-9]+)\b", text)
            if word and "{{" not in template.split(word[1])[0]:
                assert word[1] in template, (text, file, line)
                checked += 1
    assert checked > 80


def test_an_undefined_variable_is_named_with_its_line(tmp_path: Path) -> None:
    _write(tmp_path, t="fine\n\nmov x0, {{ nowhere }}\n")
    with pytest.raises(TemplateError, match="'nowhere' is undefined") as caught:
        _render(tmp_path)
    assert caught.value.where == "t.S.j2:3"


def test_an_undefined_variable_in_a_macro_is_named_with_the_macros_line(tmp_path: Path) -> None:
    _write(
        tmp_path,
        m_bad="{% macro bad() %}\nnop\n{{ nowhere + 1 }}\n{% endmacro %}\n",
        t='{% from "macros/bad.j2" import bad %}\n{{ bad() }}\n',
    )
    with pytest.raises(TemplateError, match="'nowhere' is undefined") as caught:
        _render(tmp_path)
    assert caught.value.where is not None
    assert caught.value.where.endswith("bad.j2:3")


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("ok\n{{ x.nothing }}\n", "has no attribute 'nothing'", 2),
        ("ok\nok\n{% if x %}\n", "Unexpected end of template", 3),
        ("{{ 1 + }}\n", "unexpected", 1),
        ("{% from 'macros/none.j2' import a %}\n", "template not found: macros/none.j2", None),
        ("\n{% include 'none.S.j2' %}\n", "template not found: none.S.j2", None),
        ("\n\n{{ 1 // 0 }}\n", "ZeroDivisionError", 3),
        ("\n{{ 'a' + 1 }}\n", "TypeError", 2),
        ("{{ '%d' % 'a' }}\n", "TypeError", 1),
        ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}\n", "RecursionError", 1),
        ("nop \x01x:1\x02\n", "control characters", 1),
        ("{{ x() }}\n", "TypeError", 1),
        ("{{ 'x'|nofilter }}\n", "No filter named 'nofilter'", 1),
    ],
)
def test_a_bad_template_is_one_error(
    tmp_path: Path, text: str, message: str, line: int | None
) -> None:
    _write(tmp_path, t=text)
    with pytest.raises(TemplateError, match=re.escape(message)) as caught:
        _render(tmp_path, x=0)
    where = caught.value.where or ""
    assert where == (f"t.S.j2:{line}" if line else "t.S.j2")


@pytest.mark.parametrize(
    "expression",
    [
        "x.__class__",
        "x.__class__.__mro__[1].__subclasses__()",
        "''.__class__.__base__",
        "x['__class__'] ~ x.__init__.__globals__",
        "self.__init__.__globals__",
        "x.append(1)",
        "cycler.__init__.__globals__.os",
        "'{0.__class__}'.format(x)",
        "namespace.__init__.__globals__",
        "(x|attr('__class__')).__mro__",
    ],
)
def test_the_sandbox_holds(tmp_path: Path, expression: str) -> None:
    _write(tmp_path, t=f"nop\n{{{{ {expression} }}}}\n")
    with pytest.raises(TemplateError):
        _render(tmp_path, x=[1])


def test_a_template_cannot_read_outside_its_directories(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in ("../secret", str(secret), "macros/../../secret"):
        _write(inside, t=f"{{% include '{name}' %}}")
        with pytest.raises(TemplateError, match="not found"):
            render("t.S.j2", {}, overrides=inside)
        (inside / "t.S.j2").unlink()
        inside = inside.with_name(inside.name + "x")
        inside.mkdir()


def test_output_is_bounded(tmp_path: Path) -> None:
    _write(tmp_path, t="{% for n in range(99999) %}\n{{ '%01000d' % n }}\n{% endfor %}\n")
    with pytest.raises(TemplateError, match=f"more than {MAX_RENDERED >> 20} MiB") as caught:
        _render(tmp_path)
    assert caught.value.where == "t.S.j2"
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "{% for n in range(10**9) %}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ '%99999999d' % 1 }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 9**(9**9) }}",
        "{{ 'a'|center(10**9) }}",
        "{% set ns = namespace(s='aaaaaaaa') %}{% for n in range(40) %}{% set ns.s = ns.s ~ ns.s %}"
        "{% endfor %}",
    ],
)
def test_work_is_bounded(tmp_path: Path, text: str) -> None:
    """Whatever a template asks for, an error comes soon."""
    _write(tmp_path, t=text)
    with cpu_time_below(5), pytest.raises(TemplateError):
        _render(tmp_path)


def test_overrides_win_and_the_rest_stays(tmp_path: Path) -> None:
    _write(tmp_path, note='\t.section .mine, "a"\n')
    unit = render("note.S.j2", {}, overrides=tmp_path)
    assert unit.text == '\t.section .mine, "a"\n'
    assert render("note.S.j2", {"build_note": "x"}).text != unit.text
    whole = render_recipe(KERNEL, Target(), overrides=tmp_path)
    assert [u.name for u in whole.units if u.text == unit.text] == ["note.S"]


def test_a_missing_template_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="template not found: none") as caught:
        render("none.S.j2", {}, overrides=tmp_path)
    assert str(tmp_path) in (caught.value.hint or "")


def test_units_and_script_share_the_variables(tmp_path: Path) -> None:
    _write(tmp_path, a="{{ x }}\n", b="{{ x + 1 }}\n")
    (tmp_path / "s.lds.j2").write_text("{{ x + 2 }}\n")
    source = render_source(("a.S.j2", "b.S.j2"), "s.lds.j2", {"x": 1}, overrides=tmp_path)
    assert [unit.text for unit in (*source.units, source.script)] == ["1\n", "2\n", "3\n"]
    assert [unit.name for unit in (*source.units, source.script)] == ["a.S", "b.S", "s.lds"]


def test_foreign_text_is_its_own_origin() -> None:
    for text in ("a\nb\n", "a\nb"):
        unit = Unit.from_text("x.S", text)
        found = [origin for _, origin in lines_of(unit.name, unit.text, unit.origins)]
        assert found[:2] == [Origin("x.S", 1), Origin("x.S", 2)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12),
            st.sampled_from(["{{ x }}", "{% if x %}", "{% endif %}", "{{", "%}", "{#", "#}", "\n"]),
        ),
        max_size=12,
    ).map("".join)
)
def test_any_template_renders_or_is_one_error(tmp_path: Path, text: str) -> None:
    name = f"t{abs(hash(text))}.S.j2"  # Jinja keeps what it compiled, by name
    (tmp_path / name).write_text(text)
    unit = None
    try:
        unit = render(name, {"x": 1}, overrides=tmp_path)
    except TemplateError as error:
        assert error.where  # noqa: PT017
    if unit is not None:
        assert len(_lines(unit)) == len(unit.origins)
        assert all(1 <= origin.line <= text.count("\n") + 1 for origin in unit.origins)
