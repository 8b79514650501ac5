"""Several files of code in place of ours: what goes before what, and what does not fit together."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from relokit import Job, Session, Target
from relokit.building import build, build_image, encoder
from relokit.codegen.base.errors import FormatError, LinkError, RelokitError, TargetError
from relokit.codegen.kexec_routines import KexecRoutine
from relokit.codegen.object import Object
from relokit.codegen.series import COMPLETE
from relokit.linker.elf.elf_writer import exec_chunks, rel_chunks
from relokit.linker.foreign.code import ForeignCode
from relokit.linker.foreign.doors import open_code
from relokit.linker.kernel.opened import Files
from support.archives import archive

UNITS = {
    "relocate_kernel.S": KexecRoutine.RELOCATION,
    "trans_pgd.S": KexecRoutine.VECTORS,
    "cpu_reset.S": KexecRoutine.SOFT_RESTART,
    "hibernate.S": KexecRoutine.HIBERNATE_EXIT,
    "hyp_stub.S": KexecRoutine.HYP_STUB,
}


def written(folder: Path, name: str, state: int = COMPLETE, **settings: object) -> Path:
    """One of our own units as an object, or all of them linked (``vmlinux``)."""
    target = Target(series=state, **settings)  # type: ignore[arg-type]
    path = folder / f"{name}-{state}.elf"
    if name == "vmlinux":
        chunks = exec_chunks(build_image(target))
    else:
        chunks = rel_chunks(unit(name, target))
    path.write_bytes(b"".join(bytes(one) for one in chunks))
    return path


def unit(name: str, target: Target) -> Object:
    return next(one for one in build(target).objects if one.name == name)


def code(*paths: Path) -> ForeignCode:
    return open_code(paths, Files(), encoder)


def whose(found: ForeignCode) -> dict[KexecRoutine, str | None]:
    return {part.routine: part.file for part in found.parts}


@pytest.mark.parametrize("state", [2, 10, COMPLETE])
def test_every_routine_from_a_file_of_its_own(state: int, tmp_path: Path) -> None:
    paths = {written(tmp_path, name, state): routine for name, routine in UNITS.items()}
    assert whose(code(*paths)) == {routine: str(path) for path, routine in paths.items()}
    with Session() as session:
        for way in ("normal", "crash", "hibernate"):
            outcome = session.run(
                Target(series=state), Job(code_from=tuple(paths), size=8192, path=way)
            )
            assert outcome.passed, outcome.findings
    assert outcome.code is not None
    assert [one.file for one in outcome.code.files] == [str(path) for path in paths]
    assert {part.file for part in outcome.code.parts} == {str(path) for path in paths}


def test_the_last_file_alone_is_not_what_runs(tmp_path: Path) -> None:
    """Of an option that is given twice the last one counted, in silence."""
    broken = tmp_path / "broken.S"
    broken.write_text(
        '.section .kexec_relocate.text, "ax"\n.globl arm64_relocate_new_kernel\n'
        "arm64_relocate_new_kernel:\n\tldr x28, [x0, #24]\n\tmsr ttbr1_el1, xzr\n"
        "\tmsr sctlr_el1, xzr\n\tret\n"
    )
    paths = broken, written(tmp_path, "hyp_stub.S")
    with Session() as session:
        assert not session.run(job=Job(code_from=paths, size=4096)).passed
        assert session.run(job=Job(code_from=paths[1:], size=4096)).passed


def test_an_object_goes_before_a_whole_program(tmp_path: Path) -> None:
    whole = written(tmp_path, "vmlinux")
    mine = written(tmp_path, "cpu_reset.S")
    for order in ((whole, mine), (mine, whole)):
        found = whose(code(*order))
        assert found.pop(KexecRoutine.SOFT_RESTART) == str(mine)
        assert set(found.values()) == {str(whole)}
    with Session() as session:
        outcome = session.run(job=Job(code_from=(whole, mine), size=8192, path="crash"))
    assert outcome.passed, outcome.findings


def test_what_of_a_program_is_left_is_of_no_other_state(tmp_path: Path) -> None:
    """Which state a relocation is of counts only if it is the one that runs."""
    stub = written(tmp_path, "vmlinux", 1)
    mine = written(tmp_path, "relocate_kernel.S", 15)
    assert code(stub, mine).states == code(mine).states
    both = code(written(tmp_path, "relocate_kernel.S", 0), written(tmp_path, "hibernate.S", 15))
    assert both.states == range(2, 7)
    with pytest.raises(FormatError, match="no state of the series together"):
        code(written(tmp_path, "relocate_kernel.S", 15), written(tmp_path, "hibernate.S", 0))


@pytest.mark.parametrize("name", ["cpu_reset.S", "vmlinux"])
def test_two_of_a_kind_with_one_routine_are_refused(name: str, tmp_path: Path) -> None:
    one = written(tmp_path, name)
    other = tmp_path / "copy"
    other.write_bytes(one.read_bytes())
    for pair in ((one, other), (one, one)):
        with pytest.raises(FormatError, match=r"has \w+, which .* has, too") as refused:
            code(*pair)
        assert refused.value.hint == "leave one of them out"


def test_a_file_that_does_nothing_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path, "vmlinux")
    with pytest.raises(FormatError, match="does nothing") as refused:
        code(whole, *(written(tmp_path, name) for name in UNITS))
    assert refused.value.where == str(whole)


def test_files_of_different_kernels_are_refused(tmp_path: Path) -> None:
    small = written(tmp_path, "relocate_kernel.S")
    large = written(tmp_path, "vmlinux", page_size="64k")
    with pytest.raises(FormatError, match="another page size"):
        code(small, large)


def test_a_half_of_what_is_copied_as_one_is_refused(tmp_path: Path) -> None:
    """In states 0 and 1 the exit has its vectors behind it, and 4 KiB are all there is."""
    later = written(tmp_path, "hibernate.S", 2)
    with Session() as session:
        for state in (0, 1):
            with pytest.raises(TargetError, match=r"states 2 to 15"):
                session.run(Target(series=state), Job(code_from=later, size=4096, path="hibernate"))
        vectors = tmp_path / "vectors.S"
        vectors.write_text(
            '.section .text, "ax"\n.globl hibernate_el2_vectors\n.balign 2048\n'
            "hibernate_el2_vectors:\n.space 2048\n"
        )
        with pytest.raises(LinkError, match="without swsusp_arch_suspend_exit") as refused:
            session.run(Target(series=0), Job(code_from=vectors, size=4096, path="hibernate"))
        assert "later states" in str(refused.value.hint)
    whole = written(tmp_path, "vmlinux", 0)
    with pytest.raises(FormatError, match="in one piece"):
        code(whole, vectors)


def test_an_archive_is_the_objects_in_it(tmp_path: Path) -> None:
    names = [*UNITS]
    objects = {f"{name}.o": written(tmp_path, name).read_bytes() for name in names}
    path = tmp_path / "built-in.a"
    path.write_bytes(archive({"readme": b"text", **objects}))
    assert {*whose(code(path))} == {*UNITS.values()}
    with Session() as session:
        outcome = session.run(job=Job(code_from=path, size=8192))
        assert outcome.passed
        assert outcome.code is not None
        assert [one.kind for one in outcome.code.files] == ["archive"]
    member = tmp_path / "built-in.a(cpu_reset.S.o)"
    assert whose(code(member)) == {KexecRoutine.SOFT_RESTART: f"{path}(cpu_reset.S.o)"}
    for wrong, said in (("(nothing.o)", "no member nothing.o"), ("(readme)", "readme.: truncated")):
        with pytest.raises(FormatError, match=said):
            code(tmp_path / f"built-in.a{wrong}")
    path.write_bytes(archive({"a.o": objects["cpu_reset.S.o"], "b.o": objects["cpu_reset.S.o"]}))
    with pytest.raises(RelokitError, match="defined twice"):
        code(path)
    path.write_bytes(archive({"readme": b"text"}))
    with pytest.raises(FormatError, match="archive without a routine"):
        code(path)
    # A file that is called so is itself.
    (tmp_path / "x(y)").write_bytes(objects["cpu_reset.S.o"])
    assert {*whose(code(tmp_path / "x(y)"))} == {KexecRoutine.SOFT_RESTART}


def test_what_is_packed_is_what_it_packs(tmp_path: Path) -> None:
    for name in ("relocate_kernel.S", "vmlinux"):
        path = written(tmp_path, name)
        packed = tmp_path / f"{name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert [part.sha256 for part in code(packed).parts] == [
            part.sha256 for part in code(path).parts
        ]
    (tmp_path / "lto.o").write_bytes(b"BC\xc0\xde" + bytes(60))
    with pytest.raises(FormatError, match="bitcode"):
        code(tmp_path / "lto.o")
