"""Settings of the conformance suite that the author of an objective overrides, and helpers of its tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autotune.objective import Evaluation, InputError, Metric, Objective, Parameter, Status, Value
from autotune.testing.checks import Reports, fail, require


class ObjectiveHooks:
    """Methods and attributes to override: the objective under test, where it is evaluated, and the tolerances.

    Attributes:
        metric: the tuned metric whose gradient is tested; None for the objective's first.
        seed: seed of every evaluation.
        gradient_rtol: allowed relative error of a derivative.
        gradient_atol: allowed absolute error of a derivative times the parameter's step-size scale (see
            :meth:`scale`), so in the metric's unit.
        gradient_step: step of the central difference, as a fraction of the parameter's scale.
        step_sizes: parameter name -> step in the parameter's unit, where ``gradient_step`` does not suit.
        requires_gradient: whether every parameter declared differentiable must get a derivative.
        reconverged: whether an evaluation converges, so that by the envelope theorem its gradient is that of
            a full re-evaluation. False skips the comparison with finite differences.
    """

    metric: ClassVar[str | None] = None
    seed: ClassVar[int] = 0
    gradient_rtol: ClassVar[float] = 1e-3
    gradient_atol: ClassVar[float] = 1e-8
    gradient_step: ClassVar[float] = 1e-4
    step_sizes: ClassVar[Mapping[str, float]] = {}
    requires_gradient: ClassVar[bool] = True
    reconverged: ClassVar[bool] = True

    def objective(self) -> Objective:
        """The objective under test; called by every test, so one that is slow to open is worth caching."""
        raise NotImplementedError("override objective() to return the objective under test")

    def values(self) -> Mapping[str, Value]:
        """Values to evaluate at: inside the hard limits, away from any optimum; those left out take their defaults."""
        return {}

    def scale(self, parameter: Parameter, value: float) -> float:
        """Typical change of a parameter: the width of its default range, else the size of its value, at least 1; the
        size of its value on a logarithmic scale."""
        if parameter.log:
            return abs(value)
        if parameter.low is not None and parameter.high is not None:
            return parameter.high - parameter.low
        return max(abs(value), 1.0)

    def value(self, parameter: Parameter) -> float:
        """The value of a numeric parameter at :meth:`values`."""
        value = self.values().get(parameter.name, parameter.default)
        require(value is not None, f"parameter {parameter.name} has no default: values() must give it")
        return float(value)  # type: ignore[arg-type]

    def tuned_metric(self, objective: Objective) -> Metric:
        """The tuned metric, whose gradient is wanted."""
        metrics = {metric.name: metric for metric in objective.metrics()}
        return metrics[self.metric] if self.metric is not None else next(iter(metrics.values()))

    def evaluate(
        self,
        objective: Objective,
        progress: Reports | None = None,
        values: Mapping[str, Value] | None = None,
    ) -> Evaluation:
        """A complete evaluation at :meth:`values`."""
        evaluation = objective.evaluate(
            dict(self.values() if values is None else values),
            metric=self.tuned_metric(objective).name,
            seed=self.seed,
            progress=progress or Reports(),
        )
        require(
            evaluation.status is Status.COMPLETE,
            f"the evaluation ended as '{evaluation.status}': {evaluation.reason}",
        )
        return evaluation

    def refusal(self, objective: Objective, values: Mapping[str, Value], what: str, *, alone: bool = False) -> str:
        """The message with which ``values``, put over :meth:`values` unless alone, are refused."""
        given = dict(values) if alone else {**self.values(), **values}
        try:
            objective.evaluate(given, metric=self.tuned_metric(objective).name, seed=self.seed)
        except InputError as error:
            return str(error)
        except Exception as error:
            fail(f"{what}: raised {type(error).__name__} ({error}), not InputError")
        fail(f"{what}: accepted; an InputError was due")
