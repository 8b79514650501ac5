"""Files that one command opens, each once, and what is read out of a kernel, each fact once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from relokit.codegen.base.host_file import HostFile, open_file

# Readers are imported where they are used: most commands open no kernel.
if TYPE_CHECKING:
    from relokit.codegen.kimage_layouts import KimageLayout
    from relokit.linker.kernel.alternatives import Alternatives
    from relokit.linker.kernel.kallsyms import Kallsyms
    from relokit.linker.kernel.kernel_file import KernelFile

MAX_FILE = 1 << 34
"""Bytes; whoever reads a file knows a smaller limit for what it is."""


class OpenedKernel:
    """A kernel file and what it says of itself, read when it is first asked for and kept.

    Each property raises FormatError, naming the file, where the kernel does not say.
    """

    def __init__(self, file: KernelFile) -> None:
        self.file = file

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(self.file.path)

    @cached_property
    def symbols(self) -> Kallsyms:
        """Names and places of all it has, by kallsyms."""
        from relokit.linker.kernel.kallsyms import read_kallsyms

        return read_kallsyms(self.file.image, where=self.where)

    @cached_property
    def layout(self) -> KimageLayout:
        """Its struct kimage, by BTF."""
        from relokit.linker.kernel.btf import kimage_layout_from

        return kimage_layout_from(self.file.image, where=self.where)

    @cached_property
    def alternatives(self) -> Alternatives:
        """What boot replaces in its text."""
        from relokit.linker.kernel.alternatives import read_alternatives

        return read_alternatives(self.file.image, self.symbols, where=self.where)


class Files:
    """What a command has opened so far, by path: whoever asks for the same file gets the same."""

    def __init__(self) -> None:
        self._files: dict[Path, HostFile] = {}
        self._kernels: dict[Path, OpenedKernel] = {}

    def file(self, path: str | Path, *, what: str, limit: int = MAX_FILE) -> HostFile:
        """The file at ``path``; ``what`` and ``limit`` as for :func:`open_file`."""
        path = Path(path)
        if path not in self._files or self._files[path].size > limit:
            self._files[path] = open_file(path, what=what, limit=limit)
        return self._files[path]

    def kernel(self, path: str | Path) -> OpenedKernel:
        """The kernel at ``path``; raises FormatError for what is none."""
        from relokit.linker.kernel.kernel_file import MAX_FILE as LIMIT
        from relokit.linker.kernel.kernel_file import read_kernel

        path = Path(path)
        if path not in self._kernels:
            file = self.file(path, what="an arm64 Image or a vmlinuz", limit=LIMIT)
            self._kernels[path] = OpenedKernel(read_kernel(file))
        return self._kernels[path]
