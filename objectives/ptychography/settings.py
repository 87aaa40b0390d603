"""The ``objective:`` block of a ptychography study. Light: nothing here imports torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from autotune.objective import Parameter, near_miss
from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from objectives.ptychography.backends.native import NativeOption
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


class OptionSettings(BaseModel):
    """A package's own option as a parameter of the study.

    Attributes:
        option: its dotted name, as in ``backend.options``.
        default: its value where the study neither tunes nor fixes the parameter.
        unit, type, low, high, log, minimum, maximum, description: see :class:`autotune.objective.Parameter`.
        choices: the values of a categorical one, texts or true and false.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    option: str = Field(min_length=1)
    default: float | bool | str | None = None
    unit: str = "1"
    type: Literal["float", "int", "categorical"] = "float"
    low: float | None = None
    high: float | None = None
    log: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[bool | str, ...] = ()
    description: str = ""

    def native(self, name: str) -> NativeOption:
        """The option as the parameter of a name.

        Raises:
            ValueError: no parameter is like that.
        """
        choices = {choice if isinstance(choice, str) else json.dumps(choice): choice for choice in self.choices}
        if len(choices) < len(self.choices):
            raise ValueError("two choices are the same text")
        if self.choices and self.type != "categorical":
            raise ValueError(f"choices are of type categorical, not {self.type}")
        of_type = self.model_dump(exclude={"option", "default", "choices"})
        default = json.dumps(self.default) if isinstance(self.default, bool) else self.default
        if self.type == "categorical" and default is not None and default not in choices:
            raise ValueError(f"default {default} is none of {', '.join(choices)}")
        numbers = {"default": default, "low": self.low, "high": self.high}
        for key, number in numbers.items():
            if not isinstance(number, float) or self.type == "categorical":
                continue
            if self.type == "int" and number != int(number):
                raise ValueError(f"{key} {number:g} is no whole number")
            if (self.minimum is not None and number < self.minimum) or (
                self.maximum is not None and number > self.maximum
            ):
                raise ValueError(f"{key} {number:g} is beyond the minimum or maximum")
        if self.type == "int" and isinstance(default, float):
            default = int(default)
        parameter = Parameter(name, kind="solver", default=default, choices=tuple(choices), **of_type)
        if self.type != "categorical" and isinstance(default, str):
            raise ValueError(f"default {default} is no number")
        return NativeOption(parameter, self.option, choices)


class BackendSettings(BaseModel):
    """A package that reconstructs instead of the built-in solvers, in its own Python.

    Attributes:
        name: one of ``autotune backends list``.
        python: a Python that has the package; that of ``autotune backends install`` where it is left out. Relative
            paths start from the study's folder.
        options: the package's own options, dotted name -> value; they overrule what is derived from parameters.
        parameters: more of them, as parameters that the study may tune or fix: name -> the option.
        files: whether every trial keeps files in the package's own formats.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    python: Path | None = None
    options: dict[str, JsonValue] = Field(default_factory=dict)
    parameters: dict[Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")], OptionSettings] = Field(
        default_factory=dict
    )
    files: bool = True

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        known = backends()
        if name not in known:
            hint = near_miss(name, known)
            raise ValueError(f"'{name}' is no backend" + (f"; {hint}" if hint else ""))
        return name

    @model_validator(mode="after")
    def _stated_once(self) -> BackendSettings:
        stated = list(self.options)
        for name, settings in self.parameters.items():
            if settings.option in stated:
                raise ValueError(f"option {settings.option} is stated twice, the second time as parameter '{name}'")
            stated.append(settings.option)
            settings.native(name)
        return self

    @property
    def native(self) -> tuple[NativeOption, ...]:
        """The options that are parameters."""
        return tuple(settings.native(name) for name, settings in self.parameters.items())


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
