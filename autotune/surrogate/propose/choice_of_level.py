"""At which level of evaluation to try a point: where a trial tells most per unit of its cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from autotune.problem.space import Floats
from autotune.surrogate.model.gradient_model import GradientGP
from autotune.surrogate.model.history import History
from autotune.surrogate.propose.known_points import is_known


def most_telling(model: GradientGP, point: Floats, history: History, costs: Sequence[float]) -> int:
    """The level of a trial at a point, (D,), that tells most per unit of cost about the improvement there."""
    with torch.no_grad():
        over = model.highest(torch.as_tensor(history.X))
        learned = model.learned_from(torch.as_tensor(point), over)[: len(costs)].numpy()
    new = [not is_known(point, history, level) for level in range(len(costs))]
    return int(np.argmax(np.where(new, learned / np.array(costs), -1.0)))
