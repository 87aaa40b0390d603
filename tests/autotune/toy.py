"""A tiny analytic objective for tests: every parameter type, exact gradients, a curve, failures on demand.

``tests.autotune.toy:toy`` is the objective type. With distances
``d = (shift-shift*)/2, (tilt-tilt*)/10, log10(rate/rate*), (passes-passes*)/4, [method is not method*]``
the metrics are ``error = sum(d^2)`` and ``consistency = exp(-error)``.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from autotune.objective import (
    Evaluation,
    InputError,
    Metric,
    Parameter,
    Problem,
    Progress,
    Status,
    Value,
    near_miss,
    never_stop,
)

METHODS = ("plain", "fast", "slow")


class Optimum(BaseModel):
    """Where the toy's best value lies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shift: FiniteFloat = 0.7
    tilt: FiniteFloat = 4.0
    rate: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    passes: int = Field(default=5, ge=1)
    method: Literal["plain", "fast", "slow"] = "fast"


class ToySettings(BaseModel):
    """The toy's ``objective:`` block.

    ``data`` is a file that must exist (null for none); ``fail_above`` ends an evaluation as diverged, and
    ``crash_above`` raises, where shift is above it; ``seconds_per_iteration`` makes an evaluation slow.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    optimum: Optimum = Optimum()
    data: Path | None = None
    iterations: int = Field(default=5, ge=1, le=1000)
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    gradients: bool = True
    fail_above: FiniteFloat | None = None
    crash_above: FiniteFloat | None = None
    seconds_per_iteration: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Toy:
    """The toy objective bound to its settings."""

    def __init__(self, settings: ToySettings) -> None:
        self.settings = settings

    def parameters(self) -> Sequence[Parameter]:
        smooth = self.settings.gradients
        return (
            Parameter(
                "shift", "angstrom", "mismatch", 0.0, low=-2.0, high=2.0, minimum=-10.0, maximum=10.0,
                differentiable=smooth, description="Offset of the toy; positive is to the right.",
            ),
            Parameter(
                "tilt", "degree", "mismatch", 0.0, minimum=-90.0, maximum=90.0,
                differentiable=smooth, description="Angle of the toy; the study must state its range.",
            ),
            Parameter(
                "rate", "1", "solver", 0.1, low=1e-3, high=1.0, log=True, minimum=1e-6,
                differentiable=smooth, description="Step size of the toy's solver.",
            ),
            Parameter(
                "passes", "1", "solver", 3, type="int", low=1, high=8, minimum=1, maximum=100,
                description="Passes of the toy's solver.",
            ),
            Parameter(
                "method", "1", "solver", "plain", type="categorical", choices=METHODS,
                description="The toy's solver.",
            ),
        )  # fmt: skip

    def metrics(self) -> Sequence[Metric]:
        return (
            Metric("consistency", "maximize", noise_ceiling=1.0, description="exp(-error)"),
            Metric("error", "minimize", description="sum of squared distances from the optimum"),
        )

    def summary(self) -> Mapping[str, str]:
        return {"problem": "toy", "iterations": str(self.settings.iterations)}

    def truth(self) -> Mapping[str, float]:
        optimum = self.settings.optimum
        return {"shift": optimum.shift, "tilt": optimum.tilt}

    def pictures(self, evaluation: Evaluation) -> Mapping[str, bytes]:
        import io

        from matplotlib.figure import Figure

        buffer = io.BytesIO()
        figure = Figure(figsize=(1, 1))
        figure.subplots().imshow(evaluation.arrays["object"])
        figure.savefig(buffer, format="png")
        return {"object": buffer.getvalue()}

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        started = time.perf_counter()
        full = self._complete(values)
        settings = self.settings
        if settings.crash_above is not None and float(full["shift"]) > settings.crash_above:
            raise RuntimeError(f"the toy crashed at shift {full['shift']}")
        if settings.fail_above is not None and float(full["shift"]) > settings.fail_above:
            return Evaluation(Status.DIVERGED, reason=f"the toy diverged at shift {full['shift']}")
        error, slope = self._error(full)
        key = zlib.crc32(repr(sorted(full.items())).encode())
        error += settings.noise * float(np.random.default_rng([seed, key]).normal())

        # After iteration k the error still carries 0.5**k of a start far away; the last iteration is exact.
        excess = [0.5**k for k in range(1, settings.iterations)] + [0.0]
        errors: list[float] = []
        stopped = False
        for iteration, extra in enumerate(excess, start=1):
            if settings.seconds_per_iteration:
                time.sleep(settings.seconds_per_iteration)
            errors.append(error + extra)
            now = {"consistency": math.exp(-errors[-1]), "error": errors[-1]}
            if not progress(iteration, settings.iterations, now) and iteration < settings.iterations:
                stopped = True
                break
        chain = 1.0 if metric == "error" else -now["consistency"]
        return Evaluation(
            Status.STOPPED if stopped else Status.COMPLETE,
            metrics=now,
            gradient={name: chain * d for name, d in slope.items()} if settings.gradients else {},
            curve={"consistency": [math.exp(-e) for e in errors], "error": errors},
            arrays={"object": np.full((4, 4), now["consistency"], dtype=np.float32)},
            attributes={"pixel_size_angstrom": 1.0},
            seconds=time.perf_counter() - started,
            reason="stopped by the caller" if stopped else "",
        )

    def _complete(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Values with defaults filled in; an unknown name or a value outside its limits is an InputError."""
        known = {parameter.name: parameter for parameter in self.parameters()}
        problems = [Problem(n, f"no parameter is called '{n}'", near_miss(n, known)) for n in values if n not in known]
        for name in set(values) & set(known):
            parameter, value = known[name], values[name]
            if parameter.type == "categorical":
                if value not in parameter.choices:
                    problems.append(
                        Problem(name, f"'{value}' is not a choice", near_miss(str(value), parameter.choices))
                    )
            elif not (
                isinstance(value, int if parameter.type == "int" else (int, float))
                and (parameter.minimum is None or value >= parameter.minimum)
                and (parameter.maximum is None or value <= parameter.maximum)
            ):
                problems.append(Problem(name, f"{value!r} is outside {parameter.minimum} to {parameter.maximum}"))
        if problems:
            raise InputError(problems)
        defaults = {name: p.default for name, p in known.items() if p.default is not None}
        return {**defaults, **values}

    def _error(self, values: Mapping[str, Value]) -> tuple[float, dict[str, float]]:
        """Error and its derivative per unit of each differentiable parameter."""
        optimum = self.settings.optimum
        shift = (float(values["shift"]) - optimum.shift) / 2
        tilt = (float(values["tilt"]) - optimum.tilt) / 10
        rate = math.log10(float(values["rate"]) / optimum.rate)
        passes = (int(values["passes"]) - optimum.passes) / 4
        other = float(values["method"] != optimum.method)
        slope = {
            "shift": shift,
            "tilt": tilt / 5,
            "rate": 2 * rate / (float(values["rate"]) * math.log(10)),
        }
        return shift**2 + tilt**2 + rate**2 + passes**2 + other, slope


class BareToyType:
    """The toy as an objective type that cannot simulate."""

    settings = ToySettings

    def open(self, settings: BaseModel, *, folder: Path) -> Toy:
        assert isinstance(settings, ToySettings)
        if settings.data is not None and not (folder / settings.data).is_file():
            raise InputError(Problem(str(folder / settings.data), "no such file", "make it with autotune simulate"))
        return Toy(settings)


class ToyType(BareToyType):
    """The toy as an objective type that can also write its (tiny) measurement."""

    def simulate(self, settings: BaseModel, *, folder: Path, output: Path | None) -> Mapping[str, str]:
        assert isinstance(settings, ToySettings)
        if output is None:
            if settings.data is None:
                raise InputError(Problem("objective.data", "names no file to write", "state it or give --output"))
            output = folder / settings.data
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps({"toy": 1}), encoding="utf-8")
        return {"measurement": str(output)}


toy = ToyType()
bare = BareToyType()
