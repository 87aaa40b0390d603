"""The ``objective:`` block of a study that runs a program."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from objectives.diffraction.data.settings import DataSettings, GeometrySettings

JUDGED = ("consistency", "amplitude_consistency")
"""Metrics by which a reconstruction is judged."""
_Text = Annotated[str, Field(min_length=1, max_length=10_000)]


def _a_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"'{name}' is not a name: letters, digits and _ are, with no digit first")
    return name


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"'{name}' is not a file below the working folder: give a relative path without '..'")
    return name


def _a_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"'{pattern}' is not a regular expression: {error}") from None
    return pattern


_Name = Annotated[str, AfterValidator(_a_name)]
_Below = Annotated[str, AfterValidator(_inside)]
_Pattern = Annotated[str, AfterValidator(_a_pattern)]


class ParameterSettings(BaseModel):
    """A parameter that the program takes; see :class:`autotune.objective.Parameter`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: str = "1"
    kind: Literal["mismatch", "solver"] = "mismatch"
    type: Literal["float", "int", "categorical"] = "float"
    default: float | str | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    differentiable: bool = False
    by_square: bool = False
    description: str = ""


class Source(BaseModel):
    """Where a number stands in what the program leaves: exactly one of ``json``, ``regex`` and ``hdf5`` is given.

    Attributes:
        from_json: a JSON file below the working folder, or ``stdout`` or ``stderr``.
        pointer: JSON pointer (RFC 6901) to the number, such as ``/metrics/error``; empty for the whole document.
        regex: a regular expression whose first group, or whole match, is the number.
        file: what ``regex`` is sought in: ``stdout``, ``stderr``, or a file below the working folder.
        which: the match that counts where there are several.
        hdf5: an HDF5 file below the working folder.
        path: name of the dataset in it.
        index: place of the number in a dataset of one dimension; -1 for the last one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_json: _Below | None = Field(default=None, alias="json")
    pointer: str = ""
    regex: _Pattern | None = None
    file: _Below = "stdout"
    which: Literal["first", "last"] = "last"
    hdf5: _Below | None = None
    path: str = ""
    index: int | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        given = [name for name in ("json", "regex", "hdf5") if getattr(self, _FIELDS[name]) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of json, regex and hdf5, not {' and '.join(given) or 'none'}")
        for key in sorted(self.model_fields_set & _KEYS):
            if key not in _OF_KIND[given[0]]:
                raise ValueError(f"'{key}' has no effect beside '{given[0]}': leave it out")
        if given[0] == "hdf5" and not self.path:
            raise ValueError("give the path of the dataset, too")
        if self.pointer and not self.pointer.startswith("/"):
            raise ValueError(f"pointer '{self.pointer}' does not begin with /, as JSON pointers do")
        return self


_FIELDS = {"json": "from_json", "regex": "regex", "hdf5": "hdf5"}
_OF_KIND = {"json": {"pointer"}, "regex": {"file", "which"}, "hdf5": {"path", "index"}}
_KEYS = set().union(*_OF_KIND.values())


class GradientSettings(BaseModel):
    """Where the derivatives of a metric are: a JSON object, parameter name -> number.

    Attributes:
        from_json: a JSON file below the working folder, or ``stdout`` or ``stderr``.
        pointer: JSON pointer to the object; empty for the whole document.
        of: the metric that they are of; the first where it is left out. None are read while another one is tuned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_json: _Below = Field(alias="json")
    pointer: str = Field(default="", pattern="^(/.*)?$")
    of: _Name | None = None


class MetricSettings(Source):
    """A number that the program reports.

    Attributes:
        goal: whether larger or smaller values are better.
        unit: its unit.
        noise_ceiling: the value that the true model would reach, where it is known.
        description: one line for people.
    """

    goal: Literal["maximize", "minimize"]
    unit: str = "1"
    noise_ceiling: float | None = None
    description: str = ""


class ArraySource(BaseModel):
    """Where an array stands: a ``.npy`` file, or a dataset of an HDF5 file, below the working folder.

    Attributes:
        npy: the file.
        hdf5, path: the file, and the name of the dataset in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    npy: _Below | None = None
    hdf5: _Below | None = None
    path: str = ""

    @model_validator(mode="after")
    def _one_kind(self) -> ArraySource:
        if (self.npy is None) == (self.hdf5 is None) or (self.hdf5 is None) == bool(self.path):
            raise ValueError("give either npy: FILE, or hdf5: FILE and path: DATASET")
        return self


class ReconstructionSettings(BaseModel):
    """The reconstruction that a program of ptychography leaves, which our own metrics judge.

    Attributes:
        data: the measurement, as the objective ``ptychography`` reads it.
        geometry: what the file lacks of its geometry, or has wrong.
        object: complex transmission, (y, x) or (slice, y, x).
        probe: complex, (y, x) or (mode, y, x), centred at pixel N//2.
        positions: (position, 2), (y, x) of the object's pixel under the probe's middle, not rounded.
        slice_thickness_angstrom: from one slice to the next, where there are several.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: DataSettings
    geometry: GeometrySettings = Field(default_factory=GeometrySettings)
    object: ArraySource
    probe: ArraySource
    positions: ArraySource
    slice_thickness_angstrom: float | None = Field(default=None, gt=0)


class ProgressSettings(BaseModel):
    """How the program says on its standard output how far it is.

    Attributes:
        regex: sought in every line, with the groups ``iteration`` and perhaps ``iterations``; a group with the name of
            a metric is its value so far, by which a trial may be ended early.
        of: the number of iterations, or the parameter that is it, where no group says it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    regex: _Pattern
    of: int | _Name | None = None

    @model_validator(mode="after")
    def _groups(self) -> ProgressSettings:
        groups = re.compile(self.regex).groupindex
        if "iteration" not in groups:
            raise ValueError("the regular expression has no group (?P<iteration>...)")
        if ("iterations" in groups) == (self.of is not None):
            raise ValueError("give either a group (?P<iterations>...) or 'of'")
        return self


class CommandSettings(BaseModel):
    """A program, what it is given and where its results are.

    Attributes:
        run: the program and its arguments. No shell sees them.
        parameters: the parameters that it takes.
        metrics: the numbers that it reports; the first is tuned unless the study names another. None are needed where a
            reconstruction is judged.
        files: name of a file in the working folder -> the template that it is filled in from.
        environment: variables beside those of the study's own environment.
        inputs: name of a placeholder -> a file or folder that the program reads.
        gradient: where the program leaves derivatives; None without any.
        progress: how the program says how far it is; None where it does not.
        reconstruction: the arrays that it leaves, to be judged; None where it leaves none.
        exit_codes: those with which it has succeeded.
        work: the folder that holds the working folders, from the study's; a temporary one where it is left out.
        keep: the working folders that stay: of ``failed`` evaluations, ``always`` or ``never``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: Annotated[tuple[_Text, ...], Field(min_length=1)]
    parameters: dict[_Name, ParameterSettings] = Field(min_length=1)
    metrics: dict[_Name, MetricSettings] = Field(default_factory=dict)
    files: dict[_Below, Path] = Field(default_factory=dict)
    environment: dict[_Name, str] = Field(default_factory=dict)
    inputs: dict[_Name, Path] = Field(default_factory=dict)
    gradient: GradientSettings | None = None
    progress: ProgressSettings | None = None
    reconstruction: ReconstructionSettings | None = None
    exit_codes: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    work: Path | None = None
    keep: Literal["failed", "always", "never"] = "failed"
