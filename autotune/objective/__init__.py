"""The door between the tuner and the physics: the only part of ``autotune`` that an objective may import.

An objective is a reconstruction problem bound to one measurement. It offers two things: the list of parameters it
understands, and :meth:`Objective.evaluate`, which runs one reconstruction with given values and says how well the
model explains the measurement. Everything else (search, storage, MLflow, reports) is the tuner's work.

A package announces an objective through the entry-point group ``autotune.objectives``; a study may also name
an objective by a dotted path ``module:attribute``. Either names an :class:`ObjectiveType`.

Nothing here imports torch, optuna or mlflow.
"""

from __future__ import annotations

from autotune.errors import AutotuneError, Diverged, InputError, Problem, near_miss
from autotune.objective.backends import BackendStatus, WrapsBackends
from autotune.objective.drafts import Draft, DraftLine, DraftsStudies, GuessesParameters
from autotune.objective.environment import child_environment
from autotune.objective.evaluation import Evaluation, Progress, Status, never_stop
from autotune.objective.finding import ENTRY_POINT_GROUP, find_objective_type, objective_names
from autotune.objective.parameter import Kind, Metric, Parameter, Value, complete_values
from autotune.objective.protocols import (
    CountsWork,
    DividesGradient,
    Examines,
    ExplainsAbsence,
    ExportsMeasurement,
    IdentifiesMeasurement,
    KnowsTruth,
    MeasuresAgain,
    NarrowsForService,
    Objective,
    ObjectiveType,
    Simulates,
)
from autotune.objective.twin import HasTwin, Twin
from autotune.objective.views import (
    ArrayAxis,
    ArrayDescription,
    DescribesArrays,
    DrawsPictures,
    ShowsFits,
    ShowsReconstructions,
    View,
)

__all__ = [
    "ENTRY_POINT_GROUP",
    "ArrayAxis",
    "ArrayDescription",
    "AutotuneError",
    "BackendStatus",
    "CountsWork",
    "DescribesArrays",
    "Diverged",
    "DividesGradient",
    "Draft",
    "DraftLine",
    "DraftsStudies",
    "DrawsPictures",
    "Evaluation",
    "Examines",
    "ExplainsAbsence",
    "ExportsMeasurement",
    "GuessesParameters",
    "HasTwin",
    "IdentifiesMeasurement",
    "InputError",
    "Kind",
    "KnowsTruth",
    "MeasuresAgain",
    "Metric",
    "NarrowsForService",
    "Objective",
    "ObjectiveType",
    "Parameter",
    "Problem",
    "Progress",
    "ShowsFits",
    "ShowsReconstructions",
    "Simulates",
    "Status",
    "Twin",
    "Value",
    "View",
    "WrapsBackends",
    "child_environment",
    "complete_values",
    "find_objective_type",
    "near_miss",
    "never_stop",
    "objective_names",
]
