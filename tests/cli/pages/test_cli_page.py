"""The HTML page of a diff: what is in it, that it is whole, and that nothing gets out of it."""

from __future__ import annotations

import re
import struct
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from relokit.cli.pages.page import Behaviour, Facts, diff_page
from relokit.cli.pages.page_map import MINUS
from relokit.cli.pages.page_rows import MAX_ROWS, RowBudget, RowPlan, blocks
from relokit.cli.pages.series_page import series_page
from relokit.codegen.object import SourceLine, SourceLines
from relokit.diffing.instructions.normalise import Aspect
from relokit.diffing.read.routine import Extent, Names, Replaced, Routine, Side
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.model import Diff, PatchStep
from relokit.reporting.page_text import Ids, shown

BASE = 0xFFFF_8000_0800_0000
NOP, RET, ISB, DSB_SY = 0xD503201F, 0xD65F03C0, 0xD5033FDF, 0xD5033F9F
DC_IVAC, DC_CIVAC = 0xD5087622, 0xD50B7E22
VOID = frozenset({"meta", "input", "rect", "col"})


def add(number: int) -> int:
    """``add x0, x1, #number``"""
    return 0x91000020 | number << 10


def routine(
    words: Iterable[int], name: str = "f", at: int = BASE, lines: tuple[str, ...] = ()
) -> Routine:
    code = [*words]
    return Routine(
        name,
        at,
        struct.pack(f"<{len(code)}I", *code),
        section=".text",
        lines=SourceLines(
            (4 * number, SourceLine("some.S", number + 1, text))
            for number, text in enumerate(lines)
        ),
    )


def side(*routines: Routine, name: str = "a side", section: str = ".text") -> Side:
    return Side(
        name,
        {one.name: one for one in routines},
        Names(()),
        sections=(Extent(section, BASE, sum(len(one.code) for one in routines)),),
    )


def diff(left: Iterable[int], right: Iterable[int], **more: object) -> Diff:
    return compare(side(routine(left)), side(routine(right)), **more)  # type: ignore[arg-type]


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parent: Element | None
    children: list[Element | str] = field(default_factory=list)

    def all(self, tag: str = "", css: str = "") -> list[Element]:
        found = []
        for child in self.children:
            if isinstance(child, str):
                continue
            if tag in ("", child.tag) and css in ("", *child.attributes.get("class", "").split()):
                found.append(child)
            found += child.all(tag, css)
        return found

    @property
    def text(self) -> str:
        return "".join(one if isinstance(one, str) else one.text for one in self.children)


class Tree(HTMLParser):
    """Elements as they nest; an end tag that ends another element is a failure."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = self.at = Element("", {}, None)
        self.feed(page)
        self.close()
        assert self.at is self.root, f"<{self.at.tag}> is open at the end"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        element = Element(tag, {name: value or "" for name, value in attrs}, self.at)
        self.at.children.append(element)
        if tag not in VOID:
            self.at = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID, f"<{tag}/>"
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.at.tag, f"</{tag}> in <{self.at.tag}>"
        assert self.at.parent is not None
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.children.append(data)


def parse(page: str) -> Element:
    """The page's root, after what has to hold for every page."""
    root = Tree(page).root
    ids = [one.attributes["id"] for one in root.all() if "id" in one.attributes]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert not any(re.search(r"\s", one) for one in ids)
    for one in root.all():
        assert not one.attributes.keys() & {"style", "src", "srcset", "action", "background"}
        assert not any(name.startswith("on") for name in one.attributes), one.attributes
        target = one.attributes.get("href")
        if target is not None:
            assert target[0] == "#", target
            assert target[1:] in ids, target
        labels = one.attributes.get("aria-labelledby") or one.attributes.get("for")
        assert labels is None or labels in ids
    assert not {one.tag for one in root.all()} & {"link", "img", "iframe", "object", "base", "font"}
    assert [len(root.all(tag)) for tag in ("html", "title", "h1", "main", "script", "style")] == (
        [1] * 6
    )
    policy = next(
        one.attributes["content"]
        for one in root.all("meta")
        if one.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives.pop("default-src") == "'none'"
    for tag in ("script", "style"):
        text = root.all(tag)[0].text
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert directives.pop(f"{tag}-src") == f"'sha256-{digest}'"
        assert "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
        assert "url(" not in text
        assert "@import" not in text
    assert set(directives.values()) == {"'none'"}
    page.encode()  # no lone surrogate
    return root


def cells(row: Element) -> list[str]:
    return [cell.text for cell in row.all("td")]


def changed(root: Element) -> list[Element]:
    return root.all("tr", "c")


LEFT = (*map(add, range(20)), DC_IVAC, ISB, *map(add, range(30, 50)), DSB_SY, RET)
RIGHT = (*map(add, range(20)), DC_CIVAC, *map(add, range(30, 50)), NOP, DSB_SY, RET)


def test_what_changed_stands_side_by_side_in_words() -> None:
    root = parse(diff_page(diff(LEFT, RIGHT)))
    assert [cells(row) for row in changed(root)] == [
        ["50", f"{DC_IVAC:08x}", "dc ivac, x2", "", "changed cache",
         "50", f"{DC_CIVAC:08x}", "dc civac, x2", ""],
        ["54", f"{ISB:08x}", "isb", "", "deleted barrier", ""],
        ["", "inserted hint", "a4", f"{NOP:08x}", "nop", ""],
    ]  # fmt: skip
    assert [one.text for one in changed(root)[0].all("del")] == ["ivac"]
    assert [one.text for one in changed(root)[0].all("ins")] == ["civac"]
    assert root.all("p", "verdict")[0].text == "3 instructions changed"
    matrix = root.all("table", "matrix")[0].all("tbody")[0].all("tr")
    assert [(row.all("th")[0].text, *cells(row)) for row in matrix] == [
        ("barrier", "0", "0", "1"), ("cache", "1", "0", "0"), ("hint", "0", "1", "0"),
    ]  # fmt: skip
    kinds = [(one.attributes["value"], one.parent.text.split()) for one in root.all("input")
             if "value" in one.attributes and one.parent]  # fmt: skip
    assert kinds == [(kind, [kind, "1"]) for kind in ("barrier", "cache", "hint")]


def test_every_instruction_is_on_the_page_once() -> None:
    found = diff(LEFT, RIGHT)
    rows = parse(diff_page(found)).all("table", "side")[0].all("td", "x")
    expected = [
        f"{one.word:08x}"
        for row in found.routines[0].rows
        for one in (row.left, row.right)
        if one is not None
    ]
    assert [cell.text for cell in rows] == expected


def test_equal_runs_are_folded_but_for_what_is_around_a_change() -> None:
    table = parse(diff_page(diff(LEFT, RIGHT))).all("table", "side")[0]
    assert [one.text for one in table.all("button")] == [
        "17 equal instructions",
        "14 equal instructions",
    ]
    bodies = table.all("tbody")
    for button, rows in pairwise(bodies):
        if button.attributes.get("class") == "f":
            assert rows.attributes["class"] == "e"
            assert button.all("button")[0].attributes["aria-expanded"] == "false"
            assert button.text.strip().startswith(f"{len(rows.all('tr'))} ")


def test_what_repeats_itself_is_folded() -> None:
    root = parse(diff_page(diff((add(1), RET), (add(1), *[NOP] * 400, RET))))
    assert [one.text for one in root.all("tbody", "f")] == ["399 more of the same: nop"]
    assert len(changed(root)) == 400


def test_the_same_says_so_and_is_folded_whole() -> None:
    root = parse(diff_page(diff(LEFT, LEFT)))
    assert root.all("p", "verdict")[0].text == "The same"
    assert "100.0 % alike" in root.text
    assert changed(root) == root.all("fieldset") == []
    (details,) = root.all("details", "routine")
    assert "open" not in details.attributes
    assert "same" in details.all("summary")[0].text.split()
    assert "open" in parse(diff_page(diff(LEFT, RIGHT))).all("details", "routine")[0].attributes


def test_the_same_page_every_time() -> None:
    found = diff(LEFT, RIGHT)
    assert diff_page(found) == diff_page(diff(LEFT, RIGHT))
    steps = [PatchStep(1, "one", "nothing", diff(LEFT, LEFT)), PatchStep(2, "two", "much", found)]
    assert series_page(steps) == series_page(steps)


def test_both_ends_of_a_move_lead_to_each_other() -> None:
    one = (DSB_SY, *map(add, range(12)), RET)
    root = parse(diff_page(diff(one, (*one[1:13], DSB_SY, RET))))
    ends = changed(root)
    assert [cells(row)[4 if row.all("td")[0].text else 1] for row in ends] == [
        "moved to 30 barrier",
        "moved from 0 barrier",
    ]
    links = [row.all("td", "w")[0].all("a")[0].attributes["href"] for row in ends]
    assert links == [f"#{row.attributes['id']}" for row in reversed(ends)]
    assert links == ["#f+0x30-r", "#f+0x0-l"]


def test_renamed_registers_and_what_is_only_spelt_otherwise() -> None:
    renamed = [word + 0x12 if word == DC_IVAC else word for word in LEFT]  # x2 is x20
    root = parse(diff_page(diff(LEFT, renamed)))
    assert [one.text for one in root.all("span", "rename")] == ["x2→x20"]
    assert changed(root) == []
    assert [one.text for one in root.all("u")] == ["x2", "x20"]
    strict = parse(diff_page(diff(LEFT, renamed, kept=[Aspect.REGISTERS])))
    assert [cells(row)[4] for row in changed(strict)] == ["renamed cache"]


def test_what_was_not_asked_for_is_there_and_does_not_count() -> None:
    root = parse(diff_page(diff(LEFT, RIGHT, kinds=[ChangeKind.BARRIER])))
    assert [cells(row)[4] for row in changed(root)] == ["deleted barrier"]
    assert sorted(row.all("td", "w")[0].text for row in root.all("tr", "u")) == [
        "changed cache, not asked for",
        "inserted hint, not asked for",
    ]
    assert "Only this was asked for: barrier." in root.text


def test_lines_of_the_source() -> None:
    left = side(routine([add(1), RET], lines=("add x0, x1, #1", "<b>ret</b> & so on")))
    row = parse(diff_page(compare(left, side(routine([add(1), RET]))))).all("td", "l")
    assert [cell.text for cell in row] == [
        "some.S:1add x0, x1, #1", "", "some.S:2<b>ret</b> & so on", "",
    ]  # fmt: skip


def test_what_boot_makes_of_a_word() -> None:
    replaced = Replaced(4, 4, (ISB,), None, "ARM64_HAS_SOMETHING")
    left = side(replace(routine([add(1), NOP, RET]), replaced=(replaced,)))
    root = parse(diff_page(compare(left, side(routine([add(1), NOP, RET])))))
    assert [one.text for one in root.all("small")] == ["at boot: isb (ARM64_HAS_SOMETHING)"]


def test_map_of_routines_and_sections() -> None:
    left = side(
        routine([add(1), RET], "both"), routine([add(2), RET], "gone", BASE + 8), section=".old"
    )
    right = side(routine([add(1), NOP, RET], "both"), routine([ISB], "new", BASE + 12))
    root = parse(diff_page(compare(left, right)))
    sections, routines = root.all("table", "map")
    rows = [cells(row) for row in routines.all("tbody")[0].all("tr")]
    assert rows == [
        ["both", "1 changed", "8", "12", "+4", "", f"{BASE:016x}", f"{BASE:016x}", ".text"],
        ["gone", "only left", "8", "none", f"{MINUS}8", "", f"{BASE + 8:016x}", "", ".text"],
        ["new", "only right", "none", "4", "+4", "", "", f"{BASE + 12:016x}", ".text"],
    ]
    assert [one.attributes["href"] for one in routines.all("a")] == ["#both", "#gone", "#new"]
    widths = [one.attributes["width"] for one in routines.all("rect")]
    assert widths == ["67", "100", "67", "0", "0", "33"]
    assert [cells(row)[:4] for row in sections.all("tbody")[0].all("tr")] == [
        [".old", "16", "none", f"{MINUS}16"],
        [".text", "none", "16", "+16"],
    ]


HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "</script></style><base href=//evil>",
    "a b\tc\nd\u2028e\u2029f",
    "\x00\x1b[31m\x7f\u202ertl\u2066",
    "\udcff lone surrogate",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "-code",
    "n" * 100_000,
    "g~1234",
    "g",
)  # fmt: skip


def hostile_side(number: int) -> Side:
    routines = [
        routine([add(at), add(number), RET], name, BASE + 16 * at, lines=HOSTILE[:3])
        for at, name in enumerate(HOSTILE)
    ]
    names = Names((one.address, one.name) for one in routines)
    # A call to each, so that every name is in an instruction too.
    calls = [0x94000000 | (16 * at - 16 * len(HOSTILE) - 4 * at) // 4 & 0x3FFFFFF
             for at in range(len(HOSTILE))]  # fmt: skip
    routines.append(routine([*calls, add(number)], "caller", BASE + 16 * len(HOSTILE)))
    extents = tuple(Extent(name, BASE, 64) for name in HOSTILE)
    return Side(HOSTILE[number], {one.name: one for one in routines}, names, sections=extents)


def test_names_of_others_do_no_harm() -> None:
    found = compare(hostile_side(0), hostile_side(1))
    facts = Facts(HOSTILE[0], (HOSTILE[1], HOSTILE[2]), ((HOSTILE[3], HOSTILE[9]),))
    page = diff_page(found, behaviour=Behaviour(HOSTILE[4], (HOSTILE[5],), (facts,)))
    step = PatchStep(1, HOSTILE[0], HOSTILE[1], found)
    for text in (page, series_page([step, PatchStep(2, HOSTILE[3], HOSTILE[9], found)])):
        root = parse(text)
        assert not root.all("img")
        assert HOSTILE[0] in root.text
        assert "{{ 7 * 7 }}" in root.text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\u202e\u2066]", text)
        assert "\\u2028" in root.text
        assert max(map(len, root.text.split())) < 1000
        assert len(text) < 600_000


def test_instructions_name_hostile_symbols() -> None:
    root = parse(diff_page(compare(hostile_side(0), hostile_side(1))))
    texts = [cell.text for cell in root.all("td", "i")]
    assert f"bl {HOSTILE[0]}" in texts
    assert all(len(text) < 300 for text in texts)


@pytest.mark.parametrize("name", ["memcpy", "_x.cold.1", "$d"])
def test_an_id_is_the_name_where_it_can_be(name: str) -> None:
    assert Ids().take(name) == name
    assert Ids("step3.").take(name) == f"step3.{name}"


def test_ids_do_not_meet() -> None:
    ids = Ids()
    taken = [ids.take(name) for name in (*HOSTILE, *HOSTILE, "a b", "a_b", "a\tb")]
    assert len({*taken}) == len(taken)
    assert all(re.fullmatch(r"[A-Za-z0-9_.$~]+", one) for one in taken)


def test_text_is_bounded_and_visible() -> None:
    assert shown("plain → text") == "plain → text"
    assert shown("a\tb\x07") == "a b\\x07"
    assert shown("x" * 10, 4) == "xxxx…"


def test_a_budget_keeps_changes_before_what_is_equal() -> None:
    found = diff(LEFT, RIGHT)
    plan = RowPlan(found.routines[0], found.kinds)
    needed = sum(last - first for first, last in plan.needed())
    for rows in (0, 5, needed, needed + 14, MAX_ROWS):
        made = [*blocks(plan, "f", RowBudget.of([plan], rows))]
        assert sum(len(one.lines) for one in made) <= rows
        total = sum(len(one.lines) + one.left_out for one in made)
        assert total == len(found.routines[0].rows)
        if rows >= needed:
            assert sum(line.counts for one in made for line in one.lines) == 3
            assert not any(one.changed for one in made if one.left_out)
    assert [one.left_out for one in blocks(plan, "f", RowBudget.of([plan], needed + 14))][1] == 0
    assert not any(one.left_out for one in blocks(plan, "f", RowBudget.of([plan])))


def test_what_is_left_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = diff(LEFT, RIGHT)
    monkeypatch.setattr(RowBudget, "of", classmethod(lambda cls, plans: cls(20, 0)))
    root = parse(diff_page(found))
    told = [one.text for one in root.all("tbody", "g")]
    assert told[0].startswith("17 equal rows are left out of this page")
    assert told[-1].startswith(("1", "2", "3", "4"))


def test_behaviour_has_a_section_of_its_own() -> None:
    facts = Facts("Counts", ("what", "left", "right"), (("dsb sy", "67", "1"),))
    behaviour = Behaviour("fewer barriers", ("f: the same",), (facts,))
    root = parse(diff_page(diff(LEFT, RIGHT), behaviour=behaviour))
    (section,) = root.all("section", "facts")
    assert section.all("p")[0].text == "fewer barriers"
    assert [one.text for one in section.all("li")] == ["f: the same"]
    assert cells(section.all("tbody")[0].all("tr")[0]) == ["dsb sy", "67", "1"]
    assert not parse(diff_page(diff(LEFT, RIGHT))).all("section", "facts")


def test_a_series_is_a_page_of_foldable_steps() -> None:
    both = compare(
        side(routine(LEFT), routine([add(1), RET], "untouched", BASE + 4096)),
        side(routine(RIGHT), routine([add(1), RET], "untouched", BASE + 4096)),
    )
    steps = [
        PatchStep(1, "one predicate", "no byte changes", diff(LEFT, LEFT)),
        PatchStep(2, "cleans", "civac", both),
    ]
    root = parse(series_page(steps))
    same, other = root.all("details", "step")
    assert "open" not in same.attributes
    assert "open" in other.attributes
    assert "No difference in the machine code." in same.text
    assert not changed(same)
    assert len(changed(other)) == 3
    assert changed(other)[0].attributes["id"] == "step2.f+0x50-l"
    assert "1 cache operation changed: dc ivac → dc civac" in other.text
    assert [one.text for one in other.all("p", "kindlist")] == ["1 barrier 1 cache 1 hint "]
    assert "The same in both: untouched." in other.text
    assert [one.attributes["id"] for one in other.all("details", "routine")] == ["step2.f"]
    (overview,) = root.all("table", "map")
    assert [cells(row)[:3] for row in overview.all("tbody")[0].all("tr")] == [
        ["1", "one predicate", "none"],
        ["2", "cleans", "3"],
    ]
    assert parse(series_page([])).all("p", "verdict")[0].text == "0 instructions changed in 0 steps"
