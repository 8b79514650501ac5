"""Debian's kernel source, preprocessed as the kernel build does: ``preprocessed("head.S")``.

They are made from the newest source and arm64 header packages of a release, with apt and cpp, into
the cache that kernels.py describes; what is there already is used without asking the network.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from oracles.kernels import KernelUnavailableError, apt_options, cache_dir, locked, run

SUITE, VERSION = "bookworm", "6.1"
FILES = {
    "vmlinux.lds": "arch/arm64/kernel/vmlinux.lds.S",
    "relocate_kernel.S": "arch/arm64/kernel/relocate_kernel.S",
    "hyp-stub.S": "arch/arm64/kernel/hyp-stub.S",
    "cpu-reset.S": "arch/arm64/kernel/cpu-reset.S",
    "hibernate-asm.S": "arch/arm64/kernel/hibernate-asm.S",
    "trans_pgd-asm.S": "arch/arm64/mm/trans_pgd-asm.S",
    "cache.S": "arch/arm64/mm/cache.S",
    "proc.S": "arch/arm64/mm/proc.S",
    "head.S": "arch/arm64/kernel/head.S",
}
_HEADERS = re.compile(r"linux-headers-(6\.1\.0-(\d+))-cloud-arm64")


def preprocessed(name: str) -> Path:
    """Path of the text that the assembler or the linker gets; ``name`` is a key of FILES.

    Raises KernelUnavailableError with apt's or cpp's last words when it cannot be had.
    """
    folder = cache_dir() / f"preprocessed-{VERSION}"
    with locked(cache_dir() / f".preprocessed-{VERSION}.lock"):
        if not folder.is_dir():
            _make(folder)
    return folder / name


def _make(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".source-") as name:
        work = Path(name)
        options = apt_options(SUITE, work)
        run(["apt-get", *options, "-oAPT::Update::Error-Mode=any", "update"], work)
        names = run(["apt-cache", *options, "pkgnames", "linux-headers-6.1.0"], work).split()
        found = [match for one in names if (match := _HEADERS.fullmatch(one))]
        if not found:
            raise KernelUnavailableError(f"{SUITE} has no arm64 headers of {VERSION}")
        release = max(found, key=lambda match: int(match[2]))[1]
        packages = [
            f"linux-source-{VERSION}",
            f"linux-headers-{release}-common",
            f"linux-headers-{release}-cloud-arm64",
        ]
        run(["apt-get", *options, "download", *packages], work)
        for package in work.glob("*.deb"):
            run(["dpkg", "-x", str(package), str(work / "root")], work)
        usr = work / "root" / "usr" / "src"
        tree = f"linux-source-{VERSION}"
        members = [f"{tree}/{folder}" for folder in ("arch/arm64/kernel", "arch/arm64/mm")]
        run(["tar", "xf", str(usr / f"{tree}.tar.xz"), *members], work)
        common, own = usr / packages[1], usr / packages[2]
        made = work / "made"
        made.mkdir()
        for file, source in FILES.items():
            text = _cpp(work / tree / source, common, own, script=file.endswith(".lds"))
            (made / file).write_text(text)
        os.replace(made, folder)


def _cpp(source: Path, common: Path, own: Path, *, script: bool) -> str:
    includes = [
        common / "arch/arm64/include",
        own / "arch/arm64/include/generated",
        common / "include",
        own / "include",
        common / "arch/arm64/include/uapi",
        own / "arch/arm64/include/generated/uapi",
        common / "include/uapi",
        own / "include/generated/uapi",
        source.parent,
    ]
    command = ["cpp", "-P", "-nostdinc", "-D__KERNEL__", "-D__ASSEMBLY__", "-D__LINUX_ARM_ARCH__=8"]
    command += ["-DKASAN_SHADOW_SCALE_SHIFT=", "-D__aarch64__", "-U__x86_64__", "-Ulinux", "-Uunix"]
    if script:
        command += ["-Uarm64", "-DLINKER_SCRIPT"]
    for folder in includes:
        command += ["-I", str(folder)]
    for header in ("compiler-version.h", "kconfig.h"):
        command += ["-include", str(common / "include/linux" / header)]
    return run([*command, str(source)], source.parent)
