"""What the documentation names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
)
FOLDERS = "api|bench|cli|codegen|diffing|docs|linker|runtime|templates|tests"
# In code or a link: a path below one of our folders, with a star for any of them.
PATHS = re.compile(rf"(?<![\w./-])(?:\.\./)*((?:{FOLDERS})/[\w./*-]*[\w/*])")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert [path for path in PATHS.findall(text) if not list(ROOT.glob(path))] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text("utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    files = [target for target in targets if not re.match(r"\w+:", target)]
    assert [file for file in files if not (ROOT / page.parent / file).exists()] == []
