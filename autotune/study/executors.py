"""The table of executors: what ``execution.executor`` in study.yaml may say, and where each is made.

An executor is made by a function of a module above this floor, and may need a package that is not installed. So a row
names the function, and :mod:`autotune.execution.choose` imports it when a study asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class Kind:
    """One row of the table of executors.

    Attributes:
        make: dotted path ``module:function`` of what makes the executor
            (:class:`autotune.execution.choose.MakesExecutor`).
        check: dotted path of what sees that the executor can be used here, given the study file; empty where it always
            can.
        limited: whether it runs several trials at once, and ends those that exceed a limit of time or memory.
    """

    make: str
    check: str = ""
    limited: bool = True


KINDS = {
    "process": Kind("autotune.execution.process:make_executor"),
    "inline": Kind("autotune.execution.inline:make_executor", limited=False),
    "dask": Kind("autotune.execution.cluster:make_executor", "autotune.execution.cluster_start:check_cluster"),
}
"""The executors by name. A new one is a file that makes it, and a row here."""

EXECUTORS: tuple[str, ...] = tuple(KINDS)

if TYPE_CHECKING:
    ExecutorName = str
else:
    ExecutorName = Literal[EXECUTORS]
"""``execution.executor`` in study.yaml."""
