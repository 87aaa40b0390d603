"""The objective type that the entry point ``ptychography`` names. Torch is imported when a measurement is opened."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ValidationError

from autotune.objective import BackendStatus, Draft, InputError, Objective, Problem, View
from objectives.diffraction.data.format_table import FORMATS
from objectives.ptychography.backends.backend import Backend
from objectives.ptychography.backends.table import backends, find_backend
from objectives.ptychography.settings import BackendSettings, HeldOutSettings, PtychographySettings
from objectives.ptychography.simulation.settings import SimulationSettings

if TYPE_CHECKING:
    from objectives.diffraction.data.measurement import Measurement
    from objectives.ptychography.backends.reconstruct import Bound
    from objectives.ptychography.model.device import Machine
    from objectives.ptychography.simulation.direct import Specimen


class Ptychography:
    """Objective type of ptychography; see :class:`autotune.objective.ObjectiveType`."""

    settings: type[BaseModel] = PtychographySettings

    def open(self, settings: BaseModel, *, folder: Path) -> Objective:
        """Read the measurement and bind the objective to it."""
        import torch

        from objectives.diffraction.data.open.reading import open_measurement
        from objectives.ptychography.model.device import Machine
        from objectives.ptychography.objective import PtychographyObjective

        settings = PtychographySettings.model_validate(settings)
        document = self._truth(settings, folder)
        measurement = open_measurement(settings.data, settings.geometry, folder=folder)
        if settings.device == "cuda" and not torch.cuda.is_available():
            raise InputError(Problem("objective.device", "'cuda' is not available here", "use auto or cpu"))
        device = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
        real = torch.float64 if settings.precision == "float64" else torch.float32
        machine = Machine(torch.device(device), real, settings.threads)
        # In another part of the simulated scan, the place of the specimen is not known.
        whole = document.get("content_hash") == measurement.content_hash
        specimen = _specimen(settings.simulate) if whole and settings.simulate is not None else None
        positions = np.array(document["positions_angstrom"]) if whole and "positions_angstrom" in document else None
        held_out, bound = settings.held_out, None
        if settings.backend is not None:
            bound = _bound(settings.backend, measurement, machine, folder)
            held_out = _by_patterns(held_out)
        return PtychographyObjective(measurement, machine, document.get("truth"), held_out, specimen, positions, bound)

    def not_from_outside(self, settings: BaseModel, backends: Collection[str]) -> Sequence[Problem]:
        """See :class:`autotune.objective.NarrowsForService`: a package's Python and its own options run code."""
        backend = PtychographySettings.model_validate(settings).backend
        if backend is None:
            return []
        problems = []
        if backend.name not in backends:
            what, known = f"'{backend.name}' is not run here", ", ".join(backends)
            remedy = f"one of: {known}" if known else "leave backend out"
            problems.append(Problem("objective.backend.name", what, remedy))
        for key, stated in (
            ("python", backend.python),
            ("options", backend.options),
            ("parameters", backend.parameters),
        ):
            if stated:
                what = "is decided by the operator of this service"
                problems.append(Problem(f"objective.backend.{key}", what, "leave it out"))
        return problems

    def simulate(self, settings: BaseModel, *, folder: Path, output: Path | None) -> Mapping[str, str]:
        """Make the measurement of ``objective.simulate`` and write it to ``objective.data.file``."""
        from objectives.ptychography.simulation.simulate import truth_path, write_simulation

        settings = PtychographySettings.model_validate(settings)
        if settings.simulate is None:
            raise InputError(
                Problem(
                    "objective.simulate",
                    "is not in the study",
                    "state what to simulate, at least 'simulate: {}'",
                )
            )
        path = output if output is not None else self._file(settings, folder)
        measurement = write_simulation(settings.simulate, path, folder)
        positions, rows, columns = measurement.patterns.shape
        return {
            "measurement": str(path),
            "hidden truth": str(truth_path(path)),
            "patterns": f"{positions} of {rows} x {columns} pixels",
            "electrons per pattern": f"{measurement.patterns.sum() / positions:.4g}",
        }

    def backends(self) -> Sequence[BackendStatus]:
        """See :class:`autotune.objective.WrapsBackends`."""
        return [_status(backend) for backend in backends().values()]

    def install_backend(self, name: str, say: Callable[[str], None]) -> BackendStatus:
        """See :class:`autotune.objective.WrapsBackends`."""
        from objectives.ptychography.backends.environments import install

        backend = find_backend(name)
        install(backend, say)
        return _status(backend)

    @property
    def file_formats(self) -> Sequence[str]:
        """See :class:`autotune.objective.DraftsStudies`."""
        return tuple(FORMATS)

    def draft(self, file: Path, *, folder: Path) -> Draft | None:
        """Propose a study for a measurement file; see :class:`autotune.objective.DraftsStudies`."""
        from objectives.ptychography.draft.draft import draft_study

        return draft_study(file, folder=folder)

    def guess(self, draft: Draft, *, folder: Path) -> Draft:
        """See :class:`autotune.objective.GuessesParameters`."""
        from objectives.ptychography.draft.guessed import guessed

        return guessed(draft, folder)

    def views(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], attributes: Mapping[str, float | int | str]
    ) -> Sequence[View]:
        """Phase and amplitude of the object; see :class:`autotune.objective.ShowsReconstructions`."""
        from objectives.ptychography.output.pictures import views_of

        return views_of(arrays, attributes) if "object" in arrays else ()

    def fits(
        self, arrays: Mapping[str, np.ndarray[Any, Any]], attributes: Mapping[str, float | int | str]
    ) -> Sequence[View]:
        """One pattern measured and modelled, and the probe; see :class:`autotune.objective.ShowsFits`."""
        from objectives.ptychography.output.pictures import fits_of

        return fits_of(arrays, attributes) if {"probe", "pattern_measured"} <= set(arrays) else ()

    def _file(self, settings: PtychographySettings, folder: Path) -> Path:
        if settings.data.file is None:
            raise InputError(
                Problem(
                    "objective.data.file",
                    "is not in the study",
                    "a simulated measurement needs a file's name",
                )
            )
        return folder / settings.data.file.expanduser()

    def _truth(self, settings: PtychographySettings, folder: Path) -> Mapping[str, Any]:
        """The truth document of a simulated measurement; empty for a real one.

        Raises:
            InputError: it was not made yet, or was made with other settings.
        """
        if settings.simulate is None:
            return {}
        from objectives.ptychography.simulation.simulate import read_truth

        path = self._file(settings, folder)
        document = read_truth(path)
        if document is None or not path.exists():
            raise InputError(Problem(str(path), "was not simulated yet", "make it with `autotune simulate STUDY`"))
        if not _same(document.get("settings"), settings.simulate):
            raise InputError(
                Problem(
                    str(path),
                    "was simulated with other settings than objective.simulate states",
                    "make it again with `autotune simulate STUDY`",
                )
            )
        return document


def _same(stated: Any, wanted: SimulationSettings) -> bool:
    """Whether a truth's settings, perhaps of an older version with fewer of them, are equal to the wanted ones."""
    try:
        return SimulationSettings.model_validate(stated) == wanted
    except ValidationError:
        return False


def _specimen(settings: SimulationSettings) -> Specimen | None:
    """The specimen that was illuminated; None where it is not analytic."""
    if settings.engine != "direct":
        return None
    from objectives.ptychography.simulation.direct import specimen_of

    return specimen_of(settings)


def _status(backend: Backend) -> BackendStatus:
    from objectives.ptychography.backends.environments import folder_of, installed_versions

    oldest, newest = (".".join(map(str, version)) for version in backend.python)
    return BackendStatus(
        backend.name,
        backend.description,
        backend.requirements,
        f"{oldest} to {newest}",
        folder_of(backend),
        installed_versions(backend),
    )


def _bound(settings: BackendSettings, measurement: Measurement, machine: Machine, folder: Path) -> Bound:
    """The package of a study. It is started by the first reconstruction."""
    from objectives.ptychography.backends.environments import python_of
    from objectives.ptychography.backends.exposed import expose
    from objectives.ptychography.backends.process import BackendProcess
    from objectives.ptychography.backends.reconstruct import Bound

    backend = find_backend(settings.name)
    exposed = expose(measurement, backend, settings.native)
    python = python_of(backend, settings.python, folder)
    process = BackendProcess(backend.name, str(python), backend.adapter, machine.threads)
    return Bound(backend, process, settings.options, exposed, settings.native, settings.files)


def _by_patterns(held_out: HeldOutSettings) -> HeldOutSettings:
    """What a package can withhold: it takes one mask of pixels for all patterns.

    Raises:
        InputError: the study says to withhold pixels.
    """
    if "of" in held_out.model_fields_set and held_out.of == "pixels":
        what = "a backend takes one mask of pixels for all patterns, so that it cannot withhold some of each"
        raise InputError(Problem("objective.held_out.of", what, "withhold whole patterns: of: patterns"))
    return held_out.model_copy(update={"of": "patterns"})


ptychography = Ptychography()
