"""The device, the precision and the threads with which a reconstruction is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Machine:
    """Device, precision and threads of a reconstruction.

    Attributes:
        device: CPU or CUDA device.
        real: torch.float32 or torch.float64.
        threads: CPU threads.
    """

    device: torch.device
    real: torch.dtype
    threads: int = 1

    @property
    def complex(self) -> torch.dtype:
        """The complex type of the same precision."""
        return torch.complex128 if self.real == torch.float64 else torch.complex64

    @property
    def pixels_per_batch(self) -> int:
        """Detector pixels that a pass handles at once: as many as fit a processor's cache, or fill an accelerator."""
        return 1 << 16 if self.device.type == "cpu" else 1 << 22

    @contextmanager
    def threads_set(self) -> Iterator[None]:
        """Use :attr:`threads` threads inside the block; the process's own number is restored after it."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
