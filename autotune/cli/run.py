"""``autotune run`` and ``autotune result``: run a study, and show its result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from autotune.cli.collection import without_collection
from autotune.cli.find_study import StoredStudyArgument, find_stored
from autotune.cli.options import SetOption, StudyArgument
from autotune.cli.signals import allow_for_ending, ended_at_once, terminated_as_interrupted

if TYPE_CHECKING:
    from autotune.home import Home
    from autotune.results.document import StudyResult
    from autotune.store.trials import TrialStore
    from autotune.study import StudyFile

_CLUSTER_SECONDS = 10.0
"""Longest time that an interrupted run may take to end whose jobs a batch system must cancel."""


@terminated_as_interrupted()
def run(
    study: StudyArgument,
    trials: Annotated[int | None, typer.Option(min=1, help="Number of trials, instead of the file's.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed; another than the file's makes a study of its own, NAME-seedSEED."),
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="PATH", help="Write result.json here too.")
    ] = None,
    overrides: SetOption = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew; a study of that name is kept under another.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    progress: Annotated[
        Literal["line", "json"], typer.Option(help="What to print: for people, or one JSON object per event.")
    ] = "line",
) -> None:
    """Run a study, or continue it where it was left."""
    with ended_at_once():
        from autotune.cli.progress import watching
        from autotune.cli.result_tables import print_outcome
        from autotune.errors import StudyFailed
        from autotune.events import print_finished
        from autotune.home import Home

        file = load(study, overrides or [], trials, seed)
        check_json_path(json_path)
        _check_progress(progress, quiet)
        import optuna

        from autotune.files import write_json
        from autotune.runs.run import run_study
        from autotune.study.executors import ON_CLUSTER

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        home = Home.from_environment()
        if file.spec.execution.executor in ON_CLUSTER:
            allow_for_ending(_CLUSTER_SECONDS)
    try:
        with watching(progress, quiet) as watcher:
            outcome = run_study(file, home=home, watcher=watcher, fresh=fresh)
    except (KeyboardInterrupt, StudyFailed) as end:
        _report_bad_end(end, file.spec.name, home, json_path, progress)
        if isinstance(end, KeyboardInterrupt):
            again = _command(study, trials, seed, json_path, overrides or [], quiet, progress)
            typer.echo(f"Interrupted; every finished trial is kept. Continue with: {again}", err=True)
        raise
    if json_path is not None:
        write_json(json_path, outcome.result.as_dict())
    if outcome.warning:
        typer.echo(f"Warning: {outcome.warning}", err=True)
    if progress == "json":
        print_finished(outcome.result, 0)
    elif not quiet:
        print_outcome(outcome)


def _report_bad_end(end: BaseException, name: str, home: Home, path: Path | None, progress: str) -> None:
    """Write the result of a study whose run was interrupted or failed.

    Writes nothing where the study was not begun, or its store does not answer.
    """
    if path is None and progress != "json":
        return
    from contextlib import suppress

    from autotune.errors import INTERRUPTED, StudyFailed
    from autotune.events import print_finished
    from autotune.files import write_json
    from autotune.results.build import build_result
    from autotune.store.leases import alive
    from autotune.store.trials import TrialStore

    with suppress(Exception):
        store = TrialStore.open(home.store_url, name)
        if store is None:
            return
        result = build_result(store, home, live=bool(alive(store)))
        if path is not None:
            write_json(path, result.as_dict())
        if progress == "json":
            print_finished(result, end.exit_code if isinstance(end, StudyFailed) else INTERRUPTED)


def _command(
    study: Path,
    trials: int | None,
    seed: int | None,
    json_path: Path | None,
    overrides: list[str],
    quiet: bool,
    progress: str,
) -> str:
    """The command line that continues this run, with its options: without them it would be another study."""
    import shlex

    from autotune.cli.console import command_name

    words = [command_name(), "run", str(study)]
    for option, value in (("--trials", trials), ("--seed", seed), ("--json", json_path)):
        words += [] if value is None else [option, str(value)]
    words += ["--progress", progress] if progress != "line" else []
    for override in overrides:
        words += ["--set", override]
    return shlex.join([*words, "--quiet"] if quiet else words)


@without_collection()
def result(
    study: StoredStudyArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print result.json.")] = False,
    best: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a study file fixed at the answer, instead of a table.")
    ] = None,
) -> None:
    """Show the result of a study, finished or not."""
    import json

    from autotune.cli.result_tables import print_result
    from autotune.home import Home
    from autotune.results.build import build_result
    from autotune.store.leases import alive

    home = Home.from_environment()
    store = find_stored(study, home)
    document = build_result(store, home, live=bool(alive(store)))
    if best is not None:
        _write_best(best, store, home, document)
    if as_json:
        typer.echo(json.dumps(document.as_dict(), indent=2, ensure_ascii=False))
    elif best is None:
        print_result(document, {})


def _write_best(path: Path, store: TrialStore, home: Home, document: StudyResult) -> None:
    from autotune.errors import InputError, Problem
    from autotune.results.best_files import write_best
    from autotune.study.kept_file import kept_file

    if document.best_trial is None:
        raise InputError(Problem(f"study {document.study}", "has no best trial yet", "run it until it has one"))
    file = kept_file(store, home)
    try:
        write_best(path, file, document)
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        raise InputError(Problem(f"--best {path}", what, "name a file in a folder that exists")) from error


def load(study: Path, overrides: list[str], trials: int | None, seed: int | None) -> StudyFile:
    """The study file, its values replaced by the command's options."""
    from autotune.study import load_study

    file = load_study(study, overrides)
    more = [] if trials is None else [f"budget.trials={trials}"]
    if seed is not None and seed != file.spec.search.seed:
        more += [f"search.seed={seed}", f"name={file.spec.name}-seed{seed}"]
    return load_study(study, [*overrides, *more]) if more else file


def _check_progress(progress: str, quiet: bool) -> None:
    from autotune.errors import InputError, Problem

    if progress == "json" and quiet:
        raise InputError(Problem("--progress json", "contradicts --quiet", "give one of them"))


def check_json_path(path: Path | None) -> None:
    """Raise :class:`InputError` where a document cannot be written to ``path``: before the search, not after it."""
    from autotune.errors import InputError, Problem

    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        what = "is a folder" if path.is_dir() else "its folder does not exist"
        raise InputError(Problem(f"--json {path}", what, "name a file in a folder that exists"))
