"""The records as their instruments wrote them; skipped where they are not on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from objectives.diffraction.data.formats.autotune_hdf5 import write_measurement
from objectives.diffraction.data.measurement import FarField, Measurement, NearField
from objectives.diffraction.data.open.reading import open_measurement
from objectives.diffraction.data.open.records import RECORDS
from objectives.diffraction.data.settings import DataSettings, GeometrySettings
from tests.objectives.diffraction.data.files import read

DATA = Path(os.environ.get("AUTOTUNE_DATA") or Path(__file__).resolve().parents[4].parent / "shared" / "data")


@pytest.fixture
def open_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("AUTOTUNE_DATA", str(DATA))

    def opened(name: str, **data: object) -> Measurement:
        filename = RECORDS[name].filename
        if not any(path.exists() for path in (DATA / filename, *DATA.glob(f"*/{filename}"))):
            pytest.skip(f"{filename} is not in the folder that AUTOTUNE_DATA names")
        return open_measurement(DataSettings(record=name, **data), GeometrySettings(), folder=tmp_path)

    return opened


def test_petra_near_field(open_record) -> None:  # type: ignore[no-untyped-def]
    m = open_record("petra_p25")
    assert m.patterns.shape == (200, 100, 100) and m.counted
    assert isinstance(m.geometry, NearField)
    assert m.geometry.wavelength_angstrom == pytest.approx(0.97949, abs=1e-5)
    assert m.geometry.detector_distance_mm == pytest.approx(1120)
    assert m.geometry.detector_pixel_um == pytest.approx((55, 55))
    assert m.geometry.focus_to_sample_mm is None
    assert np.count_nonzero(~m.valid) == 5
    # The first two translations (x, y) differ by (+1.392438, +0.247317) um: +(y, x) on the object.
    np.testing.assert_allclose(m.positions[1] - m.positions[0], [2473.17, 13924.38], atol=0.5)


def test_siemens_star_is_centred_and_in_object_pixels(open_record) -> None:  # type: ignore[no-untyped-def]
    m = open_record("siemens_star")
    assert m.patterns.shape == (516, 128, 128) and m.counted
    assert m.position_unit == "object pixel" and m.geometry == FarField()
    assert m.probe is not None and m.probe.shape == (128, 128)
    mean = m.patterns.mean(axis=0)
    assert mean[32:96, 32:96].sum() > 0.95 * mean.sum()
    assert 330 < np.ptp(m.positions[:, 0]) < 340


def test_mos2_raster(open_record, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    m = open_record("mos2_60kv")
    assert m.patterns.shape == (900, 64, 64) and m.scan_shape == (30, 30) and m.counted
    assert m.geometry == FarField(pytest.approx(0.04866, abs=1e-5), pytest.approx((1.0201385, 1.0201385)), 28.0)
    np.testing.assert_allclose(m.positions[31] - m.positions[0], [1.0, 1.0])
    assert m.patterns.sum(axis=(1, 2)).mean() == pytest.approx(1e4, rel=0.01)  # the stated dose
    write_measurement(tmp_path / "m.h5", m)
    assert read(tmp_path / "m.h5").content_hash == m.content_hash
