"""The ``objective:`` block of a ptychography study. Light: nothing here imports torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from objectives.ptychography.simulation.settings import SimulationSettings


class HeldOutSettings(BaseModel):
    """The counts that are withheld from the solver where a held-out metric is tuned.

    Attributes:
        of: ``pixels``: random detector pixels, different ones in other patterns. ``patterns``: random whole patterns,
            whose scan positions are then not refined.
        fraction: share of the pixels, or patterns, that is withheld.
        seed: seed of the random choice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: Literal["pixels", "patterns"] = "pixels"
    fraction: float = Field(default=0.05, gt=0, le=0.5, strict=True)
    seed: int = Field(default=0, ge=0, le=2**32 - 1, strict=True)


class PtychographySettings(BaseModel):
    """The measurement, and how it is reconstructed.

    Attributes:
        data: the measurement.
        geometry: instrument geometry that the file lacks or has wrong.
        simulate: how ``autotune simulate`` makes ``data.file``; absent for a real measurement.
        held_out: the counts that are withheld from the solver where a held-out metric is tuned.
        device: ``auto`` takes a CUDA device where there is one.
        precision: floating-point precision of the reconstruction.
        threads: CPU threads of one reconstruction. One is the default: the work is many small transforms that fit the
            processor's cache, so that more threads gain little, and lose much as soon as another process is busy.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: DataSettings
    geometry: GeometrySettings = Field(default_factory=GeometrySettings)
    simulate: SimulationSettings | None = None
    held_out: HeldOutSettings = Field(default_factory=HeldOutSettings)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "float64"] = "float32"
    threads: int = Field(default=1, ge=1, le=1024, strict=True)
