"""A reconstruction program as a user may have one: ePIE in numpy, for `studies/command_epie.yaml`.

    python epie.py PARAMETERS.json MEASUREMENT.h5

It reads its parameters from a JSON file, prints a line for every iteration, and writes `result.json`, `object.npy`,
`probe.npy` and `positions.npy` to the working directory. It knows nothing of autotune. (A. M. Maiden and J. M.
Rodenburg, Ultramicroscopy 109, 1256 (2009).)
"""

import json
import sys
from pathlib import Path

import h5py
import numpy as np


def main(parameters: str, measurement: str) -> None:
    """Reconstruct."""
    given = json.loads(Path(parameters).read_text(encoding="utf-8"))
    with h5py.File(measurement) as file:
        patterns = file["patterns"][()].astype(np.float64)
        positions = file["positions"][()]
        geometry = dict(file["geometry"].attrs)
    n, wavelength = patterns.shape[1], float(geometry["wavelength_angstrom"])
    dk = float(geometry["angular_sampling_mrad"][0]) * 1e-3 / wavelength
    pixel = 1 / (n * dk)

    # The probe: an aperture with a defocus (positive = underfocus), zero frequency at index 0. The beam may have hit
    # the detector some pixels away from its middle.
    ky, kx = (np.fft.fftfreq(n, pixel) - given[f"centre_{axis}"] * dk for axis in "yx")
    k2 = ky[:, None] ** 2 + kx[None, :] ** 2
    edge = float(geometry["semi_convergence_mrad"]) * 1e-3 / wavelength
    spectrum = (k2 <= edge**2) * np.exp(1j * np.pi * wavelength * given["defocus"] * k2)
    spectrum *= np.sqrt(patterns.sum((1, 2)).mean() / np.square(np.abs(spectrum)).sum())
    probe = np.fft.fftshift(np.fft.ifft2(spectrum, norm="ortho"))

    # The scan: turned from +y towards +x, in whole pixels.
    angle = np.deg2rad(given["rotation"])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.round(positions @ turn.T / pixel).astype(int)
    corners -= corners.min(axis=0)
    specimen = np.ones(corners.max(axis=0) + n, dtype=complex)

    amplitudes = np.sqrt(np.fft.ifftshift(patterns, axes=(1, 2)))
    strength = given["step"] / np.square(np.abs(probe)).max()
    order, iterations = np.random.default_rng(given["seed"]), int(given["iterations"])
    for iteration in range(1, iterations + 1):
        squared = 0.0
        for i in order.permutation(len(corners)):
            y, x = corners[i]
            seen = specimen[y : y + n, x : x + n]
            wave = np.fft.fft2(probe * seen, norm="ortho")
            modelled = np.abs(wave)
            squared += np.square(amplitudes[i] - modelled).sum()
            right = np.fft.ifft2(wave * amplitudes[i] / np.maximum(modelled, 1e-12), norm="ortho")
            seen += strength * probe.conj() * (right - probe * seen)
        error = float(np.sqrt(squared / patterns.sum()))
        print(f"iteration {iteration} of {iterations}: error {error:.8f}", flush=True)
    np.save("object.npy", specimen.astype(np.complex64))
    np.save("probe.npy", probe.astype(np.complex64))
    np.save("positions.npy", corners + n // 2)
    Path("result.json").write_text(json.dumps({"amplitude": {"error": error}}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
