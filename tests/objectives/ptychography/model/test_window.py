"""The window of the waves: its length, the detector's part of it, and that what leaves the detector stays away."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from objectives.ptychography.model.cropping import seen_part, with_unseen
from objectives.ptychography.model.window import window_for_lens, window_length, window_shape
from tests.objectives.ptychography.scenes import lens, model_of

FAST = sorted(2**twos * 3**threes for twos in range(1, 15) for threes in range(9))
"""Even lengths without factors but 2 and 3."""
lengths = st.integers(1, 9)
pairs = st.tuples(lengths, st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair)))
"""Pixels of a detector and of a window that has as many or more."""
few = settings(max_examples=60, deadline=None)


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.complex128, generator=generator)


@few
@given(pairs, pairs)
def test_embedding_is_the_adjoint_of_cropping(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    detector, window = zip(rows, columns, strict=True)
    x, y = random(3, 2, *window), random(3, 2, *detector, seed=1)
    seen, embedded = seen_part(x, detector), with_unseen(y, window)
    assert seen.shape == y.shape and embedded.shape == x.shape and seen.is_contiguous()
    left, right = torch.vdot(y.ravel(), seen.ravel()), torch.vdot(embedded.ravel(), x.ravel())
    torch.testing.assert_close(left, right)
    assert torch.equal(seen_part(embedded, detector), y)


@few
@given(pairs, pairs)
def test_zero_frequency_lies_in_the_middle_of_both(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    """At N//2, of even and of odd lengths."""
    detector, window = zip(rows, columns, strict=True)
    at_window, at_detector = torch.zeros(window), torch.zeros(detector)
    at_window[window[0] // 2, window[1] // 2] = at_detector[detector[0] // 2, detector[1] // 2] = 1.0
    assert torch.equal(seen_part(at_window, detector), at_detector)
    assert torch.equal(with_unseen(at_detector, window), at_window)


@given(st.integers(2, 1500), st.floats(1.0, 4.0, exclude_min=True))
def test_a_padded_window_has_the_next_even_fast_length(pixels: int, padding: float) -> None:
    length = window_length(pixels, padding)
    assert length in FAST and length > (1 - 1e-6) * padding * pixels - 1e-5
    shorter = [fast for fast in FAST if pixels <= fast < length]
    assert not shorter or shorter[-1] < padding * pixels


@given(st.integers(1, 1500), st.floats(0.0, 1.0))
def test_a_window_without_padding_has_the_pixels_of_the_detector(pixels: int, padding: float) -> None:
    assert window_length(pixels, padding) == pixels


@pytest.mark.parametrize(
    ("pixels", "padding", "length"),
    [
        (24, 1.5, 36),
        (24, 1.34, 36),
        (24, 4 / 3, 32),
        (90, 96 / 90, 96),
        (128, 1.1, 144),
        (63, 1.001, 64),
        (25, 2.0, 54),
    ],
)
def test_window_of_some_detectors(pixels: int, padding: float, length: int) -> None:
    assert window_length(pixels, padding) == length
    assert window_shape((pixels, 24), padding) == (length, window_length(24, padding))


@given(st.tuples(st.integers(8, 300), st.integers(8, 300)), st.floats(1.0, 200.0))
def test_window_for_a_lens_adds_nine_tenths_of_its_radius(shape: tuple[int, int], radius: float) -> None:
    """To both axes, so that the object's frequencies are continued by the same factor, which is at most 2."""
    window = window_for_lens(shape, (radius, radius))
    factor = min(1 + 0.9 * radius / min(shape), 2.0)
    for n, detector in zip(window, shape, strict=True):
        assert n == window_length(detector, factor) and n >= min(detector + 0.9 * radius, 2 * detector) - 1e-5


@pytest.mark.parametrize(("padding", "comes_back"), [(1.0, True), (1.5, False), (2.0, False)])
def test_what_is_scattered_beyond_the_detector_does_not_come_back(padding: float, comes_back: bool) -> None:
    """A plane wave of 8 pixels on a grating of 12: one hundredth of it goes to 20, beyond the detector's last at 11.

    A window of 24 pixels has it at 20 - 24 = -4, on the detector; one of 36 has it at -16, beside it.
    """
    points = {"pixel_fill": 0.0, "detector_blur": 0.0, "background": 0.0, "window_padding": padding}
    model = model_of(lens(), points)
    n = round(24 * padding)
    assert model.layout.window == (n, n)
    spectra = torch.zeros(1, n, n, dtype=torch.complex128)
    spectra[0, n // 2, n // 2 + 8] = 3.0
    columns = torch.arange(model.layout.object_shape[1], dtype=torch.float64)
    grating = 1 + 0.1 * torch.exp(2j * math.pi * 12 / n * columns)
    transmission = grating.expand(1, *model.layout.object_shape).contiguous()
    counts = model.intensity(transmission, spectra, model.batch(torch.tensor([0, 12, 24])))
    expected = torch.zeros(24, 24, dtype=torch.float64)
    expected[12, 12 + 8] = 9.0
    if comes_back:
        expected[12, 12 - 4] = 9.0 * 0.01
    torch.testing.assert_close(counts, expected.expand(3, 24, 24), rtol=1e-12, atol=1e-12)
