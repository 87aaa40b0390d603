"""The report as one HTML page that holds everything it shows, and its figures as files."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.files import write_whole
from autotune.home import Home
from autotune.report.best_values import NOTHING_TUNED, answer_table, cost, headline, remarks, verdicts
from autotune.report.data import StudyData, read_study
from autotune.report.parts import Section
from autotune.report.reconstructions import Gallery
from autotune.report.sections import all_sections
from autotune.report.style import data_uri
from autotune.store.trials import TrialStore

if TYPE_CHECKING:
    from autotune.report.slices import Cuts

FIGURES = "figures"


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        page: the HTML file.
        figures: the folder that holds its figures as files.
    """

    page: Path
    figures: Path


def write_report(store: TrialStore, home: Home, *, live: bool, output: Path | None = None) -> Written:
    """Write the report of a study, finished or not.

    Args:
        store: the study, run from a study file.
        home: where it lives; the figures go to its folder.
        live: whether a process is running it now.
        output: the file to write; None for ``report.html`` in the study's folder.
    """
    study = read_study(store, home, live=live)
    gallery = Gallery(study)
    sections = all_sections(study, _cuts(study, store, home), gallery)
    folder = home.study(study.name)
    figures = _write_figures(folder / FIGURES, sections)
    page = folder / "report.html" if output is None else output
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, render(study, sections))
    return Written(page, figures)


def render(study: StudyData, sections: Sequence[Section]) -> str:
    """The HTML page of a study."""
    from jinja2 import Environment, StrictUndefined

    source = resources.files("autotune.report").joinpath("page.html").read_text(encoding="utf-8")
    # Texts of study files, objectives and errors are escaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(
        study=study,
        result=study.result,
        headline=headline(study),
        verdicts=verdicts(study),
        remarks=remarks(study),
        answer=answer_table(study),
        cost=cost(study),
        sections=sections,
        reproduce=_commands(study),
        data_uri=data_uri,
        written=f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
    )


def _cuts(study: StudyData, store: TrialStore, home: Home) -> Cuts | str:
    """Cuts through the surrogate; why there are none, in a sentence."""
    if not study.space.dimensions:
        return NOTHING_TUNED
    from autotune.report.slices import cut

    sources = [TrialStore.open(home.store_url, name) for name in study.warm_start]
    still_here = [source for source in sources if source is not None]
    if len(still_here) < len(sources):
        return "A study that this one learned from is not here any more, so its surrogate cannot be fitted again."
    try:
        cuts = cut(study, store, still_here)
    except (ArithmeticError, RuntimeError, ValueError) as error:  # of the fit: no reason for no report
        return f"There are none: the surrogate could not be fitted ({type(error).__name__}: {error})."
    return cuts or "There are none: a surrogate needs at least four finished trials."


def _commands(study: StudyData) -> list[tuple[str, str]]:
    """Command lines, each with what it does."""
    name = shlex.quote(study.name)
    return [
        (f"autotune reproduce {name}", "evaluates the best trial again, and says whether it agrees"),
        (f"autotune run {shlex.quote(study.name + '.yaml')} --fresh", "all of it anew, from the study file below"),
        (f"autotune result {name}", "the answer in the terminal"),
    ]


def _write_figures(folder: Path, sections: Sequence[Section]) -> Path:
    """Write every picture to a file of its own; replaces the figures of an earlier report."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for section in sections:
        for picture in section.all_pictures():
            (temporary / picture.file_name).write_bytes(picture.content)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return folder
