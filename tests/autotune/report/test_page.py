"""The report as a page: complete by itself, honest, and there for every kind of study."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, get_args

import pytest

from autotune.home import Home
from autotune.objective import Metric
from autotune.report import write_report
from autotune.report.best_values import answer_table, verdicts
from autotune.report.data import StudyData, read_study
from autotune.report.slices import cut
from autotune.results.build import build_result
from autotune.results.document import VerdictKind
from autotune.store.trials import TrialStore
from tests.autotune.report.stored import (
    CONSISTENCY,
    ERROR,
    METHOD,
    PASSES,
    RATE,
    SCRIPT,
    SHIFT,
    TILT,
    Page,
    keep_study,
    page_of,
)
from tests.autotune.results.example import CONFIRMATION

pytestmark = pytest.mark.usefixtures("in_memory")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict[str, Any], Path, str]:
    """A study with an answer, of every type of parameter: its page, its result, its figures and its source."""
    home = Home(tmp_path_factory.mktemp("whole") / "home")
    space = (SHIFT, RATE, PASSES, METHOD)
    store = keep_study(home, space, count=10, failing=[4], cheap=[0, 1, 2], answer=True)
    written = write_report(store, home, live=False)
    assert written.page == home.study("toy") / "report.html"
    source = written.page.read_text(encoding="utf-8")
    return Page(source), build_result(store, home, live=False).as_dict(), written.figures, source


def test_it_fetches_nothing_and_needs_no_script(whole: tuple[Page, dict[str, Any], Path, str]) -> None:
    page, _, _, source = whole
    assert page.fetched == [] and not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in source and "@import" not in source
    assert len(page.pictures) > 12
    for picture in page.pictures:
        assert str(picture["src"]).startswith(("data:image/png;base64,", "data:image/svg+xml;base64,"))
        assert len(str(picture["alt"])) > 10
    assert '<meta name="viewport"' in source and "prefers-color-scheme: dark" in source


def test_what_users_wrote_is_text(whole: tuple[Page, dict[str, Any], Path, str]) -> None:
    page, _, _, source = whole
    assert "<script" not in source and page.text.count(SCRIPT) >= 3  # description, study file, reason of a failure


def test_its_numbers_are_those_of_the_result(whole: tuple[Page, dict[str, Any], Path, str]) -> None:
    page, result, _, _ = whole
    for parameter in result["parameters"].values():
        for key in ("best", "estimate"):
            if not isinstance(parameter[key], str):
                assert parameter[key] in page.numbers
        if parameter["interval"]:
            low, high = parameter["interval"]
            digits = max(0, 1 - math.floor(math.log10(high - low)))
            assert f"{low:.{digits}f} … {high:.{digits}f}".replace("-", "−") in page.text
        assert parameter["note"] is None or parameter["note"] in page.text
    assert f"{result['metric']['best']:.6f}" in page.text and f"in trial {result['best_trial']}" in page.text
    assert f"{result['cost']['reconstruction_equivalents']:.3g} full reconstructions" in page.text
    assert "seed4" in page.text.replace("\n", "").replace(" ", "") and "content hash c0ffee" in page.text


def test_sections_come_in_the_order_in_which_people_ask(whole: tuple[Page, dict[str, Any], Path, str]) -> None:
    titles = [
        "Best consistency", "Before and after", "Fit to the data", "Convergence", "Intervals",
        "Slices of the surrogate", "Pairs of parameters", "All trials at a glance", "Which parameters matter",
        "Choices", "Correlations", "Curves of the reconstructions", "Failed trials", "Every trial",
        "How to reproduce it",
    ]  # fmt: skip
    headings = whole[3]
    places = [headings.index(f"<h2>{title}" if i else title) for i, title in enumerate(titles)]
    assert places == sorted(places)


def test_figures_are_files_too(whole: tuple[Page, dict[str, Any], Path, str]) -> None:
    page, _, figures, _ = whole
    files = {path.name for path in figures.iterdir()}
    assert {"convergence.svg", "intervals.svg", "slice_shift.svg", "slice_method.svg", "correlations.svg"} <= files
    assert len(files) == len(page.pictures)
    assert {path.read_bytes()[:4] for path in figures.glob("*.png")} == {b"\x89PNG"}


@pytest.fixture
def outlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but not written, which takes most of the time."""
    monkeypatch.setattr("autotune.report.style._written", lambda figure, kind: b"\x89PNG")


@pytest.mark.usefixtures("outlines")
def test_a_minimised_metric_and_limits(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    limits = [{"metric": "consistency", "below": None, "above": 0.2}]
    page = reported(home, (SHIFT, TILT), metric=ERROR, limits=limits, objective="nobody:knows")
    best = min(t.metrics["error"] for t in study(home).finished if t.metrics["consistency"] >= 0.2)
    assert f"Best error {best:.6f}" in page.text and "noise ceiling" not in page.text
    assert "Limit: consistency above 0.2" in page.text
    assert "Before and after" not in page.text  # the objective is not installed here, and drew no picture


@pytest.mark.usefixtures("outlines")
def test_conditional_parameters(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    only = dataclasses.replace(RATE, when=(("method", ("fast",)),))
    page = reported(home, (METHOD, only, SHIFT), answer=True, count=9)
    assert "Slices of the surrogate" in page.text and study(home).space.conditional


@pytest.mark.usefixtures("outlines")
@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_trials_for_a_surrogate(count: int, tmp_path: Path) -> None:
    page = reported(Home(tmp_path / "home"), (SHIFT,), count=count, gradients=False)
    assert "a surrogate needs at least four finished trials" in page.text
    assert ("No trial has finished, so there is no answer." in page.text) == (count == 0)
    assert ("Convergence" in page.text) == (count > 0) and "Pairs of parameters" not in page.text


def test_one_parameter_without_gradients(tmp_path: Path) -> None:
    page = reported(Home(tmp_path / "home"), (SHIFT,), count=5, gradients=False, answer=True)
    assert "Slices of the surrogate" in page.text and "Pairs of parameters" not in page.text
    assert "Correlations" not in page.text and "Which parameters matter" in page.text


@pytest.mark.usefixtures("outlines")
def test_nothing_was_tuned(tmp_path: Path) -> None:
    """As where ``best.yaml`` is run: no warning, no empty part, and no promise of intervals."""
    page = reported(Home(tmp_path / "home"), (), count=1)
    assert "Nothing was tuned: every parameter has the value that the study file states." in page.text
    assert "There are no intervals" not in page.text and "Intervals" not in page.text
    for part in ("Slices", "All trials at a glance", "Pairs of parameters", "Before and after", "what it means"):
        assert part not in page.text
    for part in ("The reconstruction", "Fit to the data", "Convergence", "1 trial\n"):
        assert part in page.text


@pytest.mark.usefixtures("outlines")
def test_every_trial_failed(tmp_path: Path) -> None:
    page = reported(Home(tmp_path / "home"), (SHIFT, METHOD), count=3, failing=[0, 1, 2])
    assert "3 of 3 trials failed." in page.text and "All trials at a glance" not in page.text


@pytest.mark.usefixtures("outlines")
def test_several_metrics(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    against = [dataclasses.asdict(ERROR)]
    page = reported(home, (SHIFT, TILT), count=3, against=against)
    assert "No trial beats these in consistency or error without losing elsewhere." in page.text


@pytest.mark.usefixtures("outlines")
@pytest.mark.parametrize("kind", get_args(VerdictKind))
def test_every_verdict_is_said_in_words(kind: VerdictKind, tmp_path: Path) -> None:
    """A search that had not come to its end (``unsettled``) once left a study without a report."""
    home = Home(tmp_path / "home")
    study = read_study(keep_study(home, (SHIFT, TILT), count=2), home, live=False)
    judged = {name: p.model_copy(update={"verdict": kind}) for name, p in study.result.parameters.items()}
    study = dataclasses.replace(study, result=study.result.model_copy(update={"parameters": judged}))
    said = verdicts(study)
    assert said.startswith("The data identify ") and (kind == "identified") == (said.count(":") == 0)
    assert [row[5].text for row in answer_table(study).rows] == [kind.replace("_", " ")] * 2


def test_a_second_opinion(tmp_path: Path) -> None:
    candidate = {
        "trial": 1, "values": {"shift": 0.5}, "recorded": 0.5, "on_data": [0.5], "on_repeated": [], "best_in": None,
        "behind": {"mean": -0.25, "half_width": 0.0}, "failures": [],
    }  # fmt: skip
    examined = {"resolution": {"value": 1.5, "unit": "angstrom", "description": "of halves"}}
    found = CONFIRMATION | {
        "trials": 2, "metric": "consistency", "verdict": "the ranking <b>holds</b>", "estimate": "", "rounds": 1,
        "candidates": [candidate], "metrics": examined,
    }  # fmt: skip
    page = reported(Home(tmp_path / "home"), (SHIFT,), count=2, confirmation=found)
    assert "The best trials evaluated again: the ranking <b>holds</b>." in page.text
    assert 1.5 in page.numbers and "−0.25" in page.text


def test_names_with_markup_are_names(tmp_path: Path) -> None:
    odd = dataclasses.replace(SHIFT, unit="$\\frac</td>$")
    page = reported(Home(tmp_path / "home"), (odd,), count=2)
    assert "$\\frac</td>$" in page.text


@pytest.mark.usefixtures("outlines")
def test_it_is_written_where_told_and_again(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    store = keep_study(home, (SHIFT,), count=1)
    elsewhere = tmp_path / "mine.html"
    for _ in range(2):
        assert write_report(store, home, live=True, output=elsewhere).page == elsewhere
    assert not (home.study("toy") / "report.html").exists()
    assert [path.name for path in home.study("toy").iterdir() if path.name.startswith(".")] == []
    assert "running" in page_of(elsewhere).text


@pytest.mark.parametrize("metric", [CONSISTENCY, ERROR], ids=["maximised", "minimised"])
def test_slices_are_of_the_model_that_the_answer_comes_from(metric: Metric, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    store = keep_study(home, (SHIFT, TILT, RATE), metric=metric, count=10, cheap=[0, 1, 2], answer=True)
    found, known = cut(study(home), store, []), build_result(store, home, live=False)
    assert found is not None
    assert found.mean == pytest.approx(known.metric.estimate, abs=1e-9)
    assert found.deviation == pytest.approx(known.metric.deviation, rel=1e-6, abs=1e-9)
    for name, value in found.at.items():
        assert value == pytest.approx(known.parameters[name].estimate)
    for line in found.lines:
        assert (max(line.mean) <= found.mean + 1e-6) if metric is CONSISTENCY else (min(line.mean) >= found.mean - 1e-6)
        nearest = min(range(len(line.values)), key=lambda i: abs(line.values[i] - found.at[line.dimension.name]))
        assert math.isclose(line.mean[nearest], found.mean, abs_tol=0.02)
    plane = found.planes[0]
    row, column = divmod(plane.mean.argmax() if metric is CONSISTENCY else plane.mean.argmin(), len(plane.x_values))
    assert abs(plane.x.to_unit(plane.x_values[column])[0] - plane.x.to_unit(found.at[plane.x.name])[0]) < 0.04
    assert abs(plane.y.to_unit(plane.y_values[row])[0] - plane.y.to_unit(found.at[plane.y.name])[0]) < 0.04
    nearest_trial = max(found.nearness, key=lambda number: found.nearness[number])
    assert 0 < found.nearness[nearest_trial] <= 1


@pytest.mark.usefixtures("outlines")
def test_a_study_it_learned_from_is_gone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    identity = {"objective": {"name": "nobody:knows"}, "search": {"warm_start": ["other"]}}
    page = reported(home, (SHIFT,), count=4, identity=identity)
    assert "its surrogate cannot be fitted again" in page.text


def reported(home: Home, space: Any, **options: Any) -> Page:
    """The page of a study of the toy."""
    options.setdefault("metric", CONSISTENCY)
    return page_of(write_report(keep_study(home, space, **options), home, live=False).page)


def study(home: Home) -> StudyData:
    """The study that was kept."""
    store = TrialStore.open(home.store_url, "toy")
    assert store is not None
    return read_study(store, home, live=False)
