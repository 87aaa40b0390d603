"""Pictures of a reconstruction: what is shown, on which limits."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from autotune.objective import Evaluation, ShowsFits, ShowsReconstructions, Status
from objectives.ptychography.output import pictures
from objectives.ptychography.plugin import ptychography

RANDOM = np.random.default_rng(0)
ATTRIBUTES: dict[str, float | int | str] = {
    "length_unit": "angstrom", "object_pixel_y": 0.5, "object_pixel_x": 0.25, "scan_first_row": 2, "scan_last_row": 9,
    "scan_first_column": 3, "scan_last_column": 14,
}  # fmt: skip


def evaluation(modes: int = 1) -> Evaluation:
    phase = RANDOM.normal(0, 0.1, (2, 12, 20)) + 1.3
    measured = RANDOM.poisson(9.0, (8, 8)).astype(float)
    arrays = {
        "object": np.exp(1j * phase),
        "probe": RANDOM.normal(size=(modes, 8, 8)) + 0j,
        "pattern_measured": measured,
        "pattern_modelled": np.full((8, 8), 9.0),
    }
    curve = {"consistency": [0.5, 0.7]}
    return Evaluation(Status.COMPLETE, {"consistency": 0.7}, curve=curve, arrays=arrays, attributes=ATTRIBUTES)


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure of a reconstruction."""
    drawn: list[Figure] = []

    def keep(self: Figure, *_: object, **__: object) -> None:
        drawn.append(self)

    monkeypatch.setattr(Figure, "savefig", keep)
    pictures.draw_reconstruction(evaluation(modes=2))
    return drawn[0]


def test_views_are_of_the_scanned_part_with_the_phase_centred() -> None:
    one = evaluation()
    phase, amplitude = pictures.views_of(one.arrays, ATTRIBUTES)
    assert phase.image.shape == amplitude.image.shape == (8, 12)
    assert abs(np.exp(1j * phase.image).mean().imag) < 1e-9
    thick = np.angle(one.arrays["object"].prod(axis=0)[2:10, 3:15])
    assert np.exp(1j * (phase.image - thick)) == pytest.approx(np.exp(1j * (phase.image - thick))[0, 0])
    assert amplitude.image == pytest.approx(1.0)
    assert (phase.unit, phase.pixel_y, phase.pixel_x, phase.length_unit) == ("rad", 0.5, 0.25, "angstrom")


def test_the_objective_type_shows_them() -> None:
    assert isinstance(ptychography, ShowsReconstructions)
    shown = ptychography.views(evaluation().arrays, ATTRIBUTES)
    assert [view.name for view in shown] == ["object phase", "object amplitude"]
    assert ptychography.views({}, {}) == ()


def test_the_objective_type_shows_fits() -> None:
    assert isinstance(ptychography, ShowsFits)
    one = evaluation(modes=2)
    measured, modelled, residual, amplitude, phase = ptychography.fits(one.arrays, ATTRIBUTES)
    assert measured.limits == modelled.limits and measured.limits is not None and measured.limits[0] == 0.0
    assert residual.limits is not None and residual.limits[0] == -residual.limits[1]
    assert residual.image == pytest.approx(measured.image - modelled.image)
    assert measured.image == pytest.approx(np.sqrt(one.arrays["pattern_measured"]))
    assert (measured.pixel_y, measured.pixel_x, measured.length_unit) == (1.0, 1.0, "pixel")
    known = {**ATTRIBUTES, "detector_unit": "mrad", "detector_pixel_y": 1.5, "detector_pixel_x": 2.5}
    for view in ptychography.fits(one.arrays, known)[:3]:
        assert (view.pixel_y, view.pixel_x, view.length_unit) == (1.5, 2.5, "mrad")
    both = np.sqrt(np.square(np.abs(one.arrays["probe"])).sum(axis=0))
    assert amplitude.image == pytest.approx(both) and amplitude.limits == (0.0, both.max())
    assert phase.limits == pytest.approx((-np.pi, np.pi))
    assert (phase.pixel_y, phase.pixel_x, phase.length_unit) == (0.5, 0.25, "angstrom")
    assert ptychography.fits({"object": one.arrays["object"]}, ATTRIBUTES) == ()


def test_patterns_share_their_limits_and_the_residual_is_symmetric(figure: Figure) -> None:
    panels = {axes.get_title(): axes for axes in figure.axes}
    measured, modelled, residual = (
        panels[f"{name} (sqrt counts)"].images[0]
        for name in ("one pattern, measured", "the same, modelled", "measured - modelled")
    )
    assert measured.get_clim() == modelled.get_clim() and measured.get_cmap().name == "viridis"
    low, high = residual.get_clim()
    assert low == -high and residual.get_cmap().name == "RdBu_r"
    assert np.allclose(residual.get_array(), measured.get_array() - modelled.get_array())


def test_cyclic_colours_are_for_phases_of_the_whole_circle_only(figure: Figure) -> None:
    panels = {axes.get_title(): axes for axes in figure.axes if axes.images and axes.get_title()}
    cyclic = [title for title, axes in panels.items() if axes.images[0].get_cmap().name.startswith("twilight")]
    assert cyclic == ["phase of the first of 2 modes (rad)"]
    assert panels[cyclic[0]].images[0].get_clim() == pytest.approx((-np.pi, np.pi))
    dark = np.asarray(np.ma.getmaskarray(np.ma.masked_invalid(panels[cyclic[0]].images[0].get_array())))
    assert 0 < dark.sum() < dark.size
    bars = {title: [text.get_text() for text in axes.texts] for title, axes in panels.items()}
    assert bars["object phase (rad)"] == bars["object amplitude"] == ["0.5 angstrom"]
    assert bars["probe amplitude (sqrt counts)"] == bars[cyclic[0]] == ["0.5 angstrom"]
    patterns = [texts for title, texts in bars.items() if "modelled" in title or "measured" in title]
    assert patterns == [["2 pixel"]] * 3


def test_matplotlib_is_imported_where_something_is_drawn() -> None:
    program = "import sys, objectives.ptychography.output.pictures; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
