"""Installing relokit as people do, with a C compiler and without one; and what compilers say.

Everything happens in a copy of the tree and in virtual environments of its own. These see the
libraries that this one has, and so need not install them; relokit they only have by what is tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from relokit.codegen.base.native_sources import SOURCES
from support.dists import VERSIONS, built, copied, works

TOP = Path(__file__).parents[2]
LIBRARY = "relokit/codegen/base/_native.so"
C_SOURCES = [name for name in SOURCES if name.endswith(".c")]

pytestmark = [pytest.mark.oracle, pytest.mark.slow]


def run(command: Sequence[str | Path], *, cwd: Path, path: str, code: int = 0) -> str:
    """What ``command`` tells, which finds other programs in nothing but ``path``."""
    environment = {name: value for name, value in os.environ.items() if name != "CC"}
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env={**environment, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git would clone: no build, no library."""
    return copied(tmp_path_factory.mktemp("packaging") / "tree")


@pytest.fixture(scope="module")
def unpacked(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of the tree, made and unpacked again; with an old build."""
    folder = tmp_path_factory.mktemp("sdist")
    script = f"import build_backend; print(build_backend.build_sdist({str(folder)!r}))"
    made = run([sys.executable, "-c", script], cwd=tree, path="").split()[-1]
    shutil.unpack_archive(folder / made, folder, filter="data")
    top = folder / made.removesuffix(".tar.gz")
    # What an older tree has left there is not packed.
    stale = top / f"build/lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}/relokit"
    stale.mkdir(parents=True)
    (stale / "gone.py").touch()
    return top


class Place:
    """A virtual environment without relokit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = folder / "bin/python"
        command = [sys.executable, "-m", "venv", "--without-pip", folder]
        run(command, cwd=folder.parent, path="")
        # A path file in a folder that a path file names is not followed: not our own relokit's.
        [packages] = folder.glob("lib/python*/site-packages")
        (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def install(self, *what: str | Path, path: str) -> str:
        """Have pip install ``what``, and return what it told."""
        pip = [sys.executable, "-m", "pip", "--python", self._python, "--disable-pip-version-check"]
        command = [*pip, "install", "-v", "--no-deps", *what]
        return run(command, cwd=self._folder, path=path)

    def works_from(self, folder: Path, told: str, *, with_zig: bool) -> None:
        """It runs, with the library in ``folder``, which the right compiler made."""
        script = "from relokit.codegen.base import native; print(native.library()._name)"
        found = run([self._python, "-c", script], cwd=self._folder, path="").strip()
        assert Path(found).is_relative_to(folder)
        told_by_it = run([self._folder / "bin/relokit", "run"], cwd=self._folder, path="")
        assert told_by_it.endswith("PASS\n")
        assert ("-m ziglang cc" in told) == ("Collecting ziglang" in told) == with_zig

    def refuses(self) -> str:
        """What ``relokit run`` says about an installation that it refuses."""
        return run([self._folder / "bin/relokit", "run"], cwd=self._folder, path="", code=2)


def test_without_a_compiler_the_source_distribution_becomes_a_wheel_that_works(
    tree: Path, unpacked: Path, tmp_path: Path
) -> None:
    """By Zig's; with a compiler it is the same wheel, and an editable installation by the same."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    command = [*pip, "wheel", "-v", "--no-deps", "-w", tmp_path, unpacked]
    told = run(command, cwd=tmp_path, path=str(tmp_path))
    [wheel] = tmp_path.glob("*.whl")
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name.endswith(f"-py3-none-{platform}.whl")
    assert inside(wheel) == {*rooms_of(tree), LIBRARY}
    metadata = zipfile.ZipFile(wheel).read(f"{unpacked.name}.dist-info/METADATA").decode()
    for line in ("License: GPL-2.0-or-later", "Requires-Python: >=3.11", "License-File: LICENSE"):
        assert f"\n{line}\n" in metadata
    assert all(f":: Python :: {one}\n" in metadata for one in VERSIONS)
    assert (TOP / "README.md").read_text("utf-8").strip() in metadata
    place = Place(tmp_path / "env")
    place.install(wheel, path="")
    place.works_from(tmp_path / "env", told, with_zig=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert works(tmp_path / "env/bin/relokit", elsewhere) == ""


def test_the_same_files_become_the_same_source_distribution(
    tree: Path, unpacked: Path, tmp_path: Path
) -> None:
    """In another place and on another day. ``make dist-check`` says so of the wheel, too."""
    again = Path(shutil.copytree(tree, tmp_path / "again"))
    for path in again.rglob("*.py"):
        os.utime(path, (1_500_000_000, 1_500_000_000))
    first = unpacked.with_name(f"{unpacked.name}.tar.gz")
    assert built("sdist", again, tmp_path / "sdist").read_bytes() == first.read_bytes()


@pytest.mark.parametrize("hook", ["wheel", "editable"])
@pytest.mark.parametrize(("path", "needs"), [("", ["ziglang>=0.13"]), (os.environ["PATH"], [])])
def test_zig_is_asked_for_where_there_is_no_compiler(
    tree: Path, hook: str, path: str, needs: list[str]
) -> None:
    script = f"import build_backend; print(build_backend.get_requires_for_build_{hook}())"
    assert run([sys.executable, "-c", script], cwd=tree, path=path).strip() == str(needs)


def inside(wheel: Path) -> set[str]:
    """What the wheel installs, but for its own records."""
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if ".dist-info/" not in name}


def rooms_of(tree: Path) -> set[str]:
    """What the rooms of ``tree`` have, as an installation lays it out; C is in the library."""
    files = {
        path.relative_to(tree).as_posix()
        for room in ("api", "cli", "codegen", "diffing", "linker", "runtime", "templates")
        for path in (tree / room).rglob("*")
        if path.is_file() and path.suffix not in {".c", ".h", ".so", ".pyc"}
    }
    return {f"relokit/{name.removeprefix('api/')}" for name in files}


def test_no_compiler_at_all_names_the_way_out(tree: Path, tmp_path: Path) -> None:
    script = f"import build_backend; build_backend.build_wheel({str(tmp_path)!r})"
    told = run([sys.executable, "-c", script], cwd=tree, path="", code=1)
    assert "neither $CC, cc, gcc nor clang" in told
    assert "leave out --no-build-isolation" in told


def test_warnings_of_the_compiler(tmp_path: Path) -> None:
    warnings = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")
    flags = ("-std=c11", "-O2", "-ffreestanding", "-DRELOKIT_SOURCES=0", "-Icodegen/base", "-c")
    for name in C_SOURCES:
        command = ["cc", *warnings, *flags, "-o", tmp_path / "object", name]
        run(command, cwd=TOP, path=os.environ["PATH"])


def test_an_editable_installation_works_and_notices_what_changed(
    tree: Path, tmp_path: Path
) -> None:
    path = os.environ["PATH"]
    copy = tmp_path / "tree"
    shutil.copytree(tree, copy, ignore=shutil.ignore_patterns("build"))
    place = Place(tmp_path / "env")
    told = place.install("-e", copy, path=path)
    place.works_from(copy, told, with_zig=False)
    hooks = copy / "runtime/engine/native_hooks.h"
    before, after = "\tBLOCK_LIMIT,\n\tBLOCK_LAST,\n", "\tBLOCK_LAST,\n\tBLOCK_LIMIT,\n"
    assert before in hooks.read_text()
    hooks.write_text(hooks.read_text().replace(before, after))
    told = place.refuses()
    assert "the native library was built from other C sources" in told
    assert "pip install -e ." in told
    library = copy / LIBRARY.removeprefix("relokit/")
    script = (
        "import build_backend; from pathlib import Path;"
        f"build_backend.compile_library(Path({str(library)!r}))"
    )
    run([sys.executable, "-c", script], cwd=copy, path=path)
    told = place.refuses()
    assert "BLOCK_LAST is 1 in the native library and 2 in Python" in told
    assert "pip install -e ." in told
