"""Conformance suites that the author of an objective inherits in his own tests.

    from autotune.testing import ObjectiveConformance, ObjectiveTypeConformance

    class TestMyObjective(ObjectiveConformance):
        gradient_rtol = 1e-2

        def objective(self):
            return MyType().open(MySettings(...), folder=Path("."))

        def values(self):
            return {"defocus": 120.0}

pytest collects the inherited tests. Each one states in its message what the contract of
:mod:`autotune.objective` asks for and what was found. Nothing here imports pytest until a test is skipped.
"""

from __future__ import annotations

from autotune.testing.objectives import ObjectiveConformance
from autotune.testing.types import ObjectiveTypeConformance

__all__ = ["ObjectiveConformance", "ObjectiveTypeConformance"]
