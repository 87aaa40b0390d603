"""A person opens the MLflow UI on the finished demo: the study, its trials, charts, pictures and the report are there.

With ``AUTOTUNE_SCREENSHOTS`` naming a folder, the pictures of docs/mlflow.md are written there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from autotune.store.records import TrialRecord
from tests.end_to_end.chromium import chromium, needs_chromium, until
from tests.end_to_end.mlflow_server import free_port
from tests.end_to_end.studies import ROOT, Place, autotune, make_place

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = [pytest.mark.slow, needs_chromium]
CLOSE_ASSISTANT = '[data-component-id="mlflow.assistant.chat_panel.close"]'
EXPAND = '[role=gridcell] button[data-component-id*="runnamecellrenderer"]'
SHOW_COLUMNS = 'button[data-component-id*="addcolumncta"]'
CARD = '[data-testid="experiment-view-compare-runs-card"]'
CELLS = """
const rows = {};
for (const cell of document.querySelectorAll('[role=gridcell]')) {
    const row = cell.closest('[role=row]').getAttribute('row-index');
    (rows[row] ??= {})[cell.getAttribute('col-id')] = cell.innerText.trim();
}
return rows;
"""
CHARTS = """
return [...document.querySelectorAll(arguments[0] + ' .js-plotly-plot')]
    .filter(chart => chart.data && chart.data.length).map(chart => [...chart.data[0].y]);
"""
NO_PATHS = """
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    walker.currentNode.data = walker.currentNode.data.replace(/file:.*mlflow-artifacts/, '.autotune/mlflow-artifacts');
}
"""
LOADED = "return [...document.images].map(image => image.complete && image.naturalWidth > 0)"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Place]:
    """The demo, simulated and run."""
    with pytest.MonkeyPatch.context() as patch:
        place = make_place(tmp_path_factory.mktemp("demo") / "user", patch)
        place.home.folder.mkdir()
        shutil.copy(migrated, place.home.folder / "mlflow.db")
        shutil.copy(ROOT / "studies" / "demo.yaml", place.folder)
        assert autotune("simulate", "demo.yaml") == 0
        assert autotune("run", "demo.yaml", "--quiet") == 0
        yield place


@pytest.fixture(scope="module")
def address(finished: Place) -> Iterator[str]:
    """The address that ``autotune ui`` prints."""
    port = free_port()
    process = finished.start("ui", "--port", str(port))
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address and f":{port}/" in address[0], line
        yield address[0]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@pytest.fixture
def browser() -> Iterator[Chrome]:
    with chromium() as browser:
        yield browser


def click(browser: Chrome, by: str, selector: str) -> None:
    """Click what is there, once it is."""

    def clicked() -> bool:
        browser.find_element(by, selector).click()
        return True

    until(clicked, selector)


def open_page(browser: Chrome, address: str) -> None:
    browser.get("about:blank")
    browser.get(address)
    until(lambda: "mlflow" in browser.page_source.lower(), "the UI")
    if "panelOpen" not in str(browser.execute_script("return sessionStorage.getItem('panelOpen')")):
        click(browser, "css selector", CLOSE_ASSISTANT)
        browser.execute_script("sessionStorage.setItem('panelOpen', 'panelOpen')")


def screenshot(browser: Chrome, name: str) -> None:
    if folder := os.environ.get("AUTOTUNE_SCREENSHOTS"):
        time.sleep(2.0)  # what moves comes to rest
        browser.execute_script(NO_PATHS)
        Path(folder).mkdir(parents=True, exist_ok=True)
        assert browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def severe(browser: Chrome) -> list[str]:
    """Script errors; MLflow asks servers without accounts in vain who is logged in, and observes its own resizing."""
    known = ("users/current", "ResizeObserver loop")
    messages = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return [message for message in messages if not any(words in message for words in known)]


def close_to(text: str, value: object) -> bool:
    """Whether a cell, which may be cut short, shows a value."""
    shown = text.removesuffix("...").removesuffix("\N{HORIZONTAL ELLIPSIS}")
    return bool(shown) and (str(value).startswith(shown) or abs(float(shown) - float(str(value))) < 1e-6)


def row_names(browser: Chrome) -> dict[str, str]:
    cells = browser.execute_script(CELLS)
    return {row: name_of(text) for row, text in cells.items()}


def name_of(cells: dict[str, str]) -> str:
    """A run's name, which stands behind its colour; empty for other rows."""
    return (cells.get("attributes.`Run Name`", "").splitlines() or [""])[-1]


def choose_columns(browser: Chrome, names: list[str]) -> None:
    """Tick, or untick, columns of the table."""
    from selenium.webdriver.common.keys import Keys

    click(browser, "css selector", SHOW_COLUMNS)
    for name in names:
        click(browser, "xpath", f"(//*[text()='{name}'])[last()]")  # the list is behind all else in the page
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)


def test_the_table_shows_the_study_and_its_trials(finished: Place, address: str, browser: Chrome) -> None:
    trials = finished.trials("demo")
    open_page(browser, address)
    until(lambda: "demo" in row_names(browser).values(), "the parent run")
    click(browser, "css selector", EXPAND)
    expected = {"demo", *(f"trial {trial.number:03d}" for trial in trials)}
    until(lambda: set(row_names(browser).values()) >= expected, "all trials")
    tuned = list(trials[0].values)
    metrics = list(dict.fromkeys(metric_of(trial) for trial in trials))
    choose_columns(browser, ["Dataset", "Source", "Models", *metrics, *tuned, "autotune.state"])
    last = f"params.`{tuned[-1]}`"
    until(lambda: all(last in cells for cells in browser.execute_script(CELLS).values()), "the columns")
    screenshot(browser, "mlflow_runs")
    names = {name_of(cells): cells for cells in browser.execute_script(CELLS).values()}
    for trial in trials:
        cells = names[f"trial {trial.number:03d}"]
        assert close_to(cells[f"metrics.`{metric_of(trial)}`"], trial.metrics["consistency"]), cells
        for name in tuned:
            assert close_to(cells[f"params.`{name}`"], trial.values[name]), cells
    assert "degree" in names["demo"]["params.`scan_rotation`"]
    assert severe(browser) == []


def metric_of(trial: TrialRecord) -> str:
    """The tuned metric's name in MLflow: cheap evaluations have one of their own."""
    return f"consistency level {trial.level}" if trial.level else "consistency"


def open_run(browser: Chrome, address: str, name: str) -> None:
    """Open a run from the table, as a person does."""
    open_page(browser, address)
    until(lambda: "demo" in row_names(browser).values(), "the parent run")
    if name != "demo":
        click(browser, "css selector", EXPAND)
    click(browser, "link text", name)
    until(lambda: browser.find_elements("css selector", '[data-testid="runs-header"]'), "the run")


def best_so_far(trials: list[TrialRecord]) -> dict[int, float]:
    best, bests = float("-inf"), {}
    for trial in trials:
        if trial.answers():
            best = max(best, trial.metrics["consistency"])
            bests[trial.number] = best
    return bests


def test_charts_show_the_search(finished: Place, address: str, browser: Chrome) -> None:
    trials = finished.trials("demo")
    open_run(browser, address, "demo")
    screenshot(browser, "mlflow_study")
    click(browser, "xpath", "//*[text()='Model metrics']")
    browser.set_window_size(1600, 1700)  # charts are drawn where they are seen
    until(lambda: len(browser.find_elements("css selector", f"{CARD} .js-plotly-plot")) >= 3, "charts")
    screenshot(browser, "mlflow_metrics")
    cheap = {t.number: t.metrics["consistency"] for t in trials if t.level == 1}
    curves = [best_so_far(trials), cheap]
    until(lambda: all(drawn(browser, curve) for curve in curves if curve), "the curves, as numbers")
    click(browser, "xpath", "//*[text()='System metrics']")
    seconds = {trial.number: trial.resources["cpu_seconds"] for trial in trials}
    until(lambda: drawn(browser, seconds), "the processor's time")
    assert severe(browser) == []


def drawn(browser: Chrome, curve: dict[int, float]) -> bool:
    """Whether some chart shows these values, in order."""
    wanted = [value for _, value in sorted(curve.items())]
    return any(
        len(values) == len(wanted) and all(abs(float(a) - b) < 1e-6 for a, b in zip(values, wanted, strict=True))
        for values in browser.execute_script(CHARTS, CARD)
    )


def test_the_report_and_the_pictures_are_shown(finished: Place, address: str, browser: Chrome) -> None:
    open_run(browser, address, "demo")
    click(browser, "xpath", "//*[text()='Artifacts']")
    click(browser, "xpath", "//*[text()='report.html']")
    frame = until(lambda: browser.find_elements("css selector", "iframe#html"), "the report")[0]
    screenshot(browser, "mlflow_report")
    browser.switch_to.frame(frame)
    until(lambda: browser.find_elements("css selector", "h1"), "the report's title")
    assert browser.find_element("css selector", "h1").text == "demo"
    text = browser.find_element("css selector", "body").text
    best = finished.result("demo")["metric"]["best"]
    assert f"{best:.6g}" in text and "scan_rotation" in text
    until(lambda: (loaded := browser.execute_script(LOADED)) and all(loaded), "the report's pictures")
    browser.switch_to.default_content()

    best_trial = finished.trials("demo")[finished.result("demo")["best_trial"]]
    open_run(browser, address, f"trial {best_trial.number:03d}")
    assert "unit.defocus" in browser.find_element("css selector", "body").text
    click(browser, "xpath", "//*[text()='Model metrics']")
    curve = dict(enumerate(best_trial.curve["consistency"], start=1))
    until(lambda: drawn(browser, curve), "the curve of the trial")
    screenshot(browser, "mlflow_curve")
    click(browser, "xpath", "//*[text()='Artifacts']")
    click(browser, "xpath", "//*[text()='reconstruction.png']")
    shown = "return [...document.images].some(i => i.src.startsWith('blob:') && i.naturalWidth > 100)"
    until(lambda: browser.execute_script(shown), "the picture")
    screenshot(browser, "mlflow_picture")
    assert severe(browser) == []
