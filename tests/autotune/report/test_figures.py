"""The figures of a report: what they plot, and on which limits."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from autotune.home import Home
from autotune.objective import View
from autotune.report import comparisons
from autotune.report.comparisons import before_and_after, neighbours
from autotune.report.data import StudyData, read_study
from autotune.report.interval_figures import draw_correlations, draw_intervals, draw_sensitivities
from autotune.report.reconstructions import Gallery, common_frame, draw_view, limits_of
from autotune.report.search_figures import draw_convergence, draw_curves, draw_front, draw_parallel, incumbents
from autotune.report.slice_figures import BAND, draw_line, draw_plane
from autotune.report.slices import cut
from autotune.report.style import as_png, as_svg, data_uri, worth_showing
from autotune.results.document import Sensitivity, StudyResult
from autotune.store.trials import TrialStore
from tests.autotune.report.stored import CONSISTENCY, ERROR, METHOD, RATE, SHIFT, TILT, keep_study

pytestmark = pytest.mark.usefixtures("in_memory")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyData, TrialStore]:
    """A study with an answer, a failure and cheap evaluations."""
    home = Home(tmp_path_factory.mktemp("kept") / "home")
    store = keep_study(home, (SHIFT, TILT, RATE, METHOD), count=12, failing=[5], cheap=[0, 1, 2], answer=True)
    return read_study(store, home, live=False), store


def lines_of(figure: Figure) -> dict[str, Any]:
    """Label -> line of the first axes."""
    return {str(line.get_label()): line for line in figure.axes[0].lines}


def test_convergence_ends_at_the_best_metric_and_the_whole_cost(kept: tuple[StudyData, TrialStore]) -> None:
    study = kept[0]
    figure = draw_convergence(study)
    x, y = lines_of(figure)["best so far"].get_data()
    assert x[-1] == pytest.approx(study.result.cost.reconstruction_equivalents) == 9 + 3 * 0.25
    assert y[-1] == study.result.metric.best and list(y) == sorted(y)
    assert {"cheap evaluation", "full evaluation", "failed or stopped", "best cheap so far", "noise ceiling"} <= {
        *lines_of(figure)
    }
    cheap = incumbents(study, full=False)
    assert cheap[0][0] == 0.25 and cheap[-1][1] == max(study.value(t) for t in study.finished if t.level)


def test_a_minimised_metric_converges_downwards(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    study = read_study(keep_study(home, (SHIFT, TILT), metric=ERROR, count=6), home, live=False)
    y = lines_of(draw_convergence(study))["best so far"].get_ydata()
    assert list(y) == sorted(y, reverse=True) and y[-1] == min(study.value(t) for t in study.finished)
    best = min(study.finished, key=study.value)
    thickest = max(draw_parallel(study).axes[0].lines, key=lambda line: line.get_linewidth())
    assert thickest.get_xdata()[0] == pytest.approx(SHIFT.to_unit(best.values["shift"])[0])
    assert sum(to_rgb(thickest.get_color())) > sum(to_rgb(draw_parallel(study).axes[0].lines[0].get_color()))


def test_intervals_lie_over_the_searched_range(kept: tuple[StudyData, TrialStore]) -> None:
    study = kept[0]
    axes = draw_intervals(study).axes[0]
    bars = [line for line in axes.lines if line.get_label() == "90 % interval"]
    for bar, dimension in zip(bars, (RATE, TILT, SHIFT), strict=True):  # from the bottom
        low, high = study.result.as_dict()["parameters"][dimension.name]["interval"]
        ends = [dimension.to_unit(end)[0] for end in (low, high)]
        assert list(bar.get_xdata()) == pytest.approx(np.clip(ends, 0, 1).tolist())


def test_slices_show_mean_band_answer_and_trials(kept: tuple[StudyData, TrialStore]) -> None:
    study, store = kept
    cuts = cut(study, store, [])
    assert cuts is not None and [line.dimension.name for line in cuts.lines] == ["shift", "tilt", "rate", "method"]
    figure = draw_line(study, cuts, cuts.lines[0])
    axes = figure.axes[0]
    assert lines_of(figure)["mean"].get_ydata() == pytest.approx(cuts.lines[0].mean)
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(max(cuts.lines[0].mean + BAND * cuts.lines[0].deviation))
    assert axes.get_xlim() == (-2, 2) and axes.get_xlabel() == "shift (angstrom)"
    at = study.result.parameters["shift"].estimate
    assert any(list(line.get_xdata()) == [at, at] for line in axes.lines)
    assert draw_line(study, cuts, cuts.lines[2]).axes[0].get_xscale() == "log"
    choices = draw_line(study, cuts, cuts.lines[3]).axes[0]
    assert [text.get_text() for text in choices.get_xticklabels()] == list(METHOD.choices)


def test_planes_show_the_mean_the_answer_and_every_trial(kept: tuple[StudyData, TrialStore]) -> None:
    study, store = kept
    cuts = cut(study, store, [])
    assert cuts is not None and len(cuts.planes) == 3  # pairs of numbers
    plane = cuts.planes[0]
    axes = draw_plane(study, plane).axes[0]
    assert np.allclose(axes.collections[0].get_array(), plane.mean)
    stars = [line for line in axes.lines if line.get_marker() == "*"]
    assert stars[0].get_xdata()[0] == study.result.as_dict()["parameters"][plane.x.name]["estimate"]
    assert sum(line.get_marker() == "o" for line in axes.lines) == len(study.finished)


def test_parallel_coordinates_break_where_a_parameter_is_not_used(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    only = dataclasses.replace(RATE, when=(("method", ("fast",)),))
    study = read_study(keep_study(home, (METHOD, only, SHIFT), count=8), home, live=False)
    rates = [line.get_xdata()[1] for line in draw_parallel(study).axes[0].lines if len(line.get_xdata()) == 3]
    unused = sum(trial.values["method"] != "fast" for trial in study.finished)
    assert 0 < unused < 8 and np.isnan(rates[:8]).sum() == unused


def test_curves_are_those_of_the_trials(kept: tuple[StudyData, TrialStore]) -> None:
    study = kept[0]
    axes = draw_curves(study, "consistency").axes[0]
    assert study.best is not None
    assert list(axes.lines[0].get_ydata()) == study.best.curve["consistency"]
    assert len(axes.collections[0].get_segments()) == sum(bool(trial.curve) for trial in study.trials)


def test_a_study_whose_curves_hold_no_number_has_no_picture_of_them(kept: tuple[StudyData, TrialStore]) -> None:
    from autotune.report.sections import _curves

    study = kept[0]
    assert len(list(_curves(study))) == 1
    lost = [replace(trial, curve={name: [math.nan] * 3 for name in trial.curve}) for trial in study.trials]
    assert list(_curves(replace(study, trials=lost))) == []
    some = [lost[0], *study.trials[1:]]
    assert len(list(_curves(replace(study, trials=some)))) == 1


def test_sensitivities_and_correlations(kept: tuple[StudyData, TrialStore]) -> None:
    sensitivities = {"a": Sensitivity(main=0.1, total=0.6), "b": Sensitivity(main=0.2, total=0.3)}
    bars = draw_sensitivities(sensitivities).axes[0].patches
    assert [bar.get_width() for bar in bars] == [0.3, 0.2, 0.6, 0.1]  # the most important on top
    image = draw_correlations({"a": {"a": 1.0, "b": -0.5}, "b": {"a": -0.5, "b": 1.0}}).axes[0].images[0]
    assert image.get_clim() == (-1, 1) and image.get_array().tolist() == [[1.0, -0.5], [-0.5, 1.0]]


def test_the_front_of_two_metrics(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    against = [dataclasses.asdict(ERROR)]
    study = read_study(keep_study(home, (SHIFT, TILT), count=5, against=against), home, live=False)
    figure = draw_front(study, ERROR)
    best = study.best
    assert best is not None  # of metrics that fall together, the best is the whole front
    assert lines_of(figure)["not beaten"].get_xydata().tolist() == [[best.metrics["error"], study.value(best)]]
    assert len(lines_of(figure)["beaten"].get_xdata()) == 4


def test_what_is_compared_has_the_same_limits_and_scale(
    kept: tuple[StudyData, TrialStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = kept[0]
    drawn: list[tuple[str, tuple[float, float], tuple[float, float]]] = []

    def keep(view: View, limits: tuple[float, float], frame: tuple[float, float]) -> Figure:
        drawn.append((view.name, limits, frame))
        return draw_view(view, limits, frame)

    monkeypatch.setattr(comparisons, "draw_view", keep)
    (section,) = before_and_after(study, Gallery(study))
    assert [title for title, _ in section.groups] == ["height (nm)", "width"]
    assert len(drawn) == 6 and len({of_one[1:] for of_one in drawn[:3]}) == 1
    captions = [picture.caption for picture in section.groups[0][1]]
    assert captions[0].startswith("Before: the first trial: trial 0, a cheap evaluation (0.25 of a full one)")
    assert captions[1].startswith("The best of the same kind: trial ")
    assert captions[2].startswith(f"After: the best trial: trial {study.result.best_trial}; consistency ")
    best = Gallery(study).views(Gallery(study).before_and_after()[-1].trial)[0]
    assert drawn[0][1] == limits_of(best)


def test_a_picture_has_the_limits_the_scale_and_a_scale_bar() -> None:
    image = np.arange(12.0).reshape(3, 4)
    axes = draw_view(View("height", image, "nm", 20.0, 10.0, "angstrom"), (1.0, 9.0), (30.0, 20.0)).axes[0]
    assert axes.images[0].get_clim() == (1.0, 9.0)
    assert axes.images[0].get_extent() == [-20.0, 20.0, 30.0, -30.0]
    assert axes.get_xlim() == (-10.0, 10.0) and axes.get_ylim() == (15.0, -15.0)
    bar = axes.lines[0].get_xdata()  # in widths of what is shown
    assert 20.0 * (bar[1] - bar[0]) == pytest.approx(5.0)
    assert [text.get_text() for text in axes.texts] == ["5 angstrom"]


def test_the_middle_part_that_all_have_is_shown() -> None:
    wide, tall = (View("v", np.zeros(shape), "1", 2.0, 1.0, "nm") for shape in ((2, 30), (10, 20)))
    assert common_frame([wide, tall]) == (4.0, 20.0)


def test_neighbours_lie_on_both_sides_of_the_answer(kept: tuple[StudyData, TrialStore]) -> None:
    study = kept[0]
    found = Gallery(study).neighbours()
    assert found is not None and study.best is not None
    dimension, (below, best, above) = found
    sensitivities = {name: p["sensitivity"]["total"] for name, p in study.result.as_dict()["parameters"].items()}
    assert sensitivities[dimension.name] == max(sensitivities[name] for name in ("shift", "tilt"))
    values = [one.trial.values[dimension.name] for one in (below, best, above)]
    assert values == sorted(values) and best.trial == study.best
    (section,) = neighbours(study, Gallery(study))
    assert f"{dimension.name} {values[0]:.5g}" in section.groups[0][1][0].caption


def test_neighbours_are_such_in_what_the_instrument_did(kept: tuple[StudyData, TrialStore]) -> None:
    study = kept[0]
    parameters = {
        name: p | {"sensitivity": {"main": 0.1, "total": {"rate": 0.9, "tilt": 0.5}.get(name, 0.1)}}
        for name, p in study.result.as_dict()["parameters"].items()
    }
    result = StudyResult.model_validate(study.result.as_dict() | {"parameters": parameters})
    found = Gallery(dataclasses.replace(study, result=result)).neighbours()
    assert found is not None and found[0].name == "tilt"  # the solver's step size is no mismatch


def test_pictures_that_the_objective_drew_stand_in(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    store = keep_study(home, (SHIFT,), count=3, objective="tests.autotune.toy:toy")
    for number in range(3):
        (home.trial("toy", number) / "object.png").write_bytes(b"\x89PNG %d" % number)
    study = read_study(store, home, live=False)
    (section,) = before_and_after(study, Gallery(study))
    assert "limits of its own" in section.text[0]
    shown = [one.trial.number for one in Gallery(study).before_and_after()]
    assert [picture.content for picture in section.groups[0][1]] == [b"\x89PNG %d" % number for number in shown]


def test_a_damaged_reconstruction_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = Home(tmp_path / "home")
    store = keep_study(home, (SHIFT,), count=2)
    for number in range(2):
        (home.trial("toy", number) / "reconstruction.h5").write_bytes(b"no HDF5")
    study = read_study(store, home, live=False)
    assert list(before_and_after(study, Gallery(study))) == [] and "cannot be shown" in caplog.text


def test_axes_show_what_is_good() -> None:
    values = [-1e9, 0.5, 0.8, 0.9, 0.91, 0.92]
    low, high = worth_showing(values, up=True)
    assert 0.5 < low < 0.8 and 0.92 < high < 1.0
    assert worth_showing([], up=True) == (0.0, 1.0)
    low, high = worth_showing([3.0], up=False)
    assert low < 3.0 < high
    low, _ = worth_showing([0.9, 0.91], up=True, always=[0.1])
    assert low < 0.1


def test_figures_are_written_as_svg_and_png() -> None:
    figure = draw_correlations({"$a": {"$a": 1.0, "b$": 0.0}, "b$": {"$a": 0.0, "b$": 1.0}})
    svg, png = as_svg(figure), as_png(figure)
    assert b"<svg" in svg and b"<dc:date>" not in svg and png.startswith(b"\x89PNG")
    assert data_uri(svg).startswith("data:image/svg+xml;base64,") and data_uri(png).startswith("data:image/png;base64,")


def test_a_study_without_ceiling_has_no_line_of_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    metric = dataclasses.replace(CONSISTENCY, noise_ceiling=None)
    study = read_study(keep_study(home, (SHIFT,), metric=metric, count=1), home, live=False)
    assert "noise ceiling" not in lines_of(draw_convergence(study))
