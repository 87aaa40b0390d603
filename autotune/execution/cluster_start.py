"""Dask clusters: the scheduler that a study names, or a cluster of its own from the queue of a batch system."""

from __future__ import annotations

import contextlib
import inspect
import logging
from typing import TYPE_CHECKING, Any, cast

from autotune.errors import InputError
from autotune.study import StudyFile

if TYPE_CHECKING:
    from distributed import Client
    from distributed.deploy.cluster import Cluster

TRIAL = {"trial": 1}
"""Dask resource that each worker of a cluster of our own has one of and each trial needs, so that no two share one."""
_CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "htcondor": "HTCondorCluster"}
_CONNECT_SECONDS = 10
_OWN = ("n_workers", "name", "asynchronous", "loop", "resources", "silence_logs", "scheduler", "job_cls", "processes")


def check_cluster(file: StudyFile) -> None:
    """See that Dask is installed, and that the options of the study's cluster exist. Starts nothing.

    Raises:
        InputError: it is not, or they do not.
    """
    spec = file.spec.execution
    try:
        import distributed  # noqa: F401

        if spec.cluster is not None and spec.cluster.kind != "local":
            import dask_jobqueue  # noqa: F401
    except ImportError as error:
        what = f"dask cannot be used: {error}"
        raise InputError(file.problem("execution.executor", what, "pip install '.[dask]' (in the checkout)")) from error
    if spec.cluster is not None:
        for name in spec.cluster.options:
            if name in _OWN:
                raise InputError(file.problem(f"execution.cluster.{name}", "is not yours to choose", _INSTEAD))
        with _errors_of_options(file):
            _check_options(spec.cluster.kind, spec.cluster.options)


_INSTEAD = "every trial gets a worker for itself, and execution.workers says how many"


def _check_options(kind: str, options: dict[str, Any]) -> None:
    if kind == "local":
        from distributed import LocalCluster

        accepted = inspect.signature(LocalCluster).parameters
        if unknown := sorted(options.keys() - accepted.keys()):
            raise ValueError(f"there is no option {unknown[0]!r}")
        return
    cluster, job = _queue_class(kind), _queue_class(kind).job_cls
    of_cluster = inspect.signature(cluster.__mro__[1].__init__).parameters.keys() - {"self", "job_kwargs"}
    job("tcp://127.0.0.1:0", name="check", **{k: v for k, v in options.items() if k not in of_cluster - _OF_BOTH})


_OF_BOTH = {"protocol", "interface", "config_name"}


def _queue_class(kind: str) -> Any:
    import dask_jobqueue

    return getattr(dask_jobqueue, _CLASSES[kind])


@contextlib.contextmanager
def _errors_of_options(file: StudyFile) -> Any:
    """Turn Dask's exceptions about a cluster's options into an InputError that names their place."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        advice = "its keys beside kind are the options that docs/execution.md names"
        raise InputError(file.problem("execution.cluster", f"cannot be started: {text}", advice)) from error


def start_cluster(file: StudyFile, logs: str) -> Cluster:
    """Start a cluster of ``execution.workers`` workers, as ``execution.cluster`` says.

    Args:
        file: the study.
        logs: folder of what the jobs print, where the study does not name one.

    Raises:
        InputError: it cannot be started.
    """
    import dask

    spec = file.spec.execution
    assert spec.cluster is not None  # noqa: S101
    kind, options = spec.cluster.kind, spec.cluster.options
    check_cluster(file)
    # A trial whose worker died is tried again by autotune.execution.retries, not by Dask.
    with _errors_of_options(file), dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        if kind == "local":
            import distributed

            local: Any = distributed.LocalCluster  # untyped
            given = {"host": "127.0.0.1", "dashboard_address": None} | options
            own = {"n_workers": spec.workers, "resources": TRIAL, "silence_logs": logging.CRITICAL}
            return cast("Cluster", local(**own, **given))
        given = {"log_directory": logs, "scheduler_options": {}, "worker_extra_args": [], **options}
        given["scheduler_options"] = {"dashboard_address": ":0"} | given["scheduler_options"]
        given["worker_extra_args"] = [*given["worker_extra_args"], "--resources", "trial=1"]
        cluster: Cluster = _queue_class(kind)(processes=1, silence_logs=logging.CRITICAL, **given)
        cluster.scale(n=spec.workers)
        return cluster


def connect(file: StudyFile, cluster: Cluster | None) -> Client:
    """A client of the cluster, or of the scheduler that the study names.

    Raises:
        InputError: there is none.
    """
    import distributed

    make: Any = distributed.Client  # untyped
    if cluster is not None:
        return cast("Client", make(cluster, set_as_default=False))
    check_cluster(file)
    address = file.spec.execution.scheduler
    try:
        return cast("Client", make(address, timeout=_CONNECT_SECONDS, set_as_default=False))
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        what = f"{address} does not answer: {text}"
        raise InputError(
            file.problem("execution.scheduler", what, "give the address that the scheduler prints")
        ) from error
