"""Studies in a store for the tests of the report: of the toy, without a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from autotune.execution.artifacts import keep_evaluation
from autotune.home import Home
from autotune.objective import Evaluation, Metric, Status, Value, View
from autotune.problem.space import Dimension, Space
from autotune.results.posterior import find_answer
from autotune.store.records import LEVEL
from autotune.store.trials import TrialStore
from tests.autotune.toy import Toy, ToySettings, ToyType

CONSISTENCY = Metric("consistency", "maximize", noise_ceiling=1.0)
ERROR = Metric("error", "minimize")
SHIFT = Dimension("shift", "angstrom", low=-2.0, high=2.0)
TILT = Dimension("tilt", "degree", low=-10.0, high=10.0)
RATE = Dimension("rate", kind="solver", low=1e-3, high=1.0, log=True)
PASSES = Dimension("passes", kind="solver", type="int", low=1, high=8)
METHOD = Dimension("method", kind="solver", type="categorical", choices=("plain", "fast", "slow"))
SCRIPT = "a <script>alert('study')</script> & more"


class ShownType(ToyType):
    """The toy as an objective type that can show what its trials kept."""

    def views(self, arrays: Mapping[str, Any], attributes: Mapping[str, float | int | str]) -> Sequence[View]:
        ramp = arrays["object"] * np.linspace(0, 1, 4)
        return [View("height", ramp, "nm", 2.0, 2.0, "angstrom"), View("width", ramp.T, "1", 2.0, 2.0, "angstrom")]

    def fits(self, arrays: Mapping[str, Any], attributes: Mapping[str, float | int | str]) -> Sequence[View]:
        measured = np.arange(16.0).reshape(4, 4) / 15
        left, size = measured - arrays["object"], (2.0, 2.0, "mrad")
        most = float(np.abs(left).max())
        return [
            View("measured", measured, "counts", *size, "viridis", (0.0, 1.0)),
            View("modelled", arrays["object"], "counts", *size, "viridis", (0.0, 1.0)),
            View("measured - modelled", left, "counts", *size, "RdBu_r", (-most, most)),
        ]


shown = ShownType()


def times(factor: float) -> Callable[[int, Evaluation], Evaluation]:
    """All metrics, their gradient and their curves in another unit."""

    def adjusted(_: int, evaluation: Evaluation) -> Evaluation:
        return dataclasses.replace(
            evaluation,
            metrics={name: factor * value for name, value in evaluation.metrics.items()},
            gradient={name: factor * slope for name, slope in evaluation.gradient.items()},
            curve={name: [factor * value for value in curve] for name, curve in evaluation.curve.items()},
        )

    return adjusted


def keep_study(
    home: Home,
    dimensions: Sequence[Dimension],
    *,
    metric: Metric = CONSISTENCY,
    count: int = 8,
    failing: Sequence[int] = (),
    cheap: Sequence[int] = (),
    objective: str = "tests.autotune.report.stored:shown",
    answer: bool = False,
    gradients: bool = True,
    adjusted: Callable[[int, Evaluation], Evaluation] = lambda _, evaluation: evaluation,
    **facts: Any,
) -> TrialStore:
    """A study of ``count`` trials at random values; those in ``failing`` failed, those in ``cheap`` are of level 1.

    What the toy says of trial i is ``adjusted(i, evaluation)`` first.
    """
    space, toy = Space(tuple(dimensions)), Toy(ToySettings(gradients=gradients))
    search = {"sampler": "random", "fidelity": [{"iterations": 1}] if cheap else []}
    identity = {"objective": {"name": objective}, "search": search, "content_hash": "c0ffee"}
    known = {"metric": dataclasses.asdict(metric), "space": space.as_dict(), "seed": 4, "identity": identity}
    store = TrialStore.create(home.store_url, "toy", metric, known | facts)
    home.study("toy").mkdir(parents=True)
    (home.study("toy") / "study.yaml").write_text(f'name: toy\ndescription: "{SCRIPT}"\n', encoding="utf-8")
    random = np.random.default_rng(1)
    for i in range(count):
        values = space.from_unit(random.uniform(size=space.width))
        store.study.enqueue_trial(values)
        trial = store.study.ask()
        space.suggest(trial)
        if i in cheap:
            trial.set_user_attr(LEVEL, 1)
        evaluation = adjusted(i, toy.evaluate(values, metric=metric.name, seed=0))
        if i in failing:
            evaluation = dataclasses.replace(evaluation, status=Status.FAILED, metrics={}, reason=SCRIPT, arrays={})
        keep_evaluation(home.trial("toy", i), evaluation, NoPictures())  # type: ignore[arg-type]
        value = None if i in failing else evaluation.metrics[metric.name]
        store.tell(trial.number, evaluation, value, equivalents=0.25 if i in cheap else 1.0)
    if answer:
        found = find_answer(store, space, metric, seed=4, own_levels=2 if cheap else 1)
        assert found is not None
        store.keep(answer=found.as_dict(), status="finished")
    return store


class NoPictures:
    """What keeps arrays needs an objective, which may draw; this one does not."""


class Page(HTMLParser):
    """What a report's HTML holds.

    Attributes:
        pictures: attributes of every ``img``.
        fetched: addresses that a browser would fetch, less those that hold their content.
        numbers: the values of all ``data`` elements.
        tags: every element, by its name.
        text: all text.
    """

    _VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pictures: list[dict[str, str | None]] = []
        self.fetched: list[str] = []
        self.numbers: list[float] = []
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        if tag not in self._VOID:
            self._open.append(tag)
        if tag == "img":
            self.pictures.append(known)
        if tag == "data":
            self.numbers.append(float(known["value"] or "nan"))
        addresses = [known.get("src")] + ([known.get("href")] if tag != "a" else [])
        self.fetched += [address for address in addresses if address and not address.startswith("data:")]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes what is not open"

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(path: Path) -> Page:
    """A report that was written."""
    return Page(path.read_text(encoding="utf-8"))


def values_of(store: TrialStore) -> list[dict[str, Value]]:
    """Of every trial."""
    return [dict(trial.values) for trial in store.trials()]
