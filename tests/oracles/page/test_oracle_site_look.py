"""The site of the documentation in a real browser: widths, themes, search."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from oracles.page.test_oracle_page_look import CONTRAST

from support.browser import Browser
from support.docs_site import build_site

pytestmark = pytest.mark.oracle

PAGES = ("index", "rules", "commands/run")


@pytest.fixture(scope="module")
def one_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    site = tmp_path_factory.mktemp("site")
    assert build_site(site).returncode == 0
    profile = tmp_path_factory.mktemp("profile")
    browser = Browser(profile, {name: site / f"{name}.html" for name in PAGES})
    yield browser
    browser.driver.quit()


@pytest.mark.parametrize("page", PAGES)
def test_it_fits_and_is_readable(browser: Browser, page: str) -> None:
    for width in (320, 768, 1440):
        for dark in (False, True):
            browser.open(page, size=(width, 900), dark=dark)
            browser.js("for (const fold of document.querySelectorAll('details')) fold.open = true")
            assert browser.js("return document.documentElement.scrollWidth <= innerWidth")
            ratios = browser.js(CONTRAST)
            assert len(ratios) >= 6
            assert {what: ratio for what, ratio in ratios.items() if ratio < 4.5} == {}
            paper = browser.js("return getComputedStyle(document.body).backgroundColor")
            assert paper == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")


def test_keyboard_and_reader_find_their_way(browser: Browser) -> None:
    browser.open("commands/run", size=(320, 900))
    headings = browser.js(
        "return [...document.querySelectorAll('h1, h2, h3')].map(e => +e.localName[1])"
    )
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    browser.press("\ue004", "\ue007")
    assert browser.place == "content"
    shown = "return document.querySelector('nav [aria-current]').textContent"
    assert browser.js(shown) == "relokit run"
    browser.open("rules", size=(320, 900))
    unreached = "return [...document.querySelectorAll('pre, table')]"
    unreached += ".filter(e => e.scrollWidth > e.clientWidth && e.tabIndex < 0).length"
    assert browser.js(unreached) == 0


def test_the_pages_of_a_server_are_searched(
    browser: Browser, request: pytest.FixtureRequest
) -> None:
    browser.open("index")
    assert not browser.js("return document.getElementById('search').checkVisibility()")
    folder = Path(browser.js("return decodeURI(location.pathname)")).parent
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        request.addfinalizer(server.shutdown)
        browser.driver.get(f"http://127.0.0.1:{server.server_port}/commands/run.html")
        browser.js("document.getElementById('mkdocs-search-query').focus()")
        browser.press("granule", "\ue007")
        results = (
            "return [...document.querySelectorAll('#mkdocs-search-results a')].map(e => e.href)"
        )
        browser.wait(lambda: browser.js(results))
        assert any("/rules.html" in link for link in browser.js(results))
    # The script of mkdocs says that it is ready.
    assert {entry["level"] for entry in browser.driver.get_log("browser")} == {"INFO"}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""
