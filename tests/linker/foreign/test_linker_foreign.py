"""Code that is not ours: which routines a file has, what it shows of itself, and how it is linked.

The files are made here, of our own routines; GNU's and the kernel's are in tests/oracles.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit import Job, Session, Target
from relokit.building import build, build_image, encoder
from relokit.codegen.aarch64_elf import RelocationType
from relokit.codegen.base.errors import FormatError, LinkError, RelokitError, TargetError
from relokit.codegen.facts import RELOCATION
from relokit.codegen.kexec_routines import KexecRoutine, symbol_of
from relokit.codegen.kimage_layouts import layout_named
from relokit.codegen.object import (
    UNDEFINED,
    Binding,
    Object,
    Relocation,
    Section,
    SectionFlag,
    SectionType,
    Symbol,
    SymbolType,
)
from relokit.codegen.series import COMPLETE
from relokit.codegen.target import PAGE_SIZES
from relokit.linker.elf.elf_writer import exec_chunks, rel_chunks
from relokit.linker.foreign.code import ForeignCode, target_for
from relokit.linker.foreign.cut import cut
from relokit.linker.foreign.doors import open_code, own_parts
from relokit.linker.foreign.shown import fields_read, page_size_of, states_of, words_of
from relokit.linker.kernel.opened import Files
from relokit.linker.link.substitution import MAX_CODE
from relokit.runtime.kexec.routines import routines_of

TEXT = SectionFlag.ALLOC | SectionFlag.EXEC
RET, BL = 0xD65F03C0, 0x94000000
LDR_X28_X0_24 = 0xF9400C1C


def code(path: Path) -> ForeignCode:
    return open_code(path, Files(), encoder)


def unit(name: str, state: int = COMPLETE, **settings: object) -> Object:
    """One of our own units, as its object."""
    objects = build(Target(series=state, **settings)).objects  # type: ignore[arg-type]
    return next(one for one in objects if one.name == name)


def written(path: Path, made: Object) -> Path:
    path.write_bytes(b"".join(bytes(chunk) for chunk in rel_chunks(made)))
    return path


def routine(*words: int, relocations: tuple[Relocation, ...] = (), more: str = "memcpy") -> Object:
    """An object that has a relocation routine of ``words``, and needs ``more``."""
    data = b"".join(word.to_bytes(4, "little") for word in words)
    section = Section(
        ".kexec_relocate.text", SectionType.PROGBITS, TEXT, 4, data, len(data), relocations
    )
    symbols = (
        Symbol(RELOCATION, 0, 0, len(data), Binding.GLOBAL, SymbolType.FUNC),
        Symbol(more, UNDEFINED, 0, 0, Binding.GLOBAL),
    )
    return Object("mine.o", (section,), symbols)


RELOCATE = "relocate_kernel.S"


@pytest.mark.parametrize("state", [0, 6, 7, 9, 10, 11, 12, COMPLETE])
def test_an_object_of_each_state_is_taken_for_what_it_is(state: int, tmp_path: Path) -> None:
    found = code(written(tmp_path / "a.o", unit(RELOCATE, state)))
    assert state in found.states
    # Never for what gets other arguments, or has its MMU off; what 11 has of 12 could be a mistake.
    assert {0, 7, 12} & {*found.states} <= {0 if state < 7 else 7 if state < 11 else 12}
    assert [part.routine for part in found.parts] == [KexecRoutine.RELOCATION]
    with pytest.raises(TargetError, match="of the series") as refused:
        target_for(Target(series=COMPLETE if state < 11 else 0), found)
    assert refused.value.hint is not None


@pytest.mark.parametrize("size", PAGE_SIZES.values())
@pytest.mark.parametrize("state", [0, 9, COMPLETE])
def test_the_page_size_is_read_off_the_code(size: int, state: int) -> None:
    target = Target(series=state, page_size=size)
    words = words_of(routines_of(build_image(target)).relocation)
    assert page_size_of(words) == size


@pytest.mark.parametrize("layout", ["6.1", "7.2"])
def test_what_the_code_reads_of_kimage_tells_its_layout(layout: str) -> None:
    target = Target(layout=layout_named(layout))
    fields = fields_read(words_of(routines_of(build_image(target)).relocation))
    assert {target.layout.start, target.layout.ttbr1, target.layout.phys_offset} <= fields
    assert fields <= target.layout.offsets


def test_code_for_another_layout_is_refused_with_that_layout(tmp_path: Path) -> None:
    found = code(written(tmp_path / "a.o", unit(RELOCATE, layout=layout_named("7.2"))))
    with pytest.raises(TargetError, match="reads struct kimage at 0x308") as refused:
        target_for(Target(), found)
    assert "add --layout 7.2" in str(refused.value.hint)
    assert target_for(Target(layout=layout_named("7.2")), found).layout.name == "7.2"
    # A layout that somebody looked up is believed: then a run says what is wrong.
    looked_up = replace(layout_named("6.1"), name="6.19")
    assert target_for(Target(layout=looked_up), found).layout == looked_up


def test_a_dropped_instruction_does_not_make_code_another_states() -> None:
    words = words_of(routines_of(build_image(Target())).relocation)
    for at in range(1, len(words)):
        assert COMPLETE in states_of((*words[:at], 0xD503201F, *words[at + 1 :]), ())


NAMES = ["arm64_relocate_new_kernel_size", "hibernate_el2_vectors", "swsusp_arch_suspend_exit"]


@given(st.lists(st.integers(0, 0xFFFFFFFF), max_size=64), st.sets(st.sampled_from(NAMES)))
def test_any_words_have_some_state(words: list[int], names: set[str]) -> None:
    states = states_of(words, names)
    assert states
    assert 0 <= states[0] <= states[-1] <= COMPLETE


def test_it_takes_the_place_of_ours(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.o", routine(LDR_X28_X0_24, 0xD518203F, 0xD518101F, RET))
    with Session() as session:
        outcome = session.run(job=Job(code_from=path, size=4096))
    assert not outcome.passed
    assert outcome.code is not None
    parts = {part.routine: part for part in outcome.code.parts}
    assert [one for one in parts if parts[one].foreign] == [KexecRoutine.RELOCATION]
    assert parts[KexecRoutine.RELOCATION].bytes == 16
    assert all(part.sha256 for part in parts.values())
    ours = own_parts(build_image())
    for one, part in parts.items():
        if one is not KexecRoutine.RELOCATION:
            assert part == replace(ours[symbol_of(one, Target())], runs=part.runs)


@pytest.mark.parametrize("state", [0, 1, 2, 8, 13, COMPLETE])
@pytest.mark.parametrize("linked", [False, True], ids=["object", "linked"])
def test_our_own_code_by_another_door_is_the_same_program(
    state: int, linked: bool, tmp_path: Path
) -> None:
    """All of it goes out and comes in again: the routines are the same bytes."""
    target = Target(series=state)
    path = tmp_path / "ours.elf"
    if linked:
        path.write_bytes(b"".join(bytes(one) for one in exec_chunks(build_image(target))))
    else:
        from relokit.linker.link.merge import merge_objects

        written(path, merge_objects(build(target).objects, name="ours"))
    found = code(path)
    names = {symbol_of(one, target) for one in KexecRoutine}
    assert names <= {part.symbol for part in found.parts}
    with Session() as session:
        for way in ("crash", "hibernate"):
            outcome = session.run(target, Job(code_from=path, size=8192, path=way))
            assert outcome.passed, outcome.findings
    assert outcome.code is not None
    assert all(part.foreign for part in outcome.code.parts)


def test_what_the_routine_needs_and_nobody_has_is_refused_by_name(tmp_path: Path) -> None:
    needs = routine(
        LDR_X28_X0_24, BL, RET, relocations=(Relocation(4, RelocationType.CALL26, 1, 0),)
    )
    path = written(tmp_path / "mine.o", needs)
    with Session() as session, pytest.raises(LinkError, match="memcpy") as refused:
        session.run(Target(series=10), Job(code_from=path, size=4096))
    assert refused.value.where == f"{path}:(.kexec_relocate.text+0x4)"
    assert refused.value.hint is not None
    assert "vmlinux" in refused.value.hint


def test_what_never_runs_may_need_what_it_likes(tmp_path: Path) -> None:
    """The stub's finalise half needs the kernel's data, and no kexec comes there."""
    stub = unit("hyp_stub.S")
    number = next(at for at, one in enumerate(stub.sections) if one.name == ".hyp.text")
    section = stub.sections[number]
    gone = Symbol("id_aa64pfr0_override", UNDEFINED, 0, 0, Binding.GLOBAL)
    at = Relocation(section.size - 4, RelocationType.ADR_PREL_PG_HI21, len(stub.symbols), 0)
    changed = replace(section, relocations=(*section.relocations, at))
    sections = (*stub.sections[:number], changed, *stub.sections[number + 1 :])
    path = written(
        tmp_path / "stub.o", replace(stub, sections=sections, symbols=(*stub.symbols, gone))
    )
    with Session() as session:
        assert session.run(job=Job(code_from=path, path="crash", size=8192)).passed


def test_a_file_without_a_routine_says_which_there_could_be(tmp_path: Path) -> None:
    path = written(tmp_path / "vectors.o", unit("vectors.S"))
    with pytest.raises(FormatError, match="no routine that a kexec runs") as refused:
        code(path)
    assert RELOCATION in str(refused.value.hint)


def test_a_section_without_bytes_is_no_code(tmp_path: Path) -> None:
    made = routine(RET)
    empty = replace(made.sections[0], type=SectionType.NOBITS, data=b"", relocations=())
    path = written(tmp_path / "debug.o", replace(made, sections=(empty,)))
    with pytest.raises(FormatError, match="without bytes"):
        code(path)


def test_an_object_of_everything_is_too_much(tmp_path: Path) -> None:
    made = routine(LDR_X28_X0_24, RET)
    data = made.sections[0].data + bytes(MAX_CODE)
    path = written(
        tmp_path / "vmlinux.o",
        replace(made, sections=(replace(made.sections[0], data=data, size=len(data)),)),
    )
    with Session() as session, pytest.raises(LinkError, match="more than") as refused:
        session.run(Target(series=10), Job(code_from=path, size=4096))
    assert "relocate_kernel.o" in str(refused.value.hint)


def test_assembly_that_includes_something_is_not_preprocessed(tmp_path: Path) -> None:
    path = tmp_path / "relocate_kernel.S"
    path.write_text("/* mine */\n#include <linux/linkage.h>\n")
    with pytest.raises(FormatError, match="includes other files") as refused:
        code(path)
    assert refused.value.where == f"{path}:2"
    assert "relocate_kernel.o" in str(refused.value.hint)


@given(st.data())
def test_a_damaged_object_is_refused_or_read(data: st.DataObject) -> None:
    whole = bytearray(b"".join(bytes(one) for one in rel_chunks(unit(RELOCATE))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    with tempfile.NamedTemporaryFile(suffix=".o") as file:
        file.write(whole[: cut or None])
        file.flush()
        try:
            found = code(Path(file.name))
        except RelokitError:
            return
        assert found.parts


@pytest.mark.parametrize("local", [True, False])
def test_a_program_with_two_of_one_name_is_refused(tmp_path: Path, local: bool) -> None:
    """The one that others see counts; of two alike nobody knows which runs."""
    image = build_image(Target())
    symbol = next(one for one in image.symbols if one.name == RELOCATION)
    other = replace(symbol, value=symbol.value + 4, binding=Binding.LOCAL)
    symbols = (other, *image.symbols, other)
    if not local:
        symbols = tuple(replace(one, binding=Binding.GLOBAL) for one in symbols)
    made = replace(image, symbols=symbols)
    if local:
        assert cut(made, "x").symbols == cut(image, "x").symbols
        return
    with pytest.raises(FormatError, match=f"two routines {RELOCATION}"):
        cut(made, "x")


ADRP_X9_NEXT_PAGE, LDR_X9_LITERAL, CBZ_X9 = 0xB0000009, 0x58008009, 0xB4008009


@pytest.mark.parametrize(
    "word", [ADRP_X9_NEXT_PAGE, 0x90000009, LDR_X9_LITERAL, CBZ_X9, BL | 0x400]
)
def test_a_linked_routine_that_refers_to_what_it_leaves_behind_is_refused(word: int) -> None:
    """An object of the same is refused where the link misses it: the linked one passed."""
    image = build_image(Target())
    symbol = next(one for one in image.symbols if one.name == RELOCATION)
    sections = list(image.sections)
    home = sections[symbol.section]
    at = symbol.value - home.va + 8
    data = bytes(home.data)[:at] + word.to_bytes(4, "little") + bytes(home.data)[at + 4 :]
    sections[symbol.section] = replace(home, data=data)
    with pytest.raises(FormatError, match=rf"{RELOCATION}\+0x8 refers to \w+.*not linked with it"):
        cut(replace(image, sections=tuple(sections)), "x")
