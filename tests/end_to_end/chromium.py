"""A real browser for the tests: Debian's Chromium, without a window."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="needs Debian's chromium, chromium-driver"
)


@contextmanager
def chromium(width: int = 1600, height: int = 1040) -> Iterator[Chrome]:
    """A browser with a window of this size, in pixels."""
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    options = selenium.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.add_argument(f"--window-size={width},{height}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(str(DRIVER))
    driver: Chrome = selenium.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()
        service.stop()


def until(found: Callable[[], Any], what: str, seconds: float = 90.0) -> Any:
    """The first thing found that is not empty; the page may be redrawn meanwhile."""
    from selenium.common.exceptions import WebDriverException

    deadline = time.monotonic() + seconds
    while True:
        try:
            if thing := found():
                return thing
        except WebDriverException as error:
            what = f"{what} ({type(error).__name__})" if "(" not in what else what
        assert time.monotonic() < deadline, f"{what} did not appear"
        time.sleep(0.3)
