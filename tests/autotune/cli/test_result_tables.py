"""The printed answer of a study."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from autotune.cli import result_tables
from autotune.home import Home
from autotune.results.build import build_result
from autotune.results.document import HalfWidths
from tests.autotune.results.example import example

pytestmark = pytest.mark.usefixtures("in_memory")


def test_no_number_is_cut_short_where_the_table_is_wide(tmp_path: Path) -> None:
    """A best value of -0.0015903 was once printed as -0.00159 with three dots."""
    home = Home(tmp_path / "home")
    result = build_result(example(home), home, live=False)
    parts = HalfWidths(noise_and_search=0.00042, model=0.0041)
    wide = result.parameters["defocus"].model_copy(
        update={
            "best": -0.0015903,
            "interval": (-0.00571, 0.00261),
            "half_widths": parts,
            "unit": "1",
            "verdict": "model_limited",
        }
    )
    table = result_tables._parameter_table(
        result.model_copy(
            update={"parameters": {"defocus": result.parameters["defocus"], "elliptical_distortion": wide}}
        ),
        {"defocus": 2.1, "elliptical_distortion": 0.00090433},
        {"noise, search and model"},
    )
    stream = io.StringIO()
    Console(file=stream, width=120).print(table)
    row = stream.getvalue().splitlines()[-1]
    assert row.split()[1] == "-0.0015903" and "-0.0024946" in row
    assert "…" not in row
