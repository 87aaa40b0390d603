"""The conformance suites: the toy passes them, and each check fails on an objective broken in its way."""

from __future__ import annotations

import dataclasses
import inspect
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from autotune.objective import (
    Evaluation,
    InputError,
    Metric,
    Objective,
    Parameter,
    Problem,
    Progress,
    Status,
    Twin,
    Value,
    never_stop,
)
from autotune.testing import ObjectiveConformance, ObjectiveTypeConformance
from tests.autotune.held_out import HELD_OUT, HoldsOut
from tests.autotune.toy import Optimum, Toy, ToySettings, toy


class TestToyObjective(ObjectiveConformance):
    def objective(self) -> Objective:
        return Toy(ToySettings())

    def values(self) -> Mapping[str, Value]:
        return {"shift": 0.3, "tilt": -2.0, "method": "fast"}


class TestToyObjectiveByError(TestToyObjective):
    metric = "error"


class TestToyThatHoldsOut(TestToyObjective):
    def objective(self) -> Objective:
        return HoldsOut(ToySettings())


class TestToyByWithheldData(TestToyThatHoldsOut):
    metric = "held_out_consistency"


class TestToyType(ObjectiveTypeConformance):
    name = "tests.autotune.toy:toy"

    def objective_type(self) -> Any:
        return toy

    def settings(self) -> Mapping[str, Any]:
        return {"optimum": {"shift": 0.5}, "iterations": 4}


class Required(Toy):
    """A toy that must be given its tilt."""

    def parameters(self) -> Any:
        return [dataclasses.replace(p, default=None) if p.name == "tilt" else p for p in super().parameters()]

    def evaluate(self, values: Any, **options: Any) -> Evaluation:
        if "tilt" not in values:
            raise InputError(Problem("tilt", "no value is given", "tune it or fix it"))
        return super().evaluate(values, **options)


class TestRequiredParameter(TestToyObjective):
    def objective(self) -> Objective:
        return Required(ToySettings())


class Broken(Toy):
    """A toy whose declarations and evaluations are altered by functions."""

    def __init__(self, parameters: Any = None, metrics: Any = None, evaluation: Any = None) -> None:
        super().__init__(ToySettings(optimum=Optimum(shift=0.9)))
        self._parameters, self._metrics, self._evaluation = parameters, metrics, evaluation
        self.calls = 0

    def parameters(self) -> Any:
        found = list(super().parameters())
        return self._parameters(found) if self._parameters else found

    def metrics(self) -> Any:
        found = list(super().metrics())
        return self._metrics(found) if self._metrics else found

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        self.calls += 1
        found = super().evaluate(values, metric=metric, seed=seed, progress=progress)
        return self._evaluation(found, self.calls) if self._evaluation else found


def suite(objective: Any, **hooks: Any) -> ObjectiveConformance:
    body = {"objective": lambda self: objective, "values": TestToyObjective.values, **hooks}
    found: ObjectiveConformance = type("Suite", (ObjectiveConformance,), body)()
    return found


def first(**changes: Any) -> Any:
    """Alter the first of a list of dataclasses."""
    return lambda found: [dataclasses.replace(found[0], **changes), *found[1:]]


def altered(**changes: Any) -> Any:
    """Alter a field of every evaluation; a callable is given the field's value."""
    return lambda found, calls: dataclasses.replace(
        found, **{k: v(getattr(found, k)) if callable(v) else v for k, v in changes.items()}
    )


def drifting(found: Evaluation, calls: int) -> Evaluation:
    return dataclasses.replace(found, metrics={k: v + 1e-12 * calls for k, v in found.metrics.items()})


def tilting(found: Evaluation, calls: int) -> Evaluation:
    return dataclasses.replace(found, gradient={**found.gradient, "tilt": calls * 1e-9})


def integer(**changes: Any) -> Any:
    """Alter the int parameter, the fourth."""
    return lambda found: [*found[:3], dataclasses.replace(found[3], **changes), *found[4:]]


def categorical(**changes: Any) -> Any:
    """Alter the categorical parameter, the last."""
    return lambda found: [*found[:4], dataclasses.replace(found[4], **changes)]


@pytest.mark.parametrize(
    ("check", "broken", "message"),
    [
        ("parameters_are_well_formed", Broken(lambda found: []), "at least one parameter"),
        ("parameters_are_well_formed", Broken(first(unit=" ")), "shift: its unit is empty"),
        ("parameters_are_well_formed", Broken(first(name="my shift")), "'my shift': .* not an identifier"),
        ("parameters_are_well_formed", Broken(first(name="tilt")), r"not unique: \['tilt'\]"),
        ("parameters_are_well_formed", Broken(first(default=11.0)), "default 11.0 is outside -10.0 to 10.0"),
        ("parameters_are_well_formed", Broken(first(default="x")), "default 'x' is not of type float"),
        ("parameters_are_well_formed", Broken(first(default=True)), "default True is not of type float"),
        ("parameters_are_well_formed", Broken(first(high=12.0)), "high 12.0 is outside -10.0 to 10.0"),
        ("parameters_are_well_formed", Broken(first(minimum=20.0)), "minimum 20.0 is above maximum 10.0"),
        ("parameters_are_well_formed", Broken(first(log=True)), "low -2.0 on a logarithmic scale"),
        ("parameters_are_well_formed", Broken(integer(default=2.5)), "default 2.5 is not of type int"),
        ("parameters_are_well_formed", Broken(integer(low=1.5)), "passes: low is 1.5"),
        ("parameters_are_well_formed", Broken(categorical(default="none")), "default 'none' is none of"),
        ("parameters_are_well_formed", Broken(categorical(choices=("plain", "plain"))), "choices repeat"),
        ("metrics_are_well_formed", Broken(metrics=lambda found: []), "at least one metric"),
        ("metrics_are_well_formed", Broken(metrics=first(name="error")), r"not unique: \['error'\]"),
        ("metrics_are_well_formed", Broken(metrics=first(unit="")), "its unit is empty"),
        ("metrics_are_well_formed", Broken(metrics=first(goal="up")), "its goal is 'up'"),
        ("metrics_are_well_formed", Broken(metrics=first(noise_ceiling=math.nan)), "noise ceiling nan"),
        ("evaluation_reports_what_is_declared", Broken(metrics=lambda f: f[:1]), "declared .'consistency'."),
        (
            "evaluation_reports_what_is_declared",
            Broken(evaluation=altered(arrays={"object": [[1.0]]})),
            "array object is a list, not NumPy",
        ),
        (
            "evaluation_reports_what_is_declared",
            Broken(evaluation=altered(attributes={"size": [1, 2]})),
            r"attribute size is \[1, 2\]",
        ),
        (
            "evaluation_reports_what_is_declared",
            Broken(evaluation=altered(seconds=math.nan)),
            "seconds is nan",
        ),
        (
            "evaluation_reports_what_is_declared",
            Broken(evaluation=altered(status=Status.DIVERGED, reason="NaN in the probe")),
            "ended as 'diverged': NaN in the probe",
        ),
        (
            "evaluation_reports_what_is_declared",
            Broken(evaluation=altered(metrics=lambda m: {**m, HELD_OUT.name: 0.5}), metrics=lambda f: [*f, HELD_OUT]),
            "asked for consistency, metrics reported .*'held_out_consistency'.*, declared .'consistency', 'error'.",
        ),
        (
            "held_out_metrics_are_reported_where_asked_for",
            Broken(metrics=lambda found: [*found, HELD_OUT]),
            "asked for held_out_consistency, metrics reported .'consistency', 'error'., declared",
        ),
        (
            "metrics_are_well_formed",
            Broken(metrics=lambda found: [*found, dataclasses.replace(HELD_OUT, held_out_of="eror")]),
            "held_out_consistency: 'eror' is no in-sample metric of the same goal",
        ),
        (
            "metrics_are_well_formed",
            Broken(metrics=lambda found: [*found, dataclasses.replace(HELD_OUT, held_out_of="error")]),
            "held_out_consistency: 'error' is no in-sample metric of the same goal",
        ),
        (
            "metrics_are_well_formed",
            Broken(metrics=lambda found: [HELD_OUT, *found]),
            "the first metric, held_out_consistency, is held out",
        ),
        ("same_seed_gives_the_same_evaluation", Broken(evaluation=drifting), "metrics differ"),
        ("same_seed_gives_the_same_evaluation", Broken(evaluation=tilting), "gradient differ"),
        (
            "progress_counts_iterations",
            Broken(evaluation=altered(curve={"error": [1.0]})),
            "curve error: 1 values for 5 iterations",
        ),
        (
            "progress_counts_iterations",
            Broken(evaluation=altered(curve={"loss": [1.0] * 5})),
            "curve 'loss' is not a declared metric",
        ),
        (
            "progress_counts_iterations",
            Broken(evaluation=altered(curve={"error": [math.nan] * 5})),
            "curve error is not finite",
        ),
        (
            "stops_when_told",
            Broken(evaluation=altered(status=Status.COMPLETE)),
            "status is 'complete', not 'stopped'",
        ),
        (
            "stops_when_told",
            Broken(evaluation=altered(curve={"error": [1.0] * 5})),
            "5 values after 1 iterations",
        ),
        ("stops_when_told", Toy(ToySettings(iterations=2)), "needs an objective of 3 iterations or more"),
        (
            "gradient_names_differentiable_parameters",
            Broken(evaluation=altered(gradient=lambda g: {**g, "passes": 1.0})),
            r"gradient of \['passes'\]",
        ),
        (
            "gradient_names_differentiable_parameters",
            Broken(evaluation=altered(gradient=lambda g: {**g, "tilt": math.inf})),
            "derivative by tilt is inf",
        ),
        (
            "gradient_names_differentiable_parameters",
            Broken(evaluation=altered(gradient={"tilt": 1.0})),
            r"no derivative by \['rate', 'shift'\]",
        ),
        (
            "gradient_agrees_with_finite_differences",  # per radian where the parameter's unit is the degree
            Broken(evaluation=altered(gradient=lambda g: {**g, "tilt": g["tilt"] * 180 / math.pi})),
            "tilt: derivative .* per degree, finite difference",
        ),
        (
            "gradient_agrees_with_finite_differences",
            Broken(evaluation=altered(gradient=lambda g: {**g, "shift": -g["shift"]})),
            "shift: derivative",
        ),
        (
            "gradient_agrees_with_finite_differences",
            Broken(lambda found: [dataclasses.replace(found[0], maximum=0.3), *found[1:]]),
            "0.3 .* leaves its limits -10.0 to 0.3",
        ),
    ],
)  # fmt: skip
def test_a_broken_objective_fails(check: str, broken: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(suite(broken), f"test_{check}")()


class Identified(Toy):
    """A toy that takes the hash of its measurement from a list, one for every time it is opened or measured again."""

    noise = "counted quanta"

    def __init__(self, hashes: list[Any]) -> None:
        super().__init__(ToySettings())
        self.hashes = hashes

    @property
    def content_hash(self) -> Any:
        return self.hashes[0]

    def measured_again(self, values: Mapping[str, Value], *, seed: int) -> Objective:
        return Identified(self.hashes[-1:])


@pytest.mark.parametrize(
    ("check", "opened", "message"),
    [
        ("measurement_is_identified", [["a", "b"], ["c", "b"]], "opened twice: a and c"),
        ("measurement_is_identified", [[" "], [" "]], "content_hash is ' '; it must be text"),
        ("measurement_is_identified", [[7], [7]], "content_hash is 7; it must be text"),
        ("measurement_is_identified", [["a"], ["a"]], r"another measurement \(measured_again\) is the same: a"),
    ],
)
def test_a_measurement_must_be_told_from_another(check: str, opened: list[list[Any]], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(opened_anew(opened), f"test_{check}")()


def test_an_identified_measurement_passes() -> None:
    opened_anew([["a", "b"], ["a", "b"]]).test_measurement_is_identified()


def opened_anew(hashes: list[list[Any]]) -> ObjectiveConformance:
    """The suite of an objective that finds another list of hashes every time it is opened."""
    objectives = iter([Identified(each) for each in hashes])
    anew: ObjectiveConformance = type(
        "Suite",
        (ObjectiveConformance,),
        {"objective": lambda self: next(objectives), "values": TestToyObjective.values},
    )()
    return anew


class Deaf(Toy):
    """Goes on when told to stop, or counts its iterations wrongly."""

    def __init__(self, iterations: list[int], planned: int | None = None, metrics: Any = None) -> None:
        super().__init__(ToySettings())
        self.iterations, self.planned, self.reported = iterations, planned, metrics or {}

    def evaluate(self, values: Any, *, metric: str, seed: int, progress: Progress = never_stop) -> Evaluation:
        for iteration in self.iterations:
            progress(iteration, self.planned or iteration, self.reported)
        return Evaluation(Status.COMPLETE, metrics={"consistency": 1.0, "error": 0.0})


@pytest.mark.parametrize(
    ("check", "broken", "message"),
    [
        ("stops_when_told", Deaf([1, 2, 3], 3), "it made 2 more"),
        ("progress_counts_iterations", Deaf([]), "never called"),
        ("progress_counts_iterations", Deaf([1, 1, 2], 2), "not increasing"),
        ("progress_counts_iterations", Deaf([0, 1], 1), "not increasing from 1"),
        ("progress_counts_iterations", Deaf([1, 2]), "planned changed"),
        ("progress_counts_iterations", Deaf([1, 2], 3), "the last report was 2 of 3"),
        ("progress_counts_iterations", Deaf([1], 1, {"error": math.nan}), "given to progress are not finite"),
    ],
)
def test_broken_progress_fails(check: str, broken: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(suite(broken), f"test_{check}")()


class Lax(Toy):
    """Refuses bad values in a given way: by another error, by a poor message, or not at all."""

    def __init__(self, how: str) -> None:
        super().__init__(ToySettings())
        self.how = how

    def evaluate(self, values: Any, **options: Any) -> Evaluation:
        try:
            return super().evaluate(values, **options)
        except InputError:
            if self.how == "accepts":
                return super().evaluate({}, **options)
            if self.how == "raises":
                raise KeyError("shift") from None
            raise InputError(Problem("", self.how)) from None


@pytest.mark.parametrize(
    ("check", "how", "message"),
    [
        ("unknown_names_are_refused", "accepts", "unknown parameters: accepted"),
        ("unknown_names_are_refused", "raises", "raised KeyError"),
        ("unknown_names_are_refused", "bad name", "does not name 'shiftx'"),
        ("unknown_names_are_refused", "shiftx is unknown", "does not name 'zzqqzz'"),
        ("unknown_names_are_refused", "shiftx and zzqqzz are unknown", "does not offer 'shift'"),
        ("values_outside_hard_limits_are_refused", "accepts", "shift = -20.0: accepted"),
        ("values_outside_hard_limits_are_refused", "raises", "raised KeyError"),
        ("values_outside_hard_limits_are_refused", "out of range", "does not name 'shift'"),
        ("values_outside_hard_limits_are_refused", "shift is out of range", "does not quote -20.0"),
        ("values_of_the_wrong_type_are_refused", "accepts", "'no-such-value': accepted"),
        ("values_of_the_wrong_type_are_refused", "shift", "does not quote 'no-such-value'"),
    ],
)
def test_lax_refusals_fail(check: str, how: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(suite(Lax(how)), f"test_{check}")()


class Greedy(Toy):
    def evaluate(self, values: Any, **options: Any) -> Evaluation:
        found = super().evaluate(values, **options)
        values["tilt"] = 0.0
        return found


class Mute(Toy):
    def summary(self) -> Mapping[str, str]:
        return {}


class Numeric(Toy):
    def summary(self) -> Any:
        return {"iterations": 5}


class Scribbler(Toy):
    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        return {"object": b"GIF89a.."}


class Blank(Toy):
    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        return {}


class Examined(Toy):
    """Announces ``sharpness``, and reports it."""

    calls = 0

    def examinations(self) -> Any:
        return [Metric("sharpness", "maximize")]

    def examine(self, values: Any, *, seed: int) -> Mapping[str, float]:
        self.calls += 1
        return self.report()

    def report(self) -> Mapping[str, float]:
        return {"sharpness": 1.5}


class Unannounced(Examined):
    def report(self) -> Mapping[str, float]:
        return {"sharpness": 1.5, "bluntness": 0.5}


class NotFinite(Examined):
    def report(self) -> Mapping[str, float]:
        return {"sharpness": math.inf}


class Forgetful(Examined):
    def report(self) -> Mapping[str, float]:
        return {"sharpness": float(self.calls)}


class TestExamined(TestToyObjective):
    def objective(self) -> Objective:
        return Examined(ToySettings())


class Divided(Toy):
    """Two parts, which are a third and two thirds of the whole."""

    def evaluate_in_parts(self, values: Any, *, metric: str, seed: int, moved: Mapping[str, float]) -> Evaluation:
        whole = self.evaluate(values, metric=metric, seed=seed)
        others = {name: self.evaluate({**values, name: at}, metric=metric, seed=seed) for name, at in moved.items()}
        start = {parameter.name: parameter.default for parameter in self.parameters()} | dict(values)
        parts = {
            name: (other.metrics[metric] - whole.metrics[metric]) / (moved[name] - float(start[name]))  # type: ignore[arg-type]
            for name, other in others.items()
        }
        shifts = {
            name: {n: other.gradient[n] - slope for n, slope in whole.gradient.items()}
            for name, other in others.items()
        }
        return dataclasses.replace(
            whole,
            gradient_parts={name: self.split(slope) for name, slope in parts.items()},
            gradient_shifts=self.shifted(shifts),
        )

    def split(self, slope: float) -> tuple[float, ...]:
        return slope / 3, slope * 2 / 3

    def shifted(self, shifts: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        return shifts


class TestDivided(TestToyObjective):
    def objective(self) -> Objective:
        return Divided(ToySettings())


class Mirrored(Toy):
    """A toy that does not know the sign of its tilt, which it reports."""

    twin_metric = "sign"
    power = 1.0

    def evaluate(self, values: Any, **options: Any) -> Evaluation:
        tilt = float(values.get("tilt", 0.0))
        found = super().evaluate({**values, "tilt": self.folded(tilt)}, **options)
        metrics = {**found.metrics, "sign": math.copysign(1.0, tilt) ** self.power}
        return dataclasses.replace(found, metrics=metrics) if found.metrics else found

    def folded(self, tilt: float) -> float:
        return abs(tilt)

    def twin(self, held: Mapping[str, Value | None]) -> Twin | None:
        return Twin("sign", ("tilt",)) if "tilt" not in held else None


class Unfolded(Mirrored):
    def folded(self, tilt: float) -> float:
        return tilt


class Undecided(Mirrored):
    power = 2.0


class Misnamed(Mirrored):
    twin_metric = "other"


def test_a_twin_is_checked() -> None:
    mirrored = suite(Mirrored(ToySettings()))
    mirrored.test_a_twin_explains_as_well()
    mirrored.test_evaluation_reports_what_is_declared()


class Incomplete(Divided):
    def split(self, slope: float) -> tuple[float, ...]:
        return slope / 3, slope / 3


class Unshifted(Divided):
    def shifted(self, shifts: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        return {name: dict.fromkeys(row, 0.0) for name, row in shifts.items()}


class Undivided(Divided):
    def evaluate_in_parts(self, values: Any, *, metric: str, seed: int, moved: Mapping[str, float]) -> Evaluation:
        return self.evaluate(values, metric=metric, seed=seed)


class Guessing(Required):
    def evaluate(self, values: Any, **options: Any) -> Evaluation:
        return Toy(self.settings).evaluate(values, **options)


@pytest.mark.parametrize(
    ("check", "kind", "message"),
    [
        ("values_are_not_changed", Greedy, "changed its values"),
        ("summary_is_text", Mute, "is empty"),
        ("summary_is_text", Numeric, "'iterations' is 5"),
        ("pictures_are_png", Scribbler, "picture object is not PNG"),
        ("pictures_are_png", Blank, "drew none"),
        ("required_values_are_asked_for", Guessing, "tilt left out: accepted"),
        ("a_twin_explains_as_well", Unfolded, "is .*, at the twin"),
        ("a_twin_explains_as_well", Undecided, "sign does not tell twins apart: 1 and 1"),
        ("a_twin_explains_as_well", Misnamed, "sign tells twins apart, other is named"),
        ("a_divided_gradient_adds_up", Incomplete, "the metric where shift is moved"),
        ("a_divided_gradient_adds_up", Unshifted, "the derivative by .* is moved: 0 when divided"),
        ("a_divided_gradient_adds_up", Undivided, "nothing is divided"),
        ("examination_reports_what_is_announced", Unannounced, "bluntness"),
        ("examination_reports_what_is_announced", NotFinite, "not finite"),
        ("examination_reports_what_is_announced", Forgetful, "differ between equal ones"),
    ],
)
def test_other_breaches_fail(check: str, kind: type[Toy], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(suite(kind(ToySettings())), f"test_{check}")()


def test_every_check_has_a_broken_objective_that_fails_it() -> None:
    # The last guard of this file: a check added to the suite must be shown to be able to fail.
    source = Path(__file__).read_text(encoding="utf-8")
    for kind in (ObjectiveConformance, ObjectiveTypeConformance):
        for name, _ in inspect.getmembers(kind, inspect.isfunction):
            if name.startswith("test_"):
                assert f'"{name.removeprefix("test_")}"' in source, name


def test_an_objective_without_gradient_skips_the_comparison() -> None:
    with pytest.raises(pytest.skip.Exception, match="gives no gradient"):
        suite(Toy(ToySettings(gradients=False))).test_gradient_agrees_with_finite_differences()


def test_an_objective_that_does_not_converge_skips_the_comparison() -> None:
    with pytest.raises(pytest.skip.Exception, match="do not converge"):
        suite(Toy(ToySettings()), reconverged=False).test_gradient_agrees_with_finite_differences()


def test_step_sizes_are_used() -> None:
    # A step of 3 degrees makes the central difference of a Gaussian too inexact.
    with pytest.raises(AssertionError, match="tilt: derivative"):
        suite(Toy(ToySettings()), step_sizes={"tilt": 3.0}).test_gradient_agrees_with_finite_differences()


class Permissive(BaseModel):
    iterations: int = 5


class Holder(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: list[Permissive] | None = None


class NoObjective:
    def evaluate(self) -> None: ...


class BrokenType:
    def __init__(self, settings: Any = ToySettings, opened: Any = None) -> None:
        self.settings, self.opened = settings, opened

    def open(self, settings: BaseModel, *, folder: Path) -> Any:
        return self.opened


@pytest.mark.parametrize(
    ("check", "broken", "message"),
    [
        ("settings_forbid_unknown_keys", BrokenType(Permissive), "Permissive does not set extra='forbid'"),
        ("settings_forbid_unknown_keys", BrokenType(Holder), "Permissive does not set extra='forbid'"),
        ("settings_forbid_unknown_keys", BrokenType(dict), "no pydantic model"),
        ("opens_an_objective", BrokenType(opened=NoObjective()), r"no method parameters\(\)"),
        ("is_found_by_name", BrokenType(), "leads to"),
    ],
)
def test_a_broken_type_fails(check: str, broken: Any, message: str) -> None:
    class Suite(ObjectiveTypeConformance):
        name = "tests.autotune.toy:toy"

        def objective_type(self) -> Any:
            return broken

    with pytest.raises(AssertionError, match=message):
        getattr(Suite(), f"test_{check}")()


def test_importing_the_suite_imports_no_pytest() -> None:
    code = "import sys, autotune.testing; sys.exit(any(m in sys.modules for m in ('pytest', 'torch', 'optuna')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_parameters_and_metrics_may_be_any_sequence() -> None:
    class Tupled(Toy):
        def parameters(self) -> tuple[Parameter, ...]:
            return tuple(super().parameters())

        def metrics(self) -> list[Metric]:
            return list(super().metrics())

    suite(Tupled(ToySettings())).test_parameters_are_well_formed()
    suite(Tupled(ToySettings())).test_metrics_are_well_formed()
