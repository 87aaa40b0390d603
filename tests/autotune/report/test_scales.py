"""A report of a small metric, and of logarithmic parameters: the same picture but for the numbers at the axes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from autotune.home import Home
from autotune.report import write_report
from autotune.report.data import StudyData, read_study
from autotune.report.search_figures import draw_convergence
from autotune.report.slice_figures import draw_line, draw_plane
from autotune.report.slices import Cuts, cut
from autotune.report.style import as_svg
from tests.autotune.report.stored import ERROR, RATE, SHIFT, TILT, keep_study, page_of, times

pytestmark = pytest.mark.usefixtures("in_memory")

TINY = 1e-8
NARROW = dataclasses.replace(RATE, low=0.02, high=0.3)


def cuts_of(folder: Path, factor: float) -> tuple[StudyData, Cuts]:
    """A study of the error times a factor, with an answer, and cuts through its surrogate."""
    home = Home(folder / "home")
    store = keep_study(
        home, (SHIFT, TILT, NARROW), metric=ERROR, count=10, cheap=[0, 1, 2], adjusted=times(factor), answer=True
    )
    study = read_study(store, home, live=False)
    cuts = cut(study, store, [])
    assert cuts is not None
    return study, cuts


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[StudyData, Cuts], tuple[StudyData, Cuts]]:
    """The same study twice, the second time of a tiny metric."""
    return cuts_of(tmp_path_factory.mktemp("one"), 1.0), cuts_of(tmp_path_factory.mktemp("tiny"), TINY)


def test_slices_of_a_tiny_metric_are_those_of_it_enlarged(
    both: tuple[tuple[StudyData, Cuts], tuple[StudyData, Cuts]],
) -> None:
    (_, one), (study, tiny) = both
    for line, small in zip(one.lines, tiny.lines, strict=True):
        assert small.mean / TINY == pytest.approx(line.mean, rel=1e-3)
        assert small.deviation / TINY == pytest.approx(line.deviation, rel=1e-2)
        assert np.ptp(small.mean) > 0.1 * TINY
    assert tiny.deviation == pytest.approx(study.result.metric.deviation, rel=1e-6)


def test_the_answer_of_a_tiny_metric_is_that_of_it_enlarged(
    both: tuple[tuple[StudyData, Cuts], tuple[StudyData, Cuts]],
) -> None:
    one, tiny = (study.result for study, _ in both)
    assert tiny.metric.deviation / TINY == pytest.approx(one.metric.deviation, rel=1e-2)
    for name, parameter in one.as_dict()["parameters"].items():
        assert tiny.parameters[name].estimate == pytest.approx(parameter["estimate"], rel=1e-3)
        assert tiny.as_dict()["parameters"][name]["interval"] == pytest.approx(parameter["interval"], rel=1e-2)


def test_a_tiny_metric_is_not_printed_as_zero(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    store = keep_study(home, (SHIFT,), metric=ERROR, count=2, adjusted=times(TINY))
    page = page_of(write_report(store, home, live=False).page)
    best = min(trial.metrics["error"] for trial in store.trials())
    assert f"Best error {best:.6g} in trial" in page.text and f"; error {best:.5g}" in page.text
    assert "0.00000" not in page.text


def overlaps(figure: Figure, texts: list[str]) -> list[tuple[str, str]]:
    """Pairs of texts at the axes that lie over each other, and those that are cut off at the figure's edge."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    boxes = {text.get_text(): text.get_window_extent() for text in shown if text.get_text() in texts or not texts}
    names = list(boxes)
    cut_off = [
        (name, "edge") for name in names if boxes[name].x0 < 0 or boxes[name].y1 > figure.bbox.y1 or boxes[name].y0 < 0
    ]
    return cut_off + [(a, b) for i, a in enumerate(names) for b in names[:i] if boxes[a].overlaps(boxes[b])]


def ticks_of(figure: Figure) -> dict[str, list[str]]:
    """Labels of all ticks, minor ones too, that are on the axes."""
    as_svg(figure)
    axes = figure.axes[0]
    found = {}
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        found[name] = [t.label1.get_text() for t in ticks if low <= t.get_loc() <= high and t.label1.get_text()]
    return found


def test_a_logarithmic_axis_of_a_decade_has_few_plain_numbers(
    both: tuple[tuple[StudyData, Cuts], tuple[StudyData, Cuts]],
) -> None:
    study, cuts = both[1]
    line = next(one for one in cuts.lines if one.dimension.name == "rate")
    assert ticks_of(draw_line(study, cuts, line))["x"] == ["0.02", "0.05", "0.1", "0.2"]
    plane = next(one for one in cuts.planes if one.y.name == "rate")
    assert ticks_of(draw_plane(study, plane))["y"] == ["0.02", "0.05", "0.1", "0.2"]


def test_texts_lie_beside_each_other_and_within(
    both: tuple[tuple[StudyData, Cuts], tuple[StudyData, Cuts]],
) -> None:
    study, cuts = both[1]
    for plane in cuts.planes:
        figure = draw_plane(study, plane)
        head = figure.axes[0].child_axes[0].texts[0].get_text()
        assert head == "error 1e−8" or head == "error 1e-8"
        assert overlaps(figure, [plane.y.name, f"{plane.y.name} ({plane.y.unit})", head]) == []
    figure = draw_convergence(study)
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    power = figure.axes[0].yaxis.get_offset_text()
    as_svg(figure)
    assert "8" in power.get_text()
    assert overlaps(figure, [*legend, power.get_text()]) == []


def test_a_logarithmic_axis_of_many_decades_has_powers(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    store = keep_study(home, (SHIFT, RATE), count=6)
    study = read_study(store, home, live=False)
    cuts = cut(study, store, [])
    assert cuts is not None
    labels = ticks_of(draw_line(study, cuts, cuts.lines[1]))["x"]
    assert len(labels) == 4 and all("10^{" in label for label in labels)


def test_long_numbers_leave_room_for_a_name(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    fine = dataclasses.replace(TILT, low=-1e-4, high=1e-4)
    store = keep_study(home, (SHIFT, fine), count=5)
    study = read_study(store, home, live=False)
    cuts = cut(study, store, [])
    assert cuts is not None
    figure = draw_plane(study, cuts.planes[0])
    assert max(map(len, ticks_of(figure)["y"])) < 8
    assert overlaps(figure, ["tilt (degree)", "1e−4", "1e-4"]) == []
    assert any(text.get_text() in ("1e−4", "1e-4") for text in figure.findobj(Text))
