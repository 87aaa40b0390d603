"""``autotune sync``: bring MLflow up to date with a study."""

from __future__ import annotations

import typer

from autotune.cli.find_study import StoredStudyArgument, find_stored


def sync(study: StoredStudyArgument) -> None:
    """Record in MLflow whatever it lacks of a study, and nothing twice."""
    from dataclasses import replace

    from autotune.errors import AutotuneError, InputError, Problem
    from autotune.home import Home
    from autotune.store.leases import alive
    from autotune.text import without_password
    from autotune.tracking import PARENT_STATUS, Closing, StudyFacts, study_summary
    from autotune.tracking import sync as bring_up_to_date
    from autotune.tracking.place import artifacts_of, destination_of, record_address

    home = Home.from_environment()
    store = find_stored(study, home)
    name = store.study.study_name
    stored = store.facts
    if stored.record is None or stored.mlflow is None:
        raise InputError(Problem(f"study {name}", "was run with tracking off", "run it with tracking.enabled: true"))
    if alive(store):
        raise InputError(Problem(f"study {name}", "is being run, and recorded, by another process", "wait for it"))
    uri = record_address(store)
    facts = StudyFacts.from_dict(stored.record)
    # Nothing runs: a trial that is marked so was being evaluated when its process was killed.
    trials = [replace(trial, state="interrupted") if trial.state == "running" else trial for trial in store.trials()]
    closing = Closing(
        PARENT_STATUS.get(stored.status, "KILLED"),  # "running" without a process: it was killed
        study_summary(facts.metric, trials, facts.limits),
        artifacts_of(home.study(name)),
    )
    report = bring_up_to_date(facts, trials, destination_of(uri, home, name), closing)
    if report.error:
        raise AutotuneError(Problem(f"study {name}", report.error))
    place, here = stored.mlflow, without_password(uri)
    copied = place.run_id is not None and place.tracking_uri != here
    if not copied:
        store.keep(mlflow=replace(place, tracking_uri=here, run_id=report.parent_run_id))
    typer.echo(f"MLflow holds study {name}: {report.recorded} trials recorded now, {report.already_there} before")
    if copied:
        typer.echo(f"That is a copy, in {here}; the study's own record stays in {place.tracking_uri}")
    if report.lacking:
        typer.echo(f"{report.lacking} trials are there without their files: run this where those were evaluated")
