"""What a program is cached under: another name as soon as anything that builds it is another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.build import DEMO, KERNEL
from relokit.codegen.kimage_layouts import LAYOUTS, KimageLayout
from relokit.codegen.target import Regime, Target
from relokit.linker.link import build_key as module
from relokit.linker.link.build_key import build_key, sources_digest

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("codegen", "linker", "templates")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what builds, read by a process that starts after every edit."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "OUR_FOLDERS", tuple(tmp_path / name for name in FOLDERS))
    monkeypatch.setattr(module, "_started", lambda: 1 << 62)
    return tmp_path


def digest(overrides: Path | None = None) -> bytes:
    found = sources_digest(overrides)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "name",
    [
        "codegen/gas/instructions/encoder.py",
        "codegen/base/child.py",
        "codegen/target.py",
        "linker/link/relocate.py",
        "linker/link/image_cache.py",
        "linker/stored_image.py",
        "linker/script/ldscript.lark",
        "linker/script/grammar.json",
        "templates/relocate_kernel.S.j2",
        "templates/kernel.lds.j2",
        "templates/macros/cache.j2",
    ],
)
def test_an_edit_that_no_date_or_size_shows(tree: Path, name: str) -> None:
    before = digest()
    path = tree / name
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert digest() != before
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert digest() == before


def _new(tree: Path) -> None:
    (tree / "codegen/gas/json.py").write_text("")


def _gone(tree: Path) -> None:
    (tree / "templates/note.S.j2").unlink()


def _renamed(tree: Path) -> None:
    (tree / "templates/note.S.j2").rename(tree / "templates/other.S.j2")


def _moved(tree: Path) -> None:
    (tree / "codegen/gas/emit.py").rename(tree / "codegen/emit.py")


def _swapped(tree: Path) -> None:
    one, two = tree / "codegen/gas/emit.py", tree / "codegen/gas/instructions/fields.py"
    text = one.read_text()
    one.write_text(two.read_text())
    two.write_text(text)


def _shifted(tree: Path) -> None:
    """The same bytes in the same order, with the border between two files elsewhere."""
    one, two = sorted((tree / "codegen/gas").glob("*.py"))[1:3]
    content = one.read_bytes()
    one.write_bytes(content[:-1])
    two.write_bytes(content[-1:] + two.read_bytes())


@pytest.mark.parametrize("edit", [_new, _gone, _renamed, _moved, _swapped, _shifted])
def test_which_files_there_are_counts(tree: Path, edit: Callable[[Path], None]) -> None:
    before = digest()
    edit(tree)
    assert digest() != before


def test_what_python_keeps_beside_them_does_not_count(tree: Path) -> None:
    before = digest()
    (tree / "codegen/__pycache__").mkdir()
    (tree / "codegen/__pycache__/target.cpython-311.pyc").write_bytes(b"x")
    assert digest() == before


def test_templates_of_ones_own_count_with_all_they_may_include(tree: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "parts").mkdir(parents=True)
    (mine / "note.S.j2").write_text("{% include 'parts/text' %}")
    seen = {digest(), digest(mine)}
    (mine / "parts/text").write_text("one")
    seen.add(digest(mine))
    (mine / "parts/text").write_text("two")
    seen.add(digest(mine))
    (tmp_path / "elsewhere").mkdir()
    (mine / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/text").write_text("three")
    seen.add(digest(mine))
    (tmp_path / "elsewhere/text").write_text("four")
    seen.add(digest(mine))
    assert len(seen) == 6


def _circle(mine: Path) -> None:
    (mine / "again").symlink_to(mine)


def _many(mine: Path) -> None:
    for number in range(module.MAX_FILES):
        (mine / f"{number}").write_text("")


def _large(mine: Path) -> None:
    (mine / "image").write_bytes(b"")
    os.truncate(mine / "image", 1 << 40)


@pytest.mark.parametrize("make", [_circle, _many, _large])
def test_there_is_an_end_to_what_is_read(
    tree: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    make(mine)
    assert sources_digest(mine) is None


def test_a_pipe_among_templates_is_not_waited_for(tree: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    before = digest(mine)
    os.mkfifo(mine / "pipe")
    assert digest(mine) == before


def test_a_file_changed_since_the_process_started(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been imported, or compiled by Jinja, as it was before."""
    monkeypatch.undo()
    monkeypatch.setattr(module, "OUR_FOLDERS", tuple(tree / name for name in FOLDERS))
    assert sources_digest() is None  # the copies are younger than this process


def test_when_a_process_started() -> None:
    """Between what happened before and what it does first, but for the steps of the clocks."""
    code = (
        "import time; now = time.time_ns()\n"
        "from relokit.linker.link.build_key import _started; print(_started(), now)"
    )
    before = time.time_ns()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    started, now = map(int, done.stdout.split())
    assert before - module._CLOCK_STEP <= started <= now


def test_the_libraries_count(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    for name in ("Jinja2-3.1.6.dist-info", "keystone_engine-0.9.2.egg-info"):
        (site / name).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(site), str(tmp_path / "nowhere"), ""])
    monkeypatch.chdir(tmp_path)
    assert sources_digest() is None
    (site / "lark-1.3.1.dist-info").mkdir()
    before = digest()
    (site / "lark-1.3.1.dist-info").rename(site / "lark-1.3.2.dist-info")
    assert digest() != before


def test_python_counts(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest()
    monkeypatch.setattr(sys.implementation, "cache_tag", "cpython-399")
    assert digest() != before


OTHER_TARGETS: dict[str, Any] = {
    "series": 3,
    "page_size": 65536,
    "va_bits": 39,
    "pa_bits": 52,
    "cpu_bits": 52,
    "regime": Regime.VHE,
    "cache_line": 128,
    "layout": LAYOUTS["5.10"],
}


@pytest.mark.parametrize("name", [field.name for field in fields(Target)])
def test_every_field_of_a_target_counts(name: str) -> None:
    other = replace(Target())
    object.__setattr__(other, name, OTHER_TARGETS[name])  # not every one goes with the others
    assert build_key(b"", KERNEL, other) != build_key(b"", KERNEL, Target())


@pytest.mark.parametrize("name", [field.name for field in fields(KimageLayout)])
def test_every_field_of_a_layout_counts(name: str) -> None:
    layout = replace(LAYOUTS["6.1"])
    object.__setattr__(layout, name, 7)
    other = replace(Target(), layout=layout)
    assert build_key(b"", KERNEL, other) != build_key(b"", KERNEL, Target())


def test_the_recipe_and_the_sources_count() -> None:
    keys = {
        build_key(b"", KERNEL, Target()),
        build_key(b"", DEMO, Target()),
        build_key(b"", replace(KERNEL, script="other.lds.j2"), Target()),
        build_key(b"other", KERNEL, Target()),
    }
    assert len(keys) == 4
