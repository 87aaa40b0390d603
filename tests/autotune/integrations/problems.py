"""A small problem for the tests of the generator."""

from __future__ import annotations

from typing import Any

from gest_api.vocs import VOCS

from autotune.integrations.gest import Generator


def make_vocs(**changes: Any) -> VOCS:
    parts: dict[str, Any] = {
        "variables": {"x": [0.0, 1.0], "y": [-5.0, 5.0]},
        "objectives": {"f": "MINIMIZE"},
        "constants": {"alpha": 2.0},
    }
    return VOCS(**(parts | changes))


def evaluated(point: dict[str, Any]) -> dict[str, Any]:
    x, y = point["x"], point["y"]
    return point | {"f": (x - 0.3) ** 2 + (y / 5 - 0.2) ** 2, "df_dx": 2 * (x - 0.3), "df_dy": 0.4 * (y / 5 - 0.2)}


def search(generator: Generator, evaluations: int) -> list[dict[str, Any]]:
    """Suggest, evaluate, ingest; the points with their results."""
    points = []
    for _ in range(evaluations):
        points += [evaluated(point) for point in generator.suggest(1)]
        generator.ingest(points[-1:])
    return points


def states(generator: Generator) -> list[str]:
    return [trial.state for trial in generator._store.trials()]
