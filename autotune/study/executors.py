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
        place: name of the place where trials run, for the user.
        check: dotted path of what sees that the executor can be used here, given the study file; empty where it always
            can.
        limited: whether it runs several trials at once, and ends those that exceed a limit of time or memory.
        on_cluster: whether its workers run on a cluster that the study states (``scheduler`` or ``cluster``), which
            also sets their numbers of threads.
    """

    make: str
    place: str
    check: str = ""
    limited: bool = True
    on_cluster: bool = False


KINDS = {
    "process": Kind("autotune.execution.process:make_executor", "worker processes of this machine"),
    "inline": Kind("autotune.execution.inline:make_executor", "the run's own process", limited=False),
    "dask": Kind(
        "autotune.execution.cluster:make_executor",
        "Dask cluster",
        check="autotune.execution.cluster_start:check_cluster",
        on_cluster=True,
    ),
}
"""The executors by name. A new one is a file that makes it, and a row here."""

EXECUTORS: tuple[str, ...] = tuple(KINDS)
ON_CLUSTER: tuple[str, ...] = tuple(name for name, kind in KINDS.items() if kind.on_cluster)

if TYPE_CHECKING:
    ExecutorName = str
else:
    ExecutorName = Literal[EXECUTORS]
"""``execution.executor`` in study.yaml."""
