"""Target to Source: render the templates, and know for every line where it came from.

Jinja forgets template lines once text is rendered. An extension therefore tags each newline of
template text with its template and line while the template is compiled, and the tags are read
off the rendered text again. Templates are treated as hostile: they run in Jinja's sandbox and
what they may emit is bounded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateNotFound
from jinja2 import TemplateError as JinjaError
from jinja2 import TemplateSyntaxError as JinjaSyntaxError
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.sandbox import ImmutableSandboxedEnvironment

from relokit.codegen.base.budget import FIXED, spend
from relokit.codegen.base.errors import TemplateError
from relokit.codegen.built_in import TEMPLATES
from relokit.codegen.source import Origin, Source, Unit
from relokit.codegen.template_limits import LOOP, LimitedEnvironment, LimitError, limited

MAX_RENDERED = 16 << 20
"""Bytes one template may render to."""

TAGGED_BYTES = 8
"""What a byte of it takes with the tags of its lines, at the peak."""

# Control characters no assembly text contains; refused in template text before tagging.
_OPEN, _CLOSE = "\x01", "\x02"
_TAG = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*):([0-9]+){_CLOSE}")


class _Inside(FileSystemLoader):
    """Templates of a folder, and of nowhere else: a link out of it is none."""

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        source, path, fresh = super().get_source(environment, template)
        inside = (os.path.realpath(folder) for folder in self.searchpath)
        if not any(Path(os.path.realpath(path)).is_relative_to(folder) for folder in inside):
            raise TemplateError(
                "is a link that leads out of the folder of templates",
                where=path,
                hint="put a copy there",
            )
        return source, path, fresh


class _LineTags(Extension):
    """Puts ``template:line`` before each newline of template text."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        if _OPEN in source or _CLOSE in source:
            raise JinjaSyntaxError("control characters in template", 1, name, filename)
        return source

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        for token in stream:
            if token.type != "data" or "\n" not in token.value:
                yield token
                continue
            lines = token.value.split("\n")
            tagged = [
                f"{text}{_OPEN}{stream.name}:{token.lineno + n}{_CLOSE}"
                for n, text in enumerate(lines[:-1])
            ]
            yield Token(token.lineno, "data", "\n".join([*tagged, lines[-1]]))


@lru_cache(maxsize=8)
def _environment(overrides: Path | None) -> Environment:
    loaders = [_Inside(path) for path in (overrides, TEMPLATES) if path is not None]
    kind = ImmutableSandboxedEnvironment if overrides is None else LimitedEnvironment
    return kind(
        loader=ChoiceLoader(loaders),
        extensions=[_LineTags],
        undefined=StrictUndefined,
        autoescape=False,  # assembly, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        optimized=False,  # folding a chain of filters takes the cube of its length, uncharged
        auto_reload=overrides is not None,  # they may be edited between two runs
    )


def render(
    template: str, variables: Mapping[str, object], *, overrides: Path | None = None
) -> Unit:
    """Render one template to a Unit named after it (without ``.j2``).

    ``overrides`` is a directory whose templates win over the built-in ones. Raises TemplateError
    naming template and line for syntax errors, undefined variables, oversized output and work
    without end.
    """
    environment = _environment(overrides)
    # Only what comes from elsewhere is watched: it makes rendering several times slower.
    watch = nullcontext() if overrides is None else limited()
    parts: list[str] = []
    size = 0
    try:
        with watch:
            for part in environment.get_template(template).generate(variables):
                size += len(part)
                if size > MAX_RENDERED:
                    raise LimitError(
                        f"renders to more than {MAX_RENDERED >> 20} MiB",
                        f"{FIXED}: so much has an assembly file",
                    )
                parts.append(part)
    except (LimitError, MemoryError) as error:
        raise TemplateError(
            str(error) or "takes too much memory",
            where=_place(error, template),
            hint=getattr(error, "hint", LOOP),
        ) from None
    except TemplateNotFound as error:
        raise TemplateError(
            f"template not found: {error.name}",
            where=template,
            hint=f"looked in {', '.join(str(p) for p in (overrides, TEMPLATES) if p)}",
        ) from None
    except JinjaSyntaxError as error:
        raise TemplateError(
            error.message or "syntax error", where=f"{error.name or template}:{error.lineno}"
        ) from None
    except JinjaError as error:
        raise TemplateError(
            error.message or "does not render", where=_place(error, template)
        ) from None
    except SyntaxError as error:
        # What Jinja makes of it is Python, which has bounds of its own on what is nested.
        raise TemplateError(f"too complex: {error.msg}", where=template) from None
    except (ArithmeticError, TypeError, ValueError, LookupError, RecursionError) as error:
        raise TemplateError(
            f"{type(error).__name__}: {error}", where=_place(error, template)
        ) from None
    spend(TAGGED_BYTES * size, "rendered templates", template)
    return _untag(template.removesuffix(".j2"), "".join(parts), template)


def _place(error: BaseException, template: str) -> str:
    """``template:line`` of the innermost template frame; Jinja rewrites tracebacks to it."""
    place = template
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.endswith(".j2"):
            place = f"{Path(file).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _untag(name: str, tagged: str, template: str) -> Unit:
    texts: list[str] = []
    origins: list[Origin] = []
    here = Origin(template, 1)
    lines = tagged.split("\n")
    if lines[-1] == "":
        lines.pop()
    for line in lines:
        text, mark, rest = line.partition(_OPEN)
        if mark:
            # A macro call leaves the macro's last tag before the caller's: the first is the
            # text's own.
            tag, _, rest = rest.partition(_CLOSE)
            here = _origin(tag)
            if rest:
                text += _TAG.sub("", rest)
        texts.append(text)
        origins.append(here)
    texts.append("")
    return Unit(name, "\n".join(texts), tuple(origins))


@lru_cache(maxsize=8192)
def _origin(tag: str) -> Origin:
    file, _, line = tag.rpartition(":")
    return Origin(file, int(line))


def render_source(
    templates: tuple[str, ...],
    script: str,
    variables: Mapping[str, object],
    *,
    overrides: Path | None = None,
) -> Source:
    """Render the units of a build and its ld script with one set of variables."""
    units = tuple(render(name, variables, overrides=overrides) for name in templates)
    return Source(units, render(script, variables, overrides=overrides))
