"""``relokit.kexec``: a shipped kernel boots, leaves by its own kexec, and is judged doing so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from relokit.arguments import path_or_none
from relokit.building import encoder
from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.build import PURGATORY, USER_SPACE
from relokit.codegen.target import Target
from relokit.linker.kernel.opened import Files
from relokit.runtime.board.fdt import MAX_DTB
from relokit.runtime.kexec.opened_inputs import MAX_INITRD
from relokit.runtime.live.live_job import LiveJob
from relokit.runtime.live.live_outcome import LiveOutcome
from relokit.runtime.live.userland import read_userland
from relokit.runtime.room.live_request import LiveRequest
from relokit.session import Progress, process_session

if TYPE_CHECKING:
    from relokit.linker.image import Image
    from relokit.linker.kernel.opened import OpenedKernel

NEEDED = ("machine_kexec", "vectors", "_etext")
"""What is asked for by name, of the kernel that is left."""


def kexec(
    job: LiveJob,
    *,
    files: Files | None = None,
    trace: Path | None = None,
    progress: Progress | None = None,
) -> LiveOutcome:
    """Boot ``job``'s kernel, have it enter the next one, and judge that in the machine room.

    ``files`` has what is open already. What the CPU does from machine_kexec to the next kernel is
    written to the file ``trace``, if there is one to be: whole, or not at all. Returns the outcome,
    passed or not; raises RelokitError for bad input and NativeCrashError when the engine goes down.
    """
    from relokit.codegen.base.atomic import replacing

    trace, files = path_or_none("trace", trace), files or Files()
    if trace is not None and job.plain:
        raise MachineError("a plain run has no trace", hint="leave --plain or --trace out")
    session = process_session()
    session.start()
    left = files.kernel(job.kernel)
    _check(left)
    entered = left if job.next is None else files.kernel(job.next)
    initrd = job.initrd and files.file(job.initrd, what="an initrd", limit=MAX_INITRD)
    dtb = job.dtb and files.file(job.dtb, what="a device tree blob (.dtb)", limit=MAX_DTB)
    program, purgatory = _programs()
    userland = None if job.userland is None else read_userland(job.userland)

    def ask(path: Path | None) -> LiveOutcome:
        request = LiveRequest(
            job, left.file, entered.file, initrd or None, dtb or None, program, purgatory, userland,
            path,
        )  # fmt: skip
        return session.ask(request, LiveOutcome, 2 * job.timeout, progress)

    if trace is None:
        return ask(None)
    with replacing(trace) as temporary:
        return ask(temporary)


def programs() -> tuple[bytes, Image]:
    """Our user space as an ELF file, and the purgatory."""
    from relokit.linker.stored_image import decode_image

    init, purgatory = _programs()
    return init, decode_image(purgatory)


def _programs() -> tuple[bytes, bytes]:
    """The same, the purgatory as a stored Image."""
    from relokit.linker.elf.elf_writer import write_exec
    from relokit.linker.link.image_cache import Sources, stored_images
    from relokit.linker.stored_image import decode_image

    init, purgatory = stored_images((USER_SPACE, PURGATORY), Target(), encoder, Sources())
    return write_exec(decode_image(init)), purgatory


def _check(kernel: OpenedKernel) -> None:
    """Refuse at once a kernel that cannot be left, or not be read: FormatError."""
    for name in NEEDED:
        if name not in kernel.symbols:
            raise FormatError(
                f"no {name} in this kernel: it cannot kexec",
                where=kernel.where,
                hint="give one that is built with CONFIG_KEXEC",
            )
    if kernel.file.header.page_size is None:
        raise FormatError(
            "its header does not say its page size", where=kernel.where, hint="give a newer one"
        )
    _ = kernel.layout
