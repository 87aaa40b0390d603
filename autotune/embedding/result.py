"""The answer of :func:`autotune.tune`: the best values with their intervals, all trials, and figures."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.errors import InputError, Problem, near_miss
from autotune.home import Home
from autotune.objective import Value
from autotune.results.document import ParameterResult, StudyResult
from autotune.store.records import TrialRecord
from autotune.store.trials import TrialStore
from autotune.text import with_unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from autotune.embedding.ranges import RangeSettings
    from autotune.report.data import StudyData
    from autotune.runs.run import Outcome

FIGURES = ("convergence", "intervals", "parallel", "sensitivities")
_COLUMNS = ("parameter", "best", "interval", "verdict")


class OwnFolder:
    """A temporary folder that goes with this object, or at the end of the process."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="autotune-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class Result:
    """The answer of a study that has ended.

    Attributes:
        document: the content of result.json.
        truth: parameter name -> true value, where the measurement was simulated.
        warning: one line where something beside the search went wrong; empty otherwise.
    """

    document: StudyResult
    truth: Mapping[str, float] = field(repr=False)
    warning: str = field(repr=False)
    _data: StudyData = field(repr=False)
    _ranges: Mapping[str, RangeSettings] = field(repr=False)
    """Of the arguments of a function; empty for another study."""
    _keeps: OwnFolder | None = field(repr=False)
    """The folder of a study without a name, which goes with this object."""

    @classmethod
    def of(cls, outcome: Outcome, home: Home, ranges: Mapping[str, RangeSettings], keeps: OwnFolder | None) -> Result:
        """The answer of a run that has ended, and its trials as they are now.

        Raises:
            InputError: the study is not in the store any more.
        """
        from autotune.report.data import read_study

        store = TrialStore.open(home.store_url, outcome.result.study)
        if store is None:
            raise InputError(Problem(f"study {outcome.result.study}", "is not in the store any more"))
        data = read_study(store, home, live=False)
        return cls(outcome.result, outcome.truth, outcome.warning, data, ranges, keeps)

    @property
    def best(self) -> dict[str, Any]:
        """Name -> value in the best trial, in its unit; empty where no trial has finished."""
        best = {name: p.best for name, p in self.parameters.items() if p.best is not None}
        return {name: self._original(name, value) for name, value in best.items()}

    @property
    def value(self) -> float | None:
        """The tuned metric of the best trial; None where no trial has finished."""
        return self.document.metric.best

    @property
    def parameters(self) -> Mapping[str, ParameterResult]:
        """Name -> best value, estimate, interval, verdict and sensitivity of a tuned parameter."""
        return self.document.parameters

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials that have ended, in the order in which they did."""
        return self._data.trials

    @property
    def folder(self) -> Path:
        """The study's folder: its trials' files, result.json and the report. That of a study without a name is gone
        with this object.
        """
        return Path(self.document.artifacts)

    def to_frame(self) -> DataFrame:
        """A pandas table with a row for each trial: number, state, values, metrics, seconds, reason of a failure."""
        import pandas as pd

        rows = [
            {
                "number": trial.number,
                "state": trial.state,
                **{name: self._original(name, value) for name, value in trial.values.items()},
                **trial.metrics,
                "seconds": trial.seconds,
                "level": trial.level,
                "reason": trial.reason,
            }
            for trial in sorted(self.trials, key=lambda trial: trial.number)
        ]
        return pd.DataFrame(rows).set_index("number") if rows else pd.DataFrame()

    def figure(self, name: str = "convergence") -> Figure:
        """A matplotlib figure.

        Args:
            name: ``convergence`` (the best value by trial), ``intervals`` (of each parameter, in its range),
                ``parallel`` (all trials, a line each) or ``sensitivities``.

        Raises:
            InputError: there is no figure of this name, or nothing to show in it yet.
        """
        from autotune.report.interval_figures import draw_intervals, draw_sensitivities
        from autotune.report.search_figures import draw_convergence, draw_parallel

        drawn = {"convergence": draw_convergence, "intervals": draw_intervals, "parallel": draw_parallel}
        sensitivities = {n: p.sensitivity for n, p in self.parameters.items() if p.sensitivity is not None}
        if name not in FIGURES:
            raise InputError(Problem("figure", f"'{name}' is no figure", near_miss(name, FIGURES)))
        if self.value is None or (name in ("intervals", "sensitivities") and not sensitivities):
            raise InputError(Problem("figure", f"there is nothing to show of {name}", "give the search more trials"))
        return draw_sensitivities(sensitivities) if name == "sensitivities" else drawn[name](self._data)

    def __repr__(self) -> str:
        lines = ["  ".join(cell for cell in row if cell) for row in self._rows()]
        return "\n".join([f"{self._headline()}", *(f"  {line}" for line in lines)])

    def _repr_html_(self) -> str:
        """The answer as a table with the convergence, for notebooks."""
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in _COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        )
        picture = ""
        if self.value is not None:
            from autotune.report.style import as_svg, data_uri

            alt = escape(f"Best {self.document.metric.name} by trial")
            picture = f'<img alt="{alt}" style="max-width:100%" src="{data_uri(as_svg(self.figure()))}">'
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<div><p>{escape(self._headline())}</p>{table}{picture}</div>"

    def _original(self, name: str, value: Value) -> Any:
        """The choice that a name of one stands for."""
        settings = self._ranges.get(name)
        return value if settings is None else settings.argument(value)

    def _headline(self) -> str:
        document = self.document
        best = "no trial has finished" if self.value is None else f"{document.metric.name} {self.value:.6g}"
        return f"{document.study}: {best} in trial {document.best_trial}; {document.trials}; {document.reason}"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        """Parameter, best value, interval and verdict, in words."""
        return [
            (name, _shown(self.best.get(name), p.unit), _interval(p), p.note or p.verdict or "")
            for name, p in self.parameters.items()
        ]


def _shown(value: object, unit: str) -> str:
    if value is None:
        return "not known"
    return with_unit(f"{value:.6g}" if isinstance(value, float) else str(value), unit)


def _interval(parameter: ParameterResult) -> str:
    if parameter.interval is None:
        return ""
    low, high = parameter.interval
    level = "" if parameter.level is None else f" ({100 * parameter.level:.0f} %)"
    return f"{low:.6g} .. {high:.6g}{level}"
