"""blop 1.2 with our generator as its optimizer: plans of optimisation in a Bluesky RunEngine, one of which fails."""

from __future__ import annotations

import importlib.metadata
import time

from blop.plan_stubs import navigate_to_best
from blop.plans import optimize, optimize_in_run
from blop.protocols import OptimizationProblem, Optimizer, TrialFaultAware
from bluesky.protocols import Movable, Readable
from bluesky.run_engine import RunEngine
from gest_api.vocs import VOCS

from autotune.integrations.gest import Generator


class Done:
    """The status of a move that has ended."""

    done, success = True, True

    def add_callback(self, callback) -> None:
        callback(self)

    def exception(self, timeout=0.0):
        return None


class Motor(Readable, Movable):
    """A motor that is at once where it is sent."""

    parent = None

    def __init__(self, name: str) -> None:
        self._name, self.position = name, 0.0

    @property
    def name(self) -> str:
        return self._name

    def set(self, value: float) -> Done:
        self.position = float(value)
        return Done()

    def read(self) -> dict:
        return {self._name: {"value": self.position, "timestamp": time.time()}}

    def describe(self) -> dict:
        return {self._name: {"source": "here", "dtype": "number", "shape": []}}


class Bowl:
    """The evaluation function: outcomes with the identity of their suggestion, and no variables, as blop has them."""

    def __init__(self, events: list[dict]) -> None:
        self.events, self.seen, self.broken = events, 0, False

    def __call__(self, uid, suggestions) -> list[dict]:
        if self.broken:
            raise RuntimeError("no data")
        return [{"_id": s["_id"], "f": (s["x"] - 0.5) ** 2 + 2 * (s["y"] - 0.7) ** 2, "c": s["x"]} for s in suggestions]


def main() -> None:
    print("blop", importlib.metadata.version("blop"), "bluesky", importlib.metadata.version("bluesky"))
    vocs = VOCS(
        variables={"x": [-2.0, 2.0], "y": [-1.0, 3.0]},
        objectives={"f": "MINIMIZE"},
        constraints={"c": ["GREATER_THAN", 0.0]},
    )
    generator = Generator(vocs)
    assert isinstance(generator, Optimizer) and isinstance(generator, TrialFaultAware)
    events: list[dict] = []
    engine = RunEngine({})
    engine.subscribe(lambda name, document: events.append(document) if name == "event" else None)
    motors, bowl = [Motor("x"), Motor("y")], Bowl(events)
    problem = OptimizationProblem(optimizer=generator, actuators=motors, sensors=[], evaluation_function=bowl)

    engine(optimize(problem, iterations=8, n_points=2))
    [(number, values, outcomes)] = generator.get_best_points()
    print(
        f"optimize, 8 x 2 points: best {outcomes['f']:.4f} at x={values['x']:.4f} y={values['y']:.4f}, point {number}"
    )
    assert len(generator._store.trials()) == 16 and outcomes["f"] < 0.5 and outcomes["c"] > 0
    assert len(events) >= 16

    engine(optimize_in_run(problem, iterations=2, n_points=2))
    print(f"optimize_in_run, 2 x 2 points more: {len(generator._store.trials())} trials")
    assert len(generator._store.trials()) == 20

    bowl.broken = True
    try:
        engine(optimize(problem, iterations=1, n_points=2))
    except RuntimeError as error:
        print(f"an evaluation that raises '{error}': {[t.state for t in generator._store.trials()[-2:]]}")
    assert [t.state for t in generator._store.trials()[-2:]] == ["failed", "failed"]

    engine(navigate_to_best(motors, generator))
    best = generator.get_best_points()[0][1]
    print(f"navigate_to_best: motors at {motors[0].position:.4f}, {motors[1].position:.4f}")
    assert motors[0].position == best["x"] and motors[1].position == best["y"]
    print("ok")


if __name__ == "__main__":
    main()
