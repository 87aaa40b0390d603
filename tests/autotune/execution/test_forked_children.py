"""Child processes that an objective forks never take part in the conversation between a run and its workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from autotune.execution.executor import Task
from autotune.objective import Status
from tests.autotune.execution.test_inline import Hears
from tests.autotune.execution.test_process import children, executors, finish, no_process_in_group  # noqa: F401
from tests.end_to_end.forking import How, metric_of

SHIFTS = (0.5, -0.25, 0.75)


@pytest.mark.parametrize("how", get_args(How))
def test_every_trial_gets_its_own_metric(how: str, executors: Any, tmp_path: Path) -> None:  # noqa: F811
    executor, hears, before = executors({"name": "tests.end_to_end.forking:forking", "how": how}), Hears(), children()
    workers = set()
    for number, shift in enumerate(SHIFTS):
        executor.submit(Task(number, {"shift": shift}, 11, tmp_path / f"{number:05d}"))
        (ended,) = finish(executor, hears)
        assert (ended.number, ended.evaluation.status, ended.evaluation.reason) == (number, Status.COMPLETE, "")
        assert ended.evaluation.metrics == {"consistency": metric_of(shift)}
        workers |= children() - before
    assert hears.seen == [(number, iteration, 3) for number in range(len(SHIFTS)) for iteration in (1, 2, 3)]
    (worker,) = workers
    executor.close()
    assert no_process_in_group(worker)


LEAVE = """
import os, sys
from autotune.execution.forked_children import ThisProcessOnly
process = os.getpid()
try:
    with ThisProcessOnly():
        child = os.fork()
        if child == 0:
            {deed}
except BaseException:
    print("came back")
if os.getpid() == process:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
else:
    print("came back")
"""


@pytest.mark.parametrize(
    ("deed", "code", "words"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(7)", 7, ""),
        ("sys.exit('no licence')", 1, ""),
        ("raise ValueError('broken')", 1, "ValueError: broken"),
        ("raise KeyboardInterrupt", 1, ""),
    ],
)
def test_a_child_ends_where_it_would_leave(deed: str, code: int, words: str) -> None:
    done = subprocess.run([sys.executable, "-c", LEAVE.format(deed=deed)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{code}\n"
    assert done.stderr == "" if not words else done.stderr.rstrip().endswith(words)


def test_what_happens_in_the_process_itself_passes() -> None:
    from autotune.execution.forked_children import ThisProcessOnly

    with pytest.raises(ValueError, match="ours"), ThisProcessOnly() as process:
        assert process.here
        raise ValueError("ours")
