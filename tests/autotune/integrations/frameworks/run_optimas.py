"""optimas 0.10 with our generator, in an exploration of 12 evaluations by two workers, some of which fail."""

from __future__ import annotations

import importlib.metadata
import math
import tempfile
from pathlib import Path

from gest_api.vocs import VOCS
from optimas.evaluators import FunctionEvaluator
from optimas.explorations import Exploration
from optimas.generators import ExternalGenerator

from autotune.integrations.gest import Generator


def bowl(inputs: dict, outputs: dict) -> None:
    outputs["f"] = (inputs["x"] - 0.5) ** 2 + 2 * (inputs["y"] - 0.7) ** 2
    outputs["o"] = inputs["x"] + inputs["n"]


def sometimes(inputs: dict, outputs: dict) -> None:
    bowl(inputs, outputs)
    if inputs["x"] < 0:
        outputs["f"] = math.nan  # a failed evaluation; one that raises would end the exploration


def explore(function: object, folder: Path) -> Generator:
    vocs = VOCS(
        variables={"x": [-2.0, 2.0], "y": [-1.0, 3.0], "n": {1, 2, 3}}, objectives={"f": "MINIMIZE"}, observables=["o"]
    )
    generator = Generator(vocs)
    exploration = Exploration(
        generator=ExternalGenerator(ext_gen=generator, vocs=vocs),
        evaluator=FunctionEvaluator(function=function),
        max_evals=12,
        sim_workers=2,
        run_async=True,
        exploration_dir_path=str(folder),
    )
    exploration.run()
    generator.finalize()
    [(number, values, outcomes)] = generator.get_best_points()
    states = [trial.state for trial in generator._store.trials()]
    print(
        f"{function.__name__}: {len(exploration.history)} evaluations, {states.count('finished')} finished, "
        f"{states.count('failed')} failed: best {outcomes['f']:.4f} at {values}, point {number}"
    )
    assert len(exploration.history) == 12
    assert "running" not in states
    return generator


def main() -> None:
    print("optimas", importlib.metadata.version("optimas"))
    with tempfile.TemporaryDirectory() as folder:
        assert explore(bowl, Path(folder) / "plain").get_best_points()[0][2]["f"] < 2.0
        failing = explore(sometimes, Path(folder) / "failing")
        assert any(trial.state == "failed" for trial in failing._store.trials())
    print("ok")


if __name__ == "__main__":
    main()
