"""Where evaluations that are no answer score better than the answer, the report still shows the answer as the best."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from autotune.home import Home
from autotune.objective import Evaluation
from autotune.report import tables
from autotune.report.data import StudyData, read_study
from autotune.report.reconstructions import Gallery
from autotune.report.search_figures import draw_convergence, draw_curves, draw_parallel
from autotune.report.sections import all_sections
from autotune.report.tables import every_trial
from tests.autotune.report.stored import CONSISTENCY, ERROR, SHIFT, TILT, keep_study

pytestmark = pytest.mark.usefixtures("in_memory")

CHEAP = range(3, 9)
LIMIT = {"metric": "error", "above": -1.0, "below": None}
BREAKS = 10


def flattered(i: int, evaluation: Evaluation) -> Evaluation:
    """Cheap evaluations score far better than any full one; so does the one that breaks the limit."""
    if i not in CHEAP and i != BREAKS:
        return evaluation
    metrics = {"consistency": evaluation.metrics["consistency"] + 50.0, "error": -2.0 if i == BREAKS else 0.0}
    curve = {"consistency": [value + 50.0 for value in evaluation.curve["consistency"]]}
    return dataclasses.replace(evaluation, metrics=metrics, curve=curve)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyData:
    """Six cheap evaluations and one that breaks the limit, all better than the five others."""
    home = Home(tmp_path_factory.mktemp("levels") / "home")
    ceilingless = dataclasses.replace(CONSISTENCY, noise_ceiling=None)
    store = keep_study(
        home, (SHIFT, TILT), metric=ceilingless, count=12, cheap=CHEAP, adjusted=flattered, limits=[LIMIT]
    )
    return read_study(store, home, live=False)


def brightness(line: Line2D) -> float:
    return sum(to_rgb(cast("Any", line.get_color())))


def grey(line: Line2D) -> bool:
    red, green, blue = to_rgb(cast("Any", line.get_color()))
    return red == pytest.approx(green, abs=0.02) and green == pytest.approx(blue, abs=0.02)


def places_of(axes: Axes) -> dict[tuple[float, ...], Line2D]:
    """Where a trial is on the axes of the parameters -> its dots."""
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    return {tuple(map(float, cast("Any", line.get_xdata()))): line for line in dots}


def test_the_answer_is_on_the_axis_of_convergence(study: StudyData) -> None:
    assert study.best is not None and study.value(study.best) < 2
    axes = draw_convergence(study).axes[0]
    low, high = axes.get_ylim()
    assert low < study.value(study.best) < high < 2
    lines = {str(line.get_label()): line for line in axes.lines}
    assert lines["best so far"].get_ydata()[-1] == study.value(study.best)
    assert "best cheap so far" not in lines  # it is off the axis
    off = [line for line in axes.lines if line.get_marker() == "^"]
    assert sum(len(line.get_xdata()) for line in off) == len(CHEAP) + 1
    assert grey(lines["cheap evaluation"]) and "breaks a limit" in lines


def test_the_thick_line_is_the_best_trial_in_its_own_colour(study: StudyData) -> None:
    axes = draw_parallel(study).axes[0]
    thickest = max((line for line in axes.lines if line.get_zorder() > 0), key=lambda line: line.get_linewidth())
    assert study.best is not None
    assert list(thickest.get_xdata()) == pytest.approx(list(study.space.to_unit(study.best.values)))
    dots = places_of(axes)
    by_trial = {t.number: dots[tuple(map(float, study.space.to_unit(t.values)))] for t in study.finished}
    assert {number for number, line in by_trial.items() if grey(line)} == {*CHEAP, BREAKS}
    in_front = [number for number, line in sorted(by_trial.items(), key=lambda item: axes.lines.index(item[1]))]
    assert set(in_front[:7]) == {*CHEAP, BREAKS} and in_front[-1] == study.best.number
    light = {number: brightness(line) for number, line in by_trial.items() if not grey(line)}
    assert max(light, key=light.__getitem__) == study.best.number and len(light) == 5
    cheap = sorted((t for t in study.finished if t.level), key=study.value)
    shades = [brightness(by_trial[t.number]) for t in cheap]
    assert shades == sorted(shades, reverse=True)  # of the cheap ones, the better is the darker


def test_curves_are_drawn_over_the_range_of_the_answers(study: StudyData) -> None:
    axes = draw_curves(study, "consistency").axes[0]
    assert axes.get_ylim()[1] < 2
    colours = axes.collections[0].get_colors()
    assert [np.ptp(colour[:3]) < 0.02 for colour in colours] == [True] * 7 + [False] * 5


def test_the_best_trial_is_in_a_table_that_is_cut(study: StudyData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 6)
    (section,) = every_trial(study)
    listed = {int(row[0].value or 0) for row in section.tables[0].rows}
    assert {t.number for t in study.answers} < listed and BREAKS in listed


def test_what_is_grey_is_said(study: StudyData) -> None:
    sections = {section.title: section for section in all_sections(study, "no slices", Gallery(study))}
    said = "Grey: cheap evaluations, full ones that break a limit."
    assert sections["All trials at a glance"].text[0].endswith(said)
    assert sections["Curves of the reconstructions"].text[0].endswith(said)


def test_without_an_answer_everything_is_coloured(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    only_cheap = read_study(keep_study(home, (SHIFT, TILT), metric=ERROR, count=4, cheap=range(4)), home, live=False)
    assert only_cheap.best is None
    axes = draw_parallel(only_cheap).axes[0]
    assert not any(grey(line) for line in axes.lines if line.get_marker() == "o")
    assert max(line.get_linewidth() for line in axes.lines if line.get_zorder() > 0) < 2
    low, high = draw_convergence(only_cheap).axes[0].get_ylim()
    assert low < min(map(only_cheap.value, only_cheap.finished)) < high
    title = "All trials at a glance"
    (section,) = (one for one in all_sections(only_cheap, "no slices", Gallery(only_cheap)) if one.title == title)
    assert "Grey" not in section.text[0] and "thick" not in section.text[0]
