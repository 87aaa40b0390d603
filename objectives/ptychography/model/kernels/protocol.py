"""What an implementation of the kernels offers: the elementwise steps of a pass over a batch of patterns.

Shapes throughout: batch b, mode m, slice s; waves (b, m, y, x) complex; one object slice (rows, columns) complex;
corners (b, 2) int64; ramps (b, y) and (b, x) complex.
"""

from __future__ import annotations

from typing import Literal, Protocol

from torch import Tensor

from objectives.ptychography.model.response import Response

Loss = Literal["intensity", "amplitude", "poisson"]
"""Loss of expected counts I for measured counts y, with a small floor f that keeps slopes finite. ``intensity``:
sum (I - y)^2; ``amplitude``: sum (sqrt(I + f) - sqrt y)^2; ``poisson``: sum I + f - y log(I + f)."""


class Kernels(Protocol):
    """The steps of a pass over a batch."""

    def shift(self, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor) -> Tensor:
        """Spectra (m, y, x), or (b, m, y, x), times the outer product of the ramps: (b, m, y, x)."""

    def add_unshifted(self, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor, total: Tensor) -> None:
        """The adjoint of :meth:`shift` for one spectrum per mode: adds to ``total`` (m, y, x)."""

    def transmit(self, waves: Tensor, transmission: Tensor, corners: Tensor) -> Tensor:
        """Waves times the object patch of each pattern."""

    def transmit_back(self, waves: Tensor, transmission: Tensor, corners: Tensor) -> Tensor:
        """Waves times the complex conjugate of the object patch of each pattern."""

    def add_product(self, entering: Tensor, leaving: Tensor, corners: Tensor, total: Tensor) -> None:
        """Adds conj(entering) * leaving, summed over modes, to the patches of ``total`` (rows, columns)."""

    def add_illumination(self, entering: Tensor, weights: Tensor, corners: Tensor, total: Tensor) -> None:
        """Adds weight[b] * |entering|^2, summed over modes, to the patches of ``total`` (rows, columns), real."""

    def residual(
        self,
        waves: Tensor,
        patterns: Tensor,
        indices: Tensor,
        valid: Tensor,
        mask_of: Tensor,
        scale: float,
        background: float,
        floor: float,
        loss: Loss,
        response: Response | None = None,
    ) -> tuple[float, float]:
        """Turn waves at the detector into waves * scale * dL/dI, in place: half of their gradient dL/d(Re, Im).

        Args:
            waves: (b, m, y, x) at the detector.
            patterns: (position, y, x) all measured patterns, float32.
            indices: (b,) int64, indices of the batch's patterns.
            valid: (mask, y, x) 1 on pixels that are compared, 0 elsewhere.
            mask_of: (position,) int64, index of each pattern's mask.
            scale: intensity is scale * |waves|^2, summed over modes, plus the background.
            background: expected intensity at every pixel that does not depend on the waves.
            floor: f of :data:`Loss`.
            loss: L.
            response: the detector's, which filters the intensity; None for pixels that see a point.

        Returns:
            L and the sum of (I - y)^2, both over the pixels of this batch that are compared.
        """

    def score(
        self,
        waves: Tensor,
        patterns: Tensor,
        indices: Tensor,
        valid: Tensor,
        mask_of: Tensor,
        scale: float,
        background: float,
        floor: float,
        loss: Loss,
        response: Response | None = None,
    ) -> tuple[float, float, float, float]:
        """As :meth:`residual`, for the intensity or the amplitude loss, with the sums that a final pass needs.

        Where no more than ``floor`` is expected, the slope of the amplitude loss is 0: at 0 it is not finite.

        Returns:
            The intensity loss, the amplitude loss, the slopes dL/dI of ``loss`` summed over the batch's pixels, and
            the derivative of ``loss`` with respect to the response's blur, 0 without a response.
        """

    def shift_slopes(self, slopes: Tensor, spectra: Tensor, ramp_y: Tensor, ramp_x: Tensor) -> Tensor:
        """Re <slopes, d shift(spectra) / d(y, x)> per pattern, real (b, 2), displacement in pixels."""

    def pull_back(
        self,
        entering: Tensor,
        leaving: Tensor,
        transmission: Tensor,
        corners: Tensor,
        gradient: Tensor,
        illumination: Tensor | None,
    ) -> None:
        """Adjoint of one slice in a single loop.

        :meth:`add_product` to ``gradient``, :meth:`add_illumination` with weight 1 to ``illumination`` if there is one,
        and ``leaving`` times the conjugate of the object, in place.
        """

    def best_steps(
        self,
        entering: Tensor,
        transmission: Tensor,
        corners: Tensor,
        object_direction: Tensor,
        probe_direction: Tensor | None,
        wanted: Tensor,
        damping: float,
    ) -> Tensor:
        """Least-squares steps along two directions of each pattern's exit wave, real (b, 2).

        With a = entering * object_direction and c = probe_direction * transmission: the steps s, t that minimise
        ``||wanted - s a - t c||^2 + damping (s^2 mean <a,a> + t^2 mean <c,c>)``, means over the batch; t is 0 without a
        probe direction.
        """

    def object_direction(
        self,
        gradient: Tensor,
        illumination: Tensor,
        box: tuple[int, int, int, int],
        floor: float,
        direction: Tensor,
    ) -> None:
        """``direction = gradient / ((1 - floor) * illumination + floor * its maximum)`` inside ``box``.

        The gradient is zero there afterwards.
        """

    def apply_direction(
        self,
        transmission: Tensor,
        direction: Tensor,
        weighted: Tensor,
        illumination: Tensor,
        box: tuple[int, int, int, int],
        step: float,
    ) -> None:
        """``transmission += step * direction * weighted / illumination`` inside ``box``.

        The latter two are zero there afterwards.
        """

    def update_object(
        self,
        transmission: Tensor,
        gradient: Tensor,
        illumination: Tensor,
        box: tuple[int, int, int, int],
        step: float,
        floor: float,
    ) -> None:
        """``transmission += step * gradient / ((1 - floor) * illumination + floor * its maximum)`` inside ``box``.

        Box is (first row, end row, first column, end column). Gradient and illumination are zero there afterwards.
        """
