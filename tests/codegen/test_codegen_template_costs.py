"""What a template from elsewhere may cost, in steps that each cost a lot."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.codegen import template_limits
from relokit.codegen.base.errors import TemplateError
from relokit.codegen.render import render
from support.bounds import cpu_time_below

DEEP = """\
{% set a, b = namespace(x=()), namespace(x=()) %}
{% for _ in range(64) %}{% set a.x, b.x = (a.x, a.x), (b.x, b.x) %}{% endfor %}
"""
"""Two values of 64 tuples each, which to look at takes 2**64 steps."""


def refused(tmp_path: Path, text: str) -> TemplateError:
    (tmp_path / "mine.j2").write_text(text)
    with pytest.raises(TemplateError) as caught:
        render("mine.j2", {}, overrides=tmp_path)
    return caught.value


def test_a_filter_that_costs_more_than_its_text_is_not_there(tmp_path: Path) -> None:
    """Half a minute for a line that is 40 bytes long."""
    error = refused(tmp_path, "{{ ('a' * 1000000)|wordwrap(1) }}\n")
    assert "wordwrap" in error.message


def test_steps_that_cost_a_lot_come_to_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_limits, "MAX_SECONDS", 0.5)
    line = (
        "{% set b = [0] * 1000000 %}{% for x in range(99999) %}{% set y = 1 in b %}{% endfor %}\n"
    )
    error = refused(tmp_path, line)
    assert "more than 0.5 seconds" in error.message
    assert error.hint


def test_a_link_out_of_the_folder_is_no_template(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of somebody else")
    inside = tmp_path / "templates"
    inside.mkdir()
    (inside / "x").symlink_to(tmp_path / "secret")
    (inside / "mine.j2").write_text("{% include 'x' %}")
    with pytest.raises(TemplateError, match="leads out of the folder") as caught:
        render("mine.j2", {}, overrides=inside)
    assert "somebody" not in str(caught.value)
    # Within the folder it is one.
    (inside / "here").write_text("mine")
    (inside / "x").unlink()
    (inside / "x").symlink_to(inside / "here")
    assert render("mine.j2", {}, overrides=inside).text.strip() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a'|center(10**9) }}",
        "{{ 'a'.center(10**9) }}",
        "{{ 'a'.ljust(10**9) }}",
        "{{ '1'.zfill(10**9) }}",
        "{{ '\\t'.expandtabs(10**9) }}",
        "{{ 'a'|indent(10**9, true) }}",
        "{{ [1]|batch(10**9, 0)|list }}",
        "{{ [1]|slice(10**9, 0)|list }}",
        "{{ [[1]]|tojson(10**9) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ ('a' * 10**6)|trim('b' * 10**6) }}",
        "{{ ('a' * 10**6).strip('b' * 10**6) }}",
        "{{ ('a' * 10**6)|replace('', 'b' * 10**6) }}",
        "{{ ('a' * 10**6)|join('b' * 10**6) }}",
        "{{ ('b' * 10**6).join('a' * 10**6) }}",
        "{{ (['a' * 10**5] * 1000)|map('sort')|map('length')|list }}",
        "{{ range(99999)|select('in', [1] * 10**6)|list }}",
        "{{ ([[1] * 10] * 100000)|sum(start=[]) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(10**9) %}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ 10**(10**9) }}",
        "{{ ['a'] * 10**9 }}",
        "{{ 'a'|wordwrap(1) }}{{ lipsum(1000) }}",
        "{{ [1, 2]|random }}",
        f"{DEEP}{{{{ a.x == b.x }}}}",
        f"{DEEP}{{{{ 1 if a.x < b.x }}}}",
        f"{DEEP}{{{{ a.x in [b.x] }}}}",
        f"{DEEP}{{{{ a.x is in [b.x] }}}}",
        f"{DEEP}{{{{ a.x is eq(b.x) }}}}",
        f"{DEEP}{{{{ [a.x, b.x]|sort }}}}",
        f"{DEEP}{{{{ [a.x, b.x]|max }}}}",
        f"{DEEP}{{{{ [a.x, b.x]|unique|list }}}}",
        f"{DEEP}{{{{ [a.x, b.x]|groupby(0)|list }}}}",
        f"{DEEP}{{{{ [a.x]|select('eq', b.x)|list }}}}",
        f"{DEEP}{{{{ [a.x].index(b.x) }}}}",
        f"{DEEP}{{{{ [a.x].count(b.x) }}}}",
        f"{DEEP}{{{{ {{'y': a.x}}.items() == {{'y': b.x}}.items() }}}}",
        f"{DEEP}{{% for x in [a.x, b.x] %}}{{{{ loop.changed(x) }}}}{{% endfor %}}",
        f"{DEEP}{{{{ {{}}[a.x] }}}}",
        f"{DEEP}{{{{ {{a.x: 1}} }}}}",
        f"{DEEP}{{{{ {{}}.get(a.x) }}}}",
        f"{DEEP}{{{{ dict([(a.x, 1)]) }}}}",
        f"{DEEP}{{{{ [a.x]|tojson }}}}",
        f"{DEEP}{{{{ [a.x]|pprint }}}}",
        f"{DEEP}{{{{ a.x }}}}",
        f"{DEEP}{{{{ a.x ~ b.x }}}}",
        f"{DEEP}{{{{ '%.1s' % (a.x,) }}}}",
        f"{DEEP}{{{{ [a.x]|join }}}}",
        f"{DEEP}{{{{ a.x|string }}}}",
        f"{{{{ (range(99999)|list * 10){'|select' * 200}|list|length }}}}",
    ],
)
def test_a_step_costs_what_it_builds(tmp_path: Path, text: str) -> None:
    with cpu_time_below(5):
        assert refused(tmp_path, text).where


@pytest.mark.parametrize("use", ["{{ {}[a.x] }}", "{{ a.x == [] }}", "{{ [a.x]|unique|list }}"])
def test_what_is_nested_deep_is_refused(tmp_path: Path, use: str) -> None:
    """Python hashes it on the stack of the process, which ended of that."""
    loop = "{% for _ in range(200) %}{% set a.x = (a.x,) %}{% endfor %}"
    error = refused(tmp_path, f"{{% set a = namespace(x=()) %}}{loop}{use}")
    assert "lists are nested more than 100 deep" in error.message


def test_filters_that_are_python_are_ended_by_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was looked at between two steps of a template only."""
    monkeypatch.setattr(template_limits, "MAX_SECONDS", 0.1)
    with cpu_time_below(2):
        error = refused(tmp_path, "{{ (range(99999)|list * 3)|map('title')|list|length }}")
    assert "more than 0.1 seconds" in error.message


@pytest.mark.parametrize(
    ("text", "is_text"),
    [
        ("{{ 'a'|center(5) }}", "  a"),
        ("{{ '%08x' % 255 }}", "000000ff"),
        ("{{ '{:>4}|{}'.format(1, 2) }}", "   1|2"),
        ("{{ [3, 1, 2]|sort|join(', ') }}", "1, 2, 3"),
        ("{{ range(5)|select('odd')|map('string')|join('-') }}", "1-3"),
        ("{{ [1, 2]|sum }}", "3"),
        ("{{ [(1, 2), [3]] == [(1, 2), [3]] and 2 not in [1] and 1 < 2 <= 2 }}", "True"),
        ("{{ {(1, 2): 'a', 'x': 'b'}[(1, 2)] }}", "a"),
        ("{{ 'b' in {'a': 1}.keys() or {'a': [1]}.items() == {'a': [1]}.items() }}", "True"),
        ("{{ [{'a': 2}, {'a': 1}]|sort(attribute='a')|map(attribute='a')|join }}", "12"),
        ("{{ [1, 2]|sum(start=4) }}", "7"),
        ("{{ missing|default(0x40000000) }}", "1073741824"),
        ("{{ 'nop\\nret'|indent(2, true) }}", "  nop\n  ret"),
        ("{{ ('a' * 100000)|replace('a', 'b')|length }}", "100000"),
    ],
)
def test_what_templates_say_is_as_it_was(tmp_path: Path, text: str, is_text: str) -> None:
    (tmp_path / "mine.j2").write_text(text)
    assert render("mine.j2", {}, overrides=tmp_path).text.rstrip() == is_text
