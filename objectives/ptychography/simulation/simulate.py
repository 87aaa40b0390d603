"""Simulate 4D-STEM measurements whose true mismatch is known.

An engine is one function ``(settings, random) -> Experiment``: it draws the truth and the specimen, and computes the
expected pattern of each scan position. Engines differ in the specimen and in how the wave passes through it; only
``model`` is the forward model that reconstructs, so with the others a test of the tuner is not a test of that model
against itself. Electrons and background are counted here, in the same way for all engines.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.diffraction.data.radiation import wavelength_angstrom
from objectives.ptychography.simulation.instrument import Experiment, actual_positions
from objectives.ptychography.simulation.settings import MISMATCH, SPECIMEN_MISMATCH, Engine, SimulationSettings

_ENGINES: dict[Engine, str] = {
    "direct": "objectives.ptychography.simulation.direct",
    "abtem": "objectives.ptychography.simulation.abtem",
    "model": "objectives.ptychography.simulation.model",
}
"""Engine -> module of its function ``expected_patterns``, imported only when it is used."""


_DECIMALS = 4
"""Of the true positions in angstrom, as they are written."""


def engine(name: Engine) -> Callable[[SimulationSettings, np.random.Generator], Experiment]:
    """The function of the engine ``name``."""
    expected_patterns: Callable[[SimulationSettings, np.random.Generator], Experiment]
    expected_patterns = importlib.import_module(_ENGINES[name]).expected_patterns
    return expected_patterns


def simulate_patterns(settings: SimulationSettings) -> tuple[Measurement, dict[str, float]]:
    """Simulate a measurement; returns it and its truth (parameter -> true value)."""
    random = np.random.default_rng(settings.seed)
    experiment = engine(settings.engine)(settings, random)
    counts = random.poisson(experiment.expected * settings.electrons_per_pattern + experiment.truth["background"])
    wavelength = wavelength_angstrom("electron", settings.energy_kev)
    sampling = (settings.angular_sampling_mrad, settings.angular_sampling_mrad)
    measurement = Measurement(
        patterns=counts.astype(np.float32),
        positions=experiment.stated,
        geometry=FarField(wavelength, sampling, settings.semi_convergence_mrad),
        valid=np.ones(counts.shape[1:], dtype=bool),
        counted=True,
        source=experiment.source,
        scan_shape=(settings.scan_points, settings.scan_points),
    )
    return measurement, experiment.truth


def write_simulation(settings: SimulationSettings, path: Path, folder: Path | None = None) -> Measurement:
    """Simulate, and write the measurement to ``path`` and its truth to :func:`truth_path` beside it.

    Args:
        settings: the experiment.
        path: the measurement's file.
        folder: the folder of the specimen's file; the working folder where absent.
    """
    measurement, truth = simulate_patterns(settings.resolved(folder if folder is not None else Path()))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_measurement(path, measurement)
    stated = {name: truth[name] for name in (*MISMATCH, *SPECIMEN_MISMATCH) if name in settings.stated_truth}
    document = {
        "settings": settings.model_dump(mode="json"),
        "content_hash": measurement.content_hash,
        "truth": stated,
        "positions_angstrom": actual_positions(settings, truth).round(_DECIMALS).tolist(),
    }
    temporary = truth_path(path).with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    temporary.replace(truth_path(path))
    return measurement


def truth_path(path: Path) -> Path:
    """Path of a simulated measurement's truth: ``demo.h5`` -> ``demo.truth.json``."""
    return path.with_suffix(".truth.json")


def read_truth(path: Path) -> dict[str, Any] | None:
    """Read the truth document of a simulated measurement; None where there is none that can be read."""
    try:
        document = json.loads(truth_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
