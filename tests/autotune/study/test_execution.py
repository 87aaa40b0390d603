"""The ``execution:`` block."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from autotune.errors import InputError
from autotune.execution.choose import check_execution
from autotune.study import StudyFile, load_study
from autotune.study.blocks.execution import bytes_of

STUDY = {
    "name": "toy",
    "objective": {"name": "tests.autotune.toy:toy"},
    "parameters": {"shift": {"low": -1, "high": 1}},
}


def study(folder: Path, **execution: Any) -> StudyFile:
    path = folder / "study.yaml"
    path.write_text(json.dumps(STUDY | {"execution": execution}))
    return load_study(path)


def test_the_default_is_one_worker_process_without_limits(tmp_path: Path) -> None:
    spec = study(tmp_path).spec.execution
    assert (spec.executor, spec.workers, spec.timeout, spec.memory_bytes) == ("process", 1, None, None)
    assert (spec.retries, spec.max_failures) == (1, None)


def test_it_does_not_identify_a_study(tmp_path: Path) -> None:
    assert study(tmp_path).identity() == study(tmp_path, workers=4, memory="8 GB").identity()


@pytest.mark.parametrize(
    ("amount", "count"),
    [
        ("8 GB", 8_000_000_000),
        ("8gb", 8_000_000_000),
        ("512 MiB", 2**29),
        ("1.5 TiB", 3 * 2**39),
        ("200000000", 2 * 10**8),
    ],
)
def test_amounts_of_memory(amount: str, count: int) -> None:
    assert bytes_of(amount) == count


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("memory", "8 GG", "'8 GG' is not an amount of memory; write it as 8 GB or 512 MiB"),
        ("memory", "much", "'much' is not an amount of memory"),
        ("memory", "8 MB", "'8 MB' is too little for any trial; give at least 100 MB"),
        ("memory", 8, "8"),
        ("workers", 0, "0"),
        ("timeout", -1, "-1"),
        ("executor", "thread", "'thread'"),
        ("scheduler", "tcp://host:8786", "is for the executor dask; set executor: dask"),
        ("cluster", {"kind": "local"}, "is for the executor dask; set executor: dask"),
        ("storage", "sqlite:///x.db", "storage"),
    ],
)
def test_what_is_refused(key: str, value: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        study(tmp_path, **{key: value})
    (problem,) = raised.value.problems
    assert f"execution.{key}" in problem.where and words in str(problem)


@pytest.mark.parametrize(("key", "value"), [("workers", 2), ("timeout", 5.0), ("memory", "1 GB")])
def test_inline_takes_no_limits(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs the executor process or dask"):
        study(tmp_path, executor="inline", **{key: value})


def test_dask_takes_limits_and_one_cluster(tmp_path: Path) -> None:
    options = {"cores": 2, "memory": "4 GB", "job_script_prologue": ["module load cuda"]}
    spec = study(tmp_path, executor="dask", workers=8, timeout=5.0, cluster={"kind": "slurm"} | options).spec.execution
    assert spec.cluster is not None
    assert (spec.workers, spec.timeout, spec.cluster.kind, spec.cluster.options) == (8, 5.0, "slurm", options)
    spec = study(tmp_path, executor="dask", scheduler="tls://host:8786").spec.execution
    assert (spec.scheduler, spec.cluster) == ("tls://host:8786", None)


@pytest.mark.parametrize(
    ("execution", "words"),
    [
        ({}, "the executor dask needs scheduler: tcp://HOST:PORT, or cluster: {kind: slurm, ...}"),
        ({"scheduler": "host:8786"}, "'host:8786' is not valid"),
        (
            {"scheduler": "tcp://h:1", "cluster": {"kind": "local"}},
            "contradicts scheduler; the executor dask uses either",
        ),
        ({"cluster": {"cores": 2}}, "cluster.kind: is missing"),
        ({"cluster": {"kind": "sge"}}, "'sge' is not valid"),
        ({"cluster": "slurm"}, "'slurm' is not valid"),
    ],
)
def test_what_dask_needs(execution: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        study(tmp_path, executor="dask", **execution)
    (problem,) = raised.value.problems
    assert words in str(problem)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, own = ({"executor": "dask", "scheduler": "tcp://h:1"}, {"executor": "dask", "cluster": {"kind": "slurm"}})
    for execution, module in ((here, "distributed"), (own, "dask_jobqueue")):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(InputError, match=r"execution.executor: .*pip install '\.\[dask\]'"):
                check_execution(study(tmp_path, **execution))


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"kind": "slurm"}, "execution.cluster: cannot be started: You must specify how much cores and memory"),
        ({"kind": "slurm", "cores": 1, "memory": "1 GB", "que": "x"}, "unexpected keyword argument 'que'"),
        ({"kind": "local", "treads": 2}, "execution.cluster: cannot be started: there is no option 'treads'"),
        ({"kind": "local", "n_workers": 2}, "execution.cluster.n_workers: is not yours to choose; every trial gets"),
    ],
)
def test_options_of_a_cluster_are_checked_before_anything_runs(
    cluster: dict[str, Any], words: str, tmp_path: Path
) -> None:
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    with pytest.raises(InputError) as raised:
        check_execution(study(tmp_path, executor="dask", cluster=cluster))
    assert words in str(raised.value)


@pytest.mark.parametrize("kind", ["slurm", "pbs", "lsf", "htcondor"])
def test_options_of_every_batch_system(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    options: dict[str, Any] = {"cores": 4, "memory": "8 GB", "scheduler_options": {"interface": "lo"}}
    options |= {"disk": "1 GB"} if kind == "htcondor" else {"queue": "gpu", "walltime": "01:00"}
    check_execution(study(tmp_path, executor="dask", cluster={"kind": kind} | options))
