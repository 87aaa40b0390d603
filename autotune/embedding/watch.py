"""How :func:`autotune.tune` shows a run: a bar in place, in a notebook or on a terminal, and the user's callback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from autotune.objective import Metric
from autotune.session import Quiet
from autotune.store.records import TrialRecord
from autotune.text import with_unit

if TYPE_CHECKING:
    from tqdm import tqdm

Callback = Callable[[TrialRecord, TrialRecord | None], object]
"""Called with a trial that has ended and the best one so far; True from it ends the search."""


class Watch(Quiet):
    """A watcher that calls back after every trial, and shows a bar.

    Args:
        callback: see :data:`Callback`; None for none.
        bar: whether the bar is shown.
    """

    def __init__(self, callback: Callback | None, *, bar: bool) -> None:
        self._callback, self._shows = callback, bar
        self._metric = Metric("", "maximize")
        self._bar: tqdm[Any] | None = None
        self._enough = self._best = ""

    def started(self, name: str, metric: Metric, trials: list[TrialRecord], budget: int) -> None:
        """Set up the bar."""
        self._metric = metric
        if self._shows:
            make = _bar_class()
            self._bar = make(total=budget, initial=len(trials), desc=name, unit="trial", file=_output(make))

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> None:
        """Show how far the trial is that reported last."""
        self._say(f"trial {number}: {iteration}/{iterations}")

    def ended(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """Show the trial and the best value, and call back."""
        if self._bar is not None:
            if best is not None:
                value = with_unit(f"{best.metrics[self._metric.name]:.6g}", self._metric.unit)
                self._best = f"best {self._metric.name} {value}"
            self._say("")
            self._bar.update()
        if self._callback is not None and self._callback(trial, best) is True:
            self._enough = "ended by its callback"

    def repeated(self, done: int, count: int) -> None:
        """Say that the intervals are being computed."""
        self._say("computing intervals")

    def paused(self, reason: str) -> None:
        """Say why the run waits."""
        self._say(f"waiting: {reason}")

    def enough(self) -> str:
        """Why the callback ended the search; empty where it has not."""
        return self._enough

    def _say(self, doing: str) -> None:
        """Show the best value, and what is done now."""
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(filter(None, [self._best, doing])), refresh=bool(doing))

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def _bar_class() -> Any:
    """A bar for notebooks where it can be shown there; one of text elsewhere."""
    if in_notebook():
        try:
            import ipywidgets  # noqa: F401
            from tqdm.notebook import tqdm as in_cells
        except ImportError:
            pass
        else:
            return in_cells
    from tqdm import tqdm as of_text

    return of_text


def _output(make: Any) -> Any:
    """Where the bar goes: the text of a notebook's cell is on standard output, in the order of what is printed."""
    return sys.stdout if in_notebook() and make.__module__ != "tqdm.notebook" else None
