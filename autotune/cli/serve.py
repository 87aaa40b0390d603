"""``autotune serve``: the REST service and its pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from autotune.service.settings import ServiceSettings

JOB = "autotune.cli.service_job"
"""The module that runs one study of the queue."""


def serve(
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Folder that studies may read below; may be given again."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Interface to listen on; others than 127.0.0.1 demand tokens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    max_parallel: Annotated[int, typer.Option(min=1, max=1000, help="Studies that run at once.")] = 1,
    parallel_each: Annotated[int, typer.Option(min=1, max=1000, help="The same for each user.")] = 1000,
    queued_each: Annotated[int, typer.Option(min=1, max=100_000, help="Studies of a user that may wait.")] = 1000,
    objective: Annotated[
        list[str] | None, typer.Option(help="Objective that studies may state; may be given again.")
    ] = None,
    backend: Annotated[list[str] | None, typer.Option(help="Package that may reconstruct; may be given again.")] = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Time that a study's process may take, in seconds.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory that a study's processes may have together, such as 16 GB.")
    ] = None,
    most_trials: Annotated[int, typer.Option(min=1, help="Largest budget of trials.")] = 10_000,
    launcher: Annotated[
        Literal["local", "slurm"], typer.Option(help="Run studies as processes of this machine, or as jobs of SLURM.")
    ] = "local",
    slurm_option: Annotated[
        list[str] | None, typer.Option(help="Further option of sbatch, such as --partition=gpu; may be given again.")
    ] = None,
    require_tokens: Annotated[
        bool, typer.Option("--require-tokens", help="Demand tokens on this machine, too.")
    ] = False,
    name: Annotated[
        list[str] | None, typer.Option(help="Host name that requests may be for; may be given again.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Run every study with this: execution and tracking."),
    ] = None,
) -> None:
    """Serve a queue of studies over HTTP, with pages for people, until Ctrl-C. Studies that run then go on."""
    from autotune.errors import InputError, Problem
    from autotune.home import Home
    from autotune.service.settings import Limits, ServiceSettings, is_loopback

    _require_packages()
    limits = Limits(
        parallel=max_parallel,
        parallel_each=parallel_each,
        queued_each=queued_each,
        seconds=seconds,
        memory=None if memory is None else _bytes(memory),
        trials=most_trials,
    )
    roots = tuple(_folder(folder) for folder in data or ())
    for objective_name in objective or ():
        if ":" in objective_name:
            what = f"'{objective_name}' is a path to code, not a registered name"
            raise InputError(Problem("--objective", what, "register it under autotune.objectives"))
    settings = ServiceSettings(
        home=Home.from_environment(),
        host=host,
        port=port,
        roots=roots,
        objectives=tuple(objective or ("ptychography",)),
        backends=tuple(backend or ()),
        tokens=require_tokens or not is_loopback(host),
        limits=limits,
        overrides=tuple(overrides or ()),
        names=tuple(name or ()),
        slurm=launcher == "slurm",
        slurm_options=tuple(slurm_option or ()),
    )
    if slurm_option and not settings.slurm:
        raise InputError(Problem("--slurm-option", "has no effect without SLURM", "add --launcher slurm"))
    _check_overrides(settings)
    _serve(settings)


def _require_packages() -> None:
    from autotune.errors import InputError, Problem

    try:
        import fastapi.sse  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        remedy = "pip install '.[service]' (in the checkout)"
        raise InputError(
            Problem("autotune serve", f"needs a package that is not installed: {error}", remedy)
        ) from error


def _bytes(text: str) -> int:
    from autotune.errors import InputError, Problem
    from autotune.study.blocks.execution import bytes_of

    try:
        return bytes_of(text)
    except ValueError as error:
        raise InputError(Problem("--memory", str(error))) from error


def _folder(path: Path) -> Path:
    from autotune.errors import InputError, Problem

    if not path.is_dir():
        what = "is not a folder" if path.exists() else "no such folder"
        raise InputError(Problem(f"--data {path}", what, "name the folder that holds the measurements"))
    return path.resolve()


def _check_overrides(settings: ServiceSettings) -> None:
    """See that what every study is run with is right, before the first one is submitted."""
    from autotune.errors import InputError, Problem
    from autotune.study.overrides import parse_overrides

    allowed = re.compile(r"(execution|tracking|report|intervals|search)\b")
    for override in parse_overrides(settings.overrides):
        if not allowed.match(str(override.place[0])):
            what = f"'{override.place[0]}' is for each study to state"
            raise InputError(
                Problem(override.label, what, "set keys of execution, tracking, report, intervals, search")
            )


def _serve(settings: ServiceSettings) -> None:
    import uvicorn
    from filelock import FileLock, Timeout

    from autotune.cli.ui import require_free_port
    from autotune.errors import InputError, Problem
    from autotune.service.app import make_app
    from autotune.service.launcher import LocalLauncher, local_command
    from autotune.service.slurm import SlurmLauncher, require_slurm
    from autotune.store.database import database_of

    settings.folder.mkdir(parents=True, exist_ok=True)
    require_free_port(settings.host, settings.port)
    database_of(settings.home.store_url).require_reachable()
    if settings.slurm:
        require_slurm()
    lock = FileLock(settings.folder / "serve.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        what = "is served by another process"
        raise InputError(Problem(str(settings.home.folder), what, "end that one, or set AUTOTUNE_HOME")) from error
    with lock:
        make_launcher = SlurmLauncher if settings.slurm else LocalLauncher
        app = make_app(settings, make_launcher(settings, local_command(JOB)))
        _announce(settings)
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=3,
            timeout_keep_alive=30,
        )
        uvicorn.Server(config).run()


def _announce(settings: ServiceSettings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    typer.echo(f"Studies are served at http://{host}:{settings.port}/ from {settings.home.folder} (Ctrl-C ends it)")
    if settings.tokens:
        typer.echo("Every request needs a token: autotune token new --owner NAME --role submit")
    else:
        typer.echo("Whoever can log in to this machine may use it: --require-tokens demands tokens")
    readable = ", ".join(map(str, settings.roots)) or "nothing: name folders with --data"
    typer.echo(f"Studies may read below: {readable}")
