"""``autotune watch``: a study for each new measurement in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotune.cli.signals import terminated_as_interrupted

if TYPE_CHECKING:
    from autotune.home import Home
    from autotune.watching.notices import Notices
    from autotune.watching.records import Records
    from autotune.watching.runs import Runs
    from autotune.watching.template import Template

_FAILED = 3


@terminated_as_interrupted()
def watch(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder that measurements arrive in.")],
    template: Annotated[Path, typer.Option(metavar="STUDY", help="Study file; its measurement and name are replaced.")],
    pattern: Annotated[str, typer.Option(help="Which files are measurements; **/*.h5 for all folders below.")] = "*.h5",
    settle: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Time for which a file must not have changed.")
    ] = 5.0,
    poll: Annotated[
        float | None,
        typer.Option(
            min=0.1, metavar="SECONDS", help="Look every so often: for network disks, which announce nothing."
        ),
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Service that runs the studies, with the token in AUTOTUNE_TOKEN."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to do.")] = False,
) -> None:
    """Run a study for each new measurement in a folder, until Ctrl-C; the same command goes on."""
    from filelock import FileLock, Timeout

    from autotune.errors import InputError, Problem
    from autotune.home import Home
    from autotune.watching.folder import Folder, require_pattern
    from autotune.watching.records import Records, folder_of_records
    from autotune.watching.template import Template
    from autotune.watching.watch import Watch

    require_pattern(pattern)
    _require_seconds("--settle", settle)
    _require_seconds("--poll", poll)
    watched, home, made_from = _folder(folder), Home.from_environment(), Template(template)
    made_from.require(watched)
    kept = folder_of_records(home, watched)
    kept.mkdir(parents=True, exist_ok=True)
    lock = FileLock(kept / "watch.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        what = "is watched by another process"
        raise InputError(Problem(str(watched), what, "end that one first")) from error
    with lock:
        records = Records(kept, _say)
        runs = _runs(service, home, records, made_from, watched)
        _require_same_place(records, runs.where)
        notices = _notices(watched, pattern, poll)
        how = f"by {service}" if service else "here"
        _say(f"watches {watched} for {pattern}: a study of {template} for each, run {how}")
        watching = Watch(
            Folder(watched, pattern, settle, records.refused(), home.folder), records, runs, notices, made_from, _say
        )
        watching.run(once)
    if once and watching.failed:
        raise typer.Exit(_FAILED)


def _say(text: str) -> None:
    """Print a line with the time, at once."""
    import sys
    from datetime import datetime

    typer.echo(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {text}")
    sys.stdout.flush()


def _folder(folder: Path) -> Path:
    from autotune.errors import InputError, Problem

    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "no such folder"
        raise InputError(Problem(str(folder), what, "name the folder that measurements arrive in"))
    return folder.resolve()


def _require_seconds(option: str, seconds: float | None) -> None:
    import math

    from autotune.errors import InputError, Problem

    if seconds is not None and not math.isfinite(seconds):
        raise InputError(Problem(f"{option} {seconds}", "is no time", "give seconds, such as 5"))


def _notices(folder: Path, pattern: str, poll: float | None) -> Notices:
    from autotune.watching.notices import FALLBACK, Announced, Polling

    if poll is not None:
        return Polling(poll)
    try:
        return Announced(folder, "/" in pattern, _say)
    except ImportError:
        _say(f"watchfiles is not installed (pip install '.[watch]'); looks every {FALLBACK:g} s")
        return Polling(FALLBACK)


def _runs(service: str | None, home: Home, records: Records, template: Template, watched: Path) -> Runs:
    """Where studies are run: here, or by a service, which is asked whether it answers."""
    import os

    from autotune.errors import InputError, Problem
    from autotune.watching.local_runs import LocalRuns
    from autotune.watching.service_runs import ServiceRuns
    from autotune.watching.template import require_service_allows

    if service is None:
        return LocalRuns(home, records, template, _say)
    require_service_allows(template.study(watched / "measurement.h5", "measurement"))
    try:
        from autotune.client import Client
    except ImportError as error:
        what = "needs httpx, which is not installed"
        raise InputError(Problem("--service", what, "pip install '.[client]' (in the checkout)")) from error
    client = Client(service, os.environ.get("AUTOTUNE_TOKEN") or None, retry_seconds=0)
    client.list(limit=1)
    return ServiceRuns(service.rstrip("/"), client, records, template, _say)


def _require_same_place(records: Records, where: str) -> None:
    """See that no study goes on elsewhere: it would be run twice."""
    from autotune.errors import InputError, Problem

    for record in records.all():
        if record.state == "begun" and record.where != where:
            place = f"by {record.where}" if record.where else "here, without --service"
            remedy = f"give --service {record.where}" if record.where else "leave out --service until it has ended"
            raise InputError(Problem(record.path, f"its study was begun {place}", remedy))
