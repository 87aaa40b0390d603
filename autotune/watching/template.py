"""The study file that each measurement's study is made from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from autotune.errors import InputError, Problem
from autotune.study import StudyFile, load_study


@dataclass(frozen=True)
class Template:
    """A study file whose measurement and name are replaced; it is read anew for each measurement.

    Attributes:
        path: the file.
    """

    path: Path

    def overrides(self, measurement: Path, study: str) -> list[str]:
        """What makes the template a measurement's study, each as for ``--set``."""
        return [f"objective.data.file={_quoted(str(measurement))}", f"name={_quoted(study)}"]

    def study(self, measurement: Path, study: str) -> StudyFile:
        """A measurement's study.

        Raises:
            InputError: the template cannot be read, or is no study of a measurement.
        """
        file = load_study(self.path, self.overrides(measurement, study))
        if getattr(file.settings, "simulate", None) is not None:
            what = "makes a measurement, where each is to come from the folder"
            raise InputError(file.problem("objective.simulate", what, "leave it out"))
        return file

    def require(self, folder: Path) -> None:
        """Raise :class:`InputError` where no measurement of a folder can be a study of this template."""
        self.study(folder / "measurement.h5", "measurement")

    def digest(self) -> str:
        """A hash of the file; empty where it cannot be read."""
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError:
            return ""


def require_service_allows(file: StudyFile) -> None:
    """Raise :class:`InputError` where a template states what a service decides."""
    problems: list[Problem] = [
        file.problem(block, "is decided by the operator of the service", "leave it out")
        for block in ("execution", "tracking")
        if block in file.spec.model_fields_set
    ]
    if problems:
        raise InputError(problems)


def _quoted(text: str) -> str:
    """A text as YAML. Of what JSON leaves as it is, YAML knows all but some control characters."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() or letter == " " else _escaped(letter) for letter in quoted)


def _escaped(letter: str) -> str:
    return f"\\U{ord(letter):08X}"
