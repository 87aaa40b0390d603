"""What a study is after beside its tuned metric: limits, metrics to weigh against, time."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.criteria import SECONDS, Aims, Limit
from autotune.errors import Problem, near_miss
from autotune.objective import Metric
from autotune.study.file import StudyFile
from autotune.study.spec import MetricSpec

MOST_AGAINST = 3
"""More metrics weighed at once take too long: the cells of a front grow with their number as a power of its length."""


def resolve_aims(file: StudyFile, metric: Metric | None, metrics: Sequence[Metric], problems: list[Problem]) -> Aims:
    """The aims that a study states.

    Args:
        file: the study.
        metric: the tuned one; None where it is not known.
        metrics: those that the objective reports.
        problems: every mistake is appended.
    """
    stated = file.spec.metric or MetricSpec()
    known = {m.name: m for m in metrics} | {SECONDS.name: SECONDS}
    limits = []
    for name, limit in stated.limits.items():
        if name not in known:
            problems.append(
                file.problem(f"metric.limits.{name}", f"there is no metric '{name}'", near_miss(name, known))
            )
        else:
            limits.append(Limit(name, limit.below, limit.above))
    against = []
    for i, name in enumerate(stated.against):
        place = f"metric.against.{i}"
        if name not in known:
            problems.append(file.problem(place, f"there is no metric '{name}'", near_miss(name, known)))
        elif metric is not None and name == metric.name:
            problems.append(file.problem(place, f"{name} is the tuned metric itself", "name another one"))
        elif name in stated.against[:i]:
            problems.append(file.problem(place, f"{name} is given twice", "leave one out"))
        else:
            against.append(known[name])
    if stated.against:
        problems += _obstacles(file, len(stated.against))
    pruner = file.spec.search.pruner
    if limits and pruner != "none":
        what = f"does not go with search.pruner {pruner}: a trial below one that breaks a limit may be the answer"
        problems.append(file.problem("metric.limits", what, "leave one of them out"))
    return Aims(tuple(against), tuple(limits), file.spec.search.per_second)


def _obstacles(file: StudyFile, count: int) -> list[Problem]:
    """What else the study states that does not go with several metrics."""
    search, budget = file.spec.search, file.spec.budget
    found = [
        (search.sampler != "gp", f"needs the sampler gp; {search.sampler} looks for one metric's best", "leave it out"),
        (count > MOST_AGAINST, f"names {count} metrics", f"name {MOST_AGAINST} at most"),
        (bool(search.fidelity), "does not go with search.fidelity", "leave one of them out"),
        (bool(search.warm_start), "does not go with search.warm_start", "leave one of them out"),
        (
            search.pruner != "none",
            f"does not go with search.pruner {search.pruner}: a trial that is stopped may be good in another metric",
            "leave one of them out",
        ),
        (
            budget.converged is not None,
            "does not go with budget.converged, which is in the unit of one metric",
            "leave one of them out",
        ),
    ]
    return [file.problem("metric.against", what, remedy) for wrong, what, remedy in found if wrong]
