"""A person uses the service in a real browser: submits, watches, cancels, opens the report, logs in and out.

With ``AUTOTUNE_SCREENSHOTS`` naming a folder, what is seen on the way is written there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI

from autotune.service.launcher import LocalLauncher, local_command
from autotune.service.settings import Limits
from tests.autotune.service.serving import (
    EXECUTION,
    TOY,
    Idle,
    search,
    serving,
    settings_in,
    study,
    token,
    wait_for,
)
from tests.end_to_end.chromium import chromium, needs_chromium, until
from tests.end_to_end.mlflow_server import free_port

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = [pytest.mark.slow, needs_chromium]
Served = tuple[str, FastAPI]
SLOW: dict[str, Any] = {"objective": {"name": TOY, "seconds_per_iteration": 0.1}, "budget": {"trials": 200}}
MARK = "document.body.dataset.same = 'yes'"
SAME = "return document.body.dataset.same === 'yes'"
"""Whether the page was not loaded anew since it was marked."""
WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
UNNAMED = """
return [...document.querySelectorAll('a, button, input, textarea, progress, dialog, summary')].filter(element =>
    !(element.innerText || element.textContent || '').trim() && !element.ariaLabel && !(element.labels || []).length
).map(element => element.outerHTML);
"""


@pytest.fixture(scope="module")
def browsers() -> Iterator[Chrome]:
    with chromium(1280, 900) as browser:
        yield browser


@pytest.fixture
def browser(browsers: Chrome) -> Iterator[Chrome]:
    """A browser in which nobody is logged in; at the end it has reported no error of a page."""
    browsers.delete_all_cookies()
    browsers.get_log("browser")
    yield browsers
    browsers.set_window_size(1280, 900)
    severe = [entry["message"] for entry in browsers.get_log("browser") if entry["level"] == "SEVERE"]
    browsers.get("about:blank")
    # Statuses that a test asks for, and a service that is down for a while, are no faults of a page.
    assert [message for message in severe if "Failed to load resource" not in message] == []


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that runs one study at a time."""
    overrides = (*EXECUTION, "tracking.enabled=false")
    settings = settings_in(tmp_path_factory.mktemp("service"), limits=Limits(parallel=1), overrides=overrides)
    with serving(settings, LocalLauncher(settings, local_command("autotune.cli.service_job"))) as served:
        yield served


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Served]:
    """A service whose studies do nothing by themselves."""
    with serving(settings_in(tmp_path, limits=Limits(parallel=1)), Idle()) as served:
        yield served


def find(browser: Chrome, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def text(browser: Chrome, selector: str = "main") -> str:
    return str(find(browser, selector).text)


def wait_for_text(browser: Chrome, words: str, selector: str = "main", seconds: float = 60.0) -> None:
    until(lambda: words in text(browser, selector), repr(words), seconds)


def identifier(browser: Chrome) -> str:
    return str(browser.current_url.rpartition("/")[2])


def picture(browser: Chrome, name: str) -> None:
    if folder := os.environ.get("AUTOTUNE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        assert browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def submit(browser: Chrome, address: str, content: str) -> str:
    """Submit a study with the form; its identifier."""
    browser.get(address)
    if find(browser, "details").get_attribute("open") is None:
        find(browser, "summary").click()
    browser.execute_script("document.getElementById('text').value = arguments[0]", content)
    find(browser, "form[action='/submit'] button").click()
    until(lambda: "/studies/" in browser.current_url, "the study's page")
    return identifier(browser)


def press(browser: Chrome, *keys: str) -> None:
    """Press keys, wherever the focus is."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def tab_to(browser: Chrome, selector: str) -> None:
    """Press Tab until something has the focus."""
    from selenium.webdriver.common.keys import Keys

    passed = []
    for _ in range(30):
        passed.append(browser.switch_to.active_element.get_attribute("outerHTML")[:80])
        if browser.execute_script("return document.activeElement.matches(arguments[0])", selector):
            return
        press(browser, Keys.TAB)
    raise AssertionError(f"Tab does not lead to {selector}: {passed}")


def test_submit_watch_cancel_another_and_open_the_report(served: Served, browser: Chrome) -> None:
    address, _ = served
    first = submit(browser, address, study(name="watched", budget={"trials": 25}, objective=SLOW["objective"]))
    browser.execute_script(MARK)
    until(lambda: find(browser, "progress").get_property("value") >= 2, "progress")
    assert text(browser, "#chart").startswith("Best consistency after") or "best so far" in text(browser, "#chart")
    other = submit(browser, address, study(name="another", **SLOW))
    wait_for_text(browser, "queued waits for its turn, 1 in the queue", "#state")
    find(browser, "#actions button").click()
    assert browser.switch_to.active_element.text == "Do not cancel"
    picture(browser, "service_cancel")
    find(browser, "#cancel button[data-closes]").click()
    assert httpx.get(f"{address}/api/v1/studies/{other}").json()["state"] == "queued"
    find(browser, "#actions button").click()
    find(browser, "#cancel form button:last-child").click()
    wait_for_text(browser, "was cancelled", "#state")
    browser.get(f"{address}/studies/{first}")
    browser.execute_script(MARK)
    wait_for_text(browser, "finished has its answer", "#state", 120)
    wait_for_text(browser, "shift", "#answer")
    assert browser.execute_script(SAME) and "25 of 25" in text(browser, "#facts")
    assert browser.title == "watched (finished) - autotune"
    browser.find_element("link text", "Report").click()
    until(lambda: find(browser, "h1").text.startswith("watched"), "the report")


def test_a_file_fills_the_form_and_may_be_edited(served: Served, browser: Chrome, tmp_path: Path) -> None:
    file = tmp_path / "from-a-file.yaml"
    file.write_text(study(name="from-a-file"), encoding="utf-8")
    browser.get(served[0])
    if find(browser, "details").get_attribute("open") is None:
        find(browser, "summary").click()
    find(browser, "#file").send_keys(str(file))
    wait_for_text(browser, "that of from-a-file.yaml", "#file-says")
    content = find(browser, "#text").get_property("value")
    browser.execute_script(
        "arguments[0].value = arguments[1]", find(browser, "#text"), content.replace("-file", "-text")
    )
    find(browser, "form[action='/submit'] button").click()
    wait_for_text(browser, "from-a-text", "h1")
    wait_for(served[0], identifier(browser), "finished")
    file.write_bytes(b"#" * 1_000_001)
    browser.get(served[0])
    find(browser, "summary").click()
    find(browser, "#file").send_keys(str(file))
    wait_for_text(browser, "too large", "#file-says")


def test_the_keyboard_alone_is_enough(served: Served, browser: Chrome) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.get(served[0])
    if find(browser, "details").get_attribute("open") is None:
        tab_to(browser, "summary")
        press(browser, Keys.ENTER)
    tab_to(browser, "textarea")
    press(browser, study(name="typed", **SLOW))
    tab_to(browser, "form[action='/submit'] button")
    press(browser, Keys.ENTER)
    wait_for_text(browser, "typed", "h1")
    until(lambda: find(browser, "progress").get_property("value") >= 1, "progress")
    tab_to(browser, "#actions button")
    press(browser, Keys.ENTER)
    press(browser, Keys.ESCAPE)
    assert browser.execute_script("return document.activeElement.matches('#actions button')")
    press(browser, Keys.ENTER)
    tab_to(browser, "#cancel button:last-child")
    press(browser, Keys.ENTER)
    wait_for_text(browser, "cancelled", "#state")
    wait_for_text(browser, "Resume", "#actions")
    assert browser.execute_script(UNNAMED) == []


def test_a_study_that_is_resumed_goes_on_in_a_page_that_is_open(served: Served, browser: Chrome) -> None:
    address, _ = served
    own = submit(browser, address, study(name="resumed", **SLOW))
    until(lambda: find(browser, "progress").get_property("value") >= 1, "progress")
    httpx.post(f"{address}/api/v1/studies/{own}/cancel")
    wait_for_text(browser, "was cancelled", "#state")
    before = find(browser, "progress").get_property("value")
    find(browser, "#actions button").click()
    until(lambda: find(browser, "progress").get_property("value") > before, "further progress")
    wait_for_text(browser, "running", "#state")
    httpx.post(f"{address}/api/v1/studies/{own}/cancel")
    wait_for_text(browser, "was cancelled", "#state")


def test_log_in_watch_until_the_token_is_revoked_and_log_out(browser: Chrome, tmp_path: Path) -> None:
    settings = settings_in(tmp_path, tokens=True)
    with serving(settings, Idle()) as (address, app):
        secret = token(app, "ada")
        browser.get(address)
        assert browser.current_url.endswith("/login")
        find(browser, "#token").send_keys("autotune_wrong\n")
        wait_for_text(browser, "This token is not valid.")
        for _ in range(2):
            find(browser, "#token").send_keys(f"{secret}\n")
            wait_for_text(browser, "ada (submit)", "header")
            assert browser.execute_script("return document.cookie") == ""
            find(browser, "header button").click()
            until(lambda: browser.current_url.endswith("/login"), "the form")
        find(browser, "#token").send_keys(f"{secret}\n")
        wait_for_text(browser, "ada (submit)", "header")
        submit(browser, address, study())
        app.state.tokens.revoke(app.state.tokens.all()[-1].id)
        wait_for_text(browser, "You are logged out", "[data-notice]")
        picture(browser, "service_logged_out")
        find(browser, "[data-notice] a").click()
        until(lambda: browser.current_url.endswith("/login"), "the form")


def test_a_service_that_restarts_is_found_again_and_nothing_is_counted_twice(browser: Chrome, tmp_path: Path) -> None:
    settings, port = settings_in(tmp_path, limits=Limits(parallel=1)), free_port()
    with serving(settings, Idle(), port) as (address, app):
        job, _ = app.state.board.submit(study(), "local", None)
        browser.get(f"{address}/studies/{job.id}")
        browser.execute_script(MARK)
        search(app.state.board, job, [0.5, 0.6])
        wait_for_text(browser, "2 of 10", "#facts", 3)
    wait_for_text(browser, "The service does not answer", "[data-notice]")
    with serving(settings, Idle(), port) as (_, app):
        until(lambda: text(browser, "[data-notice]") == "", "the end of the notice")
        assert "2 of 10" in text(browser, "#facts")
        search(app.state.board, app.state.board.get(job.id), [0.7])
        wait_for_text(browser, "1 of 10", "#facts", 5)  # it has begun anew
        assert browser.execute_script(SAME)


def test_events_arrive_as_they_come_and_only_where_the_page_is_seen(idle: Served, browser: Chrome) -> None:
    address, app = idle
    job, _ = app.state.board.submit(study(), "local", None)
    browser.get(f"{address}/studies/{job.id}")
    until(lambda: app.state.streams == 1, "the stream")
    browser.execute_script("document.querySelector('main').dataset.every = 600")  # only events make it look again
    search(app.state.board, job, [0.5])
    wait_for_text(browser, "1 of 10", "#facts", 5)
    seen = browser.current_window_handle
    browser.switch_to.new_window("tab")
    until(lambda: app.state.streams == 0, "the end of the stream of a page in the background")
    search(app.state.board, job, [0.5, 0.6, 0.7])
    browser.close()
    browser.switch_to.window(seen)
    wait_for_text(browser, "3 of 10", "#facts", 5)
    until(lambda: app.state.streams == 1, "the stream")


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_nothing_is_wider_than_the_screen(idle: Served, browser: Chrome, width: int) -> None:
    address, app = idle
    board = app.state.board
    long = "a" * 100
    jobs = [board.submit(study(name=long), f"owner-{long[:90]}", None)[0] for _ in range(3)]
    wait_for(address, jobs[0].id, "running")
    search(board, jobs[0], [0.5, 0.612345678, 0.9], budget=10_000, ceiling=0.95123456)
    board.note(jobs[0], data=f"{long}/{long}.h5")
    board.change(board.get(jobs[1].id), "failed", f"its process has said {long}{long}")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        pages = (
            "/",
            *(f"/studies/{job.id}" for job in jobs),
            f"/studies/{jobs[0].id}/cancel",
            "/studies/none",
            "/login",
        )
        for path in pages:
            browser.get(f"{address}{path}")
            picture(browser, f"service_{width}{path.replace('/', '_')}"[:40])
            assert browser.execute_script(WIDER) <= 0, path
            assert browser.execute_script(UNNAMED) == [], path
        browser.get(f"{address}/")
        find(browser, "summary").click()
        assert browser.execute_script(WIDER) <= 0
        time.sleep(4)  # the queue is looked at again meanwhile: the form stays open
        assert find(browser, "#text").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_an_inline_script_would_not_run(idle: Served, browser: Chrome) -> None:
    """The policy holds in a real browser: what a fault in the escaping let through would do nothing."""
    browser.get(idle[0])
    browser.execute_script(
        "document.addEventListener('securitypolicyviolation', e => { document.title = e.violatedDirective; });"
        "const script = document.createElement('script'); script.textContent = 'document.title = \"ran\"';"
        "document.body.append(script);"
    )
    until(lambda: browser.title.startswith("script-src"), "the violation")
    browser.get_log("browser")  # it is reported, as it should be
