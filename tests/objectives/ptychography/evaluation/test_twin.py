"""The twin of a thin specimen: it explains a scan as well, and the sign of the phase tells it from the specimen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autotune.objective import Value
from objectives.diffraction.data.measurement import Measurement
from objectives.metrics.images import phase_skewness
from objectives.ptychography.evaluation.twin import METRIC, twin_of
from objectives.ptychography.parameters.instrument import parameters_of
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns
from tests.objectives.ptychography.scenes import TRUTH, free, lens, near, objective, thick


def of_specimen(**mismatch: float) -> Measurement:
    """25 patterns of a MoS2 layer, in the explicit simulator."""
    settings = SimulationSettings(
        seed=5,
        detector_pixels=32,
        angular_sampling_mrad=2.0,
        scan_points=6,
        scan_step_angstrom=1.0,
        electrons_per_pattern=1e5,
        mismatch={**TRUTH, **mismatch},
    )
    return simulate_patterns(settings)[0]


@pytest.mark.parametrize(
    "other", [{}, {"astigmatism": 30.0, "astigmatism_angle": 25.0}, {"spherical_aberration": 3.0}], ids=str
)
def test_the_twin_explains_the_data_as_well_with_a_phase_of_the_other_sign(other: dict[str, float]) -> None:
    measurement = of_specimen(**other)
    problem = objective(measurement)
    values: dict[str, Value] = {**TRUTH, **other, "iterations": 10}
    tuned = {"defocus", "scan_rotation", *other}
    held = {p.name: values.get(p.name, p.default) for p in problem.parameters() if p.name not in tuned}
    twin = problem.twin(held)
    assert twin is not None and twin.metric == METRIC
    there = {**values, **{n: -float(values[n]) for n in twin.negated}}
    there |= {n: float(values[n]) + by for n, by in twin.added.items()}
    here, at_twin = (problem.evaluate(v, metric="consistency", seed=0) for v in (values, there))
    assert at_twin.metrics["consistency"] == pytest.approx(here.metrics["consistency"], abs=2e-4)
    assert here.metrics[METRIC] > 0.3
    assert at_twin.metrics[METRIC] == pytest.approx(-here.metrics[METRIC], abs=0.2)
    # It is exact only with all of them.
    for name in twin.added if other else ():
        part = problem.evaluate({**there, name: values[name]}, metric="consistency", seed=0)
        assert part.metrics["consistency"] < here.metrics["consistency"] - 2e-4


@pytest.mark.parametrize(
    ("tuned", "held", "negated", "added"),
    [
        ({"defocus", "scan_rotation"}, {}, ("defocus",), {"scan_rotation": 180.0}),
        ({"scan_rotation"}, {"defocus": 0.0}, (), {"scan_rotation": 180.0}),
        ({"scan_rotation"}, {"defocus": 50.0}, None, None),
        ({"defocus"}, {}, None, None),
        ({"defocus", "scan_rotation"}, {"spherical_aberration": 1.0}, None, None),
        ({"defocus", "scan_rotation"}, {"astigmatism": 10.0}, None, None),
        (
            {"defocus", "scan_rotation", "astigmatism_angle"}, {"astigmatism": 10.0},
            ("defocus",), {"scan_rotation": 180.0, "astigmatism_angle": 90.0},
        ),
        (
            {"defocus", "spherical_aberration", "scan_rotation"}, {},
            ("defocus", "spherical_aberration"), {"scan_rotation": 180.0},
        ),
        ({"defocus", "scan_rotation"}, {"slices": 2}, None, None),
        ({"defocus", "scan_rotation", "slices"}, {}, None, None),
    ],
)  # fmt: skip
def test_which_values_have_a_twin(
    tuned: set[str], held: dict[str, Value], negated: tuple[str, ...] | None, added: dict[str, float] | None
) -> None:
    parameters = parameters_of(lens())
    at = {p.name: p.default for p in parameters if p.name not in tuned} | held
    twin = twin_of(lens(), parameters, at)
    assert (negated, added) == (None, None) if twin is None else (twin.negated, twin.added) == (negated, added)


@pytest.mark.parametrize("measured", [near, free])
def test_other_geometries_have_none_and_report_no_sign(measured: Callable[[], Measurement]) -> None:
    problem = objective(measured())
    held = {p.name: p.default for p in problem.parameters() if p.name != "scan_rotation"}
    assert problem.twin(held) is None
    assert METRIC not in problem.evaluate({"iterations": 2}, metric="consistency", seed=0).metrics


def test_neither_do_photons_nor_thick_specimens() -> None:
    geometry: Any = dataclasses.replace(lens().geometry, wavelength_angstrom=1.0)
    photons = dataclasses.replace(lens(), geometry=geometry)
    assert twin_of(photons, parameters_of(photons), {"slices": 1, "astigmatism": 0.0}) is None
    values: dict[str, Value] = {"slices": 2, "thickness": 90.0, "iterations": 2}
    assert METRIC not in objective(thick()).evaluate(values, metric="consistency", seed=0).metrics


def test_the_skewness_is_that_of_the_phase_without_its_plane() -> None:
    rows, columns = np.mgrid[:40, :50]
    peaks = 0.5 * np.exp(-((rows % 10 - 5) ** 2 + (columns % 10 - 5) ** 2) / 4.0)
    field = np.exp(1j * (peaks + 0.3 + 0.2 * rows - 0.1 * columns))
    centred = peaks - peaks.mean()
    expected = (centred**3).mean() / (centred**2).mean() ** 1.5
    assert phase_skewness(field) == pytest.approx(expected, rel=0.02)
    assert phase_skewness(field.conj()) == pytest.approx(-expected, rel=0.02)
    assert phase_skewness(np.full((8, 8), 1 + 2j)) == 0.0
