"""What a model is made of where there are more trials than it can bear."""

from __future__ import annotations

import numpy as np

from autotune.problem.space import Dimension, Space
from autotune.search.gp_sampler import GaussianProcessSampler
from autotune.surrogate.model.history import MOST_TRIALS, History


def history(n: int) -> History:
    """Values 0 .. n-1 in random order, each fifth of a cheap level and 10 n more; what is reported names the trial."""
    value = np.random.default_rng(0).permutation(n).astype(float)
    level = (np.arange(n) % 5 == 0).astype(np.int64)
    return History(
        X=(value / n)[:, None],
        y=value + 10 * n * level,
        pending=np.zeros((2, 1)),
        position=n,
        gradient=value[:, None],
        failed=np.linspace(0, 1, n)[:, None],
        level=level,
        reports=tuple({"value": v} for v in value),
    )


def test_few_trials_are_all_kept() -> None:
    few = history(100)
    assert few.bounded(100) is few


def test_of_many_trials_the_best_are_kept_and_some_of_all_others() -> None:
    many, kept = history(1000), history(1000).bounded(100)
    assert len(kept.y) == 100 and kept.position == 1000 and len(kept.pending) == 2
    assert kept.failed is not None and np.array_equal(kept.failed, many.failed[-100:])  # type: ignore[index]
    full = many.y[many.level == 0]
    assert set(np.sort(full)[-50:]) <= set(kept.y[kept.levels == 0])
    others = np.sort(kept.y[kept.levels == 0])[:-50]
    assert len(others) >= 35 and np.diff(others).max() < 60  # of a thousand: no gap
    assert (kept.levels == 1).sum() > 5
    # Everything about a trial stays together.
    assert kept.gradient is not None
    assert np.array_equal(kept.gradient[:, 0], kept.y - 10_000 * kept.levels)
    assert np.array_equal(kept.reported("value"), kept.gradient[:, 0])
    assert np.allclose(kept.X, kept.gradient / 1000)


def test_a_proposal_after_thousands_of_trials_is_near_the_best() -> None:
    """It could not be made at all of a model of them all: that would take hours."""
    import optuna

    space = Space((Dimension("a", low=0.0, high=1.0), Dimension("b", low=0.0, high=1.0)))
    study = optuna.create_study(direction="maximize", sampler=GaussianProcessSampler(space, seed=0))
    points = np.random.default_rng(1).uniform(size=(6 * MOST_TRIALS, 2))
    distributions = space.distributions()
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={"a": float(a), "b": float(b)},
                distributions=distributions,
                value=float(-((a - 0.3) ** 2) - (b - 0.6) ** 2),
            )
            for a, b in points
        ]
    )
    proposed = study.ask(distributions).params
    assert abs(proposed["a"] - 0.3) < 0.02 and abs(proposed["b"] - 0.6) < 0.02
