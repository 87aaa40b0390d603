"""The compared engines, each behind ask and tell: ours in this process, every other in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

import optuna

import autotune
import autotune.search.gp_sampler  # now, so that OWN_VERSION describes the sources that run
from autotune.objective import Evaluation, Metric, Status, Value
from autotune.problem.space import Space
from autotune.search.tuner import Search, Tuner
from autotune.store.trials import TrialStore
from search_bench.problem import Outcome


class EngineMissingError(Exception):
    """The engine is not installed in its environment."""


class EngineFailedError(Exception):
    """The engine's process ended, or its answer is not a valid reply."""


class Engine(Protocol):
    """A search on one problem.

    Attributes:
        version: version of the package, as far as it decides the proposals.
        seconds: processor seconds of every ask so far, each including the tell before it.
    """

    version: str
    seconds: list[float]

    def ask(self) -> dict[str, Value]: ...

    def tell(self, outcome: Outcome) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class EngineKind:
    """One row of the comparison.

    Attributes:
        name: name on the command line.
        title: name in tables.
        ours: whether it is this project's.
        gradients: whether it receives gradients.
        elsewhere: whether it runs in the peers' environment rather than in this one.
    """

    name: str
    title: str
    ours: bool = False
    gradients: bool = False
    elsewhere: bool = False


ENGINES = (
    EngineKind("gp-gradients", "autotune gp, with gradients", ours=True, gradients=True),
    EngineKind("gp", "autotune gp", ours=True),
    EngineKind("optuna-tpe", "Optuna TPESampler"),
    EngineKind("optuna-gp", "Optuna GPSampler"),
    EngineKind("botorch", "BoTorch qLogNEI"),
    EngineKind("ax", "Ax", elsewhere=True),
    EngineKind("skopt", "scikit-optimize gp_minimize", elsewhere=True),
)
BY_NAME = {kind.name: kind for kind in ENGINES}

_DECIDES = ("objective", "problem", "search", "store", "surrogate")


def _own_version() -> str:
    """The project's version and a digest of the sources that decide the proposals of ``gp``."""
    root = Path(autotune.__file__).parent
    named = [root / name for name in _DECIDES]
    files = [file for path in named for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"autotune {autotune.__version__} ({digest[:8]})"


OWN_VERSION = _own_version()
"""Version of the sources that this process imported; they may change on disk while it runs."""


class Own:
    """The project's tuner, as a study runs it: a new sampler for every trial, and all state in the store."""

    def __init__(self, space: Space, seed: int, *, gradients: bool) -> None:
        self.version = OWN_VERSION
        self.seconds: list[float] = []
        self._gradients = gradients
        self._told = 0.0
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        store = TrialStore(optuna.create_study(direction="maximize"))
        self._tuner = Tuner(store, space, Metric("value", "maximize"), Search(sampler="gp", seed=seed))

    def ask(self) -> dict[str, Value]:
        started = time.process_time()
        self._trial = self._tuner.ask()
        self.seconds.append(self._told + time.process_time() - started)
        return dict(self._trial.values)

    def tell(self, outcome: Outcome) -> None:
        started = time.process_time()
        slopes = outcome.gradient if self._gradients else {}
        evaluation = Evaluation(Status.COMPLETE, metrics={"value": outcome.value}, gradient=slopes)
        self._tuner.tell(self._trial, evaluation)
        self._told = time.process_time() - started

    def close(self) -> None:
        """Do nothing: the store is in memory."""


class Peer:
    """``peer_engine.py`` in a process of its own.

    Raises:
        EngineMissingError: the package is not installed for ``python``.
        EngineFailedError: the process ended, now or at any later call.
    """

    def __init__(self, python: str, name: str, space: Space, seed: int) -> None:
        alone = {variable: "1" for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self._said = TemporaryFile()  # noqa: SIM115 - closed with the process
        script = str(Path(__file__).with_name("peer_engine.py"))
        self._process = subprocess.Popen(
            [python, "-W", "ignore", script, name, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=os.environ | alone,
            encoding="utf-8",
        )
        self.seconds: list[float] = []
        self._told = 0.0
        try:
            ready = self._call(space.as_dict())
            if "missing" in ready:
                raise EngineMissingError(str(ready["missing"]))
            self.version: str = ready["ready"]
        except BaseException:
            self.close()
            raise

    def ask(self) -> dict[str, Value]:
        reply = self._call({"ask": True})
        self.seconds.append(self._told + reply["seconds"])
        values: dict[str, Value] = reply["values"]
        return values

    def tell(self, outcome: Outcome) -> None:
        self._told = self._call({"tell": outcome.value})["seconds"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def _call(self, request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101 - pipes, see above
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            reply: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            self._process.wait()
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").strip().splitlines()
            raise EngineFailedError(lines[-1] if lines else "it ended without a word") from error
        return reply


def start(kind: EngineKind, space: Space, seed: int, peers_python: str | None) -> Engine:
    """Start a new search with an engine of ``kind``.

    Raises:
        EngineMissingError: the engine is not installed, or its environment is not named.
        EngineFailedError: the engine does not start.
    """
    if kind.ours:
        return Own(space, seed, gradients=kind.gradients)
    if not kind.elsewhere:
        return Peer(sys.executable, kind.name, space, seed)
    if peers_python is None:
        raise EngineMissingError("state --peers-python")
    return Peer(peers_python, kind.name, space, seed)
