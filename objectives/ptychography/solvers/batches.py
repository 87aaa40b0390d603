"""Batches: the groups of patterns after each of which a stepwise solver updates.

    interleaved  positions spread evenly over a region, drawn one from each group of neighbours
    random       positions of a region, drawn at random
    compact      neighbours (Odstrcil et al., Opt. Express 26, 3108 (2018), sec. 2.3)

A spread batch is a sample of the whole scan: its step of the probe is one that all patterns ask for, and each part of
the object is improved by many batches in an iteration. Neighbours see one part of the object, which few batches
improve, and the probe follows each part in turn. But a spread batch also touches more of the object. Where that would
have more than half as many pixels as the patterns of a batch, the scan is divided into compact regions, and each batch
stays in one: an update costs little beside the passes over the batch's patterns, however large the scan is.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

_TOUCHED = 0.5
"""Pixels of the object that a batch may touch, over those of its patterns."""

Batches = Literal["interleaved", "random", "compact"]
"""How patterns are divided into batches."""


def batches_of(positions: Tensor, size: int, kind: Batches, footprint: tuple[int, int], seed: int) -> list[Tensor]:
    """Divide scan positions into batches of at most ``size``.

    Args:
        positions: (position, 2) in object pixels.
        size: positions of a batch.
        kind: how positions are chosen.
        footprint: (rows, columns) of the object that one pattern sees.
        seed: fixes what is random.

    Returns:
        Indices of each batch, int64, ascending; together every position once.
    """
    if kind == "compact":
        return compact_batches(positions, size)
    random = torch.Generator().manual_seed(seed)
    divide = _interleaved if kind == "interleaved" else _random
    batches = []
    for region in _regions(positions, size, footprint):
        batches += [region[batch].sort().values for batch in divide(positions[region], size, random)]
    return batches


def compact_batches(positions: Tensor, size: int) -> list[Tensor]:
    """Split positions (position, 2) into groups of at most ``size`` neighbours, by halving the longer side.

    Returns:
        Indices of each group, int64, ascending; together every position once.
    """
    waiting, groups = [torch.arange(len(positions), device=positions.device)], []
    while waiting:
        group = waiting.pop()
        if len(group) <= size:
            groups.append(group.sort().values)
        else:
            waiting += reversed(_halves(positions, group, size))
    return groups


def _halves(positions: Tensor, group: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Halve a group of more than ``size`` positions across its longer side, so that the first fills whole batches."""
    extent = positions[group].amax(0) - positions[group].amin(0)
    axis = int(extent.argmax())
    ordered = group[positions[group, axis].argsort(stable=True)]
    first = max(1, round(len(group) / size / 2)) * size
    return ordered[:first], ordered[first:]


def _regions(positions: Tensor, size: int, footprint: tuple[int, int]) -> list[Tensor]:
    """Compact regions, each so small that its batches touch few pixels of the object, or holding one batch only."""
    waiting, regions = [torch.arange(len(positions), device=positions.device)], []
    while waiting:
        region = waiting.pop()
        extent = positions[region].amax(0) - positions[region].amin(0)
        seen = (float(extent[0]) + footprint[0]) * (float(extent[1]) + footprint[1])
        if len(region) <= size or seen <= _TOUCHED * size * math.prod(footprint):
            regions.append(region)
        else:
            waiting += reversed(_halves(positions, region, size))
    return regions


def _random(positions: Tensor, size: int, random: torch.Generator) -> list[Tensor]:
    """Indices of random batches."""
    order = torch.randperm(len(positions), generator=random).to(positions.device)
    return list(order.split(size))


def _interleaved(positions: Tensor, size: int, random: torch.Generator) -> list[Tensor]:
    """Indices of batches that each take one position of every group of as many neighbours as there are batches."""
    batches = math.ceil(len(positions) / size)
    groups = compact_batches(positions, batches)
    # The one incomplete group gives to batches drawn at random, too.
    batch_of = torch.cat([torch.randperm(batches, generator=random)[: len(group)] for group in groups])
    order = batch_of.argsort(stable=True).to(positions.device)
    return [
        batch for batch in torch.cat(groups)[order].split(batch_of.bincount(minlength=batches).tolist()) if len(batch)
    ]
