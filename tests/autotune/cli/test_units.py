"""The unit ``1`` of a plain number is printed nowhere.

Each text is made twice, of parameters and metrics in a unit with a name of its own and of plain numbers: without the
unit's name, the two are the same.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from autotune.cli import check, compare, status
from autotune.cli.confirm_tables import print_confirmation
from autotune.cli.console import make_console
from autotune.cli.result_tables import print_result
from autotune.errors import InputError
from autotune.home import Home
from autotune.objective import Evaluation, Metric, Parameter, View, complete_values
from autotune.report import write_report
from autotune.report.data import StudyData, read_study
from autotune.report.interval_figures import draw_intervals
from autotune.report.reconstructions import draw_view
from autotune.report.search_figures import draw_convergence, draw_parallel
from autotune.report.slice_figures import draw_line, draw_plane
from autotune.report.slices import cut
from autotune.results.best_files import best_text
from autotune.results.build import build_result
from autotune.results.overview import details
from autotune.results.side_by_side import side_by_side
from autotune.store.trials import TrialStore
from autotune.study import load_study, plan_study
from autotune.tracking.registry import CalibratedParameter, Calibration
from autotune.tracking.study_facts import _ranges
from tests.autotune.report.stored import PASSES, RATE, SHIFT, TILT, keep_study, page_of
from tests.autotune.results.example import CONFIRMATION
from tests.end_to_end.studies import STUDY, Place, autotune, make_place

pytestmark = pytest.mark.usefixtures("in_memory")

NAMED, PLAIN = "quux", "1"
DIMENSIONS = (SHIFT, TILT, RATE, PASSES)


def words(text: str) -> Counter[str]:
    """The words of a text and how often each is there, without times, commas and the unit that has a name."""
    text = re.sub(r"\d+ (s|min|h) ago|\S+ trials per hour|\d{4}-\d\d-\d\d \d\d:\d\d \S+|,", "", text)
    return Counter(re.sub(rf"\s*\({NAMED}\)|\s*\b{NAMED}\b", "", text).split())


def assert_alike(named: str, plain: str) -> None:
    assert NAMED in named, "the text shows no unit, so it proves nothing"
    assert words(named) == words(plain)


@dataclasses.dataclass(frozen=True)
class Kept:
    """A study with an answer and a confirmation, whose every unit is the same."""

    unit: str
    home: Home
    store: TrialStore

    @property
    def data(self) -> StudyData:
        return read_study(self.store, self.home, live=False)


def keep(home: Home, unit: str) -> Kept:
    def timed(_: int, evaluation: Evaluation) -> Evaluation:
        return dataclasses.replace(evaluation, seconds=1.5)

    metrics = {"sharpness": {"value": 2.5, "unit": unit, "description": "how sharp"}}
    identity = {"objective": {"name": "tests.autotune.report.stored:shown"}, "parameters": {}, "content_hash": "c0ffee"}
    store = keep_study(
        home,
        [dataclasses.replace(dimension, unit=unit) for dimension in DIMENSIONS],
        metric=Metric("consistency", "maximize", unit, noise_ceiling=1.0),
        answer=True,
        adjusted=timed,
        identity=identity,
        confirmation=CONFIRMATION | {"trials": 8, "metrics": metrics},
    )
    return Kept(unit, home, store)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return make_place(tmp_path / "user", monkeypatch)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, Kept]:
    """The same study in a unit with a name, and of plain numbers."""
    named, plain = (keep(Home(tmp_path_factory.mktemp("units") / "home"), unit) for unit in (NAMED, PLAIN))
    return named, plain


def show_result(kept: Kept) -> None:
    print_result(build_result(kept.store, kept.home, live=False), {"shift": 0.25})


def show_confirmation(kept: Kept) -> None:
    confirmation = build_result(kept.store, kept.home, live=False).confirmation
    assert confirmation is not None
    print_confirmation(confirmation)


def show_status(kept: Kept) -> None:
    status._print_one(details(kept.store, kept.home))


def show_comparison(kept: Kept) -> None:
    compare._print(side_by_side([kept.store, kept.store, kept.store], kept.home))


def show_plan(kept: Kept) -> None:
    check._print_tuned(make_console(), kept.data.space.dimensions)


@pytest.mark.parametrize("show", [show_result, show_confirmation, show_status, show_comparison, show_plan])
def test_tables(show: Callable[[Kept], None], studies: tuple[Kept, Kept], capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for kept in studies:
        show(kept)
        texts.append(capsys.readouterr().out)
    assert_alike(*texts)


def test_the_report(studies: tuple[Kept, Kept]) -> None:
    texts = []
    for kept in studies:
        path = write_report(kept.store, kept.home, live=False).page
        text = re.sub(r"<[^>]*>", " ", path.read_text(encoding="utf-8"))  # cells apart
        alts = "\n".join(picture["alt"] or "" for picture in page_of(path).pictures)
        texts.append(f"{text}\n{alts}".replace(str(kept.home.folder), ""))
    assert_alike(*texts)


def test_its_figures(studies: tuple[Kept, Kept]) -> None:
    assert_alike(*("\n".join(_texts(figure) for figure in _figures(kept)) for kept in studies))


def _figures(kept: Kept) -> Sequence[Figure]:
    study = kept.data
    cuts = cut(study, kept.store, ())
    assert cuts is not None
    drawn = [draw(study) for draw in (draw_intervals, draw_convergence, draw_parallel)]
    drawn += [draw_line(study, cuts, cuts.lines[0]), draw_plane(study, cuts.planes[0])]
    view = View("phase", study_image(), kept.unit, 1.0, 1.0, kept.unit)
    return [*drawn, draw_view(view, (0.0, 1.0), (3.0, 3.0))]


def study_image() -> Any:
    import numpy as np

    return np.linspace(0.0, 1.0, 16).reshape(4, 4)


def _texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    return "\n".join(text.get_text() for text in figure.findobj(Text))  # type: ignore[attr-defined]


def test_the_study_file_of_the_answer(studies: tuple[Kept, Kept], tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: toy\nobjective: {name: 'tests.autotune.toy:toy'}\n"
        "parameters: {shift: {}, tilt: {low: -10, high: 10}, rate: {}, passes: {}}\n"
    )
    file = load_study(path)
    assert_alike(*(best_text(file, build_result(kept.store, kept.home, live=False)) for kept in studies))


def test_a_registered_calibration(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for unit in (NAMED, PLAIN):
        parameters = {"shift": CalibratedParameter(0.5, unit, 0.25, (0.125, 0.75), "identified")}
        kept = Calibration("c", 2, "toy", "run", "loss", 0.75, parameters, "file:///nowhere")
        monkeypatch.setattr("autotune.tracking.registry.calibration", lambda name, alias, kept=kept: kept)
        assert autotune("calibration", "c") == 0
        texts.append(capsys.readouterr().out)
    assert_alike(*texts)


def test_the_ranges_that_mlflow_shows(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: toy\nobjective: {name: 'tests.autotune.toy:toy'}\nparameters: {shift: {}, rate: {}}\n")
    file = load_study(path)
    assert _ranges(plan_study(file, file.open())) == {"shift": "-2 .. 2 angstrom", "rate": "0.001 .. 1 (log)"}


@pytest.mark.parametrize("value", [-3, 200])
def test_values_beyond_the_limits_of_a_parameter(value: float) -> None:
    def message(unit: str) -> str:
        with pytest.raises(InputError) as error:
            complete_values([Parameter("x", unit, "solver", 2.0, minimum=0.0, maximum=9.0)], {"x": value})
        return str(error.value)

    assert_alike(message(NAMED), message(PLAIN))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"passes": {"low": 0, "high": 4}}, "the least is 1\n"),
        ({"passes": 500}, "the most is 100\n"),
        ({"rate": {"low": 1e-9}}, "the least is 1e-06\n"),
        ({"passes": "many"}, "passes is a number\n"),
        ({"tilt": {}}, "tilt (degree) has no default range\n"),
        ({"tilt": -100}, "the least is -90 degree\n"),
        ({"tilt": "steep"}, "tilt is in degree\n"),
    ],
)
def test_messages_about_a_study_file(
    parameters: dict[str, Any], message: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """``the least is 1 1`` and ``iterations is in 1`` were printed once."""
    assert autotune("check", place.write(parameters={"shift": {}, "tilt": 0.5} | parameters)) == 2
    assert message in capsys.readouterr().err


def test_the_held_parameters_of_a_plan(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("check", place.write(STUDY)) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["passes", "4", "fixed", "by", "the", "study"] in rows
    assert ["method", "plain", "default"] in rows
    assert ["rate", "0.001", "to", "1", "log", "solver"] in rows
