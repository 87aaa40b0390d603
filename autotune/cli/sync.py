"""``autotune sync``: bring MLflow up to date with a study."""

from __future__ import annotations

import typer

from autotune.cli.stored import StoredStudyArgument, find_stored


def sync(study: StoredStudyArgument) -> None:
    """Record in MLflow whatever it lacks of a study, and nothing twice."""
    from dataclasses import replace

    from autotune.errors import AutotuneError, InputError, Problem
    from autotune.home import Home
    from autotune.leases import alive
    from autotune.recording import artifacts_of, record_address
    from autotune.tracking import PARENT_STATUS, StudyFacts, study_summary, without_password
    from autotune.tracking import sync as bring_up_to_date

    home = Home.from_environment()
    store = find_stored(study, home)
    name = store.study.study_name
    if "record" not in store.facts:
        raise InputError(Problem(f"study {name}", "was run with tracking off", "run it with tracking.enabled: true"))
    if alive(store):
        raise InputError(Problem(f"study {name}", "is being run, and recorded, by another process", "wait for it"))
    uri = record_address(store)
    facts = StudyFacts.from_dict(store.facts["record"])
    # Nothing runs: what is marked so was being evaluated when its process was killed.
    trials = [replace(trial, state="interrupted") if trial.state == "running" else trial for trial in store.trials()]
    report = bring_up_to_date(
        facts,
        trials,
        tracking_uri=uri,
        artifact_root=home.mlflow_artifacts,
        trial_folder=lambda number: home.trial(name, number),
        status=PARENT_STATUS.get(store.facts["status"], "KILLED"),  # "running" without a process: it was killed
        summary_metrics=study_summary(facts.metric, trials, facts.limits),
        artifacts=artifacts_of(home.study(name)),
    )
    if report.error:
        raise AutotuneError(Problem(f"study {name}", report.error))
    place = {"tracking_uri": without_password(uri), "run_id": report.parent_run_id}
    store.note("mlflow", store.facts["mlflow"] | place)
    typer.echo(f"MLflow holds study {name}: {report.recorded} trials recorded now, {report.already_there} before")
