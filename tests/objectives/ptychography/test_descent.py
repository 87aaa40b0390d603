"""The sampler ``gradient`` on a reconstruction: the metric's gradient leads from the nominal values to the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.problem.space import Dimension, Space
from autotune.search.tuner import Search, Tuner
from autotune.store.trials import TrialStore
from tests.objectives.ptychography.scenes import TRUTH, lens, objective

HALF_WIDTH = {"camera_length": 4.0, "defocus": 150.0, "scan_rotation": 15.0, "center_offset_y": 1.5}
# From 0 it descends to a defocus of the wrong sign, -17, where the metric has a maximum, too.
NOMINAL = {"defocus": 40.0}


def test_gradient_descent_arrives_from_the_right_side(tmp_path: Path) -> None:
    problem = objective(lens())
    metric = problem.metrics()[0]
    space = Space(tuple(Dimension(n, low=-w, high=w, nominal=NOMINAL.get(n, 0.0)) for n, w in HALF_WIDTH.items()))
    held = {name: value for name, value in TRUTH.items() if name not in HALF_WIDTH}
    store = TrialStore.create(f"sqlite:///{tmp_path / 'trials.db'}", "s", metric, {})
    tuner = Tuner(store, space, metric, Search("gradient"))
    for _ in range(12):
        trial = tuner.ask()
        tuner.tell(trial, problem.evaluate({**held, **trial.values}, metric=metric.name, seed=0))
    first, best = tuner.counted()[0], tuner.best
    assert best is not None
    assert first.values == {name: pytest.approx(NOMINAL.get(name, 0.0), abs=1e-9) for name in HALF_WIDTH}
    ceiling = problem.evaluate(TRUTH, metric=metric.name, seed=0).metrics[metric.name]
    assert ceiling - best.metrics[metric.name] < 0.05 * (ceiling - first.metrics[metric.name])
    assert best.values["defocus"] == pytest.approx(TRUTH["defocus"], abs=5.0)
    assert best.values["scan_rotation"] == pytest.approx(TRUTH["scan_rotation"], abs=1.0)
