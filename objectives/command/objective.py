"""The objective ``command``: one run of a program for each evaluation, in a working folder of its own."""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autotune.objective import (
    AutotuneError,
    Diverged,
    Evaluation,
    InputError,
    Metric,
    Parameter,
    Problem,
    Progress,
    Status,
    Value,
    complete_values,
    near_miss,
    never_stop,
)
from objectives.command.outputs import NoResult, number_of, numbers_of, text_of
from objectives.command.placeholders import filled
from objectives.command.program import run
from objectives.command.settings import CommandSettings, GradientSettings, ProgressSettings

_TOLD = 400
"""Characters of the standard error that a failure quotes."""


class ProgramFailed(AutotuneError):
    """The program ended with an exit code that is no success, or cannot be started."""


@dataclass(frozen=True)
class Templates:
    """What is filled in for an evaluation.

    Attributes:
        run: the program, found, and its arguments.
        files: name in the working folder -> text.
        environment: name of a variable -> text.
        fixed: placeholders whose values are the same for all evaluations: the study's folder and the inputs.
    """

    run: tuple[str, ...]
    files: Mapping[str, str]
    environment: Mapping[str, str]
    fixed: Mapping[str, str]


@dataclass(frozen=True)
class More:
    """What a working folder says beside the numbers that are read; see :class:`autotune.objective.Evaluation`."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    attributes: Mapping[str, float | int | str] = field(default_factory=dict)


class CommandObjective:
    """A program, its parameters and its metrics.

    Args:
        settings: the study's block.
        templates: what is filled in.
        parameters: the parameters of the settings.
        identify: makes the hash of everything that an evaluation depends on. Workers do not ask for it.
        work: folder of the working folders; None for temporary ones.
    """

    def __init__(
        self,
        settings: CommandSettings,
        templates: Templates,
        parameters: Sequence[Parameter],
        identify: Callable[[], str],
        work: Path | None,
    ) -> None:
        self._settings, self._templates, self._parameters = settings, templates, parameters
        self._identify, self._work = identify, work

    @cached_property
    def content_hash(self) -> str:
        """See :class:`autotune.objective.IdentifiesMeasurement`."""
        return self._identify()

    def parameters(self) -> Sequence[Parameter]:
        """The parameters that the study states."""
        return self._parameters

    def metrics(self) -> Sequence[Metric]:
        """The numbers that the study reads."""
        return [
            Metric(name, m.goal, m.unit, noise_ceiling=m.noise_ceiling, description=m.description)
            for name, m in self._settings.metrics.items()
        ]

    def summary(self) -> Mapping[str, str]:
        """The program, and where it runs."""
        inputs = {name: path for name, path in self._templates.fixed.items() if name in self._settings.inputs}
        folders = f"{self._work or 'temporary'}; kept: {self._settings.keep}"
        return {"program": " ".join(self._templates.run), **inputs, "working folders": folders}

    def evaluate(
        self, values: Mapping[str, Value], *, metric: str, seed: int, progress: Progress = never_stop
    ) -> Evaluation:
        """Run the program.

        Raises:
            InputError: a value or the metric is not known.
            ProgramFailed: the program fails.
            NoResult: it has not left what is read.
            Diverged: a metric is not finite.
        """
        complete = complete_values(self._parameters, values)
        names = [reported.name for reported in self.metrics()]
        if metric not in names:
            hint = near_miss(metric, names)
            raise InputError(Problem("metric.name", f"'{metric}' is not reported", hint))
        if self._work is not None:
            self._work.mkdir(parents=True, exist_ok=True)
        # A worker that is killed leaves its folder; the name says whose it was.
        owner = f"{'autotune-' if self._work is None else ''}{platform.node()}-{os.getpid()}-"
        folder = Path(tempfile.mkdtemp(prefix=owner, dir=self._work))
        succeeded = False
        try:
            evaluation = self._run(complete, metric, seed, folder, progress)
            succeeded = True
            return evaluation
        except (ProgramFailed, NoResult, Diverged) as error:
            if self._settings.keep == "never":
                raise
            raise type(error)(Problem("", f"{error}; the working folder is {folder}")) from error
        finally:
            if self._settings.keep == "never" or (succeeded and self._settings.keep == "failed"):
                shutil.rmtree(folder, ignore_errors=True)

    def _run(self, values: Mapping[str, Value], metric: str, seed: int, folder: Path, progress: Progress) -> Evaluation:
        """Fill the templates in, run the program in its folder and read what it leaves."""
        started, settings = time.perf_counter(), self._settings
        given: dict[str, Value] = {**self._templates.fixed, **values, "seed": seed, "folder": str(folder)}
        for name, text in self._templates.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(filled(text, given), encoding="utf-8")
        arguments = [filled(argument, given) for argument in self._templates.run]
        environment = {name: filled(text, given) for name, text in self._templates.environment.items()}
        hears = None if settings.progress is None else _Hears(settings.progress, values, settings.metrics, progress)
        try:
            code = run(arguments, folder, environment, hears)
        except OSError as error:
            raise ProgramFailed(Problem(arguments[0], f"cannot be started: {error}")) from None
        seconds = time.perf_counter() - started
        curve = {} if hears is None else hears.curve
        if code is None:
            last = {name: of[-1] for name, of in curve.items() if of}
            reason = "stopped by the caller"
            return Evaluation(Status.STOPPED, metrics=last, curve=curve, seconds=seconds, reason=reason)
        if code not in settings.exit_codes:
            raise ProgramFailed(Problem(Path(arguments[0]).name, _ending(code), _told(folder)))
        metrics = {name: number_of(source, folder) for name, source in settings.metrics.items()}
        bad = [f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise Diverged(Problem("", ", ".join(bad)))
        gradient = {} if settings.gradient is None else self._gradient(settings.gradient, metric, folder)
        more = self._more(folder)
        metrics.update(more.metrics)
        attributes = {**more.attributes, **({"working_folder": str(folder)} if settings.keep == "always" else {})}
        return Evaluation(Status.COMPLETE, metrics, gradient, curve, more.arrays, attributes, seconds)

    def _more(self, folder: Path) -> More:
        """What else the working folder says."""
        return More()

    def _gradient(self, settings: GradientSettings, metric: str, folder: Path) -> Mapping[str, float]:
        """The derivatives that the program left; none where they are of another metric than the tuned one."""
        if metric != (settings.of or next(iter(self._settings.metrics), None)):
            return {}
        found = numbers_of(settings, folder)
        known = {parameter.name for parameter in self._parameters if parameter.differentiable}
        if unknown := sorted(set(found) - known):
            hint = f"declared differentiable: {', '.join(sorted(known)) or 'none'}"
            raise NoResult(Problem("gradient", f"has {', '.join(unknown)}", hint))
        return found


@dataclass
class _Hears:
    """Passes on how far the program says that it is; a line that cannot be understood says nothing.

    Attributes:
        curve: name of a metric -> its values so far.
    """

    settings: ProgressSettings
    values: Mapping[str, Value]
    metrics: Collection[str]
    progress: Progress
    curve: dict[str, list[float]] = field(default_factory=dict)
    _done: int = 0

    def __call__(self, line: str) -> bool:
        match = re.search(self.settings.regex, line)
        if match is None:
            return True
        found = {name: text for name, text in match.groupdict().items() if text is not None}
        try:
            iteration, iterations = int(found["iteration"]), self._iterations(found)
            seen = {name: float(found[name]) for name in self.metrics if name in found}
        except (KeyError, ValueError):
            return True
        if not self._done < iteration <= iterations or not all(map(math.isfinite, seen.values())):
            return True
        self._done = iteration
        for name, value in seen.items():
            self.curve.setdefault(name, []).append(value)
        return self.progress(iteration, iterations, seen)

    def _iterations(self, found: Mapping[str, str]) -> int:
        of = self.settings.of
        return int(found["iterations"] if of is None else self.values[of] if isinstance(of, str) else of)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _told(folder: Path) -> str:
    """The end of the program's standard error, in one line."""
    try:
        said = " ".join(text_of("stderr", folder).split())
    except NoResult:  # it has removed the file
        said = ""
    if not said:
        return "it wrote nothing to its standard error"
    return f"it wrote: {said if len(said) <= _TOLD else '... ' + said[-_TOLD:]}"
