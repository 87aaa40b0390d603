"""The level at which a trial tells most per unit of its cost."""

from __future__ import annotations

import numpy as np
import torch

from autotune.surrogate.propose.choice_of_level import most_telling
from autotune.surrogate.propose.known_points import is_known
from tests.autotune.surrogate.three_levels import POINT, history_of, model


def test_the_most_telling_level_per_unit_of_cost() -> None:
    history, made = history_of([0, 1, 2] * 3), model()
    over = torch.as_tensor(history.X)[made.posterior(torch.as_tensor(history.X)[:, None]).mean[:, 0, 0].argmax()]
    learned = made.learned_from(POINT, over).numpy()
    for costs in ([1.0, 1.0, 1.0], [1.0, 0.3, 0.3], [1.0, 0.5, 0.01], [1.0, 1e-6, 0.5]):
        assert most_telling(made, POINT.numpy(), history, costs) == int(np.argmax(learned / np.array(costs)))
    assert most_telling(made, POINT.numpy(), history, [1.0, 1e-6, 0.5]) == 1


def test_a_level_that_tells_nothing_is_not_asked_however_cheap() -> None:
    unrelated = model(log_a=-2.0, log_r=3.0)
    assert most_telling(unrelated, POINT.numpy(), history_of([0, 1, 2] * 3), [1.0, 0.05, 100.0]) == 0


def test_what_is_known_at_a_level_is_not_asked_there_again() -> None:
    history, made = history_of([0, 1, 2] * 3), model()
    cheap = [1.0, 1e-3, 0.5]
    assert most_telling(made, history.X[0], history, cheap) == 1
    assert is_known(history.X[1], history, 1) and not is_known(history.X[1], history, 0)
    assert most_telling(made, history.X[1], history, cheap) != 1
