"""The site of the documentation: whole, without a network, the same each time; ``make docs``."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import click
import pytest

from relokit.cli.command_list import relokit
from relokit.cli.overview import COMMANDS
from relokit.cli.pages.page_render import PAGES
from support.docs_site import build_site

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build_site(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    found = spec_from_file_location("hook", ROOT / "docs/site/hook.py")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


class Elements(HTMLParser):
    """What a page has ids for, links to, and loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found["id"]} if "id" in found else set()
        self.links += [found["href"]] if tag == "a" and "href" in found else []
        self.loads += [found[name] for name in ("src", "srcset") if name in found]
        self.loads += [found["href"]] if tag == "link" else []


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Elements]:
    return {page: Elements(page) for page in sorted(site.rglob("*.html"))}


def test_every_page_is_there_and_links_to_what_is_there(pages: dict[Path, Elements]) -> None:
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md"))) + len(COMMANDS)
    broken = []
    for page, elements in pages.items():
        for link in elements.links:
            to = urlsplit(link)
            if to.scheme:
                continue
            target = (page.parent / unquote(to.path)).resolve() if to.path else page
            known = pages[target].ids if target in pages else {""}
            if not target.is_file() or unquote(to.fragment) not in known | {""}:
                broken.append((page.name, link))
    assert broken == []


def test_pages_load_nothing_from_elsewhere(site: Path, pages: dict[Path, Elements]) -> None:
    loads = {(page.parent, load) for page, elements in pages.items() for load in elements.loads}
    for folder, load in loads:
        assert load == "data:," or (folder / load).is_file(), load
    colours, rules = ((site / name).read_text() for name in ("colours.css", "site.css"))
    assert not re.search(r"url\(|@import", colours + rules)
    # Every colour and font by name is that of the commands' own pages.
    assert set(re.findall(r"var\((--[a-z]+)\)", rules)) <= set(re.findall(r"--[\w-]+", colours))
    assert (PAGES / "page.css").read_text().startswith(colours)


def test_every_page_is_reached_from_the_first(site: Path, pages: dict[Path, Elements]) -> None:
    seen, rest = set(), [site / "index.html"]
    while rest:
        page = rest.pop()
        if page in seen:
            continue
        seen.add(page)
        links = [urlsplit(link) for link in pages[page].links]
        targets = [(page.parent / to.path).resolve() for to in links if to.path and not to.scheme]
        rest += [target for target in targets if target in pages]
    assert set(pages) - seen == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_page_has_every_option(site: Path, name: str) -> None:
    command = relokit.get_command(click.Context(relokit), name)
    assert command is not None
    text = (site / "commands" / f"{name}.html").read_text("utf-8")
    shown = re.findall(r"<dt[^>]*><code>(.*?)</code>", text)
    for option in command.params:
        for flag in option.opts if isinstance(option, click.Option) else ():
            assert any(flag in re.split(r"[,\s/\[=]+", one) for one in shown), flag
    assert f"commands/{name}.html" not in (site / "commands/index.html").read_text("utf-8")
    assert f'"{name}.html"' in (site / "commands/index.html").read_text("utf-8")


def test_two_builds_are_the_same(site: Path, tmp_path: Path) -> None:
    assert build_site(tmp_path / "again").returncode == 0
    one, other = (
        {path.relative_to(top): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        for top in (site, tmp_path / "again")
    )
    assert one.keys() == other.keys()
    assert [path for path in one if one[path] != other[path]] == []


def test_what_is_broken_fails_it_by_name(tmp_path: Path) -> None:
    """A page, a heading, a row behind its table, a link of README; a list below words is none."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "docs", copy / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "tests").symlink_to(ROOT / "tests")
    for name in ("mkdocs.yml", *(one.name for one in ROOT.glob("*.md"))):
        shutil.copy(ROOT / name, copy)
    page = copy / "docs/cache.md"
    page.write_text(
        page.read_text() + "\n[a](absent.md) [b](rules.md#absent)\n- a list\n- of two\n\n"
        "| a |\n|---|\n| b |\n\n| lost |\n"
    )
    (copy / "README.md").write_text("# relokit\n\n[c](docs/gone.md)\n")
    done = build_site(tmp_path / "site", source=copy)
    assert done.returncode == 1
    for word in ("'absent.md'", "'#absent'", "'| lost |'", "'gone.md'"):
        assert word in done.stderr, done.stderr
    assert done.stderr.count("WARNING") == 4


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("words\n- a\n- b", "words\n\n- a\n- b"),
        ("- a\n  more\n- b", "- a\n  more\n- b"),
        ("`code`:\n1. a\n2. b", "`code`:\n\n1. a\n2. b"),
        ("```\nx\n- y\n```\nwords", "```\nx\n- y\n```\nwords"),
        ("    code\n- y", "    code\n- y"),
    ],
)
def test_lists_are_those_of_a_forge(text: str, apart: str, hook: ModuleType) -> None:
    assert "\n".join(hook._lists_apart(text.split("\n"))) == apart
