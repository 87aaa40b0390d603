"""Examine one reconstruction: compute metrics that are too expensive for every trial (``autotune confirm``).

Four reconstructions are made: of everything, of everything but the counts that are held out, and of either half of the
patterns. The spatial frequency up to which the halves agree is the resolution to which the object is reproduced. All
metrics are those of final states. Where the specimen of a simulation is known, the object is compared with it, too, in
the frame that the parameters give it, so that errors of the parameters count against the object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from autotune.objective import Diverged, Metric, Parameter, Problem, Status, Value
from objectives.diffraction.data.measurement import Measurement
from objectives.diffraction.detector import DetectorMap
from objectives.metrics import (
    RingCorrelation,
    aligned_phases,
    correlation,
    fourier_ring_correlation,
    fraction_of_ceiling,
    peak_signal_to_noise,
    phase_contrast,
    poisson_deviance,
    structural_similarity,
)
from objectives.metrics.counts import noise_ceiling
from objectives.metrics.positions import position_error
from objectives.ptychography.backends.reconstruct import Foreign
from objectives.ptychography.evaluation.data_share import Level, middle_positions
from objectives.ptychography.evaluation.reconstruction import Reconstruction
from objectives.ptychography.evaluation.scanned_region import scanned_region
from objectives.ptychography.evaluation.twin import METRIC as TWIN_METRIC
from objectives.ptychography.evaluation.twin import of_electrons
from objectives.ptychography.model.device import Machine
from objectives.ptychography.model.misfit import Data
from objectives.ptychography.model.scene import detector_map
from objectives.ptychography.simulation.direct import Specimen
from objectives.ptychography.solvers.state import State, to_the_end

_SMALLEST = 11
"""Least number of pixels along either side of the scanned region for resolution and similarity."""
_FEWEST_POSITIONS = 8
"""Least number of scan positions whose two halves can be compared."""

_OF_COUNTS = (
    Metric(
        "poisson_deviance", "minimize", description="per pixel; 1 to 1.16 for a true model, less below half a count"
    ),
    Metric("fraction_of_ceiling", "maximize", description="consistency over its noise ceiling; above 1: over-fitting"),
    Metric(
        "held_out_fraction_of_ceiling",
        "maximize",
        description="held-out consistency over the noise ceiling of its counts",
    ),
)
_OF_TWINS = Metric(
    TWIN_METRIC,
    "maximize",
    description="skewness of the phase: above 0 where atoms advance it, below 0 for the twin of the specimen",
)
_CONTRAST = Metric("phase_contrast", "maximize", "rad", description="rms phase of the scanned region; noise adds to it")
_OF_HALVES = (
    Metric(
        "half_data_resolution",
        "minimize",
        description="up to which halves of the data agree (ring correlation, 1/2 bit)",
    ),
    Metric("half_data_limit", "minimize", description="beyond which they never agree; finer if coarse detail is lost"),
)
_OF_TRUTH = (
    Metric("truth_correlation", "maximize", description="correlation of the complex object with the simulated one"),
    Metric("truth_phase_psnr", "maximize", "dB", description="peak signal-to-noise ratio against the simulated phase"),
    Metric("truth_phase_ssim", "maximize", description="structural similarity with the simulated phase"),
)
_OF_POSITIONS = Metric(
    "position_error", "minimize", "object pixel", description="rms distance of scan positions from the simulated ones"
)

Complex = NDArray[np.complex128]


def examinations(
    metrics: Sequence[Metric], measurement: Measurement, *, truth: bool, positions: bool = False
) -> list[Metric]:
    """The metrics that :meth:`Examiner.examine` may report.

    Args:
        metrics: the metrics of every evaluation; they are reported, too.
        measurement: the measurement that is reconstructed.
        truth: whether the specimen is known.
        positions: whether the true scan positions are known.
    """
    unit = measurement.position_unit
    return [
        *metrics,
        *(_OF_COUNTS if measurement.counted else ()),
        *(replace(metric, unit=unit) if metric in _OF_HALVES else metric for metric in (_CONTRAST, *_OF_HALVES)),
        *(_OF_TRUTH if truth else ()),
        *((_OF_POSITIONS,) if positions else ()),
        *((_OF_TWINS,) if of_electrons(measurement) else ()),
    ]


@dataclass(frozen=True)
class Examiner:
    """Looks at reconstructions of one measurement.

    Attributes:
        level: the data.
        machine: device, precision and threads.
        parameters: the parameters of the measurement.
        values: the value of every parameter that is not idle.
        seed: seed of the solver.
        specimen: the true specimen; None where it is not known.
        true_positions: (position, 2) of the whole measurement, (y, x) in angstrom; None where they are not known.
        foreign: the package that reconstructs; None for the built-in solvers.
    """

    level: Level
    machine: Machine
    parameters: Sequence[Parameter]
    values: Mapping[str, Value]
    seed: int
    specimen: Specimen | None = None
    true_positions: NDArray[np.float64] | None = None
    foreign: Foreign | None = None

    def examine(self) -> dict[str, float]:
        """Compute the metrics of :func:`examinations`, name -> finite value, but those without meaning here.

        Raises:
            Diverged: the reconstruction of everything diverges.
        """
        reconstruction = self._reconstruction()
        state = self._run(reconstruction)
        evaluation = reconstruction.evaluation(state, "consistency")
        if evaluation.status is not Status.COMPLETE:
            raise Diverged(Problem("", evaluation.reason))
        region = scanned_region(evaluation.attributes)
        field = _field(state)[region]
        metrics: dict[str, float | None] = {
            **evaluation.metrics,
            **self._held_out(),
            **self._of_counts(reconstruction, state, evaluation.metrics["consistency"]),
            "phase_contrast": phase_contrast(field),
            "position_error": self._position_error(reconstruction, state),
        }
        if min(field.shape) >= _SMALLEST:
            pixel = float(evaluation.attributes["object_pixel_y"]), float(evaluation.attributes["object_pixel_x"])
            metrics |= self._resolution(region, pixel)
            metrics |= self._beside_truth(reconstruction, field, region)
        return {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}

    def _reconstruction(self, *, held_out: bool = False, data: Data | None = None) -> Reconstruction:
        return Reconstruction(
            self.level,
            self.machine,
            self.parameters,
            self.values,
            held_out=held_out,
            data=data,
            foreign=self.foreign,
        )

    def _run(self, reconstruction: Reconstruction) -> State:
        return reconstruction.run(to_the_end, self.seed)

    def _held_out(self) -> dict[str, float | None]:
        """Consistency of the held-out counts, and its ratio to their own noise ceiling."""
        withheld = self.level.withheld
        if not withheld.total > 0:
            return {}
        reconstruction = self._reconstruction(held_out=True)
        metrics = reconstruction.evaluation(self._run(reconstruction), "consistency").metrics
        if "held_out_consistency" not in metrics:  # diverged
            return {}
        value = metrics["held_out_consistency"]
        return {
            "held_out_consistency": value,
            "held_out_fraction_of_ceiling": self._fraction(value, withheld),
        }

    def _of_counts(self, reconstruction: Reconstruction, state: State, consistency: float) -> dict[str, float | None]:
        if not self.level.measurement.counted:
            return {}
        return {
            "poisson_deviance": _deviance(reconstruction, state),
            "fraction_of_ceiling": self._fraction(consistency, self.level.data),
        }

    def _fraction(self, value: float, data: Data) -> float | None:
        ceiling = noise_ceiling(data.total, data.norm) if self.level.measurement.counted else None
        return fraction_of_ceiling(value, ceiling) if ceiling is not None and ceiling > 0 else None

    def _resolution(self, region: tuple[slice, slice], pixel: tuple[float, float]) -> dict[str, float | None]:
        """The resolutions at which the halves cease to agree for the first and for the last time, in ``pixel``'s unit.

        None where they always agree, or never. A near field hardly transfers some low frequencies, which a free probe
        may represent instead, so that the two resolutions can be far apart.
        """
        half_of = halves(self.level.measurement)
        if len(half_of) < _FEWEST_POSITIONS:
            return {}
        fields = []
        for half in range(2):
            data = self._half(half_of, half)
            if not data.total > 0:
                return {}
            reconstruction = self._reconstruction(data=data)
            state = self._run(reconstruction)
            if reconstruction.divergence(state):
                return {}
            fields.append(_field(state)[region])
        rings = fourier_ring_correlation(fields[0], fields[1], pixel)
        return {
            "half_data_resolution": rings.resolution if rings.crosses else None,
            "half_data_limit": last_agreement(rings),
        }

    def _half(self, half_of: NDArray[np.int64], half: int) -> Data:
        """The counts of half of the patterns. The others keep their positions, so that both halves have one frame."""
        valid = self.level.data.valid[0]
        masks = torch.stack([valid if index == half else torch.zeros_like(valid) for index in range(2)])
        return Data(self.level.data.patterns, masks, self.machine, torch.from_numpy(half_of))

    def _beside_truth(
        self, reconstruction: Reconstruction, field: Complex, region: tuple[slice, slice]
    ) -> dict[str, float | None]:
        if self.specimen is None or reconstruction.misfit.model.scene.spectrum is None:
            return {}
        y, x = self._places(reconstruction)
        truth = np.exp(1j * self.specimen.phase(y[region], x[region]))
        phase, true = aligned_phases(field, truth)
        # Similarity compares the ratio of local means, which has no meaning near zero: phases count from the least.
        least = float(true.min())
        return {
            "truth_correlation": correlation(field, truth),
            "truth_phase_psnr": peak_signal_to_noise(phase, true),
            "truth_phase_ssim": structural_similarity(phase - least, true - least),
        }

    def _position_error(self, reconstruction: Reconstruction, state: State) -> float | None:
        if self.true_positions is None:
            return None
        measurement, scene = self.level.measurement, reconstruction.misfit.model.scene
        used = middle_positions(self.level.whole.positions, len(measurement.positions))
        true = torch.as_tensor(self.true_positions[used]) / scene.pixel.cpu()
        if scene.spectrum is not None:  # the object's grid is that of the detector's affine map
            true = true @ torch.linalg.inv(self._detector().matrix)
        return position_error((scene.positions + state.moved).cpu().numpy(), true.numpy())

    def _detector(self) -> DetectorMap:
        mismatch = [p.name for p in self.parameters if p.kind == "mismatch" and p.name in self.values]
        return detector_map({name: torch.tensor(float(self.values[name]), dtype=torch.float64) for name in mismatch})

    def _places(self, reconstruction: Reconstruction) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions (y, x) of the object's pixels in angstrom, (rows, columns) each, on the detector's affine grid."""
        model = reconstruction.misfit.model
        layout, scene = model.layout, model.scene
        middle = np.array([n // 2 for n in layout.window])
        first = (scene.positions[0].round().cpu() - layout.corners[0].cpu()).numpy() - middle
        axes = [start + np.arange(size) for start, size in zip(first, layout.object_shape, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ self._detector().matrix.numpy()
        grid = grid * scene.pixel.cpu().numpy()
        return grid[..., 0], grid[..., 1]


def halves(measurement: Measurement) -> NDArray[np.int64]:
    """The half of each pattern, 0 or 1, shape (position,): a chessboard for a raster, else alternating."""
    count = len(measurement.positions)
    if measurement.scan_shape is not None and math.prod(measurement.scan_shape) == count:
        return np.indices(measurement.scan_shape).sum(0).ravel() % 2
    return np.arange(count) % 2


def last_agreement(rings: RingCorrelation) -> float | None:
    """1 / frequency above which no ring's correlation reaches the threshold; None where the last ring's does, or none.

    It is interpolated linearly between rings, as :attr:`RingCorrelation.resolution` is.
    """
    above = rings.correlation - rings.threshold
    agree = np.flatnonzero(above >= 0)
    if not len(agree) or agree[-1] == len(above) - 1:
        return None
    last = int(agree[-1])
    step = rings.frequency[last + 1] - rings.frequency[last]
    return float(1 / (rings.frequency[last] + step * above[last] / (above[last] - above[last + 1])))


def _field(state: State) -> Complex:
    """The object (rows, columns): of several slices, their product."""
    field: Complex = state.transmission.cpu().numpy().astype(np.complex128).prod(axis=0)
    return field


def _deviance(reconstruction: Reconstruction, state: State) -> float | None:
    """Poisson deviance per pixel; None where it is infinite, since counts were measured where none are expected."""
    misfit = reconstruction.misfit
    model, data = misfit.model, misfit.data
    total = pixels = 0.0
    for batch in misfit.batches(len(state.spectra), state.moved):
        expected = model.intensity(state.transmission, state.spectra, batch).cpu().numpy()
        counts = data.patterns[batch.indices].cpu().numpy()
        valid = data.valid[data.mask_of[batch.indices]].cpu().numpy()
        try:
            total += poisson_deviance(counts, expected, valid) * float(valid.sum())
        except ValueError:
            return None
        pixels += float(valid.sum())
    return total / pixels
