"""The linker's side of the suites: every script of theirs, with its own sources and with ours.

GNU as assembles for both, and GNU ld of the same version says what is right.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from relokit.codegen.base.errors import AssemblyError, LinkError, RelokitError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.object import Object
from relokit.codegen.source import Unit
from relokit.linker.elf.elf_reader import read_image
from relokit.linker.image import Image
from relokit.linker.link.linking import link
from support.gnu_ld import LD, contents, sections_of, symbols
from support.suites.outcomes import Answer, Outcome

SECONDS = 60
# Some scripts leave gaps of gigabytes, which GNU ld would write.
_BOUNDED = ("prlimit", f"--fsize={256 << 20}")
# What a script may speak of, in one small object.
COMMON_SOURCE = """
.text
.globl _start, start, main, text_symbol
_start: start: main: text_symbol: ldr x0, =data_symbol
bl text_symbol
.section .text.unlikely, "ax"
nop
.section .init, "ax"
nop
.section .rodata, "a"
.globl ro_symbol
ro_symbol: .quad text_symbol
.section .rodata.str1.1, "aMS", @progbits, 1
.string "text"
.data
.globl data_symbol
data_symbol: .quad ro_symbol, 1
.section .data.rel, "aw"
.quad 2
.bss
.globl bss_symbol
.balign 16
bss_symbol: .zero 24
.section .note.x, "a", @note
.word 4, 4, 1; .ascii "abc"; .byte 0; .word 7
.section .other, "aw"
.word 5
"""
_HEAD = re.compile(r"^#(?P<key>\w+):[ \t]*(?P<value>.*?)[ \t]*$", re.MULTILINE)
# The notes that we do without (codegen/gas/notes.py) have sections of their own in GNU's objects.
_NOTES = re.compile(rb"^[ \t]*\.cfi_\w+.*$", re.MULTILINE)
_CONTINUED = re.compile(r"\\\n[#/]+ RUN:")
_ECHOED = re.compile(r"echo (?P<quote>['\"])(?P<script>[^\n]*?)(?P=quote) *> *%t")
_SCRIPT = re.compile(r"(?:^|\s)(?:-T|--script[= ])\s*(?P<script>[\w.\-]+)")


@dataclass(frozen=True)
class Case:
    """A script and the sources linked by it; ``name`` is the suite's."""

    name: str
    script: str
    sources: tuple[Path, ...]


def cases(folder: Path) -> Iterator[Case]:
    """Each script with its own sources, as its test names them, and each with ours."""
    scripts = sorted(path for path in folder.iterdir() if path.suffix in (".t", ".ld", ".lds"))
    for path in sorted(folder.glob("*.d")):
        head = [(m["key"], m["value"]) for m in _HEAD.finditer(path.read_text("latin-1"))]
        options = " ".join(value for key, value in head if key == "ld")
        script = _SCRIPT.search(options)
        if script is None or not (folder / script["script"]).is_file():
            continue
        named = [value.split()[0] for key, value in head if key == "source" and value]
        sources = [folder / one for one in named or [f"{path.stem}.s"]]
        if all(one.is_file() for one in sources):
            text = (folder / script["script"]).read_text("latin-1")
            yield Case(f"{folder.name}/{path.name}", text, tuple(sources))
    for path in scripts:
        own = path.with_suffix(".s")
        text = path.read_text("latin-1")
        if own.is_file():
            yield Case(f"{folder.name}/{path.name}", text, (own,))
        yield Case(f"{folder.name}/{path.name} ours", text, ())


def lld_cases(folder: Path) -> Iterator[Case]:
    """LLVM's: the scripts that a test's RUN lines write, with the test as the source, and ours."""
    for path in sorted(folder.glob("*.s")):
        text = _CONTINUED.sub(" ", path.read_text("latin-1"))
        for number, found in enumerate(_ECHOED.finditer(text)):
            for sources in ((path,), ()):
                ours = "" if sources else " ours"
                yield Case(f"lld/{path.name} {number}{ours}", found["script"], sources)


def compared(case: Case, folder: Path, encoder: Encoder) -> Answer | None:
    """What both make of a case; None if its sources are none for this machine.

    Each links what its own assembler made: ours takes nothing that it would not have made.
    """
    objects: list[Path] = []
    own: list[Object] = []
    refusal = ""
    for number, source in enumerate(case.sources or (None,)):
        text = COMMON_SOURCE.encode() if source is None else source.read_bytes()
        text = _NOTES.sub(b"", text)
        (folder / f"{number}.s").write_bytes(text)
        done = subprocess.run(
            ["aarch64-linux-gnu-as", "-o", f"{number}.o", f"{number}.s"],
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
        if done.returncode:
            return None
        objects.append(folder / f"{number}.o")
        try:
            unit = Unit.from_text(f"{number}.s", text.decode("utf-8", "surrogateescape"))
            own.append(replace(assemble(unit, encoder.encode), name=f"{number}.o"))
        except AssemblyError as error:
            refusal = f"the assembler: {error.message}"
    script = case.script
    image = None
    if not refusal:
        try:
            image = link(own, Unit.from_text("script.ld", script), name="x")
        except LinkError as error:
            refusal = error.message
    return _answer(image, refusal, script, objects, folder)


def _answer(
    image: Image | None, refusal: str, script: str, objects: list[Path], folder: Path
) -> Answer:
    (folder / "script.ld").write_text(script, "latin-1", "replace")
    (folder / "out.elf").unlink(missing_ok=True)
    done = subprocess.run(
        [*_BOUNDED, *LD, "-T", "script.ld", "-o", "out.elf", *(path.name for path in objects)],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    said = done.stderr.decode("utf-8", "replace").strip()
    if image is None:
        return Answer(Outcome.BOTH if done.returncode else Outcome.REFUSED, refusal)
    if done.returncode and ("final link failed" in said or not said.strip() or "too large" in said):
        return Answer(Outcome.SPLIT, said)
    if done.returncode:
        return Answer(Outcome.ACCEPTED, said.splitlines()[-1] if said else "refused")
    try:
        theirs = read_image((folder / "out.elf").read_bytes(), "ld")
    except RelokitError as error:
        return Answer(Outcome.DIFFERENT, f"GNU's file is none that we read: {error.message}")
    for what in (contents, symbols):
        mine, other = what(image), what(theirs)
        if mine != other:
            one, two = dict.fromkeys(mine), dict.fromkeys(other)
            if isinstance(mine, dict) and isinstance(other, dict):
                one, two = mine, other
            wrong = [
                f"{k}: {one.get(k, '-')} for {two.get(k, '-')}"
                for k in (*one, *two)
                if (k in one) != (k in two) or one[k] != two[k]
            ]
            return Answer(Outcome.DIFFERENT, f"{what.__name__}: {'; '.join(wrong)[:300]}")
    found = sections_of(image)
    strays = {n: (found.get(n), s) for n, s in sections_of(theirs).items() if found.get(n) != s}
    if strays:
        return Answer(Outcome.DIFFERENT, f"sections of symbols: {strays}"[:300])
    if image.entry != theirs.entry:
        return Answer(Outcome.DIFFERENT, f"entry {image.entry:#x} for {theirs.entry:#x}")
    return Answer(Outcome.SAME, "")
