"""Gradient descent as a sampler: the method of reconstruction packages with derivatives, as a baseline.

L-BFGS-B follows the metric's gradient from the nominal values. Every trial is a full reconstruction, so the gradient is
that of the metric of the re-converged object (the objects are profiled out); a package that descends in the object and
the parameters jointly takes a step of the parameters per iteration instead, and never re-converges.

The optimiser keeps no state between trials. It runs anew for every trial, and the trials in the storage answer its
requests; the first point that no trial answers is the next trial.

Source: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A limited memory algorithm for bound constrained optimization", SIAM J.
Sci. Comput. 16, 1190 (1995), as implemented in SciPy.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.samplers import BaseSampler
from optuna.trial import TrialState
from scipy.optimize import minimize

from autotune.errors import InputError, Problem
from autotune.objective import Value
from autotune.problem.space import Dimension, Floats, Space
from autotune.search.request import Request
from autotune.store.records import INTERRUPTED, gradient_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

SAME = 1e-8
"""Points closer than this in every coordinate are one point: the storage has values in their own unit, rounded."""
FIRST_STEP = 0.1
"""Longest change of a coordinate in the first step of a descent."""
CONVERGED = {"ftol": 1e-6, "gtol": 1e-5, "maxls": 20, "maxiter": 10_000, "maxfun": 100_000}
"""Criteria for values scaled so that the first gradient's largest entry is FIRST_STEP: a step that gains a
hundred-thousandth of the predicted gain of the first, or a gradient a ten-thousandth of the first."""


@dataclass(frozen=True)
class Answer:
    """The answer of one trial to the optimiser.

    Attributes:
        point: point of the unit cube, shape (D,).
        state: ``done`` with value and slope, ``failed`` (or stopped) without, or ``running``.
        value: value of the metric, less is better.
        slope: its derivatives along the coordinates that are moved, (d,).
    """

    point: Floats
    state: str
    value: float = math.nan
    slope: Floats | None = None


class _Unanswered(Exception):
    """The optimiser asked for a point that no trial answers."""

    def __init__(self, x: Floats) -> None:
        super().__init__()
        self.x = x


class _Ended(Exception):
    """A descent cannot begin, or waits for a running trial."""


class GradientSampler(BaseSampler):
    """Optuna sampler: projected L-BFGS over the float parameters in the unit cube, from their nominal values.

    Ints and choices stay at their nominal values. A parameter's nominal value is its stated initial value, else the
    objective's default where that is inside the range, else the middle of the range or the first choice. A descent that
    has converged, whose first trial failed, or that waits for a running trial, is followed by one from the study's next
    Sobol point.

    Args:
        space: the search space.
        seed: seed of the Sobol sequence; equal seeds and equal trials give equal proposals.
    """

    def __init__(self, space: Space, *, seed: int) -> None:
        self._space, self._seed = space, seed
        self._nominal = nominal(space)
        self._columns = _moved(space, self._nominal)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space: all parameters are proposed together."""
        return self._space.distributions()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The first point that the descents ask for and no trial answers.

        Raises:
            InputError: there is no parameter to descend along, or a finished trial lacks a derivative.
            ValueError: the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        if not self._columns:
            remedy = "tune a parameter that is a number, or take another sampler"
            raise InputError(Problem("search.sampler", "gradient has no parameter to move", remedy))
        trials = study.get_trials(deepcopy=False)
        answers = [answer for other in trials if (answer := self._answer(study, other, trial))]
        for start in itertools.count():
            try:
                self._descend(self._start(start), answers)
            except _Unanswered as asked:
                return dict(self._space.from_unit(self._point(asked.x)))
            except _Ended:
                continue
        raise AssertionError("the sequence of starts does not end")

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The nominal value of a parameter that is active only because another one's value was stated."""
        return _nominal_value(next(d for d in self._space.dimensions if d.name == param_name))

    def _answer(self, study: Study, other: FrozenTrial, asking: FrozenTrial) -> Answer | None:
        """The answer of a trial; None for the trial being asked, and for trials that do not count."""
        waits = other.state == TrialState.WAITING or other.user_attrs.get(INTERRUPTED)
        if other.number == asking.number or waits or not self._space.active(other.params) <= set(other.params):
            return None
        point = self._space.to_unit(other.params)
        if other.state != TrialState.COMPLETE:
            return Answer(point, "running" if other.state == TrialState.RUNNING else "failed")
        sign = 1.0 if study.direction.name == "MINIMIZE" else -1.0
        slopes = self._space.gradient_to_unit(other.params, gradient_of(other))
        active = self._space.active(other.params)
        names = [name for name in self._columns.values() if name in active]
        lacking = [name for name in names if not math.isfinite(slopes.get(name, math.nan))]
        if lacking:
            what = f"gradient needs the derivative for {', '.join(lacking)}, which trial {other.number} did not bring"
            remedy = "hold it fixed, or take a sampler that needs no derivatives, such as gp"
            raise InputError(Problem("search.sampler", what, remedy))
        slope = np.array([slopes.get(name, 0.0) for name in self._columns.values()])
        return Answer(point, "done", sign * float(other.value or 0.0), sign * slope)

    def _start(self, number: int) -> Floats:
        """Where descent ``number`` begins, (d,): the nominal values, then the Sobol sequence."""
        columns = list(self._columns)
        if number == 0:
            return self._nominal[columns]
        from autotune.surrogate.propose.first_points import startup_point

        return startup_point(self._space, seed=self._seed, position=number - 1)[columns]

    def _point(self, x: Floats) -> Floats:
        """The point of the unit cube, (D,), with the moved coordinates, (d,), there."""
        point = self._nominal.copy()
        point[list(self._columns)] = x
        return point

    def _descend(self, start: Floats, answers: list[Answer]) -> None:
        """Run the optimiser over the answers until it has converged.

        Raises:
            _Unanswered: it asks for a point that no trial answers.
            _Ended: its first trial failed, or it waits for a running one.
        """
        first = self._find(start, answers)
        if first.slope is None:
            raise _Ended
        steepest = float(np.abs(first.slope).max())
        scale = FIRST_STEP / steepest if steepest > 0 else 1.0
        good, worst = start, 0.0

        def function(x: Floats) -> tuple[float, Floats]:
            nonlocal good, worst
            answer = self._find(x, answers)
            if answer.state == "running":
                raise _Ended
            if answer.slope is None:  # a wall, from which the line search turns back
                return worst + 1.0, (x - good) / max(float(np.abs(x - good).max()), SAME)
            value = scale * (answer.value - first.value)
            good, worst = x.copy(), max(worst, value)
            return value, scale * answer.slope

        bounds = [(0.0, 1.0)] * len(start)
        minimize(function, start, jac=True, method="L-BFGS-B", bounds=bounds, options=CONVERGED)

    def _find(self, x: Floats, answers: list[Answer]) -> Answer:
        """The answer at a point; of several, the latest.

        Raises:
            _Unanswered: there is none.
        """
        point = self._space.to_unit(self._space.from_unit(self._point(x)))
        for answer in reversed(answers):
            if np.abs(answer.point - point).max() <= SAME:
                return answer
        raise _Unanswered(x.copy())


def make_sampler(request: Request) -> BaseSampler:
    """The sampler ``gradient``; its descents are those of the study, whatever trial is asked for."""
    return GradientSampler(request.space, seed=request.study_seed)


def nominal(space: Space) -> Floats:
    """The point of the nominal values, (D,); see :class:`GradientSampler`."""
    return space.to_unit({d.name: _nominal_value(d) for d in space.dimensions})


def _nominal_value(dimension: Dimension) -> Value:
    stated = (dimension.initial, dimension.nominal)
    return next((value for value in stated if value is not None), dimension.from_unit([0.5] * dimension.width))


def _moved(space: Space, point: Floats) -> dict[int, str]:
    """Column -> name of the float dimensions that are active at a point."""
    active = set(space.from_unit(point))
    starts = itertools.accumulate((d.width for d in space.dimensions), initial=0)
    return {
        start: d.name
        for d, start in zip(space.dimensions, starts, strict=False)
        if d.type == "float" and d.name in active
    }
