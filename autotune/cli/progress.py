"""The live progress line of ``autotune run``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from autotune.cli.console import make_console
from autotune.events import JsonLines
from autotune.objective import Metric
from autotune.search.tuner import Trial
from autotune.session import Quiet, Watcher
from autotune.store.records import TrialRecord
from autotune.text import metric_text


class ErrorsOnly(Quiet):
    """A watcher that prints only why the run waits."""

    def paused(self, reason: str) -> None:
        """Print why the run waits."""
        print(_waiting(reason), file=sys.stderr, flush=True)


class ProgressLine:
    """A watcher that shows a bar on a terminal, and prints a line per trial elsewhere (a log file, a batch job)."""

    def __init__(self, progress: Progress, *, terminal: bool) -> None:
        self._progress, self._terminal = progress, terminal
        self._task = progress.add_task("", total=None, now="", best="", left="")
        self._metric = Metric("", "maximize")
        self._began = time.monotonic()
        self._done_before = self._done = self._budget = 0

    def started(self, name: str, metric: Metric, trials: list[TrialRecord], budget: int) -> None:
        """Set up the bar."""
        self._metric, self._budget = metric, budget
        self._done = self._done_before = len(trials)
        self._began = time.monotonic()
        ceiling = "" if metric.noise_ceiling is None else f" (noise ceiling {_short(metric.noise_ceiling)})"
        verb = f"continued after {len(trials)} trial{'s' * (len(trials) > 1)}" if trials else "begun"
        self._progress.console.print(f"Study {name} {verb}: {metric.goal} {metric.name}{ceiling}")
        self._progress.update(self._task, total=budget, completed=self._done)

    def warned(self, warning: str) -> None:
        """Print the warning."""
        self._progress.console.print(f"Warning: {warning}", soft_wrap=True)

    def proposed(self, trial: Trial) -> None:
        """Name the trial."""
        self._progress.update(self._task, now=f"trial {trial.number}")

    def progressed(self, number: int, iteration: int, iterations: int, metrics: Mapping[str, float]) -> None:
        """Show the iteration of the trial that reported last."""
        value = metrics.get(self._metric.name)
        text = "" if value is None else f" {_short(value)}"
        self._progress.update(self._task, now=f"trial {number}, iteration {iteration}/{iterations}{text}")

    def ended(self, trial: TrialRecord, best: TrialRecord | None) -> None:
        """Count the trial; on a terminal update the bar, elsewhere print its line."""
        self._done += 1
        incumbent = "none yet" if best is None else f"{_short(best.metrics[self._metric.name])} (trial {best.number})"
        left = self._time_left()
        if self._terminal:
            self._progress.update(self._task, completed=self._done, best=f"best {incumbent}", left=left)
        else:
            value = trial.metrics.get(self._metric.name)
            ended = trial.reason
            if trial.state == "finished" and value is not None:
                ended = f"{self._metric.name} {_short(value)}{' (cheap)' if trial.level else ''}"
            self._progress.console.print(
                f"trial {trial.number} ({self._done}/{self._budget}) {trial.state}: {ended}; best {incumbent}; {left}",
                soft_wrap=True,  # a line per trial, for grep
            )

    def repeated(self, done: int, count: int) -> None:
        """Show how many repeated measurements are evaluated."""
        what = f"intervals: measurement repeated {done} of {count} times" if count else "the best guess is evaluated"
        self._progress.update(self._task, now=what, left="")

    def paused(self, reason: str) -> None:
        """Print why the run waits."""
        self._progress.console.print(_waiting(reason), soft_wrap=True)

    def enough(self) -> str:
        """Let the search go on."""
        return ""

    def resumed(self) -> None:
        """Print that the run goes on."""
        self._progress.console.print("Going on.")

    def _time_left(self) -> str:
        each = (time.monotonic() - self._began) / max(1, self._done - self._done_before)
        seconds = round(each * max(0, self._budget - self._done))
        return f"{seconds // 60}:{seconds % 60:02d} left"


def _short(metric: float) -> str:
    return metric_text(metric, 5)


def _waiting(reason: str) -> str:
    return f"Waiting: {reason}. Nothing is lost; Ctrl-C ends the run."


@contextmanager
def show_run() -> Iterator[ProgressLine]:
    """A watcher that shows a run on standard output."""
    console = make_console()
    columns = (
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield ProgressLine(progress, terminal=console.is_terminal)


def watching(progress: str, quiet: bool) -> AbstractContextManager[Watcher]:
    """The watcher that the options ask for: a bar for people, lines of JSON, or errors only."""
    if progress == "json":
        return nullcontext(JsonLines())
    return nullcontext(ErrorsOnly()) if quiet else show_run()
