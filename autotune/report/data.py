"""The study that a report is about, as read from the trial store and its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from autotune.errors import InputError
from autotune.home import Home
from autotune.objective import Metric
from autotune.problem.goals import Limit
from autotune.problem.space import Space
from autotune.provenance.environment import environment_of
from autotune.results.build import build_result
from autotune.results.document import StudyResult
from autotune.store.records import TrialRecord, best_of
from autotune.store.trials import TrialStore


@dataclass(frozen=True)
class StudyData:
    """A study.

    Attributes:
        name, description: as the study file has them.
        text: the study file as it was run; empty where it is gone.
        objective: the objective's name.
        content_hash: hash of the measurement; empty where the objective tells none.
        sampler: the sampler's name.
        result: its result.
        space: the search space.
        metric: the tuned metric.
        against: metrics that it is weighed against.
        limits: the limits that an answer must keep.
        trials: the trials that have ended, in the order of their ends.
        own_levels: how many levels of evaluations the study has.
        warm_start: names of the studies that it learned from.
        environment: in which the best trial ran (:func:`autotune.provenance.environment.environment`); empty where
            that was not kept.
        folder: trial number -> the folder of what it kept, which may not exist.
    """

    name: str
    description: str
    text: str
    objective: str
    content_hash: str
    sampler: str
    result: StudyResult
    space: Space
    metric: Metric
    against: tuple[Metric, ...]
    limits: tuple[Limit, ...]
    trials: tuple[TrialRecord, ...]
    own_levels: int
    warm_start: tuple[str, ...]
    environment: Mapping[str, Any]
    folder: Callable[[int], Path]

    @property
    def up(self) -> bool:
        """Whether a larger metric is better."""
        return self.metric.sign > 0

    @property
    def best(self) -> TrialRecord | None:
        """The best trial; None where there is none."""
        return best_of(self.trials, self.metric, self.limits)

    @property
    def finished(self) -> list[TrialRecord]:
        """The trials that have finished, of all levels, in the order of their numbers."""
        return sorted((trial for trial in self.trials if trial.state == "finished"), key=lambda trial: trial.number)

    @property
    def answers(self) -> list[TrialRecord]:
        """The trials that may be the answer, in the order in which they ended."""
        return [trial for trial in self.trials if trial.answers(self.limits)]

    @property
    def compared(self) -> list[TrialRecord]:
        """The trials that are compared with each other: the answers; all that have finished where there are none."""
        return self.answers or self.finished

    @property
    def scaling(self) -> list[TrialRecord]:
        """The trials that axes are scaled to: the answers, and those that have finished and score no better.

        A cheap evaluation that scores better does not compare with the answer, and would push it off the axis.
        """
        best, sign = self.best, self.metric.sign
        return [t for t in self.finished if best is None or sign * self.value(t) <= sign * self.value(best)]

    @property
    def failed(self) -> list[TrialRecord]:
        """The trials that diverged or crashed."""
        return [trial for trial in self.trials if trial.state == "failed"]

    def value(self, trial: TrialRecord) -> float:
        """The tuned metric of a trial that has finished."""
        return trial.metrics[self.metric.name]

    def unit(self, name: str) -> str:
        """The unit of a parameter."""
        return next(dimension.unit for dimension in self.space.dimensions if dimension.name == name)

    def spent(self) -> list[float]:
        """What the search had cost when each of the trials ended, in full evaluations."""
        return list(accumulate(trial.spent for trial in self.trials))


def read_study(store: TrialStore, home: Home, *, live: bool) -> StudyData:
    """Read a study.

    Args:
        store: the study, run from a study file.
        home: where it lives.
        live: whether a process is running it now.
    """
    facts, name = store.facts, store.study.study_name
    search = facts.identity.get("search", {})
    text = _text(home.study(name) / "study.yaml")
    ended = [trial for trial in store.trials() if trial.state != "running"]
    ended.sort(key=lambda trial: (trial.ended is None, trial.ended, trial.number))
    result = build_result(store, home, live=live)
    return StudyData(
        name=name,
        description=_description(text),
        text=text,
        objective=facts.objective,
        content_hash=facts.content_hash or "",
        sampler=search.get("sampler", "gp"),
        result=result,
        space=facts.space,
        metric=facts.metric,
        against=facts.against,
        limits=facts.limits,
        trials=tuple(ended),
        own_levels=1 + len(search.get("fidelity", ())),
        warm_start=tuple(search.get("warm_start", ())),
        environment=_environment(store, result.best_trial),
        folder=lambda number: home.trial(name, number),
    )


def _environment(store: TrialStore, best: int | None) -> Mapping[str, Any]:
    trial = next((trial for trial in store.trials() if trial.number == best), None)
    return (None if trial is None else environment_of(store, trial)) or {}


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def _description(text: str) -> str:
    """The description in a study file; empty where there is none, or where the text is no study file any more."""
    from autotune.study.yaml_source import read_yaml

    with suppress(InputError):
        data = read_yaml(text, "study.yaml").data
        return str(data.get("description", "")).strip() if isinstance(data, dict) else ""
    return ""
