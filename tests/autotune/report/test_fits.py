"""What was measured beside what the model says."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from autotune.home import Home
from autotune.objective import View
from autotune.report import comparisons
from autotune.report.comparisons import fit_to_the_data
from autotune.report.data import StudyData, read_study
from autotune.report.reconstructions import Gallery, draw_view
from tests.autotune.report.stored import SHIFT, TILT, keep_study

pytestmark = pytest.mark.usefixtures("in_memory")

Drawn = list[tuple[View, tuple[float, float], tuple[float, float]]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """What is drawn, and on which limits and frame."""
    found: Drawn = []

    def keep(view: View, limits: tuple[float, float], frame: tuple[float, float]) -> Figure:
        found.append((view, limits, frame))
        return draw_view(view, limits, frame)

    monkeypatch.setattr(comparisons, "draw_view", keep)
    return found


def kept(folder: Path, **options: object) -> StudyData:
    home = Home(folder / "home")
    return read_study(keep_study(home, (SHIFT, TILT), **options), home, live=False)  # type: ignore[arg-type]


def test_the_first_and_the_best_full_trial_are_on_the_same_limits(tmp_path: Path, drawn: Drawn) -> None:
    study = kept(tmp_path, count=8, cheap=[0, 1])
    (section,) = fit_to_the_data(study, Gallery(study))
    assert study.best is not None and study.best.number > 2
    assert [title.split(";")[0] for title, _ in section.groups] == [
        "Before: the first full evaluation: trial 2",
        f"After: the best trial: trial {study.best.number}",
    ]
    captions = ["Measured (counts)", "Modelled (counts)", "Measured - modelled (counts)"]
    assert [[picture.caption for picture in pictures] for _, pictures in section.groups] == [captions] * 2
    first, best = drawn[:3], drawn[3:]
    assert [one[1:] for one in first] == [one[1:] for one in best]
    assert first[0][1] == first[1][1] == (0.0, 1.0)
    low, high = first[2][1]
    assert low == -high and high == max(one[2][0].limits[1] for one in (first, best))  # type: ignore[index]
    assert "same limits" in section.text[0] and "cheap" not in section.text[0]


def test_a_cheap_evaluation_is_before_where_the_only_full_one_is_the_best(tmp_path: Path, drawn: Drawn) -> None:
    study = kept(tmp_path, count=3, cheap=[0, 1])
    (section,) = fit_to_the_data(study, Gallery(study))
    assert section.groups[0][0].startswith("Before: the first trial: trial 0, a cheap evaluation")
    assert "another pattern" in section.text[0] and len(drawn) == 6


def test_one_trial_is_compared_with_none(tmp_path: Path, drawn: Drawn) -> None:
    study = kept(tmp_path, count=1)
    (section,) = fit_to_the_data(study, Gallery(study))
    assert len(drawn) == 3 and "same limits" not in section.text[0]


@pytest.mark.parametrize("objective", ["tests.autotune.toy:toy", "nobody:knows"])
def test_an_objective_that_shows_no_fit_has_none(objective: str, tmp_path: Path) -> None:
    study = kept(tmp_path, count=2, objective=objective)
    assert list(fit_to_the_data(study, Gallery(study))) == []


def test_a_scale_bar_is_seen_on_white() -> None:
    import numpy as np

    white = View("left", np.zeros((4, 4)), "counts", 1.0, 1.0, "mrad", "RdBu_r", (-1.0, 1.0))
    rim, bar = draw_view(white, (-1.0, 1.0), (4.0, 4.0)).axes[0].lines
    assert (rim.get_color(), bar.get_color()) == ("k", "w") and rim.get_linewidth() > bar.get_linewidth()
    assert list(rim.get_xdata()) == list(bar.get_xdata())
