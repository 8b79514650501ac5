"""``relokit.open``: a path to what it is, whatever that is."""

from __future__ import annotations

import struct
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from relokit.arguments import job_or_default, target_or_default
from relokit.codegen.base.coercion import argument
from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import Object
from relokit.codegen.target import Target
from relokit.linker.elf_format import ELF_MAGIC, ET_REL
from relokit.linker.image import Image
from relokit.linker.kernel.btf import banner_of
from relokit.linker.kernel.opened import Files, OpenedKernel
from relokit.machines.looking import (
    BuiltMachine,
    StoppedMachine,
    StoredRecord,
    stopped_machine,
    stored_record,
)
from relokit.runtime.kexec.job import Job
from relokit.runtime.live.live_job import LiveJob

if TYPE_CHECKING:
    from relokit.codegen.kimage_layouts import KimageLayout
    from relokit.runtime.live.live_outcome import LiveOutcome

MAX_FILE = 1 << 34
WHAT = "a snapshot's directory, a trace, a kernel (Image, vmlinuz) or an ELF file"
_TRACE = b"relokit trace "
_TYPE = 16
"""Where the header of an ELF file says of which type it is."""


@dataclass(frozen=True)
class KernelImage:
    """The kernel in the file ``path``: an Image, or a vmlinuz.

    Each fact is read when it is first asked for; FormatError where the kernel does not say.
    """

    path: Path
    opened: OpenedKernel = field(repr=False)

    @property
    def page_size(self) -> int | None:
        """Bytes of its pages, as its header says."""
        return self.opened.file.header.page_size

    @cached_property
    def banner(self) -> str | None:
        """The line that it prints first."""
        return banner_of(self.opened.file.image)

    @property
    def layout(self) -> KimageLayout:
        """Its struct kimage, by BTF."""
        return self.opened.layout

    def address(self, symbol: str) -> int:
        """The VA at which it links ``symbol``; FormatError for one that it has not."""
        if symbol not in self.opened.symbols:
            raise FormatError(f"no symbol {symbol[:60]!r}", where=str(self.path))
        return self.opened.symbols.address(symbol)

    def machine(self, target: Target | None = None) -> BuiltMachine:
        """One in which our old kernel hands over to this one."""
        return BuiltMachine(target_or_default(target), Job(kernel=self.path))

    def kexec(self, job: LiveJob | None = None) -> LiveOutcome:
        """Boot it and have it enter ``job``'s next kernel, or itself; see :func:`relokit.kexec`."""
        from relokit.machines.live_kexec import kexec

        return kexec(LiveJob(self.path) if job is None else replace(job, kernel=self.path))


@dataclass(frozen=True)
class ObjectFile:
    """The ELF file at ``path``: an Object (.o), or the Image of what is linked (vmlinux, export).

    An Image has ``sections`` and ``symbols`` at VAs, an Object at offsets.
    """

    path: Path
    unit: Object | Image

    @property
    def symbols(self) -> dict[str, int]:
        """What it defines: VAs, or offsets in a section, by name."""
        if isinstance(self.unit, Image):
            return {one.name: one.value for one in self.unit.symbols}
        return {one.name: one.value for one in self.unit.symbols if one.section >= 0 and one.name}

    def machine(self, target: Target | None = None, job: Job | None = None) -> BuiltMachine:
        """One in which its routines of kexec run in place of ours; ``job`` has the rest."""
        job = job_or_default(job)
        if job.code_from is not None:
            raise MachineError("a job with code of its own", hint="leave code_from out")
        return BuiltMachine(target_or_default(target), replace(job, code_from=self.path))


Opened = StoppedMachine | StoredRecord | KernelImage | ObjectFile
"""What :func:`open` returns."""


def open(
    path: str | Path, *, kernel: str | Path | None = None
) -> StoppedMachine | StoredRecord | KernelImage | ObjectFile:
    """What is at ``path``: the machine of a snapshot, a stored trace, a kernel or an ELF file.

    ``kernel`` is the one that ran, for a snapshot that does not have it. Raises FormatError for
    what is not there and for what is none of these, naming it.
    """
    path = argument("path", path, Path)
    if path.is_dir():
        job = Job(kernel=None if kernel is None else argument("kernel", kernel, Path))
        return stopped_machine(path, job)
    if kernel is not None:
        raise MachineError("a kernel beside a file: only a snapshot has one", hint="leave it out")
    files = Files()
    file = files.file(path, what=WHAT, limit=MAX_FILE)
    start = bytes(file.content[: _TYPE + 2])
    if start.startswith(_TRACE):
        return stored_record(path)
    try:
        if start.startswith(ELF_MAGIC):
            return ObjectFile(path, _unit(file.content, start, str(path)))
        return KernelImage(path, files.kernel(path))
    except FormatError as error:
        error.hint = error.hint or f"give {WHAT}"
        raise


def _unit(content: memoryview, start: bytes, where: str) -> Object | Image:
    from relokit.linker.elf.elf_reader import read_code, read_object

    kind = struct.unpack_from("<H", start, _TYPE)[0] if len(start) == _TYPE + 2 else None
    if kind == ET_REL:
        return read_object(content, where, to_link=False)
    return read_code(content, where)
