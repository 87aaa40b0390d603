"""One search engine of another package, in a process, and where necessary an environment, of its own.

    python peer_engine.py ENGINE SEED

One JSON object per line. In, first: the space, a list of ``{name, type, low, high, log, choices}``; then
``{"ask": true}`` and ``{"tell": VALUE}`` in turn, larger values better. Out: ``{"ready": VERSION}`` or
``{"missing": WHY}``; then ``{"values": {...}, "seconds": S}`` for an ask and ``{"seconds": S}`` for a tell, processor
seconds. Every engine runs with its own defaults. Nothing of this project is imported here.
"""

from __future__ import annotations

import json
import logging
import math
import os
import random
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Protocol, TextIO

Space = list[dict[str, Any]]


class Engine(Protocol):
    """A search: it proposes parameter values, and is told their value."""

    version: str

    def ask(self) -> dict[str, Any]: ...

    def tell(self, value: float) -> None: ...


class Optuna:
    """Optuna's TPE or GP sampler with its defaults."""

    def __init__(self, space: Space, seed: int, sampler: str) -> None:
        import optuna
        from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.version = f"optuna {version('optuna')}"
        self._space: dict[str, BaseDistribution] = {
            d["name"]: CategoricalDistribution(d["choices"])
            if d["type"] == "categorical"
            else IntDistribution(int(d["low"]), int(d["high"]), log=d["log"])
            if d["type"] == "int"
            else FloatDistribution(d["low"], d["high"], log=d["log"])
            for d in space
        }
        made = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}[sampler](seed=seed)
        self._study = optuna.create_study(direction="maximize", sampler=made)

    def ask(self) -> dict[str, Any]:
        self._trial = self._study.ask(self._space)
        return dict(self._trial.params)

    def tell(self, value: float) -> None:
        self._study.tell(self._trial, value)


class Ax:
    """Ax's Client with its default generation strategy."""

    def __init__(self, space: Space, seed: int) -> None:
        from ax.api.client import Client
        from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

        for name in ["ax", *(name for name in logging.root.manager.loggerDict if name.startswith("ax."))]:
            logging.getLogger(name).setLevel(logging.ERROR)
        self.version = f"ax-platform {version('ax-platform')}"
        parameters = [
            ChoiceParameterConfig(name=d["name"], values=d["choices"], parameter_type="str", is_ordered=False)
            if d["type"] == "categorical"
            else RangeParameterConfig(
                name=d["name"],
                bounds=(d["low"], d["high"]) if d["type"] == "float" else (int(d["low"]), int(d["high"])),
                parameter_type=d["type"],
                scaling="log" if d["log"] else None,
            )
            for d in space
        ]
        self._client = Client(random_seed=seed)
        self._client.configure_experiment(parameters=parameters)
        self._client.configure_optimization(objective="value")

    def ask(self) -> dict[str, Any]:
        ((self._index, values),) = self._client.get_next_trials(max_trials=1).items()
        return dict(values)

    def tell(self, value: float) -> None:
        self._client.complete_trial(trial_index=self._index, raw_data={"value": value})


class Skopt:
    """The optimizer that scikit-optimize's ``gp_minimize`` builds from its defaults, one thread."""

    def __init__(self, space: Space, seed: int) -> None:
        import numpy as np
        from skopt import Optimizer
        from skopt.space import Categorical, Integer, Real
        from skopt.utils import cook_estimator, normalize_dimensions

        def prior(d: dict[str, Any]) -> str:
            return "log-uniform" if d["log"] else "uniform"

        self.version = f"scikit-optimize {version('scikit-optimize')}"
        self._names = [d["name"] for d in space]
        dimensions = normalize_dimensions(
            [
                Categorical(d["choices"])
                if d["type"] == "categorical"
                else Integer(int(d["low"]), int(d["high"]), prior=prior(d))
                if d["type"] == "int"
                else Real(d["low"], d["high"], prior=prior(d))
                for d in space
            ]
        )
        state = np.random.RandomState(seed)
        estimator_seed = state.randint(0, np.iinfo(np.int32).max)
        self._optimizer = Optimizer(
            dimensions,
            cook_estimator("GP", space=dimensions, random_state=estimator_seed, noise="gaussian"),
            n_initial_points=10,
            initial_point_generator="random",
            acq_func="gp_hedge",
            acq_optimizer="auto",
            acq_optimizer_kwargs={"n_points": 10_000, "n_restarts_optimizer": 5, "n_jobs": 1},
            acq_func_kwargs={"xi": 0.01, "kappa": 1.96},
            random_state=state,
        )

    def ask(self) -> dict[str, Any]:
        self._asked = self._optimizer.ask()
        plain = [x.item() if hasattr(x, "item") else x for x in self._asked]
        return dict(zip(self._names, plain, strict=True))

    def tell(self, value: float) -> None:
        self._optimizer.tell(self._asked, -value)


class Column:
    """One parameter as a column of BoTorch's unit cube; a categorical one as the index of its choice."""

    def __init__(self, d: dict[str, Any]) -> None:
        self.name, self.type, self.log, self.choices = d["name"], d["type"], d.get("log", False), d.get("choices", [])
        low, high = float(d.get("low", 0)), float(d.get("high", 0))
        self.low, self.high = (math.log(low), math.log(high)) if self.log else (low, high)
        self.top = len(self.choices) - 1 if self.type == "categorical" else 1
        ints = range(int(d["low"]), int(d["high"]) + 1) if self.type == "int" else ()
        self.levels = [self.encode(i) for i in ints] or list(range(len(self.choices)))
        """The values that the column may have; empty where any value is allowed."""

    def encode(self, value: Any) -> float:
        if self.type == "categorical":
            return float(self.choices.index(value))
        return ((math.log(value) if self.log else value) - self.low) / (self.high - self.low)

    def decode(self, x: float) -> Any:
        if self.type == "categorical":
            return self.choices[round(x)]
        value = self.low + min(max(x, 0.0), 1.0) * (self.high - self.low)
        value = math.exp(value) if self.log else value
        return round(value) if self.type == "int" else value


class BoTorch:
    """The loop of BoTorch's tutorials: Sobol points, a standard model, qLogNEI from many starts."""

    def __init__(self, space: Space, seed: int) -> None:
        import torch

        self.version = f"botorch {version('botorch')}"
        self._columns = [Column(d) for d in space]
        self._sobol = torch.quasirandom.SobolEngine(len(space), scramble=True, seed=seed)
        self._initial = 2 * (len(space) + 1)
        self._points: list[list[float]] = []
        self._values: list[float] = []

    def ask(self) -> dict[str, Any]:
        point = self._model_based() if len(self._values) >= self._initial else self._quasirandom()
        values = {c.name: c.decode(x) for c, x in zip(self._columns, point, strict=True)}
        self._points.append([c.encode(values[c.name]) for c in self._columns])
        return values

    def tell(self, value: float) -> None:
        self._values.append(value)

    def _quasirandom(self) -> list[float]:
        drawn = self._sobol.draw(1)[0].tolist()
        return [
            c.levels[min(int(u * len(c.levels)), len(c.levels) - 1)] if c.levels else u
            for c, u in zip(self._columns, drawn, strict=True)
        ]

    def _model_based(self) -> list[float]:
        import torch
        from botorch.acquisition.logei import qLogNoisyExpectedImprovement
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import MixedSingleTaskGP, SingleTaskGP
        from botorch.optim import optimize_acqf, optimize_acqf_mixed_alternating
        from gpytorch.mlls import ExactMarginalLogLikelihood

        x = torch.tensor(self._points, dtype=torch.double)
        y = torch.tensor(self._values, dtype=torch.double).unsqueeze(-1)
        of_type = {kind: [i for i, c in enumerate(self._columns) if c.type == kind] for kind in ("int", "categorical")}
        chosen = of_type["categorical"]
        model = MixedSingleTaskGP(x, y, cat_dims=chosen) if chosen else SingleTaskGP(x, y)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        acquisition = qLogNoisyExpectedImprovement(model, X_baseline=x)
        bounds = torch.tensor([[0.0, c.top] for c in self._columns], dtype=torch.double).T
        levels = {kind: {i: self._columns[i].levels for i in indices} for kind, indices in of_type.items()}
        if any(levels.values()):
            best, _ = optimize_acqf_mixed_alternating(
                acquisition, bounds, discrete_dims=levels["int"], cat_dims=levels["categorical"], q=1
            )
        else:
            best, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=10, raw_samples=512)
        return best[0].tolist()


ENGINES: dict[str, Callable[[Space, int], Engine]] = {
    "optuna-tpe": lambda space, seed: Optuna(space, seed, "tpe"),
    "optuna-gp": lambda space, seed: Optuna(space, seed, "gp"),
    "ax": Ax,
    "skopt": Skopt,
    "botorch": BoTorch,
}


def seed_everything(seed: int) -> None:
    """Seed the generators that an engine may use without asking."""
    random.seed(seed)
    for name in ("numpy", "torch"):
        try:
            module = __import__(name)
        except ImportError:
            continue
        if name == "numpy":
            module.random.seed(seed)
        else:
            module.manual_seed(seed)
            module.set_num_threads(1)


def serve(engine: Engine, requests: TextIO, replies: TextIO) -> None:
    """Answer requests until there are no more."""
    for line in requests:
        request = json.loads(line)
        started = time.process_time()
        reply: dict[str, Any] = {}
        if "ask" in request:
            reply["values"] = engine.ask()
        else:
            engine.tell(float(request["tell"]))
        reply["seconds"] = time.process_time() - started
        print(json.dumps(reply), file=replies, flush=True)


def main() -> None:
    """Serve one engine over standard input and output."""
    # The package's own output must not get between the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    name, seed = sys.argv[1], int(sys.argv[2])
    space: Space = json.loads(sys.stdin.readline())
    try:
        seed_everything(seed)
        engine = ENGINES[name](space, seed)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), file=replies, flush=True)
        return
    print(json.dumps({"ready": engine.version}), file=replies, flush=True)
    serve(engine, sys.stdin, replies)


if __name__ == "__main__":
    main()
