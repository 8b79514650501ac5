"""Whether everybody can read the page: contrast, small screens, no scripts, a reader, paper."""

from __future__ import annotations

import re
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.oracle

Browser = Any
"""The fixture's class, which is in conftest.py."""
ROUTINE = "arm64_relocate_new_kernel"
NARROW = (320, 700)


CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const seen = new Map();
const rgba = (text) => {
  if (!seen.has(text)) {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    seen.set(text, [...canvas.getImageData(0, 0, 1, 1).data]);
  }
  return seen.get(text);
};
const light = (colour) => {
  const [r, g, b] = colour.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = rgba(getComputedStyle(e).backgroundColor);
    if (colour[3] === 255) return colour;
    if (colour[3] !== 0) throw new Error("half transparent: " + e.className);
  }
  return rgba("white");
};
const found = new Map();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim()) continue;
  if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
  const style = getComputedStyle(element);
  if (+style.opacity !== 1) throw new Error("opacity: " + element.className);
  const [one, other] = [light(rgba(style.color)), light(behind(element))].sort((a, b) => b - a);
  const ratio = (one + 0.05) / (other + 0.05);
  const what = element.localName + "." + element.className + " " + style.color;
  if (!found.has(what) || found.get(what) > ratio) found.set(what, ratio);
}
return Object.fromEntries(found);
"""


@pytest.mark.parametrize("page", ["diff", "series"])
@pytest.mark.parametrize("dark", [False, True])
def test_contrast_of_all_text(browser: Browser, page: str, dark: bool) -> None:
    browser.open(page, dark=dark)
    paper = browser.js("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 200) is dark
    browser.press("f")
    browser.own("source").click()
    assert_contrast(browser)
    # Hits on changed and on unchanged rows, and what the filter dims.
    browser.own("find").send_keys("x1")
    browser.press(Keys.ENTER)
    browser.own("none").click()
    assert_contrast(browser)
    browser.own("help-open").click()
    assert_contrast(browser)


def assert_contrast(browser: Browser) -> None:
    ratios = browser.js(CONTRAST)
    assert len(ratios) > 20
    assert {what: ratio for what, ratio in ratios.items() if ratio < 4.5} == {}


def test_the_theme_can_be_chosen(browser: Browser) -> None:
    def paper() -> str:
        return str(browser.js("return getComputedStyle(document.body).backgroundColor"))

    browser.open("diff", dark=True)
    dark = paper()
    browser.open("diff")
    bright = paper()
    assert dark != bright
    browser.own("theme").click()
    assert paper() == dark
    assert browser.own("theme").text == "Light theme"
    browser.own("theme").click()
    assert paper() == bright


@pytest.mark.parametrize("page", ["diff", "same", "series"])
def test_nothing_sticks_out_at_320_pixels(browser: Browser, page: str) -> None:
    browser.open(page, size=NARROW)
    browser.press("f")
    for option in ("", "words", "lines", "source"):
        if option:
            browser.own(option).click()
        assert (
            browser.js("const e = document.documentElement; return e.scrollWidth - e.clientWidth")
            == 0
        )
    # What is wider scrolls within itself, with the keyboard too.
    boxes = browser.js(
        "return [...document.querySelectorAll('.scroll')].filter(e => e.checkVisibility())"
        ".map(e => [e.scrollWidth > e.clientWidth, getComputedStyle(e).overflowX, e.tabIndex])"
    )
    assert [True, "auto", 0] in boxes
    assert all(box[1:] == ["auto", 0] for box in boxes if box[0])


def test_without_scripts_all_code_can_be_read(browser: Browser) -> None:
    browser.open("diff", scripts=False)
    try:
        in_open = browser.js(
            "return [...document.querySelectorAll('details[open] table.side td.o')]"
            ".map(e => e.checkVisibility())"
        )
        assert len(in_open) > 50
        assert all(in_open)
        assert not browser.js("return document.querySelector('.bar').checkVisibility()")
        assert not browser.js("return document.querySelector('.f').checkVisibility()")
        folded = browser.driver.find_element(By.CSS_SELECTOR, "#enter_vhe > summary")
        folded.click()
        assert browser.js("return document.querySelector('#enter_vhe td.o').checkVisibility()")
        browser.open("diff", f"#{ROUTINE}+0x58-l", scripts=False)
        assert browser.visible(f"{ROUTINE}+0x58-l")
    finally:
        browser.cdp("Emulation.setScriptExecutionDisabled", value=False)


def test_what_a_screen_reader_gets(browser: Browser) -> None:
    browser.open("diff")
    browser.show(ROUTINE)
    nodes = [
        (node["role"]["value"], node.get("name", {}).get("value", ""), node)
        for node in browser.cdp("Accessibility.getFullAXTree")["nodes"]
        if not node.get("ignored")
    ]
    roles = [role for role, _, _ in nodes]
    for landmark in ("banner", "main", "contentinfo", "search"):
        assert roles.count(landmark) == 1, landmark
    for role, name, node in nodes:
        if role in ("button", "checkbox", "link", "searchbox", "table", "region", "columnheader"):
            assert name.strip(), node
    names = {name for role, name, _ in nodes if role == "table"}
    assert f"{ROUTINE}, side by side" in names
    headers = [name for role, name, _ in nodes if role == "columnheader"]
    assert headers.count("Instruction") >= 2
    texts = [name for role, name, _ in nodes if role == "cell"]
    assert "deleted cache" in texts
    statuses = [node for role, _, node in nodes if role == "status"]
    assert all(
        any(
            one["name"] == "live" and one["value"]["value"] == "polite"
            for one in node["properties"]
        )
        for node in statuses
    )
    assert len(statuses) == 2
    assert [name for role, name, _ in nodes if role == "heading"][:2] == [
        "Machine code compared",
        "Behaviour",
    ]


def test_tab_reaches_what_can_be_used(browser: Browser) -> None:
    browser.open("diff")
    browser.press(Keys.TAB)
    assert browser.js("return document.activeElement.textContent") == "Skip to the code"
    seen = []
    for _ in range(60):
        browser.press(Keys.TAB)
        seen.append(
            browser.js(
                "const e = document.activeElement, s = getComputedStyle(e), r ="
                "e.getBoundingClientRect(); return [e.id || e.textContent.trim(), s.outlineStyle,"
                "parseFloat(s.outlineWidth) >= 2, r.top >= 0 && r.bottom <= innerHeight]"
            )
        )
    assert all(style == "solid" and wide for _, style, wide, _ in seen), seen
    assert all(within for *_, within in seen), seen
    names = [one[0] for one in seen]
    for wanted in ("-find", "-next", "-fold", "-theme", "-help-open", "-all", ROUTINE):
        assert wanted in names
    browser.open("diff")
    browser.press(Keys.TAB, Keys.ENTER)
    browser.wait(lambda: browser.focus == "-code")


def test_print(browser: Browser) -> None:
    browser.open("diff", dark=True, media="print")
    shown = browser.js(
        "return ['.bar', '.skip', 'dialog', 'table.side']"
        ".map(e => getComputedStyle(document.querySelector(e)).display !== 'none')"
    )
    assert shown == [False, False, False, True]
    assert browser.js("return getComputedStyle(document.body).backgroundColor") in (
        "rgb(255, 255, 255)",
        "rgba(0, 0, 0, 0)",
    )
    browser.cdp("Emulation.setEmulatedMedia", features=[], media="")
