"""Study files: what a user writes in study.yaml, validated, and resolved against the objective it names.

``load_study`` reads and validates the file, ``plan_study`` resolves it against the opened objective, and
``study_schema`` describes it to editors. Errors carry file, line, the offending value and what is allowed.
Importing the package imports neither torch, optuna nor mlflow.
"""

from __future__ import annotations

from autotune.study.blocks.budget import BudgetSpec
from autotune.study.blocks.execution import ExecutionSpec
from autotune.study.blocks.metric import MetricSpec
from autotune.study.blocks.objective import ObjectiveSpec
from autotune.study.blocks.parameters import HeldSpec, ParameterSpec
from autotune.study.blocks.search import SearchSpec
from autotune.study.blocks.study import StudySpec
from autotune.study.blocks.tracking import TrackingSpec
from autotune.study.file import StudyFile, load_study, parse_study
from autotune.study.plan import Plan, plan_study
from autotune.study.schema import study_schema

__all__ = [
    "BudgetSpec",
    "ExecutionSpec",
    "HeldSpec",
    "MetricSpec",
    "ObjectiveSpec",
    "ParameterSpec",
    "Plan",
    "SearchSpec",
    "StudyFile",
    "StudySpec",
    "TrackingSpec",
    "load_study",
    "parse_study",
    "plan_study",
    "study_schema",
]
