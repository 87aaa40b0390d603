"""A template becomes the study of a measurement, whatever that is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotune.errors import InputError
from autotune.study.file import parse_study
from autotune.watching.template import Template, require_service_allows
from tests.autotune.watching.measured import FOR_SERVICE, TEMPLATE, Settings, write_template


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_measurement_and_the_name_are_replaced(tmp_path: Path, name: str) -> None:
    path = Path("/data") / f"{name}.h5"
    study = Template(write_template(tmp_path)).study(path, "1e-5")
    assert isinstance(study.settings, Settings)
    assert (study.settings.data.file, study.spec.name) == (path, "1e-5")
    again = parse_study(study.text, Path("study.yaml"))  # as a service gets it
    assert again.settings == study.settings and again.spec == study.spec


def test_a_template_that_makes_its_measurement_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(
        "name: a\nobjective:\n  name: ptychography\n  simulate: {}\nparameters: {defocus: {low: 0, high: 9}}\n"
    )
    with pytest.raises(InputError, match=r"template.yaml:4: objective.simulate: makes a measurement.*; leave it out"):
        Template(path).require(tmp_path)


def test_a_template_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Template(tmp_path / "none.yaml").require(tmp_path)
    toy = {"objective": {"name": "tests.autotune.toy:toy"}}
    with pytest.raises(InputError, match=r"objective.data"):
        Template(write_template(tmp_path, {**TEMPLATE, **toy})).require(tmp_path)


def test_what_a_service_decides_is_not_for_a_template(tmp_path: Path) -> None:
    study = Template(write_template(tmp_path)).study(Path("/data/a.h5"), "a")
    with pytest.raises(InputError, match=r"template.yaml:1: execution: is decided by the operator"):
        require_service_allows(study)
    require_service_allows(Template(write_template(tmp_path, FOR_SERVICE)).study(Path("/data/a.h5"), "a"))


def test_another_text_has_another_digest(tmp_path: Path) -> None:
    template = Template(write_template(tmp_path))
    before = template.digest()
    write_template(tmp_path, seconds=1.0)
    assert template.digest() != before and Template(tmp_path / "none").digest() == ""
