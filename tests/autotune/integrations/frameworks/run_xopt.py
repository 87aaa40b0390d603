"""Xopt 3.2 with our generator: 20 evaluations, four workers, evaluations that fail, a context, a study in a file."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import xopt
from gest_api.vocs import VOCS
from xopt import Evaluator, Xopt
from xopt.stopping_conditions import MaxEvaluationsCondition

from autotune.integrations.gest import Generator


def vocs() -> VOCS:
    return VOCS(
        variables={"x": [-2.0, 2.0], "y": [-1.0, 3.0]},
        objectives={"f": "MINIMIZE"},
        constraints={"c": ["LESS_THAN", 1.5]},
        constants={"height": 1.0},
        observables=["df_dx", "df_dy"],
    )


def bowl(inputs: dict[str, float]) -> dict[str, float]:
    x, y = inputs["x"], inputs["y"]
    value = (x - 0.5) ** 2 + 2 * (y - 0.7) ** 2 + inputs["height"]
    return {"f": value, "c": x + y, "df_dx": 2 * (x - 0.5), "df_dy": 4 * (y - 0.7)}


def sometimes(inputs: dict[str, float]) -> dict[str, float]:
    if inputs["x"] < 0:
        raise RuntimeError("the beam was lost")
    return bowl(inputs)


def drifting(inputs: dict[str, float]) -> dict[str, float]:
    """The best setting follows a temperature that nobody sets."""
    drifting.calls += 1  # type: ignore[attr-defined]
    temperature = 20 + 3 * math.sin(drifting.calls / 6)  # type: ignore[attr-defined]
    return {"f": (inputs["x"] - 0.1 * (temperature - 20)) ** 2, "t": temperature}


drifting.calls = 0  # type: ignore[attr-defined]


def run(function: object, evaluations: int, generator: Generator | None = None, **options: object) -> Xopt:
    workers = {"max_workers": options.pop("max_workers")} if "max_workers" in options else {}
    optimiser = Xopt(
        generator=generator or Generator(vocs()),
        evaluator=Evaluator(function=function, **workers),
        stopping_condition=MaxEvaluationsCondition(max_evaluations=evaluations),
        **options,
    )
    optimiser.run()
    return optimiser


def main() -> None:
    print("xopt", xopt.__version__)
    original = Generator(vocs())
    plain = run(bowl, 20, original)
    assert plain.generator is not original and original.get_best_points() == []  # Xopt works on a deep copy
    [(number, values, outcomes)] = plain.generator.get_best_points()
    print(f"20 evaluations: best {outcomes['f']:.6f} at x={values['x']:.4f} y={values['y']:.4f}, point {number}")
    assert len(plain.data) == 20 and outcomes["f"] < 1.02 and outcomes["c"] < 1.5
    assert "Generator" in str(plain) and plain.yaml()

    sloped = run(bowl, 20, Generator(vocs(), gradients={"x": "df_dx", "y": "df_dy"}))
    value = sloped.generator.get_best_points()[0][2]["f"]
    print(f"20 evaluations with gradients: best {value:.6f}")
    assert value < 1.001

    parallel = run(bowl, 20, max_workers=4)
    value = parallel.generator.get_best_points()[0][2]["f"]
    print(f"20 evaluations, 4 at a time: best {value:.6f}")
    assert len(parallel.data) == 20 and value < 1.1

    failing = run(sometimes, 20, strict=False)
    lost = int(failing.data["xopt_error"].sum())
    value = failing.generator.get_best_points()[0][2]["f"]
    print(f"20 evaluations, {lost} of them failed: best {value:.6f}")
    assert 0 < lost < 20 and value < 1.1

    together = run(sometimes, 20, strict=False, max_workers=4)
    lost = int(together.data["xopt_error"].sum())
    value = together.generator.get_best_points()[0][2]["f"]
    print(f"20 evaluations, 4 at a time, {lost} of them failed: best {value:.6f}")
    assert 0 < lost < 20

    context = VOCS(variables={"x": [-1.0, 1.0], "t": "contextual"}, objectives={"f": "MINIMIZE"})
    drift = run(drifting, 20, Generator(context))
    tail = drift.data["f"].iloc[-5:].max()
    print(f"20 evaluations while a contextual variable drifts: worst of the last five {tail:.5f}")
    assert len(drift.data) == 20 and tail < 0.02

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'trials.db'}"
        run(bowl, 6, Generator(vocs(), database=url))
        again = run(bowl, 4, Generator(vocs(), database=url))
        trials = again.generator._store.trials()
        print(f"in a file, 6 evaluations and 4 more: {len(trials)} trials")
        assert len(trials) == 10 and all(trial.state == "finished" for trial in trials)

    mixed = Xopt(generator=Generator(vocs()), evaluator=Evaluator(function=bowl))
    mixed.random_evaluate(5, seed=1)  # points from elsewhere
    mixed.step()
    print(f"5 random evaluations and a step: {len(mixed.data)} rows, best {mixed.generator.get_best_points()[0][0]}")
    assert len(mixed.data) == 6
    print("ok")


if __name__ == "__main__":
    main()
