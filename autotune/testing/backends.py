"""The conformance suite of wrapped packages: objectives whose evaluations another program makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import psutil

from autotune.objective import AutotuneError, Evaluation, KnowsTruth, Objective, Status, Value
from autotune.testing.checks import require, skip
from autotune.testing.objectives import ObjectiveConformance


class BackendConformance(ObjectiveConformance):
    """Tests that an objective with a backend passes, beside those of every objective. Override the hooks.

    ``objective()`` is to be bound to a simulated measurement whose true mismatch it knows, with a package that is
    installed here; its metrics must show that mismatch after the iterations of ``values()``.
    """

    requires_gradient: ClassVar[bool] = False
    largest_difference: ClassVar[float] = 1e-3
    """Largest ``model_difference`` between the package's own model and the one that its state is judged by."""

    def signed(self, objective: Objective) -> Mapping[str, float]:
        """The true values of which sign and unit are tested."""
        truth = objective.truth() if isinstance(objective, KnowsTruth) else {}
        tuned = {parameter.name for parameter in objective.parameters() if parameter.kind == "mismatch"}
        return {name: value for name, value in truth.items() if name in tuned and value != 0}

    def test_every_mismatch_has_our_sign_and_unit(self) -> None:
        """The metric is lower with the other sign, without the parameter, and with twice its value."""
        objective = self.objective()
        signed = dict(self.signed(objective))
        require(bool(signed), "the measurement's truth has no mismatch parameter that is not zero")
        at_truth = self._value(objective, signed)
        for name, value in signed.items():
            for factor in (-1.0, 0.0, 2.0):
                elsewhere = {**signed, name: factor * value}
                if not all(self._allows(objective, n, v) for n, v in elsewhere.items()):
                    continue
                found = self._value(objective, elsewhere)
                require(
                    self.tuned_metric(objective).sign * (at_truth - found) > 0,
                    f"{name} = {factor * value:g} is as good as the true {value:g}: {found:.6g} and {at_truth:.6g}",
                )

    def test_its_model_is_the_one_that_judges(self) -> None:
        """The counts that the package expects of its final state are those that our model expects of it."""
        evaluation = self._evaluated(self.objective())
        difference = evaluation.metrics.get("model_difference")
        if difference is None:
            skip("the backend tells no patterns of its own model")
        require(
            difference <= self.largest_difference,
            f"its own model differs from ours by {difference:.2g}, more than {self.largest_difference:g}: are its "
            "probe, object or positions told in other units, or with another centre?",
        )

    def test_after_a_stop_it_begins_anew(self) -> None:
        """What was stopped leaves nothing behind: the next evaluation is the one that it was before."""
        objective = self.objective()
        before = self._evaluated(objective)
        metric = self.tuned_metric(objective).name
        stopped = objective.evaluate(self.values(), metric=metric, seed=self.seed, progress=lambda *_: False)
        require(stopped.status is Status.STOPPED, f"it was told to stop and is {stopped.status.value}")
        require(self._evaluated(objective).metrics == before.metrics, "after a stop, equal calls give other metrics")

    def test_a_package_that_is_killed_is_one_failure(self) -> None:
        """An error says so, and the next evaluation starts the package anew."""
        objective = self.objective()
        before = self._evaluated(objective)

        def kill(iteration: int, iterations: int, metrics: Mapping[str, float]) -> bool:
            for child in psutil.Process().children(recursive=True):
                child.kill()
            return True

        try:
            metric = self.tuned_metric(objective).name
            objective.evaluate(self.values(), metric=metric, seed=self.seed, progress=kill)
        except AutotuneError:
            pass
        else:
            require(False, "the package was killed, and its evaluation says nothing of it")
        require(self._evaluated(objective).metrics == before.metrics, "after a kill, equal calls give other metrics")

    def _evaluated(self, objective: Objective) -> Evaluation:
        return self._at(objective, {})

    def _at(self, objective: Objective, values: Mapping[str, Value]) -> Evaluation:
        metric = self.tuned_metric(objective).name
        evaluation = objective.evaluate({**self.values(), **values}, metric=metric, seed=self.seed)
        require(evaluation.status is Status.COMPLETE, f"at {dict(values)} it is {evaluation.reason}")
        return evaluation

    def _value(self, objective: Objective, values: Mapping[str, Value]) -> float:
        return self._at(objective, values).metrics[self.tuned_metric(objective).name]

    @staticmethod
    def _allows(objective: Objective, name: str, value: float) -> bool:
        parameter = next(p for p in objective.parameters() if p.name == name)
        low, high = parameter.minimum, parameter.maximum
        return (low is None or low <= value) and (high is None or value <= high)
