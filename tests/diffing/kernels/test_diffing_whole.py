"""Two kernels as a whole, built here word by word: what is the same, what changed, about what."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from relokit.codegen.base.documents import to_data
from relokit.codegen.base.errors import FormatError
from relokit.diffing.kernels import whole_match, whole_text
from relokit.diffing.kernels.whole import compare_kernels
from relokit.diffing.kernels.whole_changes import FunctionChange, FunctionCount, FunctionStatus
from relokit.diffing.read.routine import DiffError
from relokit.diffing.routines.classify import ChangeKind
from support.text_images import (
    ADD,
    DATA_AT,
    DMB,
    FILLERS,
    ISB,
    LDR,
    MOV,
    MRS_X1,
    MRS_X2,
    NOP,
    RET,
    TABLE_AT,
    Body,
    compared,
    image,
    only,
)

BODY: Body = (MOV, LDR, ("bl", "filler_3"), ADD, RET)


def test_a_kernel_is_the_same_as_itself(tmp_path: Path) -> None:
    diff = compared(tmp_path, [("f", BODY)], [("f", BODY)])
    assert diff.same
    assert "f" in diff.unchanged
    assert len(diff.unchanged) == FILLERS + 3
    assert to_data(diff)["totals"] == {
        "same": FILLERS + 3, "changed": 0, "only left": 0, "only right": 0, "only operands": 0,
    }  # fmt: skip


def test_what_code_refers_to_may_be_elsewhere(tmp_path: Path) -> None:
    body = (("bl", "filler_3"), ("adrp", "table"), ("lo12", "table"), ("b", -3), RET)
    new = ("new", (NOP,) * 5000 + (RET,))
    diff = compared(
        tmp_path,
        [("f", body)],
        [new, ("f", body)],
        left_data={"table": DATA_AT},
        right_data={"table": DATA_AT + 0x1230},
    )
    assert only(diff) == FunctionChange(
        None,
        "new",
        0,
        4 * 5001,
        {ChangeKind.HINT: FunctionCount(5000, 0, 0), ChangeKind.CONTROL: FunctionCount(1, 0, 0)},
    )
    assert not diff.same


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ((MOV, LDR, ("bl", "filler_4"), ADD, RET), {ChangeKind.CONTROL: FunctionCount(1, 1, 0)}),
        (
            (MOV, LDR, ("bl", "filler_3"), ISB, ADD, RET),
            {ChangeKind.BARRIER: FunctionCount(1, 0, 0)},
        ),
        ((MOV, ("bl", "filler_3"), ADD, RET), {ChangeKind.MEMORY: FunctionCount(0, 1, 0)}),
        ((MOV, LDR | 1, ("bl", "filler_3"), ADD, RET), {ChangeKind.MEMORY: FunctionCount(1, 1, 0)}),
        ((MRS_X1, *BODY), {ChangeKind.SYSTEM: FunctionCount(1, 0, 0)}),
        ((RET, *BODY[:-1]), {ChangeKind.CONTROL: FunctionCount(1, 1, 0)}),
    ],
)
def test_changes_are_counted_by_kind(
    tmp_path: Path, body: Body, kinds: dict[ChangeKind, FunctionCount]
) -> None:
    diff = compared(tmp_path, [("f", BODY)], [("f", body)])
    assert only(diff).kinds == kinds
    assert only(diff).status is FunctionStatus.CHANGED
    assert (only(diff).left_bytes, only(diff).right_bytes) == (4 * len(BODY), 4 * len(body))


def test_a_branch_over_an_insertion_has_not_changed(tmp_path: Path) -> None:
    left = (("b", 3), MOV, ADD, LDR, RET, ("b", -3))
    right = (("b", 4), MOV, DMB, ADD, LDR, RET, ("b", -3))
    diff = compared(tmp_path, [("f", left)], [("f", right)])
    assert only(diff).kinds == {ChangeKind.BARRIER: FunctionCount(1, 0, 0)}


def test_a_branch_to_another_instruction_has(tmp_path: Path) -> None:
    left = (("b", 2), MOV, ADD, LDR, RET)
    right = (("b", 3), MOV, ADD, LDR, RET)
    diff = compared(tmp_path, [("f", left)], [("f", right)])
    assert only(diff).kinds == {ChangeKind.CONTROL: FunctionCount(0, 0, 1)}
    assert diff.only_operands == 1


def test_a_reference_to_other_data_is_an_operand(tmp_path: Path) -> None:
    data = {"here": DATA_AT, "there": DATA_AT + 0x2010}
    bodies = [(("adrp", name), ("lo12", name), RET) for name in data]
    diff = compared(
        tmp_path, [("f", bodies[0])], [("f", bodies[1])], left_data=data, right_data=data
    )
    assert only(diff).kinds == {ChangeKind.ARITHMETIC: FunctionCount(0, 0, 2)}


def test_the_low_bits_count_where_the_page_is_not_known_to_be_theirs(tmp_path: Path) -> None:
    data = {"here": DATA_AT, "there": DATA_AT + 0x10}
    # Something else gets to the ADD: it has a number of its own.
    bodies = [(("b", 2), ("adrp", "here"), ("lo12", name), RET) for name in data]
    diff = compared(
        tmp_path, [("f", bodies[0])], [("f", bodies[1])], left_data=data, right_data=data
    )
    assert only(diff).kinds == {ChangeKind.ARITHMETIC: FunctionCount(1, 1, 0)}


def test_another_register_of_a_system_instruction_is_an_operand(tmp_path: Path) -> None:
    diff = compared(tmp_path, [("f", (MRS_X1, RET))], [("f", (MRS_X2, RET))])
    assert only(diff).kinds == {ChangeKind.SYSTEM: FunctionCount(0, 0, 1)}


def test_padding_at_the_end_is_none(tmp_path: Path) -> None:
    diff = compared(tmp_path, [("f", (*BODY, NOP, 0))], [("f", (*BODY, NOP, NOP, NOP))])
    assert diff.same


def test_what_a_literal_load_loads_is_data(tmp_path: Path) -> None:
    load = 0x58000040  # ldr x0, .+8
    bodies = [(load, RET, 0x14000002 + low, 0x14000000) for low in (0, 1)]
    diff = compared(tmp_path, [("f", bodies[0])], [("f", bodies[1])])
    assert only(diff).kinds == {ChangeKind.DATA: FunctionCount(1, 1, 0)}


def test_no_namesake_is_lost(tmp_path: Path) -> None:
    kinds: list[Body] = [(MOV, RET), (ADD, RET), (LDR, RET), (MOV, RET)]
    left = [("twin", body) for body in kinds]
    right = [("twin", body) for body in kinds[1:]]
    diff = compared(tmp_path, left, right)
    assert only(diff) == FunctionChange(
        "twin",
        None,
        8,
        0,
        {ChangeKind.ARITHMETIC: FunctionCount(0, 1, 0), ChangeKind.CONTROL: FunctionCount(0, 1, 0)},
    )
    assert diff.unchanged.count("twin") == 3


def test_namesakes_that_changed_go_by_their_neighbours(tmp_path: Path) -> None:
    left = [("a", (RET,)), ("twin", (MOV, RET)), ("b", (RET,)), ("twin", (LDR, RET))]
    right = [("b", (RET,)), ("twin", (LDR, ADD, RET)), ("a", (RET,)), ("twin", (MOV, ISB, RET))]
    diff = compared(tmp_path, left, right)
    assert sorted((one.kinds for one in diff.functions), key=str) == [
        {ChangeKind.ARITHMETIC: FunctionCount(1, 0, 0)},
        {ChangeKind.BARRIER: FunctionCount(1, 0, 0)},
    ]


@pytest.mark.parametrize(
    ("left", "right", "name"),
    [
        ("f=__other", "__other", "f → __other"),
        ("f.isra.0", "f", "f.isra.0 → f"),
        ("f", "f.constprop.0.isra.0", "f → f.constprop.0.isra.0"),
    ],
)
def test_one_function_with_two_names_is_one(
    tmp_path: Path, left: str, right: str, name: str
) -> None:
    diff = compared(tmp_path, [(left, (MOV, RET))], [(right, (MOV, ISB, RET))])
    assert only(diff).name == name
    assert only(diff).kinds == {ChangeKind.BARRIER: FunctionCount(1, 0, 0)}


def test_a_part_of_a_function_is_not_the_function(tmp_path: Path) -> None:
    diff = compared(tmp_path, [("f.part.0", (MOV, RET))], [("f", (MOV, RET))])
    assert {one.status for one in diff.functions} == {
        FunctionStatus.ONLY_LEFT,
        FunctionStatus.ONLY_RIGHT,
    }


def test_only_the_kinds_asked_for_count(tmp_path: Path) -> None:
    paths = tmp_path / "left", tmp_path / "right"
    both = ("same", BODY)
    paths[0].write_bytes(image([both, ("f", BODY), ("g", BODY)]))
    paths[1].write_bytes(image([both, ("f", (ISB, *BODY)), ("g", (MOV, *BODY)), ("h", (DMB, RET))]))
    diff = compare_kernels(*paths, kinds=[ChangeKind.BARRIER])
    assert not diff.same
    assert [one.name for one in diff.differing()] == ["f", "h"]
    document = to_data(diff)
    assert document["changed"] == 2
    assert document["kinds"] == {
        "barrier": {"inserted": 2, "deleted": 0, "operands": 0, "functions": 2}
    }
    assert document["totals"]["changed"] == 1  # f: of g nothing that was asked for
    assert [one["kinds"].keys() for one in document["functions"]] == [{"barrier"}, {"barrier"}]
    assert compare_kernels(*paths, kinds=[ChangeKind.CACHE]).same


def test_what_is_too_large_to_align_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_match, "MAX_CELLS", 16)
    left, right = (MOV, LDR, ADD, RET), (ISB, ADD, LDR, MOV, RET, RET)
    diff = compared(tmp_path, [("f", left)], [("f", right)])
    assert not only(diff).aligned
    # In order only one of the three would be found again.
    assert only(diff).kinds == {
        ChangeKind.BARRIER: FunctionCount(1, 0, 0),
        ChangeKind.CONTROL: FunctionCount(1, 0, 0),
    }
    assert to_data(diff)["functions"][0]["aligned"] is False


def test_all_functions_together_have_a_bounded_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = (MOV, LDR, ADD, RET), (ADD, LDR, MOV, RET)
    functions = [(f"f{n}", left) for n in range(4)], [(f"f{n}", right) for n in range(4)]
    monkeypatch.setattr(whole_match, "MAX_ALL_CELLS", 2 * 64 * 3)  # RET is the common end
    diff = compared(tmp_path, *functions)
    assert [one.aligned for one in diff.functions] == [True, True, False, False]


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    for name, body in (("left", BODY), ("right", (*BODY[::-1], MOV))):
        (tmp_path / name).write_bytes(image([("f", body)]))
    compare_kernels(
        tmp_path / "left", tmp_path / "right", progress=lambda *report: told.append(report)
    )
    assert [report[1:] for report in told[:3]] == [(0, 2), (1, 2), (2, 2)]
    assert told[-1][1:] == (1, 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("relocate.S", b"ret\n", "only kernels"),
        ("kernel:f", None, "is one routine"),
        ("series:15", None, "only kernels"),
    ],
)
def test_what_is_no_kernel_is_refused_with_a_way_out(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(image([("f", BODY)]))
    other = tmp_path / name
    if content is not None:
        other.write_bytes(content)
    text = name if name.startswith("series") else str(other)
    with pytest.raises(DiffError, match=message) as caught:
        compare_kernels(kernel, text)
    assert caught.value.hint is not None
    assert "--all" in caught.value.hint


def test_a_damaged_or_missing_kernel_is_an_error(tmp_path: Path) -> None:
    kernel, damaged = tmp_path / "kernel", tmp_path / "damaged"
    kernel.write_bytes(image([("f", BODY)]))
    content = bytearray(image([("f", BODY)]))
    content[TABLE_AT : TABLE_AT + 0x4000] = bytes(0x4000)
    damaged.write_bytes(content)
    for path in (damaged, tmp_path / "missing"):
        with pytest.raises(FormatError):
            compare_kernels(kernel, path)


def test_too_much_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_text, "MAX_CODE", 1000)
    with pytest.raises(DiffError, match="more than the 1000 compared"):
        compared(tmp_path, [("f", BODY)], [("f", BODY)])


def test_any_words_can_be_compared(tmp_path: Path) -> None:
    """Whatever refers anywhere."""
    generator = random.Random(0)
    forms = (0x14000000, 0x54000000, 0x34000000, 0x36000000, 0x18000000, 0x10000000, 0x90000000,
             0x91000000, 0x39000000, 0)  # fmt: skip
    for _ in range(3):
        words = [
            generator.choice(forms) | generator.getrandbits(generator.choice((12, 24, 32)))
            for _ in range(2000)
        ]
        changed = [*words[:700], ISB, *words[720:]]
        assert compared(tmp_path, [("f", words)], [("f", words)]).same
        count = only(compared(tmp_path, [("f", words)], [("f", changed)])).count(
            frozenset(ChangeKind)
        )
        assert count.deleted - count.inserted == 19
