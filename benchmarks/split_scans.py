"""Do two halves of a scan give the same answer, within their intervals?

    python benchmarks/split_scans.py                          # 10 splits of two measured scans and one by abTEM
    python benchmarks/split_scans.py --studies petra_p25 --splits 4

Whatever the truth, disjoint parts of one scan share it: the same instrument recorded both. A scan is cut in two along a
line through its middle, whose direction turns from split to split; each half is tuned as `autotune run` does it. Two
answers agree where they differ by no more than sqrt(a^2 + b^2), their half-widths: nine times in ten, if the intervals
hold. What moves both halves alike (a distance that is stated wrongly) does not show.

The studies are those in `studies/`; `AUTOTUNE_DATA` names the folder of the data that have no public address.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml

from autotune.home import Home
from autotune.runs.run import run_study
from autotune.session import Quiet
from autotune.study import load_study
from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.diffraction.data.measurement import Measurement
from objectives.diffraction.data.open.reading import open_measurement
from objectives.ptychography.settings import PtychographySettings

STUDIES = Path(__file__).parents[1] / "studies"


@dataclass(frozen=True)
class Pair:
    """The answers of two halves for one parameter."""

    name: str
    unit: str
    estimates: tuple[float, float]
    half_widths: tuple[float, float]
    verdicts: tuple[str, str]

    @property
    def distance(self) -> float:
        """Difference over the half-width that it has if both intervals hold."""
        return abs(self.estimates[0] - self.estimates[1]) / max(math.hypot(*self.half_widths), 1e-300)

    @property
    def known(self) -> bool:
        """Whether both halves claim to know the parameter."""
        return all(verdict in ("identified", "model_limited") for verdict in self.verdicts)


def halves(measurement: Measurement, direction: float) -> Iterator[Measurement]:
    """The two parts of a scan on both sides of a line through its middle, along ``direction`` in radian."""
    along = measurement.positions @ np.array([math.cos(direction), math.sin(direction)])
    first = along <= np.median(along)
    for chosen in (first, ~first):
        positions = measurement.positions[chosen]
        yield dataclasses.replace(
            measurement,
            patterns=measurement.patterns[chosen],
            positions=positions - positions.mean(axis=0),
            scan_shape=None,
        )


def tuned(document: dict[str, Any], half: Measurement, folder: Path) -> Any:
    """The result of the study of one half."""
    folder.mkdir()
    write_measurement(folder / "half.h5", half)
    objective = {**document["objective"], "data": {"file": "half.h5"}}
    path = folder / "study.yaml"
    path.write_text(
        yaml.safe_dump({**document, "objective": objective, "tracking": {"enabled": False}, "report": False}),
        encoding="utf-8",
    )
    return run_study(load_study(path), home=Home(folder / "home"), watcher=Quiet()).result


def compare(study: str, direction: float) -> list[Pair]:
    """Tune both halves of a study's scan."""
    document = yaml.safe_load((STUDIES / f"{study}.yaml").read_text(encoding="utf-8"))
    settings = PtychographySettings.model_validate(
        {key: value for key, value in document["objective"].items() if key != "name"}
    )
    measurement = open_measurement(settings.data, settings.geometry, folder=STUDIES)
    with tempfile.TemporaryDirectory() as temporary:
        results = [
            tuned(document, half, Path(temporary) / str(i)) for i, half in enumerate(halves(measurement, direction))
        ]
    first, second = (result.parameters for result in results)
    return [_pair(name, first[name], second[name]) for name in first]


def _pair(name: str, first: Any, second: Any) -> Pair:
    (a, b), (c, d) = first.interval, second.interval
    verdicts = (str(first.verdict), str(second.verdict))
    return Pair(name, first.unit, (first.estimate, second.estimate), ((b - a) / 2, (d - c) / 2), verdicts)


def main() -> None:
    """Split, tune, and print how often the halves agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", nargs="+", default=["petra_p25", "siemens_star", "mos2_60kv"])
    parser.add_argument("--splits", type=int, default=10)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    agreeing, known, splits = 0, 0, 0
    for i in range(arguments.splits):
        study = arguments.studies[i % len(arguments.studies)]
        pairs = compare(study, math.pi * i / arguments.splits)
        for pair in pairs:
            one, other = (f"{e:.5g} ± {w:.2g}" for e, w in zip(pair.estimates, pair.half_widths, strict=True))
            print(f"{study} {i}: {pair.name} {one} and {other} {pair.unit}, {pair.distance:.2f} of what is allowed, "
                  f"{' and '.join(pair.verdicts)}", flush=True)  # fmt: skip
        claimed = [pair for pair in pairs if pair.known]
        splits += all(pair.distance <= 1 for pair in claimed)
        agreeing, known = agreeing + sum(pair.distance <= 1 for pair in claimed), known + len(claimed)
    print(
        f"{splits} of {arguments.splits} splits agree in all that is claimed to be known; {agreeing} of {known} values"
    )


if __name__ == "__main__":
    main()
