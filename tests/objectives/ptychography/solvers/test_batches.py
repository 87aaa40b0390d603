from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from objectives.ptychography.solvers.batches import Batches, batches_of, compact_batches

KINDS = get_args(Batches)
each_kind = pytest.mark.parametrize("kind", KINDS)


def raster(rows: int, columns: int) -> Tensor:
    grid = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack(grid, dim=-1).reshape(-1, 2).to(torch.float64)


@settings(deadline=None)
@given(
    count=st.integers(1, 200),
    size=st.integers(1, 60),
    seed=st.integers(0, 1000),
    kind=st.sampled_from(KINDS),
    footprint=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    spread=st.floats(0, 300),
)
def test_every_kind_is_a_partition(
    count: int, size: int, seed: int, kind: Batches, footprint: tuple[int, int], spread: float
) -> None:
    positions = spread * torch.randn(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    batches = batches_of(positions, size, kind, footprint, seed)
    assert torch.cat(batches).sort().values.tolist() == list(range(count))
    assert all(0 < len(batch) <= size for batch in batches)
    assert all((batch.diff() > 0).all() for batch in batches)
    # No more batches than needed, also where a large scan is divided into regions first.
    assert len(batches) == -(-count // size)
    again = batches_of(positions, size, kind, footprint, seed)
    assert all(torch.equal(one, other) for one, other in zip(batches, again, strict=True))


@pytest.mark.parametrize("kind", ["interleaved", "random"])
def test_seeds_draw_other_batches(kind: Batches) -> None:
    one, other = (batches_of(raster(12, 12), 16, kind, (32, 32), seed) for seed in (0, 1))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_interleaved_batches_sample_the_scan_evenly() -> None:
    """16 batches of a 16 x 16 raster: each has one position of every square of 4 x 4."""
    positions = raster(16, 16)
    for batch in batches_of(positions, 16, "interleaved", (64, 64), 5):
        squares = (positions[batch] // 4) @ torch.tensor([4.0, 1.0], dtype=torch.float64)
        assert sorted(squares.tolist()) == list(range(16))


@pytest.mark.parametrize("kind", ["interleaved", "random"])
@pytest.mark.parametrize(("step", "regions"), [(1.0, 1), (12.0, 16)])
def test_a_batch_touches_half_as_many_pixels_as_its_patterns_have(kind: Batches, step: float, regions: int) -> None:
    """On a small scan batches reach across it; a large one is divided."""
    positions, size, footprint = step * raster(48, 48), 16, (32, 32)
    boxes = [positions[batch] for batch in batches_of(positions, size, kind, footprint, 0)]
    touched = [float((box.amax(0) - box.amin(0) + 32).prod()) for box in boxes]
    assert max(touched) <= size * 32 * 32 / 2
    whole = float((positions.amax(0) + 32).prod())
    assert whole / max(touched) > 0.8 * regions


@given(count=st.integers(1, 50), size=st.integers(1, 10))
def test_positions_that_coincide_are_split_too(count: int, size: int) -> None:
    batches = compact_batches(torch.zeros(count, 2), size)
    assert torch.cat(batches).sort().values.tolist() == list(range(count))
    assert max(len(batch) for batch in batches) <= size


def test_batches_are_compact() -> None:
    """16 of a 16 x 16 raster: squares of 4 x 4."""
    positions = raster(16, 16)[torch.randperm(256, generator=torch.Generator().manual_seed(1))]
    for batch in compact_batches(positions, 16):
        extent = positions[batch].amax(0) - positions[batch].amin(0)
        assert len(batch) == 16 and extent.tolist() == [3, 3]


def test_batches_of_any_size_are_compact() -> None:
    positions = raster(20, 33)
    spread = [float((positions[b].amax(0) - positions[b].amin(0)).prod()) for b in compact_batches(positions, 11)]
    assert sum(spread) / len(spread) < 4 * 11
