"""What a person does with the page: filter, find, walk, fold, link; and what it must not do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from relokit.diffing.routines.model import Action, Diff

pytestmark = pytest.mark.oracle

Browser = Any
"""The fixture's class, which is in conftest.py."""
ROUTINE = "arm64_relocate_new_kernel"
WIDE, NARROW = (1440, 900), (320, 700)


@pytest.mark.parametrize("page", ["diff", "same", "series"])
def test_a_page_loads_nothing_but_itself(browser: Browser, page: str) -> None:
    browser.driver.get_log("performance")
    browser.open(page)
    browser.press("n", "f", "?", Keys.ESCAPE, "/")
    messages = [
        json.loads(one["message"])["message"] for one in browser.driver.get_log("performance")
    ]
    own = browser.driver.current_url.partition("#")[0]
    # Chromium's own first tab may still be loading: only what this document asks for counts.
    asked = {
        one["params"]["request"]["url"]
        for one in messages
        if one["method"] == "Network.requestWillBeSent" and one["params"]["documentURL"] == own
    }
    assert asked == {own}
    assert browser.js("return performance.getEntriesByType('resource').length") == 0
    assert browser.js("return [localStorage.length, document.cookie]") == [0, ""]


def test_its_policy_lets_nothing_in(one_browser: Browser) -> None:
    one_browser.open("diff")
    blocked = one_browser.driver.execute_async_script(
        """
        const done = arguments[0], found = [];
        addEventListener("securitypolicyviolation", (e) => found.push(e.effectiveDirective));
        const add = (tag, attributes) =>
          document.body.append(Object.assign(document.createElement(tag), attributes));
        add("script", { textContent: "window.hacked = 1" });
        add("style", { textContent: "body { display: none }" });
        add("img", { src: "https://relokit.invalid/a.png" });
        add("iframe", { src: "https://relokit.invalid/" });
        add("div", { innerHTML: "<b onclick='1' style='color: red'>x</b>" });
        fetch("https://relokit.invalid/").catch(() => 0);
        setTimeout(() => done([...new Set(found)].sort().concat(window.hacked || "safe")), 300);
        """
    )
    one_browser.driver.get_log("browser")  # it is told there, too
    assert blocked == [
        "connect-src", "frame-src", "img-src", "script-src-attr", "script-src-elem",
        "style-src-attr", "style-src-elem", "safe",
    ]  # fmt: skip


def test_filter_by_kind(browser: Browser, diff: Diff) -> None:
    counts: dict[str, int] = {}
    for change in diff.changes():
        counts[change.kind] = counts.get(change.kind, 0) + 1
    browser.open("diff")
    boxes = browser.own("kinds").find_elements(By.TAG_NAME, "label")
    assert {box.text.split()[0]: int(box.text.split()[1]) for box in boxes} == counts

    def washed() -> set[str]:
        return set(
            browser.js(
                "return [...document.querySelectorAll('tr.c')].filter(row => "
                "getComputedStyle(row.querySelector('td.i')).backgroundColor !== 'rgba(0, 0, 0, 0)'"
                " && row.querySelector('.v').checkVisibility({visibilityProperty: true}))"
                ".map(row => /k-(\\w+)/.exec(row.className)[1])"
            )
        )

    assert washed() == set(counts)
    browser.own("none").click()
    assert washed() == set()
    assert browser.own("status").text == f"showing 0 of {sum(counts.values())} changes"
    browser.own("next").click()
    assert browser.own("status").text == "no change to go to"
    browser.own("kinds").find_element(By.CSS_SELECTOR, "input[value=cache]").click()
    assert washed() == {"cache"}
    assert (
        browser.own("status").text == f"showing {counts['cache']} of {sum(counts.values())} changes"
    )
    assert browser.place.endswith(";only=cache")
    browser.own("next").click()
    assert browser.own("status").text == "change 1 of 2: deleted cache: dc ivac, x10"
    browser.own("all").click()
    assert washed() == set(counts)
    assert "only" not in browser.place


def test_find(browser: Browser) -> None:
    browser.open("diff")
    browser.press("/")
    assert browser.focus == "-find"
    browser.press("TLBI  vmalle1")
    browser.wait(lambda: browser.own("hits").text)
    total = browser.js(
        "return [...document.querySelectorAll('td.i')]"
        ".filter(e => e.textContent.includes('tlbi vmalle1')).length"
    )
    assert total > 2
    assert browser.own("hits").text == f"{total} hits"

    def at() -> str:
        return str(
            browser.js(
                "const e = document.querySelector('.h.at');"
                "return e.checkVisibility() && e.closest('details').id"
            )
        )

    seen = []
    for number in range(1, total + 1):
        browser.press(Keys.ENTER)
        assert browser.own("hits").text == f"{number} of {total} hits"
        seen.append(at())
    # Some are in routines that are the same, which were folded.
    assert len(set(seen)) > 1
    browser.press(Keys.ENTER)
    assert browser.own("hits").text == f"1 of {total} hits"
    ActionChains(browser.driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(
        Keys.SHIFT
    ).perform()
    assert browser.own("hits").text == f"{total} of {total} hits"
    assert browser.focus == "-find"
    browser.press(Keys.ESCAPE)
    assert browser.own("hits").text == ""
    assert browser.js("return document.querySelectorAll('.h').length") == 0
    browser.press("no such thing", Keys.ENTER)
    assert browser.own("hits").text == "0 hits"


def test_find_a_symbol(browser: Browser) -> None:
    browser.open("diff")
    browser.own("find").send_keys("swsusp_arch_res")
    browser.press(Keys.ENTER)
    assert browser.own("hits").text == "1 of 1 hit"
    assert browser.js("return document.getElementById('swsusp_arch_resume').open")


def test_keys_walk_the_changes(browser: Browser, diff: Diff) -> None:
    browser.open("diff")
    starts = []
    for routine in diff.routines:
        for hunk in routine.hunks(diff.kinds):
            row = routine.rows[hunk.first]
            one, which = (row.left, "l") if row.left else (row.right, "r")
            assert one is not None
            starts.append(f"{routine.name}+{one.offset:#x}-{which}")
    assert len(starts) > 5
    for number, start in enumerate(starts, 1):
        browser.press("n")
        assert browser.focus == browser.place == start
        assert browser.visible(start)
        assert browser.own("status").text.startswith(f"change {number} of {len(starts)}: ")
    browser.press("n")
    assert browser.focus == starts[0]
    assert "around the end" in browser.own("status").text
    browser.press("p")
    assert browser.focus == starts[-1]
    browser.press("p")
    assert browser.focus == starts[-2]


def test_keys_can_be_turned_off_and_do_not_take_what_is_typed(browser: Browser) -> None:
    browser.open("diff")
    browser.press("/", "n", "p", "f", "?")
    assert browser.own("find").get_attribute("value") == "npf?"
    browser.js("document.activeElement.blur()")
    browser.press("?")
    assert browser.js("return document.querySelector('dialog').open")
    assert "next, previous change" in browser.own("help").text
    browser.press("n")
    assert browser.place == ""
    browser.own("keys").click()
    browser.press(Keys.ESCAPE)
    assert not browser.js("return document.querySelector('dialog').open")
    browser.press("n")
    assert browser.place == ""


def test_folding(browser: Browser) -> None:
    browser.open("diff")
    folded = browser.rows_shown()
    button = browser.driver.find_element(By.CSS_SELECTOR, f"#{ROUTINE} .f button")
    browser.show(ROUTINE)
    count = int(button.text.split()[0])
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    assert browser.rows_shown() == folded + 2 * count
    button.click()
    assert button.get_attribute("aria-expanded") == "false"
    assert browser.rows_shown() == folded
    browser.press("f")
    assert browser.rows_shown() == browser.js(
        "return document.querySelectorAll('table.side td.o').length"
    )
    assert browser.own("fold").text.startswith("Fold all")
    browser.press("f")
    assert browser.rows_shown() == 0
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, ".routine > summary")) == 18


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_permalinks(browser: Browser, diff: Diff, size: tuple[int, int]) -> None:
    id_ = f"{ROUTINE}+0x58-l"
    browser.open("diff", f"#{id_}", size=size)
    assert browser.focus == id_
    browser.wait(lambda: browser.visible(id_))
    # The other end of a move, by its link; back by the browser's own way.
    (move, *_) = (one for one in diff.changes() if one.action is Action.MOVED)
    assert move.left is not None
    assert move.right is not None
    here, there = f"{ROUTINE}+{move.left.offset:#x}-l", f"{ROUTINE}+{move.right.offset:#x}-r"
    link = browser.js("return document.getElementById(arguments[0]).querySelector('.w a')", here)
    link.send_keys(Keys.ENTER)
    browser.wait(lambda: browser.focus == there)
    browser.wait(lambda: browser.visible(there))
    browser.driver.back()
    browser.wait(lambda: browser.focus == id_)


def test_permalinks_open_what_is_folded(browser: Browser) -> None:
    browser.open("diff", "#enter_vhe+0x8-r")
    assert browser.js(
        "const e = document.activeElement; return [e.localName, e.cells[5].textContent,"
        "e.closest('details').id, e.checkVisibility()]"
    ) == ["tr", "8", "enter_vhe", True]
    browser.open("diff", f"#{ROUTINE}+0x20-l")
    assert browser.js("return document.activeElement.closest('tbody').className") == "e o"
    browser.open("series", f"#step12.{ROUTINE}+0x58-l")
    assert browser.focus == f"step12.{ROUTINE}+0x58-l"
    browser.open("series", "#step1")
    assert browser.js("return document.getElementById('step1').open")


def test_permalinks_carry_the_filter(browser: Browser) -> None:
    browser.open("diff", f"#{ROUTINE}+0x58-l;only=cache,barrier")
    checked = browser.own("kinds").find_elements(By.CSS_SELECTOR, "input:checked")
    assert [box.get_attribute("value") for box in checked] == ["barrier", "cache"]
    assert browser.focus == f"{ROUTINE}+0x58-l"
    browser.open("diff", "#nowhere+0x10-l;only=%F0%28%8C")
    assert browser.own("status").text.startswith("this page has no such place")
