"""What comes of all files of the suites, or of a sample of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from relokit.codegen.gas.instructions.encoder import Encoder
from support.suites import gas, ld, sources
from support.suites.once_wrong import FILES, SCRIPTS
from support.suites.outcomes import Answer

Chosen = Callable[[str], bool]
"""Whether the file, or the script, of this name is wanted."""

_GNU_FOLDERS = ("aarch64", "all", "cfi", "elf", "lns", "macros")
_LLVM_FOLDERS = ("AArch64", "AsmParser", "ELF")


@dataclass(frozen=True)
class Found:
    """``suite`` is the row of the table, ``name`` the file, with the instruction if it is one."""

    suite: str
    name: str
    answer: Answer


def everything(_: str) -> bool:
    """All of them."""
    return True


def sample(part: int) -> Chosen:
    """One file in ``part``, by the digest of its name, and all that were once wrong."""

    def chosen(name: str) -> bool:
        if name in FILES or name.split()[0] in SCRIPTS:
            return True
        return int.from_bytes(blake2b(name.encode()).digest()[:4], "big") % part == 0

    return chosen


def files(chosen: Chosen) -> Iterator[tuple[str, Path]]:
    """The assembly files, by their names in the suite."""
    for suite, root, folders in (
        ("gas", sources.gnu() / "gas/testsuite/gas", _GNU_FOLDERS),
        ("llvm", sources.llvm() / "llvm/test/MC", _LLVM_FOLDERS),
    ):
        for folder in folders:
            for path in sorted((root / folder).rglob("*.s")):
                name = f"{suite}/{path.relative_to(root)}"
                if chosen(name):
                    yield name, path


def assembled(chosen: Chosen, work: Path, encoder: Encoder) -> Iterator[Found]:
    """Whole files, and each instruction in those for this processor, once."""
    seen: set[str] = set()
    for name, path in files(chosen):
        suite, folder = name.split("/")[:2]
        text = gas.read(path)
        yield Found(f"{suite} {folder}", name, gas.whole_file(text, work, path.parent, encoder))
        if folder.lower() == "aarch64":
            for line, answer in gas.each_instruction(text, work, encoder):
                if line not in seen:
                    seen.add(line)
                    yield Found(f"{suite} {folder}, each instruction", f"{name}: {line}", answer)


def linked(chosen: Chosen, work: Path, encoder: Encoder) -> Iterator[Found]:
    """Scripts, each with its own sources and with ours."""
    root = sources.gnu() / "ld/testsuite"
    found = [
        case for one in ("ld-scripts", "ld-elf", "ld-aarch64") for case in ld.cases(root / one)
    ]
    found += ld.lld_cases(sources.llvm() / "lld/test/ELF/linkerscript")
    for case in found:
        if chosen(case.name):
            answer = ld.compared(case, work, encoder)
            if answer is not None:
                yield Found(case.name.split("/")[0], case.name, answer)
