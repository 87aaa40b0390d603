"""Coverage on measurements that the reconstruction's forward model did not make.

    python benchmarks/coverage_independent.py                            # 20 + 20 measurements, about an hour
    python benchmarks/coverage_independent.py --kinds monolayer --measurements 6 --electrons 1e4
    python benchmarks/coverage_independent.py --kinds demo --measurements 20

Kinds:

- `demo`: `studies/demo.yaml`, another instrument for every seed, with the demo's own dose and parameters;
- `monolayer`: the explicit simulator (engine `direct`: area-exact aperture, a pattern four times finer than the
  detector, pixels integrated by area);
- `atoms`: monolayers of MoS2, WS2 and MoSe2 by abTEM (`pip install '.[sim]'`). The defocus of abTEM counts from the
  cell's entrance and is compared at the plane where the layer acts;
- `bilayer`: two layers of MoS2 in 2H stacking by abTEM, reconstructed as one slice: 9 angstrom thick, which the model
  does not know.

Measurements of the latter three have 256 patterns of 48 x 48, random mismatch in six parameters, a semi-convergence
angle up to 1 % off what is stated, a detector's blur of 0 to 0.5 pixel, and one of the doses. Each is tuned as
`autotune run` does it, with the blur among the parameters, as `autotune init` drafts it. The angle is not tuned: the
intervals must cover its uncertainty.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from interval_coverage import SEARCHED, TRUTH
from simulated_study import run_simulated

from objectives.ptychography.simulation.crystals import cut_block
from objectives.ptychography.simulation.settings import SpecimenSettings

KINDS = ("demo", "monolayer", "atoms", "bilayer")
LAYERS = ("MoS2", "WS2", "MoSe2")
SEMI_CONVERGENCE = 24.0
BLUR = "detector_blur"
STUDIES = Path(__file__).parents[1] / "studies"


@dataclass(frozen=True)
class Answer:
    """One parameter of one study: error of the estimate, interval, its parts, verdict."""

    kind: str
    electrons: float
    seed: int
    name: str
    error: float
    half_width: float
    noise: float | None
    model: float | None
    covered: bool
    verdict: str | None


def study(kind: str, seed: int, electrons: float, angle_uncertainty: float | None) -> dict[str, Any]:
    """The study file of one measurement, as data."""
    if kind == "demo":
        return _demo(seed)
    random = np.random.default_rng([seed, 15])
    off = 0.01 if angle_uncertainty is None else 3**0.5 * angle_uncertainty
    hidden = {
        "convergence_angle": SEMI_CONVERGENCE * (1 + random.uniform(-off, off)),
        BLUR: random.uniform(0, 0.5),
    }
    layer: dict[str, Any] = {"file": str(bilayer())} if kind == "bilayer" else {"builtin": LAYERS[seed % 3]}
    specimen = {"engine": "abtem", "specimen": {**layer, "vacancies": 0.03}}
    stated: dict[str, Any] = {"iterations": 20, BLUR: {"low": 0, "high": 1}}
    if angle_uncertainty is not None:
        stated["convergence_angle"] = {"value": SEMI_CONVERGENCE, "uncertainty": SEMI_CONVERGENCE * angle_uncertainty}
    return {
        "name": "coverage",
        "objective": {
            "name": "ptychography",
            "data": {"file": "measurement.h5"},
            "simulate": {
                **({} if kind == "monolayer" else specimen),
                "seed": seed,
                "energy_kev": 80,
                "semi_convergence_mrad": SEMI_CONVERGENCE,
                "angular_sampling_mrad": 1.4,
                "detector_pixels": 48,
                "scan_points": 16,
                "scan_step_angstrom": 1.2,
                "electrons_per_pattern": electrons,
                "mismatch": {**TRUTH, **hidden},
            },
        },
        "parameters": {name: {"low": low, "high": high} for name, (low, high) in SEARCHED.items()} | stated,
        "search": {"seed": seed, "fidelity": {"iterations": 5, "scan_fraction": 0.2}},
        "budget": {"trials": 60, "converged": 3e-5},
        "tracking": {"enabled": False},
        "report": False,
    }


@cache
def bilayer() -> Path:
    """A file of two layers of MoS2 in 2H stacking: the second one turned by 60 degrees and 6.15 angstrom below."""
    from ase.build import mx2  # of the extra `sim`, which other kinds do not need
    from ase.io import write

    first, second = mx2("MoS2", a=3.18, thickness=3.19), mx2("MoS2", a=3.18, thickness=3.19)
    second.positions[:, 2] += 6.15
    # Mo of one layer above S of the other: both sites change places.
    metal = second.positions[0, :2].copy()
    second.positions[0, :2] = second.positions[1, :2]
    second.positions[1:, :2] = metal
    path = Path(tempfile.mkdtemp()) / "MoS2_bilayer.xyz"
    write(path, first + second, format="extxyz")
    return path


def _demo(seed: int) -> dict[str, Any]:
    """The shipped demo with another instrument."""
    document: dict[str, Any] = yaml.safe_load((STUDIES / "demo.yaml").read_text(encoding="utf-8"))
    document["objective"]["simulate"]["seed"] = seed
    return {**document, "tracking": {"enabled": False}, "report": False}


def tuned(kind: str, seed: int, electrons: float, angle_uncertainty: float | None) -> list[Answer]:
    """Simulate a measurement, tune it, and compare the answer with the truth."""
    document = study(kind, seed, electrons, angle_uncertainty)
    with run_simulated(document) as (_, outcome):
        result, truth = outcome.result, dict(outcome.truth)
    if kind in ("atoms", "bilayer"):
        truth["defocus"] -= _depth(document)
    return [_answer(kind, seed, electrons, name, p, truth[name]) for name, p in result.parameters.items()]


def _depth(document: dict[str, Any]) -> float:
    """Depth below the cell's entrance of the plane at which a thin layer acts, in angstrom.

    A multislice calculation has every atom act at the entrance of its slice, which is as far above its place as half a
    slice on average: 0.9 angstrom.
    """
    specimen = SpecimenSettings.model_validate(document["objective"]["simulate"]["specimen"])
    block = cut_block(specimen, None, 20.0)
    thickness = block.height / max(1, round(block.height / specimen.slice_thickness_angstrom))
    entrances = np.floor(np.asarray(block.positions)[:, 2] / thickness) * thickness
    return float(np.average(entrances, weights=block.numbers))


def _answer(kind: str, seed: int, electrons: float, name: str, parameter: Any, truth: float) -> Answer:
    low, high = parameter.interval
    parts = parameter.half_widths
    return Answer(
        kind,
        electrons,
        seed,
        name,
        parameter.estimate - truth,
        (high - low) / 2,
        None if parts is None else parts.noise_and_search,
        None if parts is None else parts.model,
        low <= truth <= high,
        parameter.verdict,
    )


def show(answers: Sequence[Answer], title: str) -> None:
    """Print coverage, errors and widths of each parameter."""
    print(f"\n{title}: {len({(a.kind, a.seed, a.electrons) for a in answers})} measurements")
    print("| parameter | covered | rms error | median error | median half-width | ratio | noise, model |")
    print("|---|---|---|---|---|---|---|")
    for name in (*TRUTH, BLUR, ""):
        some = [a for a in answers if name in ("", a.name)]
        if not some:
            continue
        covered = 100 * statistics.mean(a.covered for a in some)
        if not name:
            print(f"| all | {covered:.0f} % | | | | | |")
            continue
        rms = statistics.mean(a.error**2 for a in some) ** 0.5
        error, width = (statistics.median(of) for of in ([abs(a.error) for a in some], [a.half_width for a in some]))
        parts = [
            statistics.median(part or 0.0 for part in of) for of in ([a.noise for a in some], [a.model for a in some])
        ]
        print(
            f"| {name} | {covered:.0f} % | {rms:.3g} | {error:.3g} | {width:.3g} | {width / max(error, 1e-12):.1f} "
            f"| {parts[0]:.2g}, {parts[1]:.2g} |"
        )
    for verdict in sorted({str(a.verdict) for a in answers}):
        some = [a for a in answers if str(a.verdict) == verdict]
        print(f"{verdict}: {len(some)}, of which {sum(a.covered for a in some)} hold the truth")


def main() -> None:
    """Run the studies and print how often the intervals hold the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["monolayer", "atoms"])
    parser.add_argument("--measurements", type=int, default=20, help="of each kind")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--electrons", type=float, nargs="+", default=[1e3, 1e4, 1e5], help="per pattern, in turn")
    parser.add_argument("--angle-uncertainty", type=float, help="state it, relative; by default nothing is stated")
    parser.add_argument("--json", type=Path, help="file for one line per parameter and measurement")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    answers: list[Answer] = []
    for kind in arguments.kinds:
        for seed in range(arguments.first, arguments.first + arguments.measurements):
            electrons = arguments.electrons[seed % len(arguments.electrons)]
            new = tuned(kind, seed, electrons, arguments.angle_uncertainty)
            answers += new
            if arguments.json is not None:
                with arguments.json.open("a", encoding="utf-8") as stream:
                    stream.writelines(json.dumps(asdict(answer)) + "\n" for answer in new)
        show([a for a in answers if a.kind == kind], kind)
    if len(arguments.kinds) > 1:
        show(answers, "all")


if __name__ == "__main__":
    main()
