"""Patterns that stay in their file, read block by block through one interface."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import IO, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Slices = tuple[slice, ...]


class Frames(Protocol):
    """Patterns still in the file or in memory: an ``h5py.Dataset``, an array or a :class:`LazyFrames`.

    Blocks are read with one slice of positive step for each axis.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102

    def __getitem__(self, index: Any) -> Any: ...


class LazyFrames(ABC):
    """Frames that are read on access; a subclass implements :meth:`block`."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)

    @abstractmethod
    def block(self, index: Slices) -> NDArray[Any]:
        """Read one hyperslab: one slice (start, stop, positive step) for each axis."""

    def __getitem__(self, index: Any) -> NDArray[Any]:
        given = index if isinstance(index, tuple) else (index,)
        slices, single = [], []
        for axis, size in enumerate(self.shape):
            part = given[axis] if axis < len(given) else slice(None)
            if isinstance(part, slice):
                start, stop, step = part.indices(size)
                single.append(slice(None))
            else:
                start, stop, step = range(size)[part], range(size)[part] + 1, 1
                single.append(0)  # type: ignore[arg-type]
            slices.append(slice(start, stop, step))
        return np.asarray(self.block(tuple(slices))[tuple(single)])


class DetectorFirst(LazyFrames):
    """View of an array whose first two axes are the pattern's, with these axes moved to the end."""

    def __init__(self, stored: Frames) -> None:
        super().__init__((*stored.shape[2:], *stored.shape[:2]), stored.dtype)
        self.stored = stored

    def block(self, index: Slices) -> NDArray[Any]:
        """Read one hyperslab."""
        return np.moveaxis(np.asarray(self.stored[(*index[-2:], *index[:-2])]), (0, 1), (-2, -1))


def with_detector_last(stored: Frames, detector_axes: Literal["last", "first"]) -> Frames:
    """Return the array with the pattern's axes last, whichever way it is stored.

    Args:
        stored: the array. With other than three or four axes it is returned unchanged, to be refused later.
        detector_axes: which axes of ``stored`` are the pattern's.
    """
    return DetectorFirst(stored) if detector_axes == "first" and len(stored.shape) in (3, 4) else stored


class DaskFrames(LazyFrames):
    """Frames in a dask array; a block is computed in the calling thread, from only the chunks that it needs."""

    def __init__(self, array: Any) -> None:
        super().__init__(array.shape, array.dtype)
        self._array = array

    def block(self, index: Slices) -> NDArray[Any]:
        """Compute one hyperslab."""
        return np.asarray(self._array[index].compute(scheduler="synchronous"))


class StreamedFrames(LazyFrames):
    """Frames in a stream that can only be read forward, such as a compressed archive member.

    Going back reopens the stream, so blocks should be read in rising order.

    Args:
        open_stream: opens the stream at the first pattern's first byte.
        shape: (position, det_y, det_x) or (scan_y, scan_x, det_y, det_x), row-major.
        dtype: type of the stored values.
    """

    def __init__(self, open_stream: Callable[[], IO[bytes]], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(shape, dtype)
        self._open = open_stream
        self._stream: IO[bytes] | None = None
        self._next = 0  # index of the pattern that the stream yields next
        self._bytes = math.prod(self.shape[-2:]) * self.dtype.itemsize

    def block(self, index: Slices) -> NDArray[Any]:
        """Read one hyperslab, and skip the patterns that lie between its own."""
        y, x = index[-2:]
        columns = self.shape[1] if len(self.shape) == 4 else 1
        across = range(*index[1].indices(columns)) if len(self.shape) == 4 else range(1)
        down = range(*index[0].indices(self.shape[0]))
        counts = tuple(len(range(*part.indices(size))) for part, size in zip(index, self.shape, strict=True))
        block = np.empty(counts, self.dtype)
        flat = block.reshape(-1, *counts[-2:])
        for i, (row, column) in enumerate((row, column) for row in down for column in across):
            flat[i] = self._pattern(row * columns + column)[y, x]
        return block

    def _pattern(self, number: int) -> NDArray[Any]:
        if self._stream is None or number < self._next:
            self.close()
            self._stream = self._open()
            self._next = 0
        while self._next <= number:
            data = self._read(self._stream)
            self._next += 1
        return np.frombuffer(data, self.dtype).reshape(self.shape[-2:])

    def _read(self, stream: IO[bytes]) -> bytes:
        data = stream.read(self._bytes)
        if len(data) < self._bytes:
            raise EOFError(f"ends within pattern {self._next}")
        return data

    def close(self) -> None:
        """Close the stream."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
