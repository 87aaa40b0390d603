"""``autotune schema``: which document it describes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autotune.results.document import result_schema
from autotune.study import study_schema
from tests.end_to_end.studies import autotune


@pytest.mark.parametrize(("options", "schema"), [((), study_schema), (("--result",), result_schema)])
def test_it_prints_the_schema(options: tuple[str, ...], schema: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("schema", *options) == 0
    assert json.loads(capsys.readouterr().out) == schema()


def test_the_schema_of_a_result_describes_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert autotune("schema", "--result") == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"status", "metric", "parameters", "confirmation"} <= printed["properties"].keys()
    assert "counting statistics" in printed["$defs"]["MetricResult"]["properties"]["noise_ceiling"]["description"]
