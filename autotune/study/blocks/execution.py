"""The ``execution:`` block of study.yaml: where trials run, how many at once, and what each may use."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from autotune.objective.environment import NEVER
from autotune.study.blocks.block import Block, list_as_tuple, one_as_list
from autotune.study.executors import KINDS, ON_CLUSTER, ExecutorName

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")
_LEAST_MEMORY = 10**8  # bytes; Python with numpy alone needs this much


class ClusterSpec(BaseModel):
    """A Dask cluster that the run starts. Other keys are options of LocalCluster or of the class in dask-jobqueue."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    kind: Literal["slurm", "pbs", "lsf", "htcondor", "local"]
    """The batch system that starts the workers; local: processes on this machine."""

    @property
    def options(self) -> dict[str, Any]:
        """The options for Dask, without the number of workers."""
        return dict(self.model_extra or {})


class ExecutionSpec(Block):
    """Where trials run, and what each may use. All of it may change between two runs of a study."""

    # The order matters: each validator below sees only the fields declared before its own.
    executor: ExecutorName = "process"
    """process: trials run in worker processes, so that a crash ends only its trial; inline: in the process of autotune
    itself, for debugging; dask: in worker processes on the machines of a Dask cluster."""
    workers: int = Field(default=1, ge=1, le=1000)
    """Number of trials that run at once."""
    timeout: float | None = Field(default=None, gt=0)
    """Longest time that a trial may take, in seconds; null for no limit."""
    memory: str | None = None
    """Most memory that a trial may use, such as 8 GB or 512 MiB; null for no limit."""
    retries: int = Field(default=1, ge=0, le=100)
    """How often a trial is repeated whose worker was killed from outside or lost. A trial's own errors are final."""
    max_failures: int | None = Field(default=None, ge=1)
    """Number of failed trials in a row that ends the study; null for never."""
    environment: Annotated[
        tuple[str, ...],
        BeforeValidator(list_as_tuple),
        BeforeValidator(one_as_list, json_schema_input_type=list[str] | str),
    ] = ()
    """Names of further environment variables that the workers are given, such as LICENSE_FILE, or MATLAB_* for all that
    begin so. Without being named, they get what numerical work needs, and no credentials."""
    scheduler: str | None = Field(default=None, pattern=r"^[a-z]+://\S+$")
    """Address of a running Dask scheduler, such as tcp://host:8786 (executor dask)."""
    cluster: ClusterSpec | None = Field(default=None, validate_default=True)
    """The Dask cluster that the run starts and ends (executor dask)."""

    @field_validator("memory")
    @classmethod
    def _memory_is_an_amount(cls, memory: str | None) -> str | None:
        if memory is not None and bytes_of(memory) < _LEAST_MEMORY:
            raise ValueError(f"{memory!r} is too little for any trial; give at least 100 MB")
        return memory

    @field_validator("environment")
    @classmethod
    def _environment_is_of_names(cls, environment: tuple[str, ...]) -> tuple[str, ...]:
        for number, name in enumerate(environment, start=1):
            if not _VARIABLE.fullmatch(name):  # not quoted: it may be NAME=VALUE, with a password as the value
                raise ValueError(f"entry {number} is no name of a variable, such as LICENSE_FILE or MATLAB_*")
            if name == NEVER:
                raise ValueError(f"{NEVER} is not given to workers: the trial store is the run's alone")
        return environment

    @field_validator("workers", "timeout", "memory")
    @classmethod
    def _limits_are_kept(cls, given: float | str | None, info: ValidationInfo) -> float | str | None:
        limits = given not in (None, 1) if info.field_name == "workers" else given is not None
        executor = info.data.get("executor")
        if limits and executor in KINDS and not KINDS[executor].limited:
            others = " or ".join(name for name, kind in KINDS.items() if kind.limited)
            raise ValueError(
                f"{given} needs the executor {others}; {executor} runs one trial at a time, without limits"
            )
        return given

    @field_validator("scheduler", "cluster")
    @classmethod
    def _there_is_one_cluster(cls, given: Any, info: ValidationInfo) -> Any:
        executor, scheduler = info.data.get("executor"), info.data.get("scheduler")
        on_cluster = executor in ON_CLUSTER
        if given is not None and not on_cluster and "executor" in info.data:
            raise ValueError(f"is for the executor {' or '.join(ON_CLUSTER)}; set executor: {ON_CLUSTER[0]}")
        if info.field_name == "cluster" and on_cluster and given is not None and scheduler is not None:
            raise ValueError(f"contradicts scheduler; the executor {executor} uses either")
        if info.field_name == "cluster" and on_cluster and given is None and info.data.get("scheduler", "") is None:
            needed = "needs scheduler: tcp://HOST:PORT, or cluster: {kind: slurm, ...}"
            raise ValueError(f"the executor {executor} {needed}")
        return given

    @property
    def memory_bytes(self) -> int | None:
        """The memory limit in bytes; None for no limit."""
        return None if self.memory is None else bytes_of(self.memory)


def bytes_of(amount: str) -> int:
    """An amount of memory such as ``8 GB`` (8 * 10^9 bytes) or ``512 MiB`` (512 * 2^20 bytes), in bytes.

    Raises:
        ValueError: the text is no such amount.
    """
    amount_and_unit = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?i?B?)\s*", amount, flags=re.IGNORECASE)
    unit = None if amount_and_unit is None else _UNITS.get(amount_and_unit[2].upper())
    if amount_and_unit is None or unit is None:
        raise ValueError(f"{amount!r} is not an amount of memory; write it as 8 GB or 512 MiB")
    return int(float(amount_and_unit[1]) * unit)
