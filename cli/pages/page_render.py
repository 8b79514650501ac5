"""Templates of ``cli/pages`` to one HTML document that loads nothing."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from relokit.codegen.base.budget import counted

PAGES = Path(__file__).parent


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )


@cache
def _asset(name: str) -> str:
    return (PAGES / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def render_page(
    template: str,
    variables: Mapping[str, object],
    *,
    more_style: str = "",
    script: str = "page.js",
) -> str:
    """Render ``template`` with the style sheet and ``script`` within it.

    ``more_style`` is a file of rules behind those of all pages.

    The content security policy lets in these two, by their hashes, and nothing else: no image, no
    font, no connection, no form, no other script even if one were written into the page.
    """
    style = _asset("page.css") + (_asset(more_style) if more_style else "")
    code = _asset(script)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)}",
            f"script-src {_hash(code)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    # Both are ours and hold no end tag of their element, so they may stand as they are.
    page = {"style": Markup(style), "script": Markup(code), "policy": policy}
    parts = _environment().get_template(template).generate(page=page, **variables)
    return "".join(counted(parts, "pages"))
