"""What a template from elsewhere may cost, in steps that each cost a lot."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.codegen import template_limits
from relokit.codegen.base.errors import TemplateError
from relokit.codegen.render import render


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
    line = "{% for x in range(99999) %}{% set y = ('a' * 1000000)|sort|length %}{% endfor %}\n"
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
