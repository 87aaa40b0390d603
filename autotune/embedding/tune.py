"""``autotune.tune``: tune a study or a Python function, and return the answer."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from autotune.embedding.function import (
    NAME,
    FunctionSettings,
    MetricSettings,
    check_arguments,
    code_of,
    is_importable,
    known,
    name_of,
)
from autotune.embedding.ranges import read_ranges
from autotune.embedding.result import OwnFolder, Result
from autotune.embedding.watch import Callback, Watch, in_notebook
from autotune.errors import InputError, Problem
from autotune.home import Home
from autotune.objective import Metric
from autotune.runs.run import run_study
from autotune.study import StudyFile, load_study
from autotune.study.blocks.study import StudySpec
from autotune.study.file import parse_study

_TEXT = Path("<study>")
"""In place of the path of a study that is no file; relative paths in it start from the current folder."""

_MOST_FAILURES = 10
"""Failed trials in a row after which a function is taken to be broken."""


def tune(
    study: str | os.PathLike[str] | Mapping[str, Any] | StudySpec | Callable[..., Any],
    ranges: Mapping[str, Any] | None = None,
    *,
    trials: int | None = None,
    metric: str | Metric | Sequence[str | Metric] | None = None,
    goal: Literal["maximize", "minimize"] | None = None,
    name: str | None = None,
    seed: int | None = None,
    workers: int | None = None,
    callback: Callback | None = None,
    progress: bool | None = None,
    overrides: Sequence[str] = (),
    fresh: bool = False,
    home: Home | None = None,
) -> Result:
    """Tune a study, or a Python function.

    Args:
        study: path of a study file; the same as a dict or a :class:`~autotune.study.StudySpec`; or a function, which is
            called with keyword arguments and returns a number, a dict of metrics, or either in a pair with a dict of
            derivatives of the tuned metric by argument name. An exception in it is a failed trial.
        ranges: for a function, argument name -> ``(low, high)`` for a number, ``range(low, high + 1)`` for a whole
            number, a list of choices, an :class:`autotune.Dimension` for all else (a logarithmic scale, a unit), or a
            value that the argument is held at.
        trials: budget of trials.
        metric: name of the tuned metric. For a function, what it returns: a name, or several of which the first is
            tuned; ``value`` where left out.
        goal: for a function, whether larger or smaller values are better; larger where left out.
        name: the study's name. A function with a name is kept in ``home`` and recorded as any study is: called again,
            it is continued. Without a name its trials are kept for as long as the result is.
        seed: seed of the search, and of everything random in a trial.
        workers: trials that run at once; for a function, more than one needs a function that can be imported.
        callback: called with each trial that has ended and the best one so far (:class:`TrialRecord`); returning True
            ends the search.
        progress: whether a bar shows how far it is; only in notebooks where left out.
        overrides: ``dotted.key=value`` each, as ``autotune run --set``; any key of a study file.
        fresh: begin anew; an earlier study of that name is kept under another name.
        home: folder of the studies; that of the environment where left out.

    Raises:
        InputError: something given is wrong; nothing has been changed.
        StudyFailed: too many trials in a row failed.
        NoneSucceeded: every trial failed.
        KeyboardInterrupt: passed on after the state is safe.
    """
    given = [*overrides, *_shortcuts(trials=trials, seed=seed, workers=workers, name=name)]
    with ExitStack() as held:
        keeps: OwnFolder | None = None
        arguments: Mapping[str, Any] = {}
        if callable(study) and not isinstance(study, StudySpec):
            document, settings = _function_study(study, ranges, metric, goal, name)
            arguments = settings.ranges
            held.enter_context(known(study))
            file = _parsed(document, [*given, *_execution(study, workers, overrides)])
            if name is None:
                _only_with_a_name(home=home, fresh=fresh or None)
                keeps = OwnFolder()
                home = Home(keeps.path)
        else:
            _only_for_functions(ranges=ranges, goal=goal)
            given += [] if metric is None else [f"metric={_name_of_metric(metric)}"]
            file = load_study(Path(study), given) if isinstance(study, str | os.PathLike) else _parsed(study, given)
        home = Home.from_environment() if home is None else home
        watch = Watch(callback, bar=in_notebook() if progress is None else progress)
        held.callback(watch.close)
        outcome = run_study(file, home=home, watcher=watch, fresh=fresh)
    return Result.of(outcome, home, arguments, keeps)


def _shortcuts(*, trials: int | None, seed: int | None, workers: int | None, name: str | None) -> list[str]:
    """The overrides that arguments of :func:`tune` stand for."""
    keys = {"budget.trials": trials, "search.seed": seed, "execution.workers": workers, "name": name}
    return [f"{key}={value}" for key, value in keys.items() if value is not None]


def _only_for_functions(**given: object) -> None:
    problems = [
        Problem(name, "is for a function", "a study states it itself, or overrides do")
        for name, value in given.items()
        if value is not None
    ]
    if problems:
        raise InputError(problems)


def _only_with_a_name(**given: object) -> None:
    """Refuse what says where a study is kept, for a function whose study is not."""
    problems = [
        Problem(key, "has no effect without a name: nothing is kept", "give the study a name, or leave it out")
        for key, value in given.items()
        if value is not None
    ]
    if problems:
        raise InputError(problems)


def _name_of_metric(metric: object) -> str:
    if isinstance(metric, Metric):
        return metric.name
    if isinstance(metric, str):
        return metric
    raise InputError(Problem("metric", f"{metric!r} is no name", "a study tunes one metric; name it"))


def _parsed(study: object, overrides: Sequence[str]) -> StudyFile:
    """The study of a dict or a spec, checked as a study file is."""
    if isinstance(study, StudySpec):
        study = study.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    if not isinstance(study, Mapping):
        what = f"{study!r:.80} is {type(study).__name__}"
        raise InputError(Problem("study", what, "give a path, a dict, a StudySpec or a function"))
    try:
        stream = io.StringIO()
        YAML().dump(_plain(study), stream)
    except (YAMLError, RecursionError) as error:
        what = str(error).partition("\n")[0]
        raise InputError(Problem("study", f"holds what no study file can hold: {what}", "use plain values")) from error
    return parse_study(stream.getvalue(), _TEXT, overrides)


def _plain(value: Any) -> Any:
    """Maps, lists and numbers of other types as those of YAML."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def _function_study(
    function: Callable[..., Any],
    ranges: Mapping[str, Any] | None,
    metric: str | Metric | Sequence[str | Metric] | None,
    goal: Literal["maximize", "minimize"] | None,
    name: str | None,
) -> tuple[dict[str, Any], FunctionSettings]:
    """The study of a function, as a study file has it; and the settings of its objective."""
    if not isinstance(ranges, Mapping) or not all(isinstance(key, str) for key in ranges):
        what = f"are {type(ranges).__name__}" if ranges is not None else "are missing"
        raise InputError(Problem("ranges", what, 'a function needs them: tune(f, {"x": (0, 1)})'))
    tuned, held, initial = read_ranges(ranges)
    check_arguments(function, [*held, *tuned])
    settings = FunctionSettings(
        function=name_of(function), code=code_of(function), ranges=tuned, held=held, metrics=_metrics(metric, goal)
    )
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", name_of(function).rpartition(".")[2].rpartition(":")[2]).strip("-._")
    document: dict[str, Any] = {
        "name": name or label or "function",
        "objective": {"name": NAME, **settings.model_dump(mode="json", exclude_defaults=True)},
        "parameters": {key: {"initial": initial[key]} if key in initial else {} for key in tuned},
        "execution": {"executor": "inline", "max_failures": _MOST_FAILURES},
    }
    if name is None:
        document |= {"tracking": {"enabled": False}, "report": False}
    return document, settings


def _metrics(
    metric: str | Metric | Sequence[str | Metric] | None, goal: Literal["maximize", "minimize"] | None
) -> list[MetricSettings]:
    """What a function returns; the first is tuned, and ``goal`` is its goal unless it states one."""
    stated = ["value"] if metric is None else [metric] if isinstance(metric, str | Metric) else list(metric)
    if not stated or not all(isinstance(one, str | Metric) for one in stated):
        raise InputError(Problem("metric", f"{metric!r} names no metric", "give a name, or several"))
    if isinstance(stated[0], Metric) and goal not in (None, stated[0].goal):
        raise InputError(Problem("goal", f"'{goal}' differs from that of the metric", "state it once"))
    if goal not in (None, "maximize", "minimize"):
        raise InputError(Problem("goal", f"'{goal}' is no goal", "maximize or minimize"))
    return [
        MetricSettings(name=one.name, goal=one.goal, unit=one.unit)
        if isinstance(one, Metric)
        else MetricSettings(name=one, goal=goal or "maximize" if i == 0 else "maximize")
        for i, one in enumerate(stated)
    ]


def _execution(function: Callable[..., Any], workers: int | None, overrides: Sequence[str]) -> list[str]:
    """Where trials run: here, one after the other; in worker processes where several shall run at once."""
    stated = [text for text in overrides if text.startswith("execution.executor=")]
    elsewhere = stated[-1].partition("=")[2].strip() != "inline" if stated else (workers or 1) > 1
    if elsewhere and not is_importable(function):
        what = f"{name_of(function)} cannot be imported by worker processes"
        raise InputError(Problem("workers", what, "define it in a module of its own, or leave out workers"))
    return ["execution.executor=process"] if elsewhere and not stated else []
