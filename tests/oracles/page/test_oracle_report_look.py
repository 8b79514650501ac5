"""A report in a real browser: widths, themes, keyboard, reader, no scripts, paper."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from oracles.page.test_oracle_page_look import CONTRAST
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.oracle

Browser = Any
"""The fixture's class, which is in conftest.py."""
WIDTHS = (320, 768, 1440)


@pytest.mark.parametrize("page", ["report", "functions", "matrix", "mutate", "kexec"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_and_is_readable(browser: Browser, page: str, width: int, dark: bool) -> None:
    browser.open(page, size=(width, 900), dark=dark)
    browser.js("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert browser.js("return document.documentElement.scrollWidth <= innerWidth")
    ratios = browser.js(CONTRAST)
    assert len(ratios) > (20 if page == "report" else 12)
    assert {what: ratio for what, ratio in ratios.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("drawn", ["memory", "tables", "timeline"])
def test_what_is_drawn_stays_in_its_picture(browser: Browser, drawn: str, width: int) -> None:
    for dark in (False, True):
        browser.open(drawn, size=(width, 900), dark=dark)
        outside = browser.js(
            "const box = document.querySelector('svg').getBoundingClientRect();"
            "return [...document.querySelectorAll('svg text, svg rect')].filter(e => {"
            " const b = e.getBoundingClientRect();"
            " return b.left < box.left - 1 || b.right > box.right + 1"
            " || b.top < box.top - 1 || b.bottom > box.bottom + 1; }).map(e => e.textContent)"
        )
        assert outside == []
        assert browser.js("return document.querySelectorAll('svg text').length") > 3


def test_differences_are_behind_the_functions(browser: Browser) -> None:
    browser.open("functions")
    link = browser.driver.find_element(By.CSS_SELECTOR, "table.rows th a")
    link.click()
    assert browser.js(
        "const e = document.getElementById(location.hash.slice(1));"
        "return e.open && e.querySelector('pre').textContent.startsWith('---')"
    )
    browser.press("/")
    browser.press("barrier")
    assert browser.js(
        "return [...document.querySelectorAll('#functions ~ * tr')].filter(e => !e.hidden).length"
    )


def test_a_picture_has_the_colours_of_the_theme(browser: Browser) -> None:
    """Text of a picture against what is behind it, which is no background of the style sheet."""
    for dark in (False, True):
        browser.open("report", dark=dark)
        inks = browser.js(
            "return [...document.querySelectorAll('svg text')].map(e => getComputedStyle(e).fill)"
        )
        boxes = browser.js(
            "return [...document.querySelectorAll('svg rect')].map(e => getComputedStyle(e).fill)"
        )
        assert len(set(inks)) == 2
        assert not set(inks) & set(boxes)


def test_the_keyboard_reaches_everything(browser: Browser) -> None:
    browser.open("report")
    browser.press("\ue004")
    assert browser.js("return document.activeElement.className") == "skip"
    browser.press("\ue007")
    assert browser.place == "findings"
    scrollers = browser.js(
        "return [...document.querySelectorAll('.scroll')]"
        ".filter(e => e.scrollWidth > e.clientWidth && e.tabIndex < 0).length"
    )
    assert scrollers == 0
    browser.press("/")
    assert browser.focus == "-find"
    browser.press("caches.discard")
    assert "rows" in browser.own("hits").text
    shown = browser.js(
        "return [...document.querySelectorAll('table.rows > tbody > tr')]"
        ".filter(e => !e.hidden).map(e => e.textContent.includes('caches.discard'))"
    )
    assert shown
    assert all(shown)
    browser.press("\ue00c")
    assert browser.js("return document.querySelectorAll('tr[hidden]').length") == 0


def test_a_reader_finds_its_way(browser: Browser) -> None:
    browser.open("report")
    headings = browser.js(
        "return [...document.querySelectorAll('h1, h2, h3')].map(e => +e.localName[1])"
    )
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert browser.js("return document.documentElement.lang") == "en"
    nameless = browser.js(
        "return [...document.querySelectorAll('svg[role=img]')]"
        ".filter(e => !e.querySelector('title')?.textContent).length"
        " + [...document.querySelectorAll('[role=region]')]"
        ".filter(e => !e.getAttribute('aria-label')).length"
        " + [...document.querySelectorAll('table')].filter(e => !e.caption).length"
    )
    assert nameless == 0
    targets = browser.js(
        "return [...document.querySelectorAll('a[href^=\"#\"]')]"
        ".filter(e => !document.getElementById(e.hash.slice(1))).length"
    )
    assert targets == 0


def test_without_scripts_all_of_it_is_there(browser: Browser) -> None:
    browser.open("report", scripts=False)
    assert not browser.driver.find_element(By.CLASS_NAME, "find").is_displayed()
    assert browser.driver.find_element(By.ID, "findings").is_displayed()


def test_on_paper_it_is_light_and_whole(browser: Browser) -> None:
    browser.open("report", dark=True, media="print")
    paper = browser.js("return getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    assert not browser.driver.find_element(By.TAG_NAME, "nav").is_displayed()
