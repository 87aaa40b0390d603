"""The detector's effect on a diffraction pattern: camera length, centre offset, elliptical distortion.

The detector coordinate of a reciprocal vector q (in ideal pixels from the unscattered beam) is

    d = c + A q,    A = s R(a) diag(1 + e/2, 1 - e/2) R(-a),    s = 1 + camera_length / 100.

A far-field model need not interpolate to obey this. A detector pixel n (counted from N//2) sees the scattering
vector q = A^-1 (n - c), and the phase of its Fourier integral is ``q . r = (n - c) . A^-T r``: the pattern on the
*distorted* detector is the plain FFT of an exit wave sampled on the *affine* real-space grid ``A^T D^-1 m / N``. So
the map is applied by moving the scan positions to that grid and by evaluating the aperture at the true q of every
pixel; this is exact, differentiable, and costs nothing per pattern. Counts are conserved by the unitarity of the
FFT, which is the 1/det(A) of the continuous definition. Vectors are in (y, x) order throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def rotation(angle_degree: Tensor) -> Tensor:
    """Rotation matrix from +y towards +x, (y, x) order, (2, 2): y' = cos a y - sin a x, x' = sin a y + cos a x."""
    angle = torch.deg2rad(angle_degree)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])


@dataclass(frozen=True)
class DetectorMap:
    """The affine map from ideal to recorded detector coordinates.

    Attributes:
        matrix: A, shape (2, 2), (y, x) order, dimensionless.
        centre: c, shape (2,), (y, x), pixels: the unscattered beam sits at (N//2 + c_y, N//2 + c_x).
    """

    matrix: Tensor
    centre: Tensor

    @classmethod
    def from_parameters(
        cls,
        camera_length: Tensor,
        center_offset_y: Tensor,
        center_offset_x: Tensor,
        elliptical_distortion: Tensor,
        elliptical_angle: Tensor,
    ) -> DetectorMap:
        """Build the map from the study's parameters (scalars in %, pixels, 1, degrees)."""
        half = elliptical_distortion / 2
        # The ellipse axis at angle a from +x towards +y is (y, x) = (sin a, cos a); axis^T axis projects onto it.
        angle = torch.deg2rad(elliptical_angle)
        axis = torch.stack([torch.sin(angle), torch.cos(angle)])
        across = torch.stack([torch.cos(angle), -torch.sin(angle)])
        ellipse = (1 + half) * torch.outer(axis, axis) + (1 - half) * torch.outer(across, across)
        return cls((1 + camera_length / 100) * ellipse, torch.stack([center_offset_y, center_offset_x]))

    def ideal_coordinates(self, shape: tuple[int, int]) -> Tensor:
        """q = A^-1 (n - c) of every pixel, in ideal pixels, shape (2, det_y, det_x), zero frequency at (N//2, N//2)."""
        axes = [torch.arange(n, dtype=self.matrix.dtype, device=self.matrix.device) - n // 2 for n in shape]
        pixels = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        return torch.einsum("ij,jyx->iyx", torch.linalg.inv(self.matrix), pixels - self.centre[:, None, None])

    def object_pixels(self, positions: Tensor, pixel: Tensor) -> Tensor:
        """Convert positions to pixels of the affine object grid.

        Args:
            positions: (position, 2) in a length unit.
            pixel: (2,) pixel size of the ideal grid, 1 / (N dk), in the same unit.

        Returns:
            (position, 2) in pixels of the affine grid, A^-T applied.
        """
        return (positions / pixel) @ torch.linalg.inv(self.matrix)
