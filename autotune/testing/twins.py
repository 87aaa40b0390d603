"""The part of the conformance suite that is about twins."""

from __future__ import annotations

from autotune.objective import HasTwin, Status, Value
from autotune.testing.checks import require, skip
from autotune.testing.hooks import ObjectiveHooks


class TwinConformance(ObjectiveHooks):
    """Tests of an objective whose answers have twins (:class:`autotune.objective.HasTwin`)."""

    twin_rtol = 1e-3
    """Share of the metric by which it may differ between twins, for rounding."""

    def test_a_twin_explains_as_well(self) -> None:
        """At the twin the tuned metric is the same, and the one that tells them apart has the other sign."""
        objective = self.objective()
        if not isinstance(objective, HasTwin):
            skip("the objective knows of no twins")
        given = self.values()
        held = {p.name: given.get(p.name, p.default) for p in objective.parameters() if p.kind != "mismatch"}
        twin = objective.twin(held)
        if twin is None:
            skip("the answers for this measurement have no twins")
        named = objective.twin_metric
        require(twin.metric == named, f"{twin.metric} tells twins apart, {named} is named")
        concerned = [p for p in objective.parameters() if p.name in {*twin.negated, *twin.added}]
        values: dict[str, Value] = {p.name: self.value(p) for p in concerned}
        there = {**values, **{name: -float(values[name]) for name in twin.negated}}
        there |= {name: float(values[name]) + by for name, by in twin.added.items()}
        metric = self.tuned_metric(objective).name
        here, other = (self.evaluate(objective, values={**self.values(), **at}) for at in (values, there))
        for at, ended in (("values()", here), ("the twin", other)):
            require(ended.status is Status.COMPLETE, f"at {at}, it ended as '{ended.status}': {ended.reason}")
        before, after = here.metrics[metric], other.metrics[metric]
        alike = abs(after - before) <= self.twin_rtol * abs(before)
        require(alike, f"{metric} is {before:.8g}, at the twin {after:.8g}")
        signs = [evaluation.metrics.get(named, 0.0) for evaluation in (here, other)]
        require(signs[0] * signs[1] < 0, f"{named} does not tell twins apart: {signs[0]:.4g} and {signs[1]:.4g}")
