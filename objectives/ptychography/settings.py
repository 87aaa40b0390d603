"""The ``objective:`` block of a ptychography study. Light: nothing here imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from autotune.objective import near_miss
from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from objectives.ptychography.backends.table import backends
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


class BackendSettings(BaseModel):
    """A package that reconstructs instead of the built-in solvers, in its own Python.

    Attributes:
        name: one of ``autotune backends list``.
        python: a Python that has the package; that of ``autotune backends install`` where it is left out. Relative
            paths start from the study's folder.
        options: the package's own options, dotted name -> value; they overrule what is derived from parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    python: Path | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        known = backends()
        if name not in known:
            hint = near_miss(name, known)
            raise ValueError(f"'{name}' is no backend" + (f"; {hint}" if hint else ""))
        return name


class PtychographySettings(BaseModel):
    """The measurement, and how it is reconstructed.

    Attributes:
        data: the measurement.
        geometry: instrument geometry that the file lacks or has wrong.
        backend: the package that reconstructs; absent for the built-in solvers.
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
    backend: BackendSettings | None = None
    simulate: SimulationSettings | None = None
    held_out: HeldOutSettings = Field(default_factory=HeldOutSettings)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "float64"] = "float32"
    threads: int = Field(default=1, ge=1, le=1024, strict=True)
