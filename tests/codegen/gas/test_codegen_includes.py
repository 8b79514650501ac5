"""What assembly may include: nothing from outside of one directory, and no more than is bounded."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.building import encoder
from relokit.codegen.base.errors import AssemblyError, FormatError, RelokitError
from relokit.codegen.base.host_file import check_unchanged
from relokit.codegen.gas import expansion, includes
from relokit.codegen.gas.assembly_file import assemble_file
from relokit.codegen.gas.includes import Included, Includes
from relokit.codegen.object import Object

SECRET = "nothing of this is told"


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """A directory to include from; what is beside it must not be read."""
    (tmp_path / "secret").write_text(f'.error "{SECRET}"\n')
    (tmp_path / "inside" / "sub").mkdir(parents=True)
    (tmp_path / "inside" / "one.inc").write_text("nop\n")
    (tmp_path / "inside" / "sub" / "two.inc").write_text("ret\n")
    return tmp_path / "inside"


def made(text: str, directory: Path | None) -> tuple[Object, tuple[Included, ...]]:
    return assemble_file(memoryview(text.encode()), "X.S", encoder().encode, directory)


def refused(text: str, directory: Path | None) -> AssemblyError:
    with pytest.raises(AssemblyError) as error:
        made(text, directory)
    assert SECRET not in str(error.value)
    return error.value


@pytest.mark.parametrize("directive", [".include", ".incbin"])
def test_without_a_directory_no_file_is_read(directive: str, inside: Path) -> None:
    error = refused(f'nop\n{directive} "{inside}/one.inc"', None)
    assert error.where == "X.S:2"
    assert error.message == f"directive {directive} is not supported"
    assert "--include-dir" in str(error.hint)


def test_what_was_included_is_told_in_order_and_once(inside: Path) -> None:
    text = '.include "sub/two.inc"\n.include "one.inc"\n.include "sub/two.inc"\n.incbin "one.inc"'
    unit, used = made(text, inside)
    assert [one.where for one in used] == [f"{inside}/sub/two.inc", f"{inside}/one.inc"]
    assert unit.section(".text").data[-4:] == b"nop\n"


NAMES = {
    "../secret": "`..'",
    "sub/../../secret": "`..'",
    "sub/../one.inc": "`..'",
    "{outside}/secret": "absolute path",
    "link": "symbolic link",
    "out/secret": "symbolic link",
    "within": "symbolic link",
    "sub": "no regular file",
    "sub/": "names no file",
    "./": "names no file",
    "pipe": "no regular file",
    "one.inc/x": "cannot be read",
    "sub/none": "cannot be read",
    "n" * 2000: "characters",
    "a/" * 70 + "b": "parts",
    "n" * 300: "cannot be read",
    "one.inc\0": "cannot be read",
}


@pytest.mark.parametrize("directive", [".include", ".incbin"])
@pytest.mark.parametrize(("name", "why"), NAMES.items(), ids=[name[:20] for name in NAMES])
def test_nothing_else_is_read(name: str, why: str, directive: str, inside: Path) -> None:
    (inside / "link").symlink_to("../secret")
    (inside / "out").symlink_to("..")
    (inside / "within").symlink_to("one.inc")
    os.mkfifo(inside / "pipe")
    error = refused(f'\n{directive} "{name.format(outside=inside.parent)}"', inside)
    assert error.where == "X.S:2"
    assert why in error.message


def test_the_directory_itself_may_be_a_link_and_has_to_be_one(inside: Path) -> None:
    (inside.parent / "alias").symlink_to(inside)
    assert made('.include "one.inc"', inside.parent / "alias")[1]
    for path, why in ((inside / "one.inc", "Not a directory"), (inside / "none", "No such file")):
        with pytest.raises(FormatError, match=why) as error:
            made("nop", path)
        assert error.value.where == str(path)


@given(st.text("ab./\\ \"'", max_size=12))
def test_no_name_leads_out(name: str) -> None:
    """Whatever is asked for: parts are names, none of which goes up or begins anew."""
    try:
        parts = includes._parts(name)
    except AssemblyError:
        return
    assert not {"", ".", ".."} & {*parts}
    assert not any("/" in part for part in parts)


def test_an_error_names_its_line_and_who_included_it(inside: Path) -> None:
    (inside / "a.inc").write_text('nop\n.macro m\n.include "b.inc"\n.endm\nm\n')
    (inside / "b.inc").write_text("nop\n.nonsense\n")
    error = refused('nop\n.include "a.inc"', inside)
    assert error.where == f"{inside}/b.inc:2"
    context = (
        f", in macro m ({inside}/a.inc:2), included from {inside}/a.inc:5, included from X.S:2"
    )
    assert error.message.endswith(context)
    # What is told at the end of the unit only, too.
    (inside / "b.inc").write_text("nop\nldr x0, [x1, #7777777]\n")
    error = refused('nop\n.include "a.inc"', inside)
    assert error.message.endswith(f", included from {inside}/a.inc:5")
    (inside / "c.inc").write_text("\nadd x0, x0, #later\n")
    error = refused('.include "c.inc"\n.include "c.inc"\n.set later, 1 << 30', inside)
    assert error.where == f"{inside}/c.inc:2"
    assert error.message.endswith(", included from X.S:1 and elsewhere")


def test_what_is_left_open_is_of_the_file(inside: Path) -> None:
    (inside / "a.inc").write_text(".if 1\nnop\n")
    error = refused('.include "a.inc"\n.endif', inside)
    assert (error.where, error.message.split(",")[0]) == (f"{inside}/a.inc:2", ".if without .endif")
    (inside / "a.inc").write_text("nop\n/* never\n")
    assert refused('.include "a.inc"', inside).where == f"{inside}/a.inc"
    (inside / "a.inc").write_text(".exitm\n")
    error = refused('.macro m\n.include "a.inc"\n.endm\nm', inside)
    assert error.where == f"{inside}/a.inc:1"
    (inside / "a.inc").write_bytes(b"nop // \xff")
    assert "not UTF-8 text: byte 7" in refused('.include "a.inc"', inside).message


def test_a_cycle_ends_with_its_chain(inside: Path) -> None:
    (inside / "a.inc").write_text('nop\n.include "sub/b.inc"\n')
    os.link(inside / "a.inc", inside / "same.inc")
    (inside / "sub" / "b.inc").write_text('.include "same.inc"\n')
    error = refused('.include "a.inc"', inside)
    assert error.where == f"{inside}/sub/b.inc:1"
    wanted = f"`same.inc' includes itself, included from {inside}/a.inc:2, included from X.S:1"
    assert error.message == wanted


def test_what_it_costs_is_bounded(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (inside / "big").write_bytes(b"")
    os.truncate(inside / "big", includes.MAX_BYTES + 1)
    read: list[int] = []
    monkeypatch.setattr(os, "pread", lambda *given: read.append(1) or b"")
    for directive in (".include", ".incbin"):
        assert "more than 1024 MiB" in refused(f'{directive} "big"', inside).message
    assert not read
    monkeypatch.undo()
    # Often what is small, and costs no statement.
    (inside / "comment").write_text("//" + "x" * 998)
    many = f'.rept {includes.MAX_TEXT // 1000 + 1}\n.include "comment"\n.endr'
    assert "more than 16 MiB are included" in refused(many, inside).message
    monkeypatch.setattr(includes, "MAX_FILES", 3)
    for number in range(4):
        (inside / f"{number}.inc").write_text(f'.include "{number + 1}.inc"\n')
    assert "more than 3 files" in refused('.include "0.inc"', inside).message
    monkeypatch.setattr(expansion, "MAX_DEPTH", 2)
    assert "more than 2 macros, loops and files" in refused('.include "0.inc"', inside).message


def test_a_file_that_changes_meanwhile_is_told(inside: Path) -> None:
    read, path = os.pread, inside / "one.inc"

    def pread(*given: int) -> bytes:
        path.write_text("ret; ret\n")
        return read(*given)

    with pytest.MonkeyPatch.context() as patched, closing(Includes(inside)) as taken:
        patched.setattr(os, "pread", pread)
        taken.file("one.inc")
    with pytest.raises(RelokitError, match="changed while it was read") as error:
        check_unchanged()
    assert error.value.where == str(path)


def test_no_descriptor_is_left(inside: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    (inside / "sub" / "two").mkdir()
    (inside / "sub" / "two" / "three.inc").write_text("nop\n")
    made('.include "sub/two.inc"\n.incbin "one.inc"', inside)
    before = count()
    for name in ("sub/two.inc", "sub/two/three.inc", "sub/none/x", "sub", "link"):
        text = f'.include "{name}"'
        if "two" in name:
            made(text, inside)
        else:
            refused(text, inside)
    assert count() == before
