"""The aims of a study: the tuned metric and its data, limits, metrics that it is weighed against, time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autotune.errors import Problem, near_miss
from autotune.objective import Metric
from autotune.problem.goals import SECONDS, Aims, Limit
from autotune.search.samplers import WITH_MODEL
from autotune.study.blocks.metric import MetricSpec
from autotune.study.file import StudyFile

MOST_AGAINST = 3
"""Most metrics in ``metric.against``. More would take too long: the number of cells below a Pareto front grows as its
length to the power of the number of metrics."""


def resolve_metric(
    file: StudyFile, metrics: Sequence[Metric], *, solver_tuned: bool, problems: list[Problem]
) -> Metric | None:
    """The metric that a study tunes; None where the objective has no metric of that name.

    Args:
        file: the study.
        metrics: the objective's metrics.
        solver_tuned: whether the study tunes a solver parameter. Data error then rewards over-fitting, so the held-out
            version of the metric is taken where there is one and the study does not say otherwise.
        problems: every mistake is appended.
    """
    stated = file.spec.metric or MetricSpec()
    named = next((m for m in metrics if m.name == stated.name), metrics[0] if stated.name is None else None)
    if named is None:
        hint = near_miss(str(stated.name), [m.name for m in metrics])
        problems.append(file.problem("metric.name", f"there is no metric '{stated.name}'", hint))
        return None
    if named.held_out_of is not None:
        if stated.split == "in_sample":
            what = f"in_sample contradicts metric.name: {named.name} is of data withheld from the solver"
            remedy = f"tune {named.held_out_of}, or leave metric.split out"
            problems.append(file.problem("metric.split", what, remedy))
        return named
    held_out = next((m for m in metrics if m.held_out_of == named.name), None)
    if stated.split == "held_out" and held_out is None:
        offered = [str(m.held_out_of) for m in metrics if m.held_out_of is not None]
        remedy = f"{', '.join(offered)} can be held out" if offered else "this objective has no held-out metric"
        problems.append(file.problem("metric.split", f"there is no held-out version of {named.name}", remedy))
    wanted = stated.split == "held_out" or (stated.split is None and solver_tuned)
    return held_out if held_out is not None and wanted else named


def resolve_aims(file: StudyFile, metric: Metric | None, metrics: Sequence[Metric], problems: list[Problem]) -> Aims:
    """The aims that a study states.

    Args:
        file: the study.
        metric: the tuned metric; None where it is not known.
        metrics: the objective's metrics.
        problems: every mistake is appended.
    """
    stated = file.spec.metric or MetricSpec()
    by_name = {m.name: m for m in metrics} | {SECONDS.name: SECONDS}
    problems += _not_reported(file, metric, by_name)
    limits = []
    for name, limit in stated.limits.items():
        if name not in by_name:
            problems.append(
                file.problem(f"metric.limits.{name}", f"there is no metric '{name}'", near_miss(name, by_name))
            )
        else:
            limits.append(Limit(name, limit.below, limit.above))
    against = []
    for i, name in enumerate(stated.against):
        place = f"metric.against.{i}"
        if name not in by_name:
            problems.append(file.problem(place, f"there is no metric '{name}'", near_miss(name, by_name)))
        elif metric is not None and name == metric.name:
            problems.append(file.problem(place, f"{name} is the tuned metric itself", "name another one"))
        elif name in stated.against[:i]:
            problems.append(file.problem(place, f"{name} is given twice", "leave one out"))
        else:
            against.append(by_name[name])
    if stated.against:
        problems += _obstacles(file, len(stated.against))
    pruner = file.spec.search.pruner
    if limits and pruner != "none":
        what = f"does not go with search.pruner {pruner}: a trial below one that breaks a limit may be the answer"
        problems.append(file.problem("metric.limits", what, "leave one of them out"))
    if metric is not None and metric.held_out_of is not None and pruner != "none":
        what = f"{pruner} cannot stop a trial by {metric.name}, which is known only at the trial's end"
        remedy = "leave the pruner out, or tune in-sample with metric.split: in_sample"
        problems.append(file.problem("search.pruner", what, remedy))
    return Aims(tuple(against), tuple(limits), file.spec.search.per_second)


def _not_reported(file: StudyFile, metric: Metric | None, by_name: Mapping[str, Metric]) -> list[Problem]:
    """Problems of held-out metrics limited or weighed while another metric is tuned: no data are withheld then."""
    stated = file.spec.metric or MetricSpec()
    places = [(f"metric.limits.{name}", name) for name in stated.limits]
    places += [(f"metric.against.{i}", name) for i, name in enumerate(stated.against)]
    problems = []
    for place, name in places:
        held_out_of = by_name[name].held_out_of if name in by_name else None
        if metric is not None and held_out_of is not None and name != metric.name:
            what = f"{name} is not known where {metric.name} is tuned: no data are withheld for it"
            problems.append(
                file.problem(place, what, f"tune it, with metric: {{name: {held_out_of}, split: held_out}}")
            )
    return problems


def _obstacles(file: StudyFile, count: int) -> list[Problem]:
    """Problems of whatever else the study states that does not go with several metrics."""
    search, budget = file.spec.search, file.spec.budget
    obstacles = [
        (
            search.sampler not in WITH_MODEL,
            f"needs the sampler {' or '.join(WITH_MODEL)}; {search.sampler} looks for one metric's best",
            "leave it out",
        ),
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
    return [file.problem("metric.against", what, remedy) for wrong, what, remedy in obstacles if wrong]
