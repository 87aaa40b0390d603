from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from objectives.ptychography.solvers.batches import compact_batches


def raster(rows: int, columns: int) -> Tensor:
    grid = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack(grid, dim=-1).reshape(-1, 2).to(torch.float64)


@given(count=st.integers(1, 200), size=st.integers(1, 60), seed=st.integers(0, 1000))
def test_every_position_is_in_one_batch(count: int, size: int, seed: int) -> None:
    positions = torch.randn(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    batches = compact_batches(positions, size)
    assert torch.cat(batches).sort().values.tolist() == list(range(count))
    assert all(0 < len(batch) <= size for batch in batches)
    assert all((batch.diff() > 0).all() for batch in batches)
    # Whole batches, but for one: no more of them than needed.
    assert len(batches) == -(-count // size)


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
