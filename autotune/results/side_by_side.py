"""Several studies side by side: do they find the same parameters, as well, at the same cost?

Two values agree where they differ by less than both are uncertain: |a - b| <= sqrt(h_a^2 + h_b^2), where h is half the
width of an interval. Two independent estimates of the same truth lie that far apart as often as either interval says;
two estimates from the same measurement lie that far apart less often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from autotune.home import Home
from autotune.objective import Value
from autotune.results.build import build_result
from autotune.results.document import (
    SEARCH,
    Cost,
    Covers,
    Document,
    MetricResult,
    Part,
    StudyResult,
    TrialCounts,
    VerdictKind,
)
from autotune.store.facts import StoredFacts
from autotune.store.leases import alive
from autotune.store.trials import TrialStore
from autotune.text import shown_unit


class ComparedStudy(Part):
    """A study; the fields mean what they do in result.json."""

    study: str
    """The study's name."""
    status: str
    """How far it is."""
    metric: MetricResult
    """The tuned metric."""
    best_trial: int | None
    """Number of the best trial."""
    trials: TrialCounts
    """How many trials have ended."""
    cost: Cost
    """Time and evaluations that it took."""
    objective: str
    """Name of the objective."""
    content_hash: str | None
    """Hash of the measurement; None where the objective tells none."""


class ComparedValue(Part):
    """A parameter in one study; the fields mean what they do in result.json."""

    best: Value | None
    """Value in the best trial, or the value at which the study holds the parameter."""
    estimate: Value | None
    """The surrogate's estimate."""
    interval: tuple[float, float] | None
    """Ends of the interval around the estimate."""
    interval_of: Covers | None
    """Sources of uncertainty that the interval covers."""
    verdict: VerdictKind | None
    """How well the data determine the parameter."""
    unit: str
    """The parameter's unit."""
    held: bool
    """Whether the study holds the parameter instead of tuning it."""

    @property
    def value(self) -> Value | None:
        """The value that the interval is about; the best trial's where there is no interval."""
        return self.best if self.estimate is None or self.interval is None else self.estimate


class Pair(Part):
    """A parameter in two studies."""

    of: tuple[str, str]
    """Names of the two studies."""
    difference: int | float | None
    """The second study's value less the first's, in the parameter's unit; None where it is not known."""
    in_half_widths: float | None
    """The difference over the combined half-width of both intervals; None where it is not known or infinite."""
    agree: bool | None
    """Whether the two values agree; None where that is not known."""


class ComparedParameter(Part):
    """A parameter in all studies."""

    unit: str
    """The parameter's unit in the first study that tunes it."""
    values: tuple[ComparedValue | None, ...]
    """The parameter in each study; None where a study does not say its value."""
    pairs: tuple[Pair, ...]
    """Every two studies that say its value."""


class SideBySide(Document):
    """Two or more studies side by side: what ``autotune compare --json`` prints."""

    studies: tuple[ComparedStudy, ...]
    """The studies in the order in which they were named."""
    parameters: dict[str, ComparedParameter]
    """Name -> a parameter that at least one of them tunes."""
    warnings: tuple[str, ...]
    """Reservations about the comparison, in sentences."""


def side_by_side(stores: Sequence[TrialStore], home: Home) -> SideBySide:
    """Two or more studies side by side."""
    results = [build_result(store, home, live=bool(alive(store))) for store in stores]
    facts = [store.facts for store in stores]
    names = dict.fromkeys(name for result in results for name in result.parameters)
    return SideBySide(
        studies=tuple(_study(*study) for study in zip(results, facts, strict=True)),
        parameters={name: _parameter(name, results, facts) for name in names},
        warnings=tuple(_warnings(results, facts)),
    )


def _study(result: StudyResult, facts: StoredFacts) -> ComparedStudy:
    return ComparedStudy(
        study=result.study,
        status=result.status,
        metric=result.metric,
        best_trial=result.best_trial,
        trials=result.trials,
        cost=result.cost,
        objective=facts.objective,
        content_hash=facts.content_hash,
    )


def _parameter(name: str, results: Sequence[StudyResult], facts: Sequence[StoredFacts]) -> ComparedParameter:
    unit = next(result.parameters[name].unit for result in results if name in result.parameters)
    values = tuple(_value(name, *study, unit) for study in zip(results, facts, strict=True))
    return ComparedParameter(
        unit=unit,
        values=values,
        pairs=tuple(
            _pair((results[i].study, results[j].study), first, second)
            for (i, first), (j, second) in combinations(enumerate(values), 2)
            if first is not None and second is not None
        ),
    )


def _value(name: str, result: StudyResult, facts: StoredFacts, unit: str) -> ComparedValue | None:
    """A parameter in a study: tuned, or held at the value that its file states; None where it is neither."""
    tuned, stated = result.parameters.get(name), facts.identity["parameters"].get(name)
    if tuned is None and (stated is None or isinstance(stated, Mapping)):
        return None
    return ComparedValue(
        best=stated if tuned is None else tuned.best,
        estimate=None if tuned is None else tuned.estimate,
        interval=None if tuned is None else tuned.interval,
        interval_of=None if tuned is None else tuned.interval_of,
        verdict=None if tuned is None else tuned.verdict,
        unit=unit if tuned is None else tuned.unit,
        held=tuned is None,
    )


def _pair(studies: tuple[str, str], first: ComparedValue, second: ComparedValue) -> Pair:
    a, b = first.value, second.value
    if a is None or b is None or first.unit != second.unit:
        return Pair(of=studies, difference=None, in_half_widths=None, agree=None)
    if isinstance(a, str) or isinstance(b, str):
        return Pair(of=studies, difference=None, in_half_widths=None, agree=a == b)
    difference = b - a
    if first.interval is None or second.interval is None:
        return Pair(of=studies, difference=difference, in_half_widths=None, agree=None)
    width = math.hypot(*((high - low) / 2 for low, high in (first.interval, second.interval)))
    ratio = 0.0 if difference == 0 else abs(difference) / width if width > 0 else math.inf
    return Pair(
        of=studies,
        difference=difference,
        in_half_widths=ratio if math.isfinite(ratio) else None,
        agree=ratio <= 1.0,
    )


def _warnings(results: Sequence[StudyResult], facts: Sequence[StoredFacts]) -> list[str]:
    """Reservations about the comparison."""
    warnings = []
    metrics = {result.study: result.metric.name for result in results}
    if len(set(metrics.values())) > 1:
        warnings.append(f"They tune different metrics, which do not compare: {_listed(metrics)}.")
    objectives = {result.study: of_study.objective for result, of_study in zip(results, facts, strict=True)}
    if len(set(objectives.values())) > 1:
        warnings.append(f"They have different objectives: {_listed(objectives)}.")
    hashes = {of_study.content_hash for of_study in facts}
    if len(hashes) > 1:
        warnings.append("They are of different measurements, so that their metrics do not compare; parameters may.")
    elif None in hashes:
        warnings.append("Their objectives do not tell which measurement it was: it may not be the same.")
    else:
        warnings.append(
            "They are of the same measurement: what its noise did to the values it did to all, so that they should "
            "agree better than intervals that cover noise say."
        )
    for result in results:
        if result.status != "finished":
            warnings.append(f"{result.study} is {result.status}: its values are not its answer yet.")
        search_only = [n for n, p in result.parameters.items() if p.interval_of == SEARCH]
        if search_only:
            names = ", ".join(search_only)
            warnings.append(f"{result.study}: intervals of the search alone, without noise: {names}.")
    units: dict[str, set[str]] = {}
    for result in results:
        for name, parameter in result.parameters.items():
            units.setdefault(name, set()).add(shown_unit(parameter.unit) or "none")
    different = {name: sorted(of_name) for name, of_name in units.items() if len(of_name) > 1}
    return warnings + [f"{name} has different units: {', '.join(of_name)}." for name, of_name in different.items()]


def _listed(by_study: Mapping[str, str]) -> str:
    return ", ".join(f"{study} {value}" for study, value in by_study.items())
