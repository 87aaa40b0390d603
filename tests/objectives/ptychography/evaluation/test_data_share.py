"""Less data, the same instrument."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.objective import InputError, Value
from objectives.diffraction.data.measurement import FarField, Measurement
from objectives.ptychography.evaluation.data_share import Fidelity, Level, Levels, middle_positions, reduced
from objectives.ptychography.objective import PtychographyObjective
from objectives.ptychography.settings import HeldOutSettings
from objectives.ptychography.simulation.settings import SimulationSettings
from objectives.ptychography.simulation.simulate import simulate_patterns
from tests.objectives.ptychography.evaluation.test_envelope import LENS, compare
from tests.objectives.ptychography.scenes import CPU, TRUTH, free, lens, near, objective


def raster(rows: int, columns: int, noise: float = 0.0) -> np.ndarray:
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
    grid = grid + noise * np.random.default_rng(0).normal(size=grid.shape)
    return grid - grid.mean(axis=0)


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_a_quarter_of_a_raster_is_its_middle(noise: float) -> None:
    kept = middle_positions(raster(16, 16, noise), 64)
    assert kept.tolist() == [16 * row + column for row in range(4, 12) for column in range(4, 12)]


def test_a_wide_scan_gives_a_square_not_a_strip() -> None:
    positions = raster(8, 64)[middle_positions(raster(8, 64), 64)]
    assert np.ptp(positions, axis=0).tolist() == [7.0, 7.0]


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_an_incomplete_ring_is_spread_over_all_sides(noise: float) -> None:
    """8 x 8 and 4 more of the 36 around them: the two middles of every side are nearest, none of the corners."""
    positions = raster(16, 16, noise)
    ring = [p for p in positions[middle_positions(positions, 72)] if np.abs(p).max() > 4]
    assert sorted(tuple(np.round(p, 3)) for p in ring) == sorted(
        [(y, x) for y in (-4.5, 4.5) for x in (-0.5, 0.5)] + [(y, x) for x in (-4.5, 4.5) for y in (-0.5, 0.5)]
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_middle_of_any_list(total: int, count: int, seed: int) -> None:
    """Nobody left out is nearer to the middle, as a square sees it, than anybody who is in."""
    positions = np.random.default_rng(seed).normal(size=(total, 2))
    kept = middle_positions(positions, count)
    assert len(kept) == min(total, count) and (np.diff(kept) > 0).all()
    away = np.abs(positions - np.median(positions, axis=0)).max(axis=1)
    out = np.delete(away, kept)
    assert not len(out) or away[kept].max() <= out.min() + 3e-6 * away.max()


def test_at_least_nine_positions_stay() -> None:
    assert Fidelity(0.01).positions(lens()) == 9
    assert Fidelity(0.5).positions(lens()) == 13
    few = replace(lens(), patterns=lens().patterns[:5], positions=lens().positions[:5])
    assert Fidelity(0.01).positions(few) == 5


def test_everything_is_no_copy() -> None:
    assert reduced(lens(), Fidelity(1.0, 1)) is lens()


def counted(rows: int, columns: int) -> Measurement:
    random = np.random.default_rng(rows)
    patterns = random.poisson(3.0, (25, rows, columns)).astype(np.float32)
    return replace(lens(), patterns=patterns, valid=random.random((rows, columns)) > 0.1)


@pytest.mark.parametrize(("rows", "columns", "size"), [(24, 24, 2), (25, 27, 2), (24, 26, 3), (23, 30, 4), (9, 8, 1)])
def test_bins_are_sums_of_squares_in_the_middle(rows: int, columns: int, size: int) -> None:
    whole = counted(rows, columns)
    part = reduced(whole, Fidelity(0.5, size))
    kept = middle_positions(whole.positions, 13)
    assert np.array_equal(part.positions, whole.positions[kept])
    assert part.patterns.shape == (13, rows // size, columns // size) and part.patterns.dtype == np.float32
    top, left = (rows % size) // 2, (columns % size) // 2
    for i in range(rows // size):
        for j in range(columns // size):
            y, x = slice(top + i * size, top + (i + 1) * size), slice(left + j * size, left + (j + 1) * size)
            assert np.array_equal(part.patterns[:, i, j], whole.patterns[kept, y, x].sum(axis=(1, 2)))
            assert part.valid[i, j] == whole.valid[y, x].all()
    assert isinstance(part.geometry, FarField) and part.geometry.angular_sampling_mrad == (2.6 * size, 2.6 * size)


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("rows", [24, 25, 26, 27])
def test_centre_is_found_again_among_bins(rows: int, size: int) -> None:
    """A spot at row N//2 + c, binned, has its centre of mass at row M//2 + c'."""
    y, x = np.mgrid[:rows, :31]
    c = (1.3, -0.7)
    spot = np.exp(-((y - rows // 2 - c[0]) ** 2 + (x - 15 - c[1]) ** 2) / (2 * 2.0**2))
    whole = replace(counted(rows, 31), patterns=np.repeat(spot[None].astype(np.float32), 25, axis=0))
    level = Levels(whole, CPU, HeldOutSettings()).at(Fidelity(1.0, size))
    scalars = level.scalars(
        {
            "center_offset_y": torch.tensor(c[0]),
            "center_offset_x": torch.tensor(c[1]),
            "background": torch.tensor(0.5),
            "detector_blur": torch.tensor(0.6),
            "pixel_fill": torch.tensor(0.8),
        }
    )
    pattern = level.measurement.patterns[0]
    bins = np.mgrid[: rows // size, : 31 // size]
    mass = [(axis * pattern).sum() / pattern.sum() for axis in bins]
    assert float(scalars["center_offset_y"]) == pytest.approx(mass[0] - (rows // size) // 2, abs=2e-3)
    assert float(scalars["center_offset_x"]) == pytest.approx(mass[1] - (31 // size) // 2, abs=2e-3)
    assert float(scalars["background"]) == 0.5 * size**2
    # Where a count lands varies by the blur, and inside a bin by the places that its pixels see.
    inside = ((np.arange(size)[:, None] + np.linspace(-0.4, 0.4, 10_001)).ravel() / size).var()
    assert float(scalars["detector_blur"]) == pytest.approx(0.6 / size)
    assert float(scalars["pixel_fill"]) ** 2 / 12 == pytest.approx(inside, rel=1e-3)


BINNABLE = SimulationSettings(
    seed=3,
    detector_pixels=50,
    angular_sampling_mrad=1.3,
    scan_points=7,
    scan_step_angstrom=1.0,
    electrons_per_pattern=1e7,
    mismatch={name: value for name, value in TRUTH.items() if name != "elliptical_angle"} | {"elliptical_angle": 0.0},
)


@cache
def binnable() -> Measurement:
    return simulate_patterns(BINNABLE)[0]


def optimum(problem: PtychographyObjective, values: dict[str, Value], name: str, step: float) -> float:
    """Where the parabola through three evaluations around ``values`` is highest."""
    at = float(values[name])
    low, mid, high = (
        problem.evaluate({**values, name: at + side * step}, metric="consistency", seed=0).metrics["consistency"]
        for side in (-1, 0, 1)
    )
    return at + step * 0.5 * (low - high) / (low - 2 * mid + high)


@pytest.mark.parametrize(
    ("name", "step", "tolerance"),
    [("center_offset_y", 0.5, 0.1), ("center_offset_x", 0.5, 0.1), ("camera_length", 1.0, 0.3), ("defocus", 15.0, 5.0)],
)
@pytest.mark.parametrize("size", [1, 2])
def test_binning_moves_no_optimum(size: int, name: str, step: float, tolerance: float) -> None:
    """A centre off by the wrong half pixel, or in pixels of bins, would be off by 0.5 and more."""
    truth = BINNABLE.mismatch
    values: dict[str, Value] = {k: float(v) for k, v in truth.items()}  # type: ignore[arg-type]
    values |= {"detector_binning": size, "iterations": 15}
    best = optimum(objective(binnable()), values, name, step)
    assert best == pytest.approx(values[name], abs=tolerance)


def test_gradient_of_less_data_is_that_of_reconstructing_again() -> None:
    values: dict[str, Value] = {**LENS, "background": 0.5, "detector_binning": 2, "scan_fraction": 0.6}
    values["window_padding"] = 1.0  # what few counts see converges slowly
    names = ["center_offset_y", "center_offset_x", "camera_length", "defocus", "background"]
    for name, (relative, of_largest) in compare(lens(), {**values, "iterations": 300}, names).items():
        assert relative < 0.02 or of_largest < 0.002, (name, relative, of_largest)


def test_part_of_the_scan_is_a_measurement_of_its_own() -> None:
    values: dict[str, Value] = {**TRUTH, "iterations": 3}
    part = objective(lens()).evaluate({**values, "scan_fraction": 0.5}, metric="consistency", seed=0)
    alone = objective(reduced(lens(), Fidelity(0.5))).evaluate(values, metric="consistency", seed=0)
    assert dict(part.metrics) == dict(alone.metrics) and dict(part.gradient) == dict(alone.gradient)
    everything = objective(lens()).evaluate(values, metric="consistency", seed=0)
    assert everything.metrics != part.metrics
    assert objective(lens()).pictures(part)["reconstruction"].startswith(b"\x89PNG")


@pytest.mark.parametrize("measured", [free, near], ids=["free", "near"])
def test_part_of_the_scan_works_without_a_lens(measured) -> None:  # type: ignore[no-untyped-def]
    part = objective(measured()).evaluate({"scan_fraction": 0.4, "iterations": 3}, metric="consistency", seed=0)
    assert part.gradient["scan_rotation"] != 0 and part.attributes["scan_last_row"] < measured().patterns.shape[1] + 8


def test_cut_data_are_kept_and_few() -> None:
    levels = Levels(lens(), CPU, HeldOutSettings())
    whole = levels.at(Fidelity())
    assert whole is levels.whole and whole.measurement is lens()
    first = levels.at(Fidelity(0.5))
    assert levels.at(Fidelity(0.5)) is first and levels.at(Fidelity(0.51)) is first  # 13 positions both
    others: list[Level] = [levels.at(Fidelity(fraction)) for fraction in (0.6, 0.7, 0.8)]
    assert levels.at(Fidelity(0.8)) is others[-1] and levels.at(Fidelity(0.7)) is others[-2]
    assert levels.at(Fidelity(0.5)) is not first


def test_what_can_be_reduced() -> None:
    known = {p.name: p for p in objective(lens()).parameters()}
    assert known["scan_fraction"].kind == known["detector_binning"].kind == "fidelity"
    assert known["iterations"].cheaper == known["scan_fraction"].cheaper == "lower"
    assert (known["detector_binning"].cheaper, known["detector_binning"].maximum) == ("higher", 2)
    with pytest.raises(InputError, match="detector_binning"):
        objective(lens()).evaluate({"detector_binning": 3}, metric="consistency", seed=0)
    with pytest.raises(InputError, match="scan_fraction"):
        objective(lens()).evaluate({"scan_fraction": 0.0}, metric="consistency", seed=0)


@pytest.mark.parametrize(("measured", "reason"), [(free, "lens"), (near, "lens")], ids=["free", "near"])
def test_no_binning_without_a_lens(measured, reason: str) -> None:  # type: ignore[no-untyped-def]
    known = {p.name for p in objective(measured()).parameters()}
    assert "scan_fraction" in known and "detector_binning" not in known
    assert reason in objective(measured()).why_absent("detector_binning")


def test_no_binning_where_the_disk_is_small() -> None:
    coarse = replace(lens(), geometry=replace(lens().geometry, angular_sampling_mrad=(5.0, 5.0)))
    assert "detector_binning" not in {p.name for p in objective(coarse).parameters()}
    assert "16 pixels" in objective(coarse).why_absent("detector_binning")
