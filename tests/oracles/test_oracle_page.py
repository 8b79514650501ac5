"""The HTML page of a diff in a real browser: Chromium, headless, without a network."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from relokit.codegen.encoder import Encoder
from relokit.diffing.compare import compare
from relokit.diffing.model import Action, Diff, Step
from relokit.diffing.page import Behaviour, Facts, diff_page
from relokit.diffing.series_page import series_page
from relokit.diffing.sides import read_sides

pytestmark = pytest.mark.oracle

ROUTINE = "arm64_relocate_new_kernel"
SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDE, NARROW = (1440, 900), (320, 700)


class Browser:
    """Chromium with one page open."""

    def __init__(self, profile: Path, pages: dict[str, Path]) -> None:
        chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
        assert chromium, "chromium is not installed: run tests/install-tools.sh"
        assert driver, "chromedriver is not installed: run tests/install-tools.sh"
        options = Options()
        options.binary_location = chromium
        for switch in (*SWITCHES, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self._pages = pages

    def open(
        self,
        page: str,
        place: str = "",
        *,
        size: tuple[int, int] = WIDE,
        dark: bool = False,
        scripts: bool = True,
        media: str = "",
    ) -> None:
        """Load ``page`` anew at ``place``."""
        self.cdp("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=size[0], height=size[1], deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme], media=media)
        self.driver.get("about:blank")
        self.driver.get(self._pages[page].as_uri() + place)

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)

    def js(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def own(self, name: str) -> WebElement:
        """One of the page's own parts."""
        return self.driver.find_element(By.ID, f"-{name}")

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    @property
    def focus(self) -> str:
        """Id of what has the focus; of a summary, its routine's."""
        return str(
            self.js("const e = document.activeElement; return e.id || e.parentElement.id || ''")
        )

    @property
    def place(self) -> str:
        """The fragment of the address."""
        return str(self.driver.current_url).partition("#")[2]

    def visible(self, id_: str) -> bool:
        """Whether the element is laid out and within the window."""
        return bool(
            self.js(
                "const e = document.getElementById(arguments[0]), r = e.getBoundingClientRect();"
                "return e.checkVisibility() && r.top >= 0 && r.bottom <= innerHeight",
                id_,
            )
        )

    def rows_shown(self) -> int:
        """Rows of code that are not folded."""
        return int(
            self.js(
                "return [...document.querySelectorAll('table.side td.o')]"
                ".filter(e => e.checkVisibility()).length"
            )
        )

    def wait(self, condition: Callable[[], object]) -> None:
        """Until ``condition``, which the page's timers bring about."""
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.driver, 30, poll_frequency=0.05).until(lambda _: condition())


@pytest.fixture(scope="module")
def diff() -> Diff:
    encoder = Encoder()
    try:
        return compare(*read_sides("series:11", "series:12", lambda: encoder))
    finally:
        encoder.close()


@pytest.fixture(scope="module")
def module_browser(diff: Diff, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    directory = tmp_path_factory.mktemp("page")
    same = compare(diff.left, diff.left)
    facts = Facts("Counts", ("what", "left", "right"), (("dsb sy", "67", "1"),))
    texts = {
        "diff": diff_page(diff, behaviour=Behaviour("fewer barriers", (), (facts,))),
        "same": diff_page(same),
        "series": series_page(
            [
                Step(1, "add helper", "no byte changes", same),
                Step(12, "keep MMU enabled", "virtual addresses", diff),
            ]
        ),
    }
    pages = {name: directory / f"{name}.html" for name in texts}
    for name, text in texts.items():
        pages[name].write_text(text, "utf-8")
    browser = Browser(directory / "profile", pages)
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(module_browser: Browser) -> Iterator[Browser]:
    """The module's browser; afterwards its console must be empty."""
    module_browser.driver.get_log("browser")
    yield module_browser
    assert module_browser.driver.get_log("browser") == []


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


def test_its_policy_lets_nothing_in(module_browser: Browser) -> None:
    module_browser.open("diff")
    blocked = module_browser.driver.execute_async_script(
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
    module_browser.driver.get_log("browser")  # it is told there, too
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
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, ".routine > summary")) == 14


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
