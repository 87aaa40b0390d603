"""Adapter of py4DSTEM: gradient descent and projections, one slice or several, one mode or several.

Probe and positions are given as arrays, so that none of its own conventions for aberrations or rotations is used. It
keeps a probe corner-centred and transforms without a scale, so a probe is the job's over the patterns' size.
"""

import math
import os
import warnings

PACKAGES = ("py4DSTEM", "numpy")


def open_package():
    """Import it."""
    os.environ["MPLBACKEND"] = "Agg"
    import py4DSTEM  # noqa: F401


def run(job, report):
    """Reconstruct; see host.py."""
    import numpy as np

    warnings.filterwarnings("ignore")
    sections = sections_of(job.options)
    ptychography = prepared(job, sections)
    n = math.sqrt(job.probe.shape[-2] * job.probe.shape[-1])
    mask = None if job.valid.all() else np.fft.ifftshift(job.valid)
    for iteration in range(1, job.iterations + 1):
        told = arguments(job, sections, iteration)
        ptychography.reconstruct(**told, detector_fourier_mask=mask, reset=iteration == 1)
        probe = np.fft.fftshift(ptychography._probe, axes=(-2, -1)) * n
        if not report(iteration, ptychography.error, transmission(ptychography), probe, ptychography._positions_px):
            return None
    job.keep(lambda folder: keep(ptychography, told, folder))
    return own_model(ptychography, job)


def arguments(job, sections, iteration):
    """What the package is told for one iteration, beside arrays."""
    return {
        "num_iter": 1,
        "reconstruction_method": job.values["method"],
        "max_batch_size": int(job.values["batch_size"]),
        "seed_random": (job.seed + iteration) % 2**32,
        "step_size": float(job.values["step_size"]),
        "normalization_min": float(job.values["normalization_min"]),
        "fix_probe": not (job.refine_probe and iteration > job.probe_start),
        "fix_probe_com": False,
        "fix_positions": True,
        "object_positivity": False,
        "store_iterations": False,
        "progress_bar": False,
        "clear_fft_cache": False,
        **sections["reconstruct"],
    }


def keep(ptychography, told, folder):
    """Write its own file, without the patterns, and what it was told in the last iteration."""
    import json

    import py4DSTEM

    ptychography.set_save_defaults(save_datacube=False, save_exit_waves=False)
    ptychography._object_padding_px = ((0, 0), (0, 0))  # or its reader moves the positions by it once more
    py4DSTEM.save(folder / "py4dstem.h5", ptychography)
    (folder / "py4dstem_reconstruct.json").write_text(json.dumps(told, indent=2))


def sections_of(options):
    """Dotted options by the call that they belong to: ``init``, ``preprocess`` or ``reconstruct``."""
    sections = {"init": {}, "preprocess": {}, "reconstruct": {}}
    for name, value in options.items():
        section, _, rest = name.partition(".")
        if section not in sections or not rest:
            raise ValueError("option {}: begins with none of {}".format(name, ", ".join(sections)))
        sections[section][rest] = value
    return sections


def prepared(job, sections):
    """The package's reconstruction before its first iteration."""
    import numpy as np
    import py4DSTEM

    count, rows, columns = job.patterns.shape
    cube = py4DSTEM.DataCube(data=np.array(job.patterns, dtype=np.float32).reshape(count, 1, rows, columns))
    pixel = job.pixel or (1.0, 1.0)
    # Square pixels; of others, the mean side. Positions are handed over in its pixels anyway.
    side = math.sqrt(pixel[0] * pixel[1])
    cube.calibration.set_R_pixel_size(side)
    cube.calibration.set_R_pixel_units("A")
    cube.calibration.set_Q_pixel_size(1 / (side * math.sqrt(rows * columns)))
    cube.calibration.set_Q_pixel_units("A^-1")
    probe = np.fft.ifftshift(job.probe, axes=(-2, -1)) / math.sqrt(rows * columns)
    several, thick = len(probe) > 1, job.slices > 1
    given = {
        "energy": electron_energy(job.wavelength),
        "datacube": cube,
        "semiangle_cutoff": 1.0,  # asked for, and of no effect on a given probe
        "initial_probe_guess": probe.astype(np.complex64) if several else probe[0].astype(np.complex64),
        # It divides them by pixels of its own, whose sides differ where the patterns' do.
        "initial_scan_positions": job.positions * side * math.sqrt(rows * columns) / np.array([rows, columns]),
        "object_type": "complex",
        "verbose": False,
        "device": "gpu" if job.device == "cuda" else "cpu",
    }
    if several:
        given["num_probes"] = len(probe)
    if thick:
        given.update(num_slices=job.slices, slice_thicknesses=job.slice_thickness)
    phase = py4DSTEM.process.phase
    of = {
        (False, False): phase.SingleslicePtychography,
        (True, False): phase.MixedstatePtychography,
        (False, True): phase.MultislicePtychography,
        (True, True): phase.MixedstateMultislicePtychography,
    }[several, thick]
    ptychography = of(**{**given, **sections["init"]})
    middle = [np.full((count, 1), float(n // 2), np.float32) for n in (rows, columns)]
    ptychography.preprocess(
        **{
            "plot_center_of_mass": False,
            "plot_rotation": False,
            "plot_probe_overlaps": False,
            "fit_function": "constant",
            "force_com_rotation": 0.0,
            "force_com_transpose": False,
            "force_com_shifts": middle,  # or it moves the patterns by an interpolation
            "vectorized_com_calculation": False,
            "center_positions_in_fov": False,  # or it moves the positions by parts of a pixel
            **sections["preprocess"],
        }
    )
    return ptychography


def electron_energy(wavelength):
    """The energy in eV at which electrons have a wavelength in angstrom: the package asks for it."""
    rest, hc = 510998.95, 12398.4198
    return math.sqrt(rest**2 + (hc / (wavelength or 0.05)) ** 2) - rest


def transmission(ptychography):
    """The object as a complex transmission."""
    import numpy as np

    found = ptychography._object
    return np.exp(1j * found) if ptychography._object_type == "potential" else found


def own_model(ptychography, job):
    """Intensities (checked, y, x) by the package's own forward model."""
    import numpy as np

    at = np.asarray(ptychography._positions_px)[job.checked]
    rows, columns = ptychography._extract_vectorized_patch_indices(at)
    probes = ptychography._return_shifted_probes(ptychography._probe, at - np.round(at))
    overlap = ptychography._overlap_projection(ptychography._object, rows, columns, probes)[-1]
    amplitudes = ptychography._return_farfield_amplitudes(np.fft.fft2(overlap))
    return np.fft.fftshift(np.square(np.abs(amplitudes)), axes=(-2, -1))
