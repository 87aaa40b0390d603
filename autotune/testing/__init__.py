"""Conformance suites that the author of an objective inherits in the objective's tests.

    from autotune.testing import ObjectiveConformance, ObjectiveTypeConformance

    class TestMyObjective(ObjectiveConformance):
        gradient_rtol = 1e-2

        def objective(self):
            return MyType().open(MySettings(...), folder=Path("."))

        def values(self):
            return {"defocus": 120.0}

pytest collects the inherited tests. The message of a failed test states what the contract of
:mod:`autotune.objective` requires, and what the objective did. Nothing here imports pytest until a test is skipped.
"""

from __future__ import annotations

from autotune.testing.backends import BackendConformance
from autotune.testing.objectives import ObjectiveConformance
from autotune.testing.types import ObjectiveTypeConformance

__all__ = ["BackendConformance", "ObjectiveConformance", "ObjectiveTypeConformance"]
