"""``.include`` and ``.incbin``: the same files through ``as -I`` and through us, and the lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.assembly_file import assemble_file
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.object import Object
from support.gnu_as import MARCH, effective, gnu_view, view

pytestmark = pytest.mark.oracle

FILES = {
    "inc/macros.inc": """\
        .macro put a, b=7
            mov x\\a, #\\b
            .include "sub/one.inc"
        .endm
        .set five, 5
        tmp .req x9
        /* over
           lines */ nop
    """,
    "inc/sub/one.inc": 'movk x1, #2\n# 30 "other.S"\nadd x1, x1, #3',
    "inc/defs.inc": '.ifndef DEFS\n.set DEFS, 1\n.include "./sub//two.inc"; .word DEFS\n.endif\n',
    "inc/sub/two.inc": ".macro twice x\n\\x; \\x\n.endm\ntwice nop\n1: b 1b\n",
    "inc/data.bin": "0123456789",
    "inc/empty.inc": "",
}
CASES = {
    "macros across files": """\
        .text
        start: .include "macros.inc"; ret
        put 1
        put 2, five
        mov tmp, x0
    """,
    "guarded, nested, within one another": """\
        .include "defs.inc"
        .include "defs.inc"
        twice ret
        b 1b; b 1f
        .include "sub/two.inc"
    """.replace('.include "sub/two.inc"', '.purgem twice\n        .include "sub/two.inc"'),
    "within loops and conditions": """\
        .macro with name
        .include "\\name"
        .endm
        .rept 2; .include "sub/one.inc"; .endr
        .irp name, one, one
        with "sub/\\name\\().inc"
        .endr
        .if 0
        .include "not there"
        .else
        .include "empty.inc"
        .endif
        nop
    """,
    "sections go on": """\
        .data
        .include "empty.inc"
        .pushsection .text
        .incbin "data.bin", 2, 8
        .incbin "data.bin", 3 + 1, 1 + 3
        .popsection
        .incbin "data.bin"; .byte 1
        .incbin "data.bin", 8
        .incbin "./data.bin",,3
        .incbin "data.bin", 10
        .incbin "empty.inc"
        .text; .balign 4; nop
    """,
}
REFUSED = {
    '.include "nowhere.inc"': "cannot be read",
    ".include": "name of a file",
    ".include macros.inc": "name of a file",
    '.include "macros.inc" x': "name of a file",
    '.include "macros.inc", 1': "one file",
    '.incbin "data.bin", 11': "10 bytes",
    '.incbin "data.bin", -1': "10 bytes",
    '.incbin "data.bin", 1, 10': "10 bytes",
    '.incbin "data.bin" 1': "name of a file",
    '.incbin "data.bin", x': "number",
    '.include "sub"': "regular file",
    '.macro m\n.include "macros.inc"': ".endm is missing",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def gnu(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "t.s").write_text(text)
    return subprocess.run(
        ["aarch64-linux-gnu-as", MARCH, "-g", "-I", "inc", "-o", "t.o", "t.s"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def ours(folder: Path, text: str, encoder: Encoder) -> Object:
    made, _ = assemble_file(memoryview(text.encode()), "t.s", encoder.encode, folder / "inc")
    return made


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
def test_the_object_is_gnus(text: str, folder: Path, encoder: Encoder) -> None:
    done = gnu(folder, text)
    assert not done.returncode, done.stderr
    theirs, made = gnu_view(folder / "t.o"), view(ours(folder, text, encoder))
    sections = {name: one for name, one in theirs.sections.items() if ".debug" not in name}
    assert made.sections == sections
    assert made.relocations == {n: r for n, r in theirs.relocations.items() if ".debug" not in n}
    assert made.symbols == theirs.symbols
    for name, (_, flags, _, size, _, _) in sections.items():
        if flags & 4:
            assert effective(made.code.get(name, []), size) == effective(theirs.code[name], size)


LINES = [*[*CASES.values()][:2], '.rept 2; .include "sub/one.inc"; .endr; nop']


@pytest.mark.parametrize("text", LINES, ids=["macros", "nested", "loops"])
def test_each_instruction_is_of_the_line_that_gnu_says(
    text: str, folder: Path, encoder: Encoder
) -> None:
    assert not gnu(folder, text).returncode
    section = ours(folder, text, encoder).section(".text")
    found = {offset: (Path(line.file).name, line.line) for offset, line in section.lines}
    with (folder / "t.o").open("rb") as file:
        dwarf = ELFFile(file).get_dwarf_info()
        (unit,) = dwarf.iter_CUs()
        program = dwarf.line_program_for_CU(unit)
        assert program is not None
        names = [entry.name.decode() for entry in program["file_entry"]]
        states = [entry.state for entry in program.get_entries() if entry.state is not None]
    theirs = {
        one.address: (Path(names[one.file - (program["version"] < 5)]).name, one.line)
        for one in states
        if not one.end_sequence
    }
    # Ours has data, too; theirs says a line once for what follows it.
    told = {offset: found[max(at for at in found if at <= offset)] for offset in theirs}
    assert told == theirs


def test_a_count_of_nothing_is_all_to_gnu_and_refused(folder: Path, encoder: Encoder) -> None:
    text = '.data; .incbin "data.bin", 4, 0'
    assert not gnu(folder, text).returncode
    assert gnu_view(folder / "t.o").sections[".data"][-1] == b"456789"
    with pytest.raises(AssemblyError, match="a count of 0: GNU as takes all"):
        ours(folder, text, encoder)


@pytest.mark.parametrize(("text", "why"), REFUSED.items(), ids=REFUSED)
def test_what_gnu_refuses_we_refuse(text: str, why: str, folder: Path, encoder: Encoder) -> None:
    assert gnu(folder, text).returncode
    with pytest.raises(AssemblyError, match=why):
        ours(folder, text, encoder)
