"""The build backend: setuptools, and one shared library of plain C (docs/adr/0010).

The library knows nothing of Python: one compiler call makes it, one wheel fits every Python of a
platform. Where there is no C compiler, pip is asked for one: Zig's, from the `ziglang` package.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from setuptools import Extension
from setuptools.build_meta import (
    build_editable,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)
from setuptools.build_meta import build_sdist as _build_sdist
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

from codegen.base.native_sources import SOURCES, digest

__all__ = [
    "COMMANDS",
    "LIBRARY",
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

LIBRARY = Extension("relokit.codegen.base._native", [*SOURCES])
FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-ffreestanding", "-nostdlib")
"""Freestanding: a compiler alone is enough, without the C library's headers."""
_TOP = Path(__file__).parent
_NAMES = ("cc", "gcc", "clang")
_DAY = os.environ.setdefault("SOURCE_DATE_EPOCH", "315532800")
"""What stands for the time of every file: the first that a zip file can say (1980)."""


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    return [] if find_compiler() else ["ziglang>=0.13"]


get_requires_for_build_editable = get_requires_for_build_wheel


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """As setuptools', but the same bytes for the same files, whoever packs them and when."""
    name = _build_sdist(sdist_directory, config_settings)
    path = Path(sdist_directory) / name
    packed = io.BytesIO()
    with (
        tarfile.open(path) as old,
        gzip.GzipFile("", "wb", fileobj=packed, mtime=int(_DAY)) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            same = member.replace(
                mtime=int(_DAY), mode=mode, uid=0, gid=0, uname="", gname="", deep=False
            )
            same.pax_headers = {}
            new.addfile(same, old.extractfile(member) if member.isfile() else None)
    path.write_bytes(packed.getvalue())
    return name


def find_compiler() -> list[str] | None:
    """The C compiler of this machine as the start of a command: $CC, or the first by name."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    return next(([path] for path in map(shutil.which, _NAMES) if path), None)


def compile_library(output: Path) -> None:
    """Compile all sources into the shared library ``output``, by Zig where nothing else can."""
    command = [
        *(find_compiler() or _zig()),
        *FLAGS,
        f"-DRELOKIT_SOURCES={digest(_TOP)}u",
        "-Icodegen/base",
        "-o",
        str(output.resolve()),
        *(name for name in SOURCES if name.endswith(".c")),
    ]
    print(shlex.join(command), flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(command, cwd=_TOP, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"relokit: the C compiler failed: {error}\nAnother one may be named in $CC.")


def _zig() -> list[str]:
    if not importlib.util.find_spec("ziglang"):
        sys.exit(
            "relokit: no C compiler: neither $CC, cc, gcc nor clang, nor the Python package"
            " ziglang.\nInstall one of them, or leave out --no-build-isolation."
        )
    # Without -mcpu the library would be for this machine's processor only.
    return [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"]


class _Build(build):
    def initialize_options(self) -> None:
        """Not into build/: setuptools would pack what an older tree has left there."""
        super().initialize_options()
        self._folder = tempfile.TemporaryDirectory()
        self.build_base = self._folder.name


class _BuildLibrary(build_ext):
    def get_ext_filename(self, ext_name: str) -> str:
        return str(Path(*ext_name.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        compile_library(Path(self.get_ext_fullpath(ext.name)))


class _PlatformWheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


COMMANDS = {"build": _Build, "build_ext": _BuildLibrary, "bdist_wheel": _PlatformWheel}
