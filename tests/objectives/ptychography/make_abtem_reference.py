"""Make the reference data of test_abtem.py: diffraction of SrTiO3 [001] by abTEM (``pip install '.[sim]'``).

    python -m tests.objectives.ptychography.make_abtem_reference

abTEM runs as it comes, with its anti-aliasing, on a grid twice as fine as the object grid of a ptychographic model
(pixel = wavelength / (N dtheta)), so that what scatters beyond the detector leaves the wave instead of folding back.
Its intensities on the N x N pixels of the detector are kept, and its potential at every second point. That is the same
potential for both as long as it holds nothing finer than the coarse grid, so the atoms are smeared by 0.12 angstrom
(root mean square per direction; oxygen vibrates by 0.10 at 298 K: Meyer and Nelmes, Ferroelectrics 21 (1978) 461).

The cell: cubic, a = 3.905 angstrom, Sr (0, 0, 0), Ti (1/2, 1/2, 1/2), O (1/2, 1/2, 0) and its like; the cell is moved
by a quarter along the beam, so that each of the planes SrO and TiO2 lies in the middle of its slice. Three cells along
each side make one period of N pixels. The first six of the planes SrO lack one strontium and one oxygen atom of nine,
so that neither the order of the slices nor that of the axes can be exchanged unseen. abTEM's arrays are [x, y]; they
are transposed to [y, x] here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATH = Path(__file__).parent / "reference_data" / "abtem_srtio3.npz"
"""Where the data lie."""

CELL = 3.905
CELLS = 3
PIXELS = 60
FINER = 2
SLICES = 31
DEFECTIVE = 12
"""Slices from the entrance in which the planes SrO have vacancies."""
SMEARING = 0.12
ENERGY_KEV = 100.0
SEMI_CONVERGENCE = 25.0
DEFOCUS, ASTIGMATISM, ASTIGMATISM_ANGLE = 90.0, 30.0, 25.0
TILT = (6.0, -4.0)
"""Specimen tilt (y, x) in mrad, in this project's sign: columns lean towards +tilt on their way down the beam."""
ROTATION = 12.0
STATED = ((-1.9, -1.2), (-1.1, 1.7), (0.3, 0.2), (1.4, -0.9), (1.6, 1.5))


def rotated(stated: NDArray[np.float64], degree: float) -> NDArray[np.float64]:
    """Scan positions (y, x) turned by a scan rotation."""
    v = np.deg2rad(degree)
    y, x = stated.T
    return np.stack([np.cos(v) * y - np.sin(v) * x, np.sin(v) * y + np.cos(v) * x], axis=1)


def potential_planes() -> NDArray[np.float64]:
    """Projected potential (3, x, y) of the planes SrO, TiO2 and SrO with vacancies on the fine grid, V angstrom."""
    import abtem
    from ase import Atoms

    sites = [(0, 0, 0.25), (0.5, 0.5, 0.75), (0.5, 0.5, 0.25), (0.5, 0, 0.75), (0, 0.5, 0.75)]
    whole = Atoms("SrTiO3", scaled_positions=sites, cell=[CELL] * 3, pbc=True) * (CELLS, CELLS, 1)
    defective = whole.copy()
    del defective[[_nearest(whole, "Sr", (0, 0)), _nearest(whole, "O", (0.5, 2.5))]]
    gpts = PIXELS * FINER
    planes = [
        abtem.Potential(atoms, gpts=gpts, slice_thickness=CELL / 2).build(lazy=False).array
        for atoms in (whole, defective)
    ]
    k = np.fft.fftfreq(gpts, CELLS * CELL / gpts)
    smearing = np.exp(-2 * (np.pi * SMEARING) ** 2 * (k[:, None] ** 2 + k[None, :] ** 2))
    stack = np.stack([planes[0][0], planes[0][1], planes[1][0]])
    return np.fft.ifft2(np.fft.fft2(stack) * smearing).real


def _nearest(atoms: Any, symbol: str, cells: tuple[float, float]) -> int:
    distance = np.hypot(*(atoms.positions[:, :2] - np.array(cells) * CELL).T)
    distance[(np.array(atoms.get_chemical_symbols()) != symbol) | (atoms.positions[:, 2] > CELL / 2)] = np.inf
    return int(distance.argmin())


def make() -> dict[str, NDArray[Any]]:
    """All arrays of the reference, as they are stored."""
    import abtem
    from abtem.core.energy import energy2sigma, energy2wavelength

    # NumPy's FFT: FFTW's plans differ from run to run, and so would the last digits.
    with abtem.config.set(
        {"precision": "float64", "fft": "numpy", "dask.lazy": False, "diagnostics.progress_bar": False}
    ):
        energy = 1e3 * ENERGY_KEV
        planes = potential_planes()
        order = np.array([1 if i % 2 else 2 if i < DEFECTIVE else 0 for i in range(SLICES)], dtype=np.uint8)
        extent = CELLS * CELL
        stated = np.array(STATED)
        positions = rotated(stated, ROTATION)
        common = {
            "extent": extent,
            "semiangle_cutoff": SEMI_CONVERGENCE,
            "energy": energy,
            "C10": -DEFOCUS,
            "C12": ASTIGMATISM,
            "phi12": np.deg2rad(ASTIGMATISM_ANGLE),
        }

        def diffraction(slices: NDArray[np.uint8], tilt: tuple[float, float]) -> NDArray[np.float32]:
            potential = abtem.PotentialArray(planes[slices], slice_thickness=CELL / 2, extent=extent)
            # abTEM tilts the beam (x, y), and a beam tilted one way is a specimen tilted the other way.
            probe = abtem.Probe(gpts=PIXELS * FINER, tilt=(-tilt[1], -tilt[0]), **common)
            waves = probe.multislice(potential, scan=abtem.CustomScan(positions[:, ::-1] % extent), lazy=False)
            fine = np.abs(np.fft.fftshift(np.fft.fft2(waves.array), axes=(1, 2))) ** 2
            first = PIXELS * FINER // 2 - PIXELS // 2
            inside = fine[:, first : first + PIXELS, first : first + PIXELS]
            return inside.swapaxes(1, 2).astype(np.float32)

        centre = [(PIXELS // 2) * extent / PIXELS] * 2
        probe = abtem.Probe(gpts=PIXELS, **common).build(scan=abtem.CustomScan([centre]), lazy=False).array[0].T
        wavelength = energy2wavelength(energy)
        return {
            "phases": (energy2sigma(energy) * planes[:, ::FINER, ::FINER]).swapaxes(1, 2).astype(np.float32),
            "order": order,
            "slice_thickness": np.array(CELL / 2),
            "probe": (probe * PIXELS).astype(np.complex64),
            "stated_positions": stated,
            "scan_rotation": np.array(ROTATION),
            "positions": positions,
            "tilt": np.array(TILT),
            "thin": diffraction(order[:1], (0.0, 0.0)),
            "thick": diffraction(order, (0.0, 0.0)),
            "tilted": diffraction(order, TILT),
            "energy_kev": np.array(ENERGY_KEV),
            "wavelength": np.array(wavelength),
            "angular_sampling_mrad": np.array(1e3 * wavelength / extent),
            "semi_convergence_mrad": np.array(SEMI_CONVERGENCE),
            "defocus": np.array(DEFOCUS),
            "astigmatism": np.array(ASTIGMATISM),
            "astigmatism_angle": np.array(ASTIGMATISM_ANGLE),
        }


if __name__ == "__main__":
    np.savez_compressed(PATH, **make())  # type: ignore[arg-type]
