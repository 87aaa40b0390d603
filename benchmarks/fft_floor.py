"""Lower bound of a solver's time: the time that its Fourier transforms take when nothing else is done.

The transforms are not assumed but recorded, with shape, type and norm, while the solver runs. Then exactly these are
repeated on arrays of random numbers, by the same library and in the same batches.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

_TRANSFORMS = ("fft2", "ifft2")
_REPEATS = 7
_SECONDS_PER_REPEAT = 0.02


@dataclass(frozen=True)
class Transform:
    """One call of a function of ``torch.fft``, with the shape, type and norm of its argument."""

    function: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    norm: str | None

    @property
    def images(self) -> int:
        """Number of two-dimensional transforms in the call."""
        return math.prod(self.shape[:-2])


@contextlib.contextmanager
def recorded_transforms() -> Iterator[Counter[Transform]]:
    """Count the calls of ``torch.fft.fft2`` and ``ifft2`` inside the block."""
    calls: Counter[Transform] = Counter()
    originals = {name: getattr(torch.fft, name) for name in _TRANSFORMS}

    def recording(name: str) -> Callable[..., Any]:
        def call(values: torch.Tensor, *rest: Any, **named: Any) -> Any:
            calls[Transform(name, tuple(values.shape), values.dtype, named.get("norm"))] += 1
            return originals[name](values, *rest, **named)

        return call

    try:
        for name in _TRANSFORMS:
            setattr(torch.fft, name, recording(name))
        yield calls
    finally:
        for name, original in originals.items():
            setattr(torch.fft, name, original)


def floor_seconds(calls: Counter[Transform]) -> float:
    """Processor seconds that these transforms take alone; of several repeats the fastest counts, for each kind."""
    return sum(count * _seconds(transform) for transform, count in calls.items())


def _seconds(transform: Transform) -> float:
    values = torch.randn(transform.shape, dtype=transform.dtype)
    function = getattr(torch.fft, transform.function)

    def run(times: int) -> float:
        started = time.process_time()
        for _ in range(times):
            function(values, norm=transform.norm)
        return time.process_time() - started

    run(2)
    times = max(2, math.ceil(_SECONDS_PER_REPEAT / max(run(2) / 2, 1e-7)))
    return min(run(times) for _ in range(_REPEATS)) / times


class TransformsOnly:
    """Stand-ins for the solver's kernels that do nothing but return arrays.

    With these in place of the real ones, a solver makes only its transforms, in its own order and on its own arrays. So
    the time includes their memory traffic, which :func:`floor_seconds` avoids by keeping one array in the cache.
    """

    def shift(self, spectra: torch.Tensor, ramp_y: torch.Tensor, ramp_x: torch.Tensor) -> torch.Tensor:
        return torch.empty((len(ramp_y), *spectra.shape[-3:]), dtype=spectra.dtype)

    def transmit(self, waves: torch.Tensor, *rest: Any) -> torch.Tensor:
        return torch.empty_like(waves)

    transmit_back = transmit

    def residual(self, *arguments: Any) -> tuple[float, float]:
        return 1.0, 1.0

    def score(self, *arguments: Any) -> tuple[float, float, float, float]:
        return 1.0, 1.0, 1.0, 1.0

    def shift_slopes(self, slopes: torch.Tensor, *rest: Any) -> torch.Tensor:
        return torch.zeros((len(slopes), 2), dtype=slopes.real.dtype)

    def best_steps(self, entering: torch.Tensor, *rest: Any) -> torch.Tensor:
        return torch.ones((len(entering), 2), dtype=entering.real.dtype)

    def _nothing(self, *arguments: Any) -> None:
        pass

    add_unshifted = add_product = add_illumination = pull_back = _nothing
    object_direction = apply_direction = update_object = _nothing
