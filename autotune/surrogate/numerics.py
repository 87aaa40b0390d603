"""Settings under which the surrogate computes: reproducibly, on one thread, without warnings that need no action."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from botorch.exceptions.warnings import InputDataWarning, NumericsWarning, OptimizationWarning
from linear_operator.utils.warnings import NumericalWarning


@contextmanager
def quiet_and_seeded(seed: int) -> Iterator[None]:
    """Compute reproducibly, on one thread, and without warnings that need no action, inside the block.

    Args:
        seed: seed of torch's global generator inside the block.
    """
    with _own_generator(seed), _one_thread(), _expected_warnings_ignored():
        yield


@contextmanager
def _own_generator(seed: int) -> Iterator[None]:
    """Seed torch's global CPU generator inside the block, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread inside the block: the matrices are small, and threads that wait for a busy core cost seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _expected_warnings_ignored() -> Iterator[None]:
    """Ignore warnings of BoTorch and GPyTorch about few or clustered points: they need no action."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)  # jitter added to a kernel matrix
        warnings.simplefilter("ignore", NumericsWarning)  # few points: interpolation may be numerically hard
        warnings.simplefilter("ignore", OptimizationWarning)  # L-BFGS stopped early; the best point is kept
        warnings.simplefilter("ignore", InputDataWarning)  # equal values cannot be standardised
        yield
