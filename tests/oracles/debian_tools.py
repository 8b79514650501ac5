"""Debian's own kexec-tools for arm64 in a folder: busybox, kexec, the libraries that it wants."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from oracles.kernels import apt_options, cache_dir, locked, run

from relokit.runtime.live.userland import NEXT, read_userland, with_next

SUITE = "bookworm"
PACKAGES = (
    "busybox-static", "kexec-tools", "libc6", "zlib1g", "libxenmisc4.17", "libxentoollog1",
    "libxencall1", "libxenevtchn1", "libxengnttab1", "libxenforeignmemory1",
    "libxendevicemodel1", "libxentoolcore1",
)  # fmt: skip
UNUSED = ("usr/share", "etc", "lib/systemd", "usr/lib/systemd")
INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/sbin/kexec -l /{NEXT} --reuse-cmdline
/sbin/kexec -e
"""
NAME = f"kexec-tools-{SUITE}"


def tools() -> Path:
    """The folder, as dpkg unpacks it, without documents; downloaded once.

    Raises KernelUnavailableError with apt's last words when it cannot be had.
    """
    cache = cache_dir()
    with locked(cache / f".{NAME}.lock"):
        found = cache / NAME
        if not found.is_dir():
            _download(cache, found)
    return found


def kexec_tools(kernel: Path) -> bytes:
    """An initramfs whose /init has them enter ``kernel``."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        shutil.copytree(tools(), root, symlinks=True)
        for mounted in ("proc", "sys"):
            (root / mounted).mkdir()
        init = root / "init"
        init.write_text(INIT)
        init.chmod(0o755)
        return with_next(read_userland(root), {NEXT: kernel.read_bytes()})


def _download(cache: Path, place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as name:
        work = Path(name)
        options = apt_options(SUITE, work)
        run(["apt-get", *options, "-oAPT::Update::Error-Mode=any", "update"], work)
        run(["apt-get", *options, "download", *PACKAGES], work)
        for package in sorted(work.glob("*.deb")):
            run(["dpkg", "-x", str(package), str(work / "root")], work)
        for one in UNUSED:
            run(["rm", "-rf", str(work / "root" / one)], work)
        os.replace(work / "root", place)
