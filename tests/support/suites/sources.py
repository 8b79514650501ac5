"""The suites' files: out of Debian's source packages, with apt, into the cache of kernels.py.

Only what is compared is kept of them, in a directory that has the package's version in its name.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from oracles.kernels import (
    KEYRING,
    KernelUnavailableError,
    apt_options,
    archive,
    cache_dir,
    locked,
    run,
)

SUITE = "bookworm"
BINUTILS = "2.40-2"
"""Version of binutils-source: that of the GNU as and ld which are asked."""
LLVM = "1:14.0.6-12"
"""Version of llvm-toolchain-14; its source has 130 MB."""
_GNU_PARTS = ("gas/testsuite/gas", "ld/testsuite")
_LLVM_PARTS = ("llvm/test/MC/AArch64", "llvm/test/MC/AsmParser", "llvm/test/MC/ELF", "lld/test/ELF")


def gnu() -> Path:
    """The folder that holds ``gas`` and ``ld`` of binutils' test suites.

    Raises KernelUnavailableError with apt's last words when it cannot be had.
    """
    return _kept(f"suites-binutils-{BINUTILS}", _fetch_binutils)


def llvm() -> Path:
    """The folder that holds ``llvm`` and ``lld`` of LLVM's test suites; raises as :func:`gnu`."""
    return _kept(f"suites-llvm-{LLVM.replace(':', '.')}", _fetch_llvm)


def _kept(name: str, fetch: object) -> Path:
    assert callable(fetch)
    folder = cache_dir() / name
    with locked(cache_dir() / f".{name}.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".suite-") as work:
                os.replace(fetch(Path(work)), folder)
    return folder


def _fetch_binutils(work: Path) -> Path:
    options = apt_options(SUITE, work)
    run(["apt-get", *options, "-oAPT::Update::Error-Mode=any", "update"], work)
    run(["apt-get", *options, "download", f"binutils-source={BINUTILS}"], work)
    (package,) = work.glob("*.deb")
    run(["dpkg", "-x", str(package), "root"], work)
    (packed,) = (work / "root/usr/src/binutils").glob("binutils-*.tar.xz")
    return _unpacked(packed, _GNU_PARTS, work)


def _fetch_llvm(work: Path) -> Path:
    options = apt_options(SUITE, work)
    (work / "sources.list").write_text(f"deb-src [signed-by={KEYRING}] {archive()} {SUITE} main\n")
    run(["apt-get", *options, "-oAPT::Update::Error-Mode=any", "update"], work)
    wanted = f"llvm-toolchain-14={LLVM}"
    run(["apt-get", *options, "source", "--download-only", wanted], work)
    found = sorted(work.glob("llvm-toolchain-14_*.orig.tar.*"))
    if not found:
        raise KernelUnavailableError(f"{wanted} has no source archive")
    return _unpacked(found[0], _LLVM_PARTS, work)


def _unpacked(packed: Path, parts: tuple[str, ...], work: Path) -> Path:
    """The one directory in an archive, with ``parts`` of it only."""
    made = work / "made"
    made.mkdir()
    members = [f"*/{part}/*" for part in parts]
    run(["tar", "xf", str(packed), "-C", str(made), "--wildcards", *members], work)
    (tree,) = made.iterdir()
    return tree
