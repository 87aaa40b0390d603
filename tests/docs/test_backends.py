"""The page on backends lists what there is."""

from __future__ import annotations

import pytest

from objectives.ptychography.backends.backend import Backend
from objectives.ptychography.backends.programs import host
from objectives.ptychography.backends.shipped import SHIPPED
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("backend", SHIPPED, ids=lambda backend: backend.name)
def test_every_backend_has_its_row(backend: Backend) -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| `{backend.name}` |")]
    assert all(f"`{parameter.name}`" in row for parameter in backend.parameters)
    assert backend.requirements[0].split("==")[1] in row
    assert ("| yes" in row) == backend.thick
    study = (ROOT / "studies" / f"mos2_{backend.name}.yaml").read_text(encoding="utf-8")
    assert f"backend: {{name: {backend.name}}}" in study


def test_every_attribute_of_a_job_is_described() -> None:
    described = (host.Job.__doc__ or "").split("Attributes:")[1]
    for name in ("patterns", "valid", "probe", "positions", "object_shape", "pixel", "wavelength", "slices",
                 "slice_thickness", "iterations", "refine_probe", "probe_start", "seed", "device", "threads", "values",
                 "options", "checked"):  # fmt: skip
        assert name in described
        assert f"`{name}`" in PAGE or f"job.{name}" in PAGE
    assert "`keep(write)`" in PAGE and "`remarks`" in PAGE
