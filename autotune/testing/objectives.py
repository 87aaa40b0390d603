"""The conformance suite of objectives."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping

import numpy as np

from autotune.objective import (
    DividesGradient,
    DrawsPictures,
    Evaluation,
    Examines,
    HasTwin,
    IdentifiesMeasurement,
    MeasuresAgain,
    Objective,
    Parameter,
    Status,
    Value,
)
from autotune.testing.checks import (
    PNG_SIGNATURE,
    Reports,
    check_choices,
    check_names,
    check_numbers,
    limits,
    outside,
    quotes,
    require,
    skip,
)
from autotune.testing.twins import TwinConformance
from autotune.text import shown_unit


class ObjectiveConformance(TwinConformance):
    """Tests that every :class:`autotune.objective.Objective` passes. Override the hooks, not the tests."""

    def test_parameters_are_well_formed(self) -> None:
        """Names are unique identifiers, units are stated, defaults and ranges lie inside the hard limits."""
        parameters = self.objective().parameters()
        require(len(parameters) > 0, "an objective needs at least one parameter")
        check_names("parameter", [parameter.name for parameter in parameters])
        for parameter in parameters:
            require(bool(parameter.unit.strip()), f"parameter {parameter.name}: its unit is empty; '1' means none")
            if parameter.type == "categorical":
                check_choices(parameter)
            else:
                check_numbers(parameter)

    def test_metrics_are_well_formed(self) -> None:
        """Names are unique identifiers, goals and units are stated, ceilings are finite."""
        metrics = self.objective().metrics()
        require(len(metrics) > 0, "an objective needs at least one metric")
        check_names("metric", [metric.name for metric in metrics])
        for metric in metrics:
            require(bool(metric.unit.strip()), f"metric {metric.name}: its unit is empty; '1' means none")
            require(metric.goal in ("maximize", "minimize"), f"metric {metric.name}: its goal is '{metric.goal}'")
            ceiling = metric.noise_ceiling
            require(ceiling is None or math.isfinite(ceiling), f"metric {metric.name}: noise ceiling {ceiling}")
            if metric.held_out_of is not None:
                of = next((other for other in metrics if other.name == metric.held_out_of), None)
                require(
                    of is not None and of.held_out_of is None and of.goal == metric.goal,
                    f"metric {metric.name}: '{metric.held_out_of}' is no in-sample metric of the same goal",
                )
        require(
            metrics[0].held_out_of is None, f"the first metric, {metrics[0].name}, is held out: it must be in-sample"
        )

    def test_summary_is_text(self) -> None:
        """The summary has entries, all of them text."""
        summary = self.objective().summary()
        require(len(summary) > 0, "summary() is empty; 'autotune check' has nothing to show")
        for key, text in summary.items():
            require(
                isinstance(key, str) and isinstance(text, str) and bool(text.strip()),
                f"summary entry {key!r} is {text!r}; it must be text",
            )

    def test_measurement_is_identified(self) -> None:
        """Where the objective has a content hash: equal measurements have equal ones, a repeated one has another."""
        objective = self.objective()
        if not isinstance(objective, IdentifiesMeasurement):
            skip("the objective does not identify its measurement")
        content_hash, again = objective.content_hash, self.objective()
        require(
            isinstance(content_hash, str) and bool(content_hash.strip()),
            f"content_hash is {content_hash!r}; it must be text",
        )
        if isinstance(again, IdentifiesMeasurement):
            require(
                again.content_hash == content_hash,
                f"content_hash of the same measurement, opened twice: {content_hash} and {again.content_hash}",
            )
        if isinstance(objective, MeasuresAgain):
            repeated = objective.measured_again(self.values(), seed=self.seed)
            require(
                not isinstance(repeated, IdentifiesMeasurement) or repeated.content_hash != content_hash,
                f"content_hash of another measurement (measured_again) is the same: {content_hash}",
            )

    def test_evaluation_reports_what_is_declared(self) -> None:
        """An evaluation is complete and reports exactly its metrics; arrays are NumPy's; attributes are scalars."""
        objective = self.objective()
        evaluation = self.evaluate(objective)
        self._require_metrics(objective, evaluation, self.tuned_metric(objective).name)
        for name, value in evaluation.metrics.items():
            require(isinstance(value, float) and math.isfinite(value), f"metric {name} is {value!r}, not finite")
        for name, array in evaluation.arrays.items():
            require(isinstance(array, np.ndarray), f"array {name} is a {type(array).__name__}, not NumPy")
            require(array.dtype != object, f"array {name} holds Python objects")
        for name, fact in evaluation.attributes.items():
            require(isinstance(fact, (int, float, str)), f"attribute {name} is {fact!r}: not a number or text")
        require(math.isfinite(evaluation.seconds) and evaluation.seconds >= 0, f"seconds is {evaluation.seconds}")

    def test_held_out_metrics_are_reported_where_asked_for(self) -> None:
        """An evaluation that tunes a held-out metric reports it beside the in-sample ones, and repeats exactly."""
        objective = self.objective()
        held_out = [metric.name for metric in objective.metrics() if metric.held_out_of is not None]
        if not held_out:
            skip("the objective has no held-out metric")
        for name in held_out:
            first, second = (objective.evaluate(self.values(), metric=name, seed=self.seed) for _ in range(2))
            require(first.status is Status.COMPLETE, f"asked for {name}, it ended as '{first.status}': {first.reason}")
            self._require_metrics(objective, first, name)
            require(dict(first.metrics) == dict(second.metrics), f"{name}: {first.metrics}, then {second.metrics}")

    def _require_metrics(self, objective: Objective, evaluation: Evaluation, asked: str) -> None:
        """Require exactly the in-sample metrics and the one that was asked for."""
        declared = {metric.name for metric in objective.metrics() if metric.held_out_of is None} | {asked}
        beside = {objective.twin_metric} if isinstance(objective, HasTwin) else set()
        require(
            set(evaluation.metrics) - beside == declared,
            f"asked for {asked}, metrics reported {sorted(evaluation.metrics)}, declared {sorted(declared)}",
        )

    def test_same_seed_gives_the_same_evaluation(self) -> None:
        """Equal arguments give equal metrics and an equal gradient, to the last bit."""
        objective = self.objective()
        first, second = self.evaluate(objective), self.evaluate(objective)
        for what, before, after in (
            ("metrics", first.metrics, second.metrics),
            ("gradient", first.gradient, second.gradient),
        ):
            require(dict(before) == dict(after), f"{what} differ between equal evaluations: {before} and {after}")

    def test_values_are_not_changed(self) -> None:
        """The mapping given to evaluate() comes back as it was."""
        values = dict(self.values())
        before = copy.deepcopy(values)
        self.objective().evaluate(values, metric=self.tuned_metric(self.objective()).name, seed=self.seed)
        require(values == before, f"evaluate() changed its values from {before} to {values}")

    def test_progress_counts_iterations(self) -> None:
        """Progress counts up to the iterations planned; curves have one value for each."""
        objective = self.objective()
        reports = Reports()
        evaluation = self.evaluate(objective, reports)
        counts = [iteration for iteration, _ in reports.seen]
        planned = {iterations for _, iterations in reports.seen}
        require(len(counts) > 0, "progress was never called")
        require(
            all(a < b for a, b in itertools.pairwise(counts)) and counts[0] >= 1,
            f"iterations reported are not increasing from 1: {counts}",
        )
        require(len(planned) == 1, f"the number of iterations planned changed: {sorted(planned)}")
        require(counts[-1] == max(planned), f"the last report was {counts[-1]} of {max(planned)} iterations")
        require(not reports.bad, f"metrics given to progress are not finite: {reports.bad}")
        declared = {metric.name for metric in objective.metrics()}
        for name, curve in evaluation.curve.items():
            require(name in declared, f"curve '{name}' is not a declared metric: {sorted(declared)}")
            require(len(curve) == counts[-1], f"curve {name}: {len(curve)} values for {counts[-1]} iterations")
            require(all(math.isfinite(value) for value in curve), f"curve {name} is not finite: {list(curve)}")

    def test_stops_when_told(self) -> None:
        """False from progress ends the evaluation as STOPPED, after at most one more report."""
        objective = self.objective()
        reports = Reports(go_on=False)
        metric = self.tuned_metric(objective).name
        evaluation = objective.evaluate(self.values(), metric=metric, seed=self.seed, progress=reports)
        require(
            len(reports.seen) > 0 and reports.seen[0][1] >= 3,
            f"the test needs an objective of 3 iterations or more; reports: {reports.seen}",
        )
        require(len(reports.seen) <= 2, f"told to stop at the first report, it made {len(reports.seen) - 1} more")
        require(
            evaluation.status is Status.STOPPED,
            f"status is '{evaluation.status}', not 'stopped', when stopped",
        )
        done = reports.seen[-1][0]
        for name, curve in evaluation.curve.items():
            require(len(curve) <= done, f"curve {name}: {len(curve)} values after {done} iterations")

    def test_pictures_are_png(self) -> None:
        """Where the objective draws pictures, there is at least one and they are PNG."""
        objective = self.objective()
        if not isinstance(objective, DrawsPictures):
            skip("the objective draws no pictures")
        pictures = objective.pictures(self.evaluate(objective))
        require(len(pictures) > 0, "pictures() drew none")
        for name, picture in pictures.items():
            require(
                isinstance(picture, bytes) and picture.startswith(PNG_SIGNATURE),
                f"picture {name} is not PNG: it begins with {picture[:8]!r}",
            )

    def test_gradient_names_differentiable_parameters(self) -> None:
        """Derivatives are finite, and of parameters declared differentiable: of all of them that are not idle."""
        objective = self.objective()
        gradient = self.evaluate(objective).gradient
        parameters = objective.parameters()
        held = {**{parameter.name: parameter.default for parameter in parameters}, **self.values()}
        idle = {parameter.name for parameter in parameters if parameter.idle(held)}
        allowed = {parameter.name for parameter in parameters if parameter.differentiable}
        extra = sorted(set(gradient) - allowed)
        require(not extra, f"gradient of {extra}, which are not declared differentiable")
        for name, derivative in gradient.items():
            require(math.isfinite(derivative), f"derivative by {name} is {derivative}")
        missing = sorted(allowed - idle - set(gradient))
        require(
            not (missing and self.requires_gradient),
            f"no derivative by {missing}, declared differentiable (requires_gradient = False allows it)",
        )

    def test_gradient_agrees_with_finite_differences(self) -> None:
        """Derivatives, per unit of what they are by, equal central differences of full re-evaluations."""
        objective = self.objective()
        gradient = self.evaluate(objective).gradient
        if not gradient:
            skip("the objective gives no gradient")
        if self.tuned_metric(objective).held_out_of is not None:
            skip("the gradient of a held-out metric need only be near it")
        if not self.reconverged:
            skip("evaluations do not converge: the gradient is at a fixed reconstruction")
        wrong = []
        for parameter in objective.parameters():
            if parameter.name in gradient:
                wrong += list(self._compare(objective, parameter, gradient[parameter.name]))
        require(not wrong, "; ".join(wrong))

    def _compare(self, objective: Objective, parameter: Parameter, derivative: float) -> Iterator[str]:
        """Compare one derivative with a central difference; yield what is wrong."""
        name = parameter.name
        value = self.value(parameter)
        scale = self.scale(parameter, value)
        step = self.step_sizes.get(name, self.gradient_step * scale)
        low, high = limits(parameter)
        if value - step < low or value + step > high:
            yield f"{name}: {value} +- {step} leaves its limits {low} to {high}; choose other values()"
            return
        ends = [
            self.evaluate(objective, values={**self.values(), name: value + side * step}).metrics
            for side in (-1.0, 1.0)
        ]
        metric = self.tuned_metric(objective).name
        apart, scale = parameter.acting(value + step) - parameter.acting(value - step), parameter.acting(scale)
        difference = (ends[1][metric] - ends[0][metric]) / apart
        error = abs(derivative - difference) * scale
        unit = f"squared {shown_unit(parameter.unit)}".strip() if parameter.by_square else shown_unit(parameter.unit)
        per = f" per {unit}" if unit else ""
        if error > self.gradient_rtol * abs(difference) * scale + self.gradient_atol:
            yield f"{name}: derivative {derivative:.8g}{per}, finite difference {difference:.8g}"

    def test_a_divided_gradient_adds_up(self) -> None:
        """Where the gradient is divided, parts and their changes add up to the difference of two evaluations."""
        objective = self.objective()
        if not isinstance(objective, DividesGradient):
            skip("the objective does not divide its gradient")
        metric, whole = self.tuned_metric(objective), self.evaluate(objective)
        if metric.held_out_of is not None:
            skip("the parts are those of the metric that the solver sees")
        moved = dict(self._moved(objective))
        divided = objective.evaluate_in_parts(dict(self.values()), metric=metric.name, seed=self.seed, moved=moved)
        require(divided.status is Status.COMPLETE, f"divided, it ended as '{divided.status}': {divided.reason}")
        require(divided.metrics[metric.name] == whole.metrics[metric.name], "the metric is another one when divided")
        require(bool(divided.gradient_parts), f"nothing is divided of {', '.join(moved)}")
        others = {
            name: self.evaluate(objective, values={**self.values(), name: at})
            for name, at in moved.items()
            if name in divided.gradient_parts
        }
        # Steps are equal shares of the scales, so that changes can be compared. What is small beside the others may be
        # another one: an objective that compares reconstructions avoids jumps that evaluations may have.
        changes, shifts = dict(self._changes(divided, whole, moved, others)), {}
        for name, of_divided in divided.gradient_shifts.items():
            for other, shift in of_divided.items():
                parameter = next(p for p in objective.parameters() if p.name == other)
                scale = parameter.acting(self.scale(parameter, self.value(parameter)))
                due = others[name].gradient[other] - whole.gradient[other]
                shifts[f"the derivative by {other} where {name} is moved"] = (shift * scale, due * scale)
        for pairs in (changes, shifts):
            largest = max((abs(due) for _, due in pairs.values()), default=0.0)
            for what, (found, due) in pairs.items():
                allowed = 0.1 * max(abs(due), largest / 2)
                require(abs(found - due) <= allowed, f"{what}: {found:.8g} when divided, {due:.8g} by two evaluations")

    def _changes(
        self, divided: Evaluation, whole: Evaluation, moved: Mapping[str, float], others: Mapping[str, Evaluation]
    ) -> Iterator[tuple[str, tuple[float, float]]]:
        """Change of the metric where each parameter is moved, from the parts and from two evaluations."""
        objective = self.objective()
        metric = self.tuned_metric(objective).name
        for parameter in objective.parameters():
            if other := others.get(name := parameter.name):
                step = parameter.acting(moved[name]) - parameter.acting(self.value(parameter))
                bent = sum(divided.gradient_changes.get(name, {}).get(name, ()))
                change = sum(divided.gradient_parts[name]) * step + bent * step**2 / 2
                yield f"the metric where {name} is moved", (change, other.metrics[metric] - whole.metrics[metric])

    def _moved(self, objective: Objective) -> Iterator[tuple[str, float]]:
        """Another value of every float parameter that is not idle."""
        held = {**{parameter.name: parameter.default for parameter in objective.parameters()}, **self.values()}
        for parameter in objective.parameters():
            if parameter.type == "float" and not parameter.idle(held):
                value = self.value(parameter)
                step = self.step_sizes.get(parameter.name, 10 * self.gradient_step * self.scale(parameter, value))
                low, high = limits(parameter)
                inside = [there for there in (value + step, value - step) if low <= there <= high and there != value]
                if inside:
                    yield parameter.name, inside[0]

    def test_examination_reports_what_is_announced(self) -> None:
        """An examination, where there is one, reports finite values of announced metrics, equal for equal arguments."""
        objective = self.objective()
        if not isinstance(objective, Examines):
            skip("the objective has no examinations")
        announced = {metric.name for metric in objective.examinations()}
        first, second = (dict(objective.examine(self.values(), seed=self.seed)) for _ in range(2))
        require(set(first) <= announced, f"examined {sorted(first)}, announced {sorted(announced)}")
        bad = {name: value for name, value in first.items() if not math.isfinite(value)}
        require(not bad, f"examinations are not finite: {bad}")
        require(first == second, f"examinations differ between equal ones: {first} and {second}")

    def test_unknown_names_are_refused(self) -> None:
        """Unknown names raise one InputError that quotes each and suggests what may be meant."""
        objective = self.objective()
        first = objective.parameters()[0].name
        message = self.refusal(objective, {first + "x": 1.0, "zzqqzz": 1.0}, "unknown parameters")
        for name in (first + "x", "zzqqzz"):
            require(name in message, f"the error does not name '{name}': {message}")
        rest = message.replace(first + "x", "")
        require(first in rest, f"the error does not offer '{first}' for '{first}x': {message}")

    def test_values_outside_hard_limits_are_refused(self) -> None:
        """A value outside a hard limit, or no number at all, raises InputError that quotes name and value."""
        objective = self.objective()
        for parameter in objective.parameters():
            for value in outside(parameter):
                message = self.refusal(objective, {parameter.name: value}, f"{parameter.name} = {value!r}")
                require(parameter.name in message, f"the error does not name '{parameter.name}': {message}")
                require(quotes(message, value), f"the error does not quote {value!r}: {message}")

    def test_values_of_the_wrong_type_are_refused(self) -> None:
        """Text for a number, a fraction for an int, an unknown choice: InputError that quotes it."""
        objective = self.objective()
        for parameter in objective.parameters():
            wrong: list[Value] = ["no-such-value"]
            if parameter.type == "int":
                wrong.append(round(self.value(parameter)) + 0.5)
            for value in wrong:
                message = self.refusal(objective, {parameter.name: value}, f"{parameter.name} = {value!r}")
                require(parameter.name in message, f"the error does not name '{parameter.name}': {message}")
                require(quotes(message, value), f"the error does not quote {value!r}: {message}")

    def test_required_values_are_asked_for(self) -> None:
        """Leaving out a parameter that has no default raises InputError that names it."""
        objective = self.objective()
        parameters = objective.parameters()
        held = {**{parameter.name: parameter.default for parameter in parameters}, **self.values()}
        required = [
            parameter.name for parameter in parameters if parameter.default is None and not parameter.idle(held)
        ]
        if not required:
            skip("every parameter has a default")
        for name in required:
            values = {other: value for other, value in self.values().items() if other != name}
            message = self.refusal(objective, values, f"{name} left out", alone=True)
            require(name in message, f"the error does not name '{name}': {message}")
