"""Compact batches: groups of neighbouring scan positions (Odstrcil et al., Opt. Express 26, 3108 (2018), sec. 2.3).

Neighbours see the same part of the object, so that an update touches a small region and the step along a common
direction is well determined.
"""

from __future__ import annotations

import torch
from torch import Tensor


def compact_batches(positions: Tensor, size: int) -> list[Tensor]:
    """Split positions (position, 2) into groups of at most ``size`` neighbours, by halving the longer side.

    Returns:
        Indices of each group, int64, ascending; together every position once.
    """
    indices = torch.arange(len(positions), device=positions.device)
    waiting, groups = [indices], []
    while waiting:
        group = waiting.pop()
        if len(group) <= size:
            groups.append(group.sort().values)
            continue
        extent = positions[group].amax(0) - positions[group].amin(0)
        axis = int(extent.argmax())
        ordered = group[positions[group, axis].argsort(stable=True)]
        # Whole batches on the left, so that few are smaller than asked for.
        left = max(1, round(len(group) / size / 2)) * size
        waiting += [ordered[left:], ordered[:left]]
    return groups
