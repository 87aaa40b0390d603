"""The number of threads that numerical libraries use in a worker process; it decides the order in which they add."""

from __future__ import annotations

import os

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def worker_threads(workers: int) -> dict[str, str]:
    """The environment variables that set the threads of each of ``workers`` processes of this machine.

    They are those set in this process. Where several workers run at once and none is set, each worker gets its share of
    the cores that this process may use.
    """
    stated = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    if workers == 1:
        return stated
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // workers))} | stated
