"""Chromium, headless, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

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

    def show(self, name: str) -> None:
        """Scroll to the code of ``name``: what is far below the window is not laid out."""
        self.js("document.querySelector(arguments[0]).scrollIntoView()", f"#{name} .scroll")
        self.wait(lambda: self.driver.find_element(By.CSS_SELECTOR, f"#{name} .scroll th").text)

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
