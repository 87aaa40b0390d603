from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.diffraction.detector import DetectorMap, rotation
from tests.objectives.ptychography import reference
from tests.objectives.ptychography.scenes import model_of, scene_of

NAMES = ("camera_length", "center_offset_y", "center_offset_x", "elliptical_distortion", "elliptical_angle")
WAVELENGTH, SAMPLING = 0.0418, 1.1


def detector(**values: float) -> DetectorMap:
    return DetectorMap.from_parameters(*[torch.tensor(values.get(name, 0.0), dtype=torch.float64) for name in NAMES])


def random_values(seed: int) -> dict[str, float]:
    random = np.random.default_rng(seed)
    low, high = np.array([-5, -3, -3, -0.03, 0]), np.array([5, 3, 3, 0.03, 180])
    return dict(zip(NAMES, (float(v) for v in random.uniform(low, high)), strict=True))


def test_rotation_follows_the_definition() -> None:
    # r_y = cos v y - sin v x, r_x = sin v y + cos v x
    y, x = (rotation(torch.tensor(90.0, dtype=torch.float64)) @ torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist()
    assert (y, x) == pytest.approx((0.0, 1.0))
    turned = rotation(torch.tensor(30.0, dtype=torch.float64)) @ torch.tensor([2.0, 1.0], dtype=torch.float64)
    assert turned.tolist() == pytest.approx([np.sqrt(3) - 0.5, 1 + np.sqrt(3) / 2])


@pytest.mark.parametrize(
    ("angle", "along_yx"), [(0, (0, 1)), (90, (1, 0)), (45, (0.5**0.5, 0.5**0.5)), (120, (0.75**0.5, -0.5))]
)
def test_ellipse_axis_runs_from_x_towards_y(angle: float, along_yx: tuple[float, float]) -> None:
    e, along = 0.04, torch.tensor(along_yx, dtype=torch.float64)
    across = torch.tensor((along_yx[1], -along_yx[0]), dtype=torch.float64)
    matrix = detector(elliptical_distortion=e, elliptical_angle=angle).matrix
    torch.testing.assert_close(matrix @ along, (1 + e / 2) * along)
    torch.testing.assert_close(matrix @ across, (1 - e / 2) * across)


def test_camera_length_magnifies() -> None:
    map_ = detector(camera_length=3.0)
    torch.testing.assert_close(map_.matrix, 1.03 * torch.eye(2, dtype=torch.float64))
    # A reflection at q = 10 is recorded at 10.3: pixel 10.3 looks at q = 10.
    q = map_.ideal_coordinates((64, 64))
    assert float(q[1, 32, 32 + 21]) == pytest.approx(21 / 1.03)


@pytest.mark.parametrize("seed", range(5))
def test_matrix_agrees_with_numpy(seed: int) -> None:
    values = random_values(seed)
    np.testing.assert_allclose(detector(**values).matrix.numpy(), reference.detector_matrix(values), atol=1e-14)


@pytest.mark.parametrize("shape", [(16, 16), (15, 22)])
def test_pixels_come_back_from_their_scattering_vectors(shape: tuple[int, int]) -> None:
    map_ = detector(**random_values(7))
    q = map_.ideal_coordinates(shape).numpy()
    back = np.einsum("ij,jyx->iyx", map_.matrix.numpy(), q) + map_.centre.numpy()[:, None, None]
    rows, columns = np.meshgrid(np.arange(shape[0]) - shape[0] // 2, np.arange(shape[1]) - shape[1] // 2, indexing="ij")
    np.testing.assert_allclose(back, np.stack([rows, columns]), atol=1e-12)


def test_centre_is_where_nothing_is_scattered() -> None:
    q = detector(center_offset_y=2.0, center_offset_x=-3.0, camera_length=4.0).ideal_coordinates((16, 16))
    assert q[:, 8 + 2, 8 - 3].tolist() == [0.0, 0.0]


def test_phase_of_every_pixel_is_kept_on_the_affine_grid() -> None:
    """q . r = (n - c) . u with u = A^-T r: what makes the map exact without interpolation."""
    values = random_values(11)
    map_ = detector(**values)
    positions = torch.tensor([[3.0, -2.0], [0.7, 5.0]], dtype=torch.float64)
    pixel = torch.tensor([0.5, 0.8], dtype=torch.float64)
    u = map_.object_pixels(positions, pixel)
    q = map_.ideal_coordinates((8, 8))
    n = torch.einsum("ij,jyx->iyx", map_.matrix, q)
    direct = torch.einsum("pi,iyx->pyx", positions / pixel, q)
    torch.testing.assert_close(torch.einsum("pi,iyx->pyx", u, n), direct)


def vacuum(n: int, semi_convergence: float) -> Measurement:
    """One position without a specimen."""
    geometry = FarField(WAVELENGTH, (SAMPLING, SAMPLING), semi_convergence)
    ones = np.ones((1, n, n), np.float32)
    return Measurement(ones, np.zeros((1, 2)), geometry, np.ones((n, n), bool), True, "vacuum")


def modelled_disc(measurement: Measurement, values: dict[str, float]) -> NDArray[np.float64]:
    model = model_of(measurement, values)
    empty = torch.ones((1, *model.layout.object_shape), dtype=torch.complex128)
    spectrum = scene_of(measurement, values).spectrum
    assert spectrum is not None
    return model.intensity(empty, spectrum[None], model.batch(torch.tensor([0])))[0].numpy()


def ellipse_of(disc: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Centroid (y, x) from the middle pixel, matrix M with edge {M u : |u| = 1} (symmetric), and the total.

    A filled ellipse M has covariance M M^T / 4. Pixels that integrate over their area add 1/12 along both axes.
    """
    n = len(disc)
    coordinates = np.stack(np.meshgrid(np.arange(n) - n // 2, np.arange(n) - n // 2, indexing="ij")).reshape(2, -1)
    weight = disc.ravel() / disc.sum()
    centre = coordinates @ weight
    away = coordinates - centre[:, None]
    eigenvalues, vectors = np.linalg.eigh(4 * ((away * weight) @ away.T - np.eye(2) / 12))
    return centre, vectors @ np.diag(np.sqrt(eigenvalues)) @ vectors.T, float(disc.sum())


@pytest.mark.parametrize("seed", range(6))
def test_disc_in_vacuum_is_the_analytic_ellipse(seed: int) -> None:
    values = random_values(seed) | {"defocus": 120.0}
    radius = 40.0
    disc = modelled_disc(vacuum(128, radius * SAMPLING), values)
    centre, edge, total = ellipse_of(disc)
    np.testing.assert_allclose(centre, [values["center_offset_y"], values["center_offset_x"]], atol=0.02)
    np.testing.assert_allclose(edge, radius * reference.detector_matrix(values), atol=0.02)
    assert total == pytest.approx(1.0, abs=1e-12)
    # The height of the plateau times the ellipse's area is the whole beam.
    plateau = disc[64 + round(centre[0]), 64 + round(centre[1])]
    assert plateau * np.pi * np.linalg.det(edge) == pytest.approx(1.0, rel=1e-3)


def test_an_ellipticity_of_half_a_percent_moves_the_edge_by_its_share_of_a_pixel() -> None:
    measurement, radius = vacuum(144, 60 * SAMPLING), 60.0
    _, round_, _ = ellipse_of(modelled_disc(measurement, {}))
    _, oval, _ = ellipse_of(modelled_disc(measurement, {"elliptical_distortion": 0.005}))
    moved = np.diag(oval - round_)
    np.testing.assert_allclose(moved, [-0.0025 * radius, 0.0025 * radius], atol=0.02)  # x is the axis at angle 0


def test_edge_is_where_the_stated_angle_puts_it() -> None:
    for radius in (20.0, 20.25, 20.5, 20.75):
        _, edge, _ = ellipse_of(modelled_disc(vacuum(64, radius * SAMPLING), {}))
        np.testing.assert_allclose(np.diag(edge), radius, atol=0.02)
