"""What mkdocs does not do by itself: the order of the pages, those made of the program, and links.

Pages under docs/ link to each other and to the rest of the tree as files do, README as a file above
them. Here they become pages of one site. What a link names that is no page stays as its words.
"""

from __future__ import annotations

import html
import logging
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from relokit.cli.command_list import relokit
from relokit.cli.help_groups import grouped_options
from relokit.cli.overview import COMMANDS
from relokit.cli.pages.page_render import PAGES

TOP = Path(__file__).resolve().parents[2]

SECTIONS = {
    "Start": "index install tutorial recipes",
    "Judge": "rules caches rows regressions makers effects",
    "See": "show report diff debug",
    "Machines": "kexec snapshot cache time",
    "Projects": "ci projects matrix mutation limits security",
    "Python": "python",
    "Formats": "json trace ldscript",
    "Measured": "series mutants suites benchmarks",
    "The house": "architecture adr/index fuzz faults contributing changelog",
}
"""Pages by their names, in their order; one that is not there yet is left out, one that is there
and not here comes under ``MORE``."""
MORE = "More"
ABOVE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files above docs/ that are pages."""

_LINK = re.compile(r"(!?\[(?P<words>[^\[\]]*)\])\((?P<target>[^)#\s:]+)(?P<place>#[^)\s]*)?\)")
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_ROW = re.compile(r"^\|.{0,40}", re.MULTILINE)
"""In a paragraph: what was to be of a table."""
_log = logging.getLogger("mkdocs.hooks")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The same bytes on every day: mkdocs writes the day into its map of the site."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and put all into an order."""
    made = {page: (TOP / name).read_text("utf-8") for name, page in ABOVE.items()}
    made["adr/index.md"] = _decisions(files)
    made["commands/index.md"] = _commands()
    made |= {f"commands/{name}.md": _command(name) for name in COMMANDS}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    files.append(File.generated(config, "colours.css", content=_colours()))
    config.nav = _order({file.src_uri for file in files.documentation_pages()})
    return files


def _colours() -> str:
    """The first rule of the style sheet that all pages of commands have: colours, and fonts."""
    rule, end, _ = (PAGES / "page.css").read_text("utf-8").partition("\n}\n")
    return rule + end


def _order(pages: set[str]) -> list[dict[str, list[str]]]:
    """The pages by section; the decisions are reached by their list."""
    rest = {page for page in pages if not page.startswith(("adr/", "commands/"))} | {"adr/index.md"}
    sections = {}
    for title, names in SECTIONS.items():
        found = [f"{name}.md" for name in names.split() if f"{name}.md" in rest]
        rest -= set(found)
        sections[title] = found
    sections["Commands"] = ["commands/index.md", *(f"commands/{name}.md" for name in COMMANDS)]
    sections[MORE] = sorted(rest)
    titles = ["Start", "Commands", *sections]
    return [{title: sections[title]} for title in dict.fromkeys(titles) if sections[title]]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of files to pages."""
    source = next((name for name, made in ABOVE.items() if made == page.file.src_uri), "")
    home = posixpath.dirname(source or f"docs/{page.file.src_uri}")
    here = posixpath.dirname(page.file.src_uri) or "."

    def resolved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(home, link["target"]))
        name = ABOVE.get(target, target.removeprefix("docs/"))
        if name == "adr":
            name = "adr/index.md"
        if files.get_file_from_path(name) is None and (TOP / target).exists():
            return f"{link['words']} (`{target}`)"
        return f"{link[1]}({posixpath.relpath(name, here)}{link['place'] or ''})"

    return _LINK.sub(resolved, "\n".join(_lists_apart(markdown.split("\n"))))


def _lists_apart(lines: list[str]) -> Iterator[str]:
    """A blank line between a paragraph and its list, which CommonMark and forges do not ask for."""
    block, fenced = "", False
    for line in lines:
        fenced ^= line.startswith("```")
        if not line or fenced:
            block = ""
        elif re.match(r"(?:[-*]|1\.) ", line):
            if block == "words":
                yield ""
            block = "list"
        elif not block:
            block = "other" if re.match(r"[\s|<#>]", line) else "words"
        yield line


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Warn, and so fail, about tables that are none."""
    for paragraph in _PARAGRAPH.findall(content):
        for row in _ROW.findall(paragraph):
            _log.warning("%s: %r is in no table", page.file.src_uri, row)


def _decisions(files: Files) -> str:
    names = sorted(file.src_uri for file in files if re.match(r"adr/\d.*\.md$", file.src_uri))
    lines = ["# Decisions", "", "What someone may question, with the reasons.", ""]
    for name in names:
        title = (TOP / "docs" / name).read_text("utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"- [{title}]({posixpath.basename(name)})")
    return "\n".join(lines)


def _commands() -> str:
    lines = ["# Commands", "", *_paragraphs(relokit.help), "", "<dl>"]
    for name, about in COMMANDS.items():
        lines += [f'<dt><a href="{name}.html">relokit {name}</a></dt><dd>{html.escape(about)}</dd>']
    context = click.Context(relokit, info_name="relokit")
    rows = [one.get_help_record(context) for one in relokit.get_params(context)]
    lines += ["</dl>", "", "## Options", "", *_table([row for row in rows if row])]
    return "\n".join([*lines, "", *_paragraphs(relokit.epilog)])


def _command(name: str) -> str:
    """A page of one command: what its ``--help`` says."""
    command = relokit.get_command(click.Context(relokit, info_name="relokit"), name)
    assert command is not None
    parent = click.Context(relokit, info_name="relokit")
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"# relokit {name}", "", f"    relokit {name} {usage}", ""]
    lines += [*_paragraphs(command.help), ""]
    for heading, rows in grouped_options(command, context):
        if rows:
            lines += [f"## {heading}", "", *_table(rows)]
    return "\n".join([*lines, *_paragraphs(command.epilog)])


def _table(rows: list[tuple[str, str]]) -> Iterator[str]:
    yield '<dl class="options">'
    for spelling, about in rows:
        flag = re.findall(r"--[a-z][a-z-]*", spelling)
        place = f' id="{flag[0]}"' if flag else ""
        yield f"<dt{place}><code>{html.escape(spelling)}</code></dt><dd>{html.escape(about)}</dd>"
    yield from ("</dl>", "")


def _paragraphs(text: str | None) -> Iterator[str]:
    """Paragraphs of a help text as they stand; one that begins with \\b is code."""
    for paragraph in (text or "").split("\n\n"):
        lines = html.escape(paragraph.replace("\b", "").strip("\n"))
        yield f"<pre>{lines}</pre>" if "\b" in paragraph else f"<p>{lines}</p>"
        yield ""
