"""Several runs of one study in one process, as far as their record needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from autotune.home import Home
from autotune.objective import Metric
from autotune.problem.goals import Aims
from autotune.store.trials import TrialStore

METRIC = Metric("consistency", "maximize")


class Company:
    """The store that the runs share, and which of them are alive; ``busy`` while somebody holds the study's lock."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.store = TrialStore.create(self.home.store_url, "toy", METRIC, {"study_id": "f3a9"})
        self.alive: set[str] = set()
        self.busy = False

    def study(self, name: str) -> Any:
        """A run of the study, as :class:`autotune.session.RunningStudy` describes it."""
        self.alive |= {name}
        tracking = SimpleNamespace(enabled=True, uri=f"sqlite:///{self.home.folder / 'mlflow.db'}", experiment=None)
        return SimpleNamespace(
            name="toy",
            home=self.home,
            folder=self.home.study("toy"),
            store=self.store,
            lease=SimpleNamespace(owner=name),
            file=SimpleNamespace(spec=SimpleNamespace(tracking=tracking)),
            plan=SimpleNamespace(metric=METRIC, aims=Aims()),
            others=lambda: frozenset(self.alive - {name}),
            locked=self._locked,
        )

    @contextmanager
    def _locked(self, timeout: float = -1) -> Iterator[None]:
        if self.busy:
            raise TimeoutError
        yield
