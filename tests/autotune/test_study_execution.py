"""The ``execution:`` block."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autotune.errors import InputError
from autotune.study import StudyFile, load_study
from autotune.study.execution import bytes_of

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
    with pytest.raises(InputError, match=r"needs the executor process"):
        study(tmp_path, executor="inline", **{key: value})
