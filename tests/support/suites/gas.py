"""The assembler's side of the suites: whole files, and every instruction in them by itself.

GNU as of the same version says what is right. It and we assemble for a processor that has
everything: what chooses another one (``.arch`` and its kin, which we do without) is blanked.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.gas.lexer import LABELS, cut, without_block_comments
from relokit.codegen.object import Object
from relokit.codegen.source import Unit
from support.gnu_as import View, gnu_view, view
from support.suites.outcomes import Answer, Outcome

EVERYTHING = (
    "-march=armv9.3-a+sve2-aes+sve2-bitperm+sve2-sha3+sve2-sm4+memtag+ssbs+rng+profile+sme-f64"
    "+sme-i64+mops+hbc+ls64+crypto+f64mm+f32mm+flagm+pauth+tme+cssc+bf16+i8mm+fp16fml+predres"
)
PROFILES = (EVERYTHING, "-march=armv8-r+profile")
"""No processor is of both: what the first refuses, the other may take."""
SPLIT = "each line is one for some processor, but not for the same"
SECONDS = 60
_CHOICE = re.compile(r"^[ \t]*\.(?:arch|cpu|arch_extension)\b.*$", re.MULTILINE)
# What GNU as makes of the notes that we do without (codegen/gas/notes.py).
_NOTES = re.compile(r"\.(?:eh_frame|debug_\w+|comment)")
_ERROR = re.compile(r"^\S+?:(\d+): (?:Error|Fatal error)", re.MULTILINE)
_LOCAL = re.compile(r"\b[0-9]+[bf]\b")
_INSTRUCTION = re.compile(r"[A-Za-z][\w.]*(?:[ \t]+[^=].*)?", re.ASCII)


def read(path: Path) -> str:
    """A file's text without the choice of a processor; bytes that are no UTF-8 are kept."""
    return _CHOICE.sub("", path.read_bytes().decode("utf-8", "surrogateescape"))


def gnu_as(text: str, folder: Path, beside: Path) -> str | None:
    """Assemble ``text`` into ``folder``/t.o; None if GNU as does, else what it said.

    ``beside`` is where the file stands, for what it includes.
    """
    (folder / "t.s").write_bytes(text.encode("utf-8", "surrogateescape"))
    (folder / "t.o").unlink(missing_ok=True)
    said, everywhere = "", None
    for profile in PROFILES:
        try:
            done = subprocess.run(
                ["aarch64-linux-gnu-as", profile, "-I", str(beside), "-o", "t.o", "t.s"],
                cwd=folder,
                capture_output=True,
                check=False,
                timeout=SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return "no end"
        if not done.returncode:
            return None
        words = done.stderr.decode("utf-8", "replace")
        said = said or words or "refused"
        wrong = set(_ERROR.findall(words))
        everywhere = wrong if everywhere is None else everywhere & wrong
    return said if everywhere else SPLIT


def whole_file(text: str, folder: Path, beside: Path, encoder: Encoder) -> Answer:
    """What both make of a file."""
    try:
        built: Object | str = assemble(Unit.from_text("t.s", text), encoder.encode)
    except AssemblyError as error:
        built = error.message
    said = gnu_as(text, folder, beside)
    if isinstance(built, str):
        return Answer(Outcome.REFUSED if said is None else Outcome.BOTH, built)
    if said is SPLIT:
        return Answer(Outcome.SPLIT, said)
    if said is not None:
        return Answer(Outcome.ACCEPTED, said.strip().splitlines()[-1])
    try:
        theirs = gnu_view(folder / "t.o")
    except (ELFError, KeyError, AssertionError) as error:
        return Answer(Outcome.DIFFERENT, f"GNU's object has more than ours can: {error!r}")
    wrong = _differing(view(built), theirs)
    return Answer(Outcome.DIFFERENT if wrong else Outcome.SAME, wrong)


def _differing(ours: View, theirs: View) -> str:
    """Which part differs, or nothing. What GNU as makes of notes does not count."""
    for part in ("sections", "relocations", "symbols"):
        mine, other = (
            {n: what for n, what in getattr(one, part).items() if not _note(part, n)}
            for one in (ours, theirs)
        )
        if mine != other:
            names = sorted(n for n in mine.keys() | other.keys() if mine.get(n) != other.get(n))
            shown = [
                f"{n}: {str(mine.get(n))[:90]} for {str(other.get(n))[:90]}" for n in names[:2]
            ]
            return f"{part}: {'; '.join(shown)}"
    return ""


def _note(part: str, name: str) -> bool:
    return part != "symbols" and _NOTES.fullmatch(name) is not None


def instructions(text: str) -> Iterator[str]:
    """Every statement of a file that may be an instruction, once."""
    seen: set[str] = set()
    try:
        lines = without_block_comments(text).split("\n")
    except AssemblyError:
        return
    for line in lines:
        try:
            statements = cut(line)
        except AssemblyError:
            continue
        for statement in statements:
            label = LABELS.match(statement)
            found = statement[label.end() :] if label else statement
            if (
                found.isascii()
                and _INSTRUCTION.fullmatch(found)
                and "\\" not in found
                and not _LOCAL.search(found)
            ):
                seen.add(found)
    yield from sorted(seen)


def gnu_words(lines: list[str], folder: Path) -> dict[str, bytes]:
    """The word of each line that GNU as takes, and that is a number at once."""
    accepted = list(lines)
    for _ in range(12):
        text = "\n".join([f"R{at}: {line}" for at, line in enumerate(accepted)] + [""])
        said = gnu_as(text, folder, folder)
        if said is None:
            break
        bad = {int(line) - 1 for line in _ERROR.findall(said)}
        if not bad:
            return {}
        accepted = [line for at, line in enumerate(accepted) if at not in bad]
    else:
        return {}
    with (folder / "t.o").open("rb") as file:
        elf = ELFFile(file)
        code = elf.get_section_by_name(".text").data()
        places = {
            one.name: one["st_value"] for one in elf.get_section_by_name(".symtab").iter_symbols()
        }
        moved = elf.get_section_by_name(".rela.text")
        waits = {one["r_offset"] for one in moved.iter_relocations()} if moved else set()
    words = {}
    for at, line in enumerate(accepted):
        start = places[f"R{at}"]
        if places.get(f"R{at + 1}", len(code)) == start + 4 and start not in waits:
            words[line] = code[start : start + 4]
    return words


def each_instruction(text: str, folder: Path, encoder: Encoder) -> Iterator[tuple[str, Answer]]:
    """What both make of each instruction of a file, by itself."""
    lines = list(instructions(text))
    if not lines:
        return
    theirs = gnu_words(lines, folder)
    for line in lines:
        try:
            built = assemble(Unit.from_text("t.s", line + "\n"), encoder.encode)
        except AssemblyError as error:
            known = Outcome.REFUSED if line in theirs else Outcome.BOTH
            yield line, Answer(known, error.message)
            continue
        section = next((one for one in built.sections if one.name == ".text"), None)
        if section is None or section.relocations or section.size != 4:
            continue
        if theirs.get(line) != section.data:
            # Alone, in case that one of the others was to blame.
            theirs |= gnu_words([line], folder)
        if line not in theirs:
            yield line, Answer(Outcome.ACCEPTED, section.data.hex())
        elif theirs[line] != section.data:
            wrong = f"{section.data.hex()} for {theirs[line].hex()}"
            yield line, Answer(Outcome.DIFFERENT, wrong)
        else:
            yield line, Answer(Outcome.SAME, "")
