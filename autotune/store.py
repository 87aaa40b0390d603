"""The trial store: the only truth about a study. Everything else is a projection of it.

One Optuna storage (SQLite by default) holds every study; a trial's metrics, gradient, curve, cost and failure reason
are its user attributes. :class:`TrialRecord` is the read side, and all that reports, recorder and surrogate see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from autotune.objective import Value

TrialState = Literal["running", "finished", "failed", "pruned", "interrupted"]


@dataclass(frozen=True)
class TrialRecord:
    """What the store knows of one trial.

    Attributes:
        number: the trial's number in the study, from 0.
        state: ``finished`` has metrics; ``failed`` (diverged or crashed) and ``pruned`` have a reason;
            ``interrupted`` means the process ended first, and does not count against the budget.
        values: parameter name -> value, tuned parameters only.
        metrics, gradient, curve, seconds, reason: as in :class:`autotune.objective.Evaluation`.
        started, ended: local wall-clock times.
    """

    number: int
    state: TrialState
    values: Mapping[str, Value]
    metrics: Mapping[str, float] = field(default_factory=dict)
    gradient: Mapping[str, float] = field(default_factory=dict)
    curve: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    started: datetime | None = None
    ended: datetime | None = None
