"""``autotune report``, the report that a run leaves, and how a browser shows it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from autotune.home import Home
from autotune.report import write_report
from tests.autotune.report.stored import SHIFT, TILT, keep_study, page_of
from tests.end_to_end.studies import Place, autotune

pytestmark = pytest.mark.usefixtures("in_memory")

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SHOWN: dict[str, Any] = {"report": True, "objective": {"name": "tests.autotune.report.stored:shown"}}


@pytest.mark.slow
def test_a_run_leaves_a_report_and_mlflow_has_it(
    place: Place, migrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    place.home.folder.mkdir()
    shutil.copy(migrated, place.home.folder / "mlflow.db")
    study = place.write(**SHOWN, tracking={"enabled": True}, parameters={"shift": {"low": -1, "high": 1}})
    assert autotune("run", study) == 0
    page = place.home.study("toy") / "report.html"
    assert str(page) in capsys.readouterr().out.replace("\n", "")
    assert f"Best consistency {place.result()['metric']['best']:.6f}" in page_of(page).text
    run_id, client = place.result()["mlflow"]["run_id"], MlflowClient(tracking_uri=place.home.tracking_uri)
    figures = {path.name for path in (place.home.study("toy") / "figures").iterdir()}

    def recorded() -> set[str]:
        return {Path(file.path).name for file in client.list_artifacts(run_id, "figures")}

    assert "report.html" in {file.path for file in client.list_artifacts(run_id)}
    assert recorded() == figures and {"convergence.svg", "slice_shift.svg"} <= figures

    shutil.rmtree(place.home.mlflow_artifacts)
    assert autotune("sync", "toy") == 0
    assert "report.html" in {file.path for file in client.list_artifacts(run_id)} and recorded() == figures


def test_a_report_is_written_when_asked(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    study = place.write(budget={"trials": 2})
    assert autotune("run", study, "--quiet") == 0
    page = place.home.study("toy") / "report.html"
    assert not page.exists()  # report: false
    for name, output in (("toy", ()), (study, ("--output", "mine.html"))):
        assert autotune("report", name, *output) == 0
        path = Path(capsys.readouterr().out.strip())
        assert "in trial" in page_of(path).text and path.name == (output[1] if output else "report.html")
    for output, said in ((".", "--output .: is a folder"), ("no/such.html", "its folder does not exist")):
        assert autotune("report", "toy", "--output", output) == 2
        assert said in capsys.readouterr().err
    assert autotune("report", "toi") == 2
    assert "did you mean 'toy'?" in capsys.readouterr().err


def test_no_report_is_no_reason_to_fail(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr("autotune.report.write_report", broken)
    assert autotune("run", place.write(report=True, budget={"trials": 1})) == 0
    from autotune.store.trials import TrialStore

    store = TrialStore.open(place.home.store_url, "toy")
    assert store is not None and store.facts["report_error"] == "RuntimeError: no fonts"
    assert place.result()["status"] == "finished" and "report.html" not in capsys.readouterr().out


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """A headless Chromium."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver on the PATH")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (extra: test)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Chromium is looked for on the PATH")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it(place: Place, browser: Chrome, width: int, scheme: str) -> None:
    """Every picture is loaded, nothing is fetched, nothing is wrong, and nothing sticks out of the screen."""
    study = place.write(**SHOWN, parameters={"shift": {}, "rate": {}, "method": {}}, budget={"trials": 6})
    assert autotune("run", study, "--quiet") == 0
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get((place.home.study("toy") / "report.html").as_uri())
    loaded = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert len(loaded) > 10 and all(pixels > 0 for pixels in loaded)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []
    requested = [
        entry["message"] for entry in browser.get_log("performance") if "requestWillBeSent" in entry["message"]
    ]
    assert not [message for message in requested if '"url":"http' in message]
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('.side')].map(side => [...side.querySelectorAll('img')]"
        ".map(image => image.getBoundingClientRect().width))"
    )
    assert max(map(len, sizes)) >= 3  # two beside each other and one below, on a phone
    assert len({round(one, 1) for of_one in sizes for one in of_one}) == 1, "not the same scale in all"
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(13, 17, 23)")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Chromium is looked for on the PATH")
@pytest.mark.parametrize("width", [390, 1280])
def test_interval_and_verdict_are_seen_without_scrolling(tmp_path: Path, browser: Chrome, width: int) -> None:
    home = Home(tmp_path / "home")
    store = keep_study(home, (SHIFT, TILT), count=6, answer=True)
    answer = store.facts["answer"]
    for parameter in answer["parameters"].values():
        parameter |= {"verdict": "identified", "note": "these data fix it to within 0.58 angstrom (90 %), as it seems"}
    store.keep(answer=answer)
    page = write_report(store, home, live=False).page
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(page.as_uri())
    table = browser.find_element("css selector", "#answer .scroll")
    assert table.get_property("scrollWidth") <= table.get_property("clientWidth")
    cells = [cell for cell in table.find_elements("css selector", "td") if cell.is_displayed()]
    intervals = [cell for cell in cells if "…" in cell.text]
    verdicts = table.find_elements("css selector", ".verdict.identified")
    assert len(intervals) == len(verdicts) == 2
    for seen in (*intervals, *verdicts):
        assert seen.is_displayed() and seen.rect["x"] >= 0 and seen.rect["x"] + seen.rect["width"] <= width
    labels = [browser.execute_script("return getComputedStyle(arguments[0], '::before').content", one) for one in cells]
    assert ('"90 % interval"' in labels) == (width < 600)
    assert table.find_element("css selector", "thead").is_displayed() == (width > 600)
