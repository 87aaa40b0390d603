"""The window of the waves: as many pixels as the detector has, or more, so that no scattering comes back.

A discrete Fourier transform repeats its frequencies: what the specimen scatters past the last frequency of the window
appears at the other side of it. A window with more pixels over the same length of the specimen holds higher
frequencies; the detector sees the middle of them, and nothing is compared outside. With a detector of N pixels and an
aperture of radius a, object frequencies up to N/2 scatter up to N/2 + a, which N + a pixels keep off the detector. It
sees object frequencies up to N/2 + a in part, and N + 2 a pixels keep off it what these scatter. No torch.
"""

from __future__ import annotations

import math

_FACTORS = (2, 3)
"""Lengths with these factors alone: on a processor a transform of 80 or 90 samples takes longer than one of 96."""
_ROUNDING = 1e-6
_DISK = 0.9
"""Radii of the aperture that are added to the detector: what is scattered past that lies in the corners."""


def window_length(pixels: int, padding: float) -> int:
    """The even number of the window's pixels for which a transform is fast: ``padding * pixels``, or the next above.

    A window without padding has the detector's pixels, whatever their number.
    """
    if padding <= 1:
        return pixels
    least = max(pixels, math.ceil(padding * pixels - _ROUNDING))
    return next(n for n in range(least, 4 * least + 4) if n % 2 == 0 and _rest(n) == 1)


def window_shape(detector_shape: tuple[int, int], padding: float) -> tuple[int, int]:
    """:func:`window_length` along both axes."""
    return window_length(detector_shape[0], padding), window_length(detector_shape[1], padding)


def window_for_lens(detector_shape: tuple[int, int], radii: tuple[float, float]) -> tuple[int, int]:
    """The window that keeps scattering off the detector; along no axis more than twice the detector.

    Args:
        detector_shape: (rows, columns).
        radii: of the aperture along (y, x), in detector pixels.
    """
    wanted = max(1 + _DISK * radius / n for radius, n in zip(radii, detector_shape, strict=True))
    return window_shape(detector_shape, min(wanted, 2.0))


def _rest(n: int) -> int:
    """What is left of ``n`` without its factors that make a transform fast."""
    for factor in _FACTORS:
        while n % factor == 0:
            n //= factor
    return n
