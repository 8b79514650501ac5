"""Debian's arm64 kernels, found in a cache or downloaded with apt: ``python kernels.py 6.1 5.10``.

The archive prunes versions, so a kernel is named by suite and pattern and the newest match is
taken, from the archive that this machine's own apt uses. The cache is ``$RELOKIT_KERNELS``, else
``~/.cache/relokit-kernels``; a kernel that is there already is used without asking the network.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

APT = Path("/etc/apt")
# An archive's URI in a one-line or deb822 source: whatever ends in /debian.
ARCHIVE = re.compile(r"(?<!\S)[a-z+]+:/\S*/debian/?(?!\S)")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DOWNLOAD_SECONDS = 900


@dataclass(frozen=True)
class DebianKernel:
    """A suite, and the pattern of the release names (``uname -r``) to choose the newest from.

    ``package`` is what the package's name has before the release; 7.x splits the kernel off.
    """

    suite: str
    release: str
    package: str = "linux-image-"

    def newest(self, names: list[str], prefix: str) -> str | None:
        """The highest release, by its numbers, among ``names`` that start with ``prefix``."""
        whole = re.compile(re.escape(prefix) + f"({self.release})")
        found = [match[1] for name in names if (match := whole.fullmatch(name))]
        return max(found, key=lambda text: [int(n) for n in re.findall(r"\d+", text)], default=None)


KERNELS = {
    "5.10": DebianKernel("bullseye", r"5\.10\.0-\d+-cloud-arm64"),
    "6.1": DebianKernel("bookworm", r"6\.1\.0-\d+-cloud-arm64"),
    "6.12": DebianKernel("trixie", r"6\.12\.\d+\+deb\d+-cloud-arm64"),
    "6.12-16k": DebianKernel("trixie", r"6\.12\.\d+\+deb\d+-arm64-16k"),
    "7": DebianKernel("sid", r"7\.\d+\.\d+\+deb\d+-cloud-arm64", "linux-binary-"),
}


class KernelUnavailableError(Exception):
    """The kernel is neither in the cache nor to be had from the archive."""


def cache_dir() -> Path:
    """The directory that holds ``vmlinuz-RELEASE`` files; made if it is not there."""
    named = os.environ.get("RELOKIT_KERNELS")
    candidates = (
        [Path(named)]
        if named
        else [
            Path.home() / ".cache" / "relokit-kernels",
            Path(__file__).resolve().parents[2] / "build" / "kernels",
        ]
    )
    for directory in candidates:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK):
            return directory
    raise KernelUnavailableError(f"no writable cache among {', '.join(map(str, candidates))}")


def kernel(version: str) -> Path:
    """Path of Debian's newest arm64 kernel of ``version``, a key of :data:`KERNELS`.

    Raises KernelUnavailableError with apt's last words when it cannot be had.
    """
    wanted = KERNELS[version]
    cache = cache_dir()
    with locked(cache / f".{version}.lock"):
        release = wanted.newest(os.listdir(cache), "vmlinuz-")
        if release is None:
            release = _download(wanted, cache)
    return cache / f"vmlinuz-{release}"


def trees(version: str) -> Path:
    """The directory with the device trees of Debian's newest kernel of ``version``, by vendor.

    Raises KernelUnavailableError as :func:`kernel` does.
    """
    wanted = KERNELS[version]
    cache = cache_dir()
    with locked(cache / f".{version}.lock"):
        release = wanted.newest(os.listdir(cache), "device-trees-")
        if release is None:
            release = _download(wanted, cache)
    return cache / f"device-trees-{release}"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One download at a time, also between the workers of pytest-xdist."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(wanted: DebianKernel, cache: Path) -> str:
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as name:
        work = Path(name)
        options = apt_options(wanted.suite, work)
        run(["apt-get", *options, "-oAPT::Update::Error-Mode=any", "update"], work)
        names = run(["apt-cache", *options, "pkgnames", wanted.package], work).split()
        release = wanted.newest(names, wanted.package)
        if release is None:
            raise KernelUnavailableError(f"{wanted.suite} has no {wanted.package}{wanted.release}")
        run(["apt-get", *options, "download", f"{wanted.package}{release}"], work)
        (package,) = work.glob("*.deb")
        run(["dpkg", "-x", str(package), str(work / "root")], work)
        # Newer packages keep the kernel beside its modules and no longer in /boot.
        (found,) = [
            path
            for path in (work / "root").rglob("*")
            if path.name in (f"vmlinuz-{release}", "vmlinuz") and path.is_file()
        ]
        os.replace(found, cache / f"vmlinuz-{release}")
        blobs = work / "root" / "usr" / "lib" / f"linux-image-{release}"
        if blobs.is_dir() and not (cache / f"device-trees-{release}").exists():
            os.replace(blobs, cache / f"device-trees-{release}")
    return release


def archive(apt: Path = APT) -> str:
    """URI of the Debian archive among the machine's apt sources.

    Raises KernelUnavailableError where there is none, as on other distributions.
    """
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            found = ARCHIVE.search(line.partition("#")[0])
            if found:
                return found[0]
    raise KernelUnavailableError(
        f"no Debian archive in the sources of {apt}; put vmlinuz-RELEASE files into {cache_dir()}"
    )


def apt_options(suite: str, work: Path) -> list[str]:
    """Options that keep apt away from the machine's own lists, sources and cache."""
    for directory in ("lists/partial", "cache/archives/partial"):
        (work / directory).mkdir(parents=True)
    sources = work / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {archive()} {suite} main\n")
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Dir::Etc::sourcelist": str(sources),
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::Lists": str(work / "lists"),
        "Dir::State::status": "/dev/null",
        "Dir::Cache": str(work / "cache"),
    }
    return [f"-o{key}={value}" for key, value in settings.items()]


def run(command: list[str], cwd: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        tail = (error.stderr or error.stdout)[-2000:]
        raise KernelUnavailableError(f"{' '.join(command)} failed:\n{tail}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelUnavailableError(f"{' '.join(command)}: {error}") from error
    return done.stdout


def main(versions: list[str]) -> int:
    """Fetch ``versions`` (all of them if none are given) and print their paths."""
    unknown = set(versions) - KERNELS.keys()
    if unknown:
        print(f"no such kernel: {', '.join(sorted(unknown))}; known: {', '.join(KERNELS)}")
        return 2
    for version in versions or KERNELS:
        try:
            print(kernel(version))
        except KernelUnavailableError as error:
            print(f"{version}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
