"""A toy with a held-out metric: nine tenths of the in-sample one, reported where it is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from autotune.objective import Evaluation, Metric, Progress, Value, never_stop
from tests.autotune.toy import BareToyType, Toy, ToySettings

HELD_OUT = Metric("held_out_consistency", "maximize", noise_ceiling=0.9, held_out_of="consistency")


class HoldsOut(Toy):
    """See the module."""

    def metrics(self) -> Sequence[Metric]:
        return (*super().metrics(), HELD_OUT)

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        found = super().evaluate(values, metric=metric, seed=seed, progress=progress)
        if metric != HELD_OUT.name or not found.metrics:
            return found
        withheld = {HELD_OUT.name: 0.9 * found.metrics["consistency"]}
        return dataclasses.replace(found, metrics={**found.metrics, **withheld})


class HoldsOutType(BareToyType):
    def open(self, settings: BaseModel, *, folder: Path) -> HoldsOut:
        assert isinstance(settings, ToySettings)
        return HoldsOut(settings)


toy = HoldsOutType()
