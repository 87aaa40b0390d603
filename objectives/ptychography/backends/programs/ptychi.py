"""Adapter of pty-chi: automatic differentiation, LSQML, ePIE, rPIE or the difference map.

It knows a probe, positions and metres only, so arrays are all that it gets. Its Fourier transform has no scale, so a
probe is the job's over the root of the patterns' pixels. What its defaults do to a problem beside solving it (they
rescale probe and object) is switched off.
"""

import logging
import math
import os
import warnings

from __main__ import import_torchvision

PACKAGES = ("ptychi", "torch", "numpy")
CLASSES = {
    "autodiff": "AutodiffPtychographyOptions",
    "LSQML": "LSQMLOptions",
    "ePIE": "EPIEOptions",
    "rPIE": "RPIEOptions",
    "DM": "DMOptions",
}
LOSSES = {"intensity": "mse", "amplitude": "mse_sqrt"}  # its poisson takes intensities for their logarithms
AT_ONCE = 64
METRES = 1e-10


def open_package():
    """Import it."""
    os.environ["MPLBACKEND"] = "Agg"
    logging.disable(logging.WARNING)  # it warns of its own defaults at every start
    import_torchvision()
    import ptychi.api.task  # noqa: F401


def run(job, report):
    """Reconstruct; see host.py."""
    import numpy as np
    import torch
    from ptychi.api.task import PtychographyTask

    warnings.filterwarnings("ignore")
    torch.set_num_threads(job.threads)
    options = options_of(job)
    rows, columns = job.probe.shape[-2:]
    scale = math.sqrt(rows * columns)
    probe = (job.probe / scale).astype(np.complex64)
    task = PtychographyTask(
        options,
        # Turned here: the package turns by fftshift, which is off by a pixel for odd sizes.
        diffraction_data=np.ascontiguousarray(np.fft.ifftshift(job.patterns, axes=(-2, -1))),
        object_data=np.ones((job.slices, *job.object_shape), np.complex64),
        probe_data=probe[None],
        probe_position_y_px=job.positions[:, 0].astype(np.float32),
        probe_position_x_px=job.positions[:, 1].astype(np.float32),
        valid_pixel_mask=np.ascontiguousarray(np.fft.ifftshift(job.valid)),
    )
    with task:
        # Its loader draws batches from a generator of its own, which no option seeds.
        task.reconstructor.dataloader.generator.manual_seed(job.seed)
        for iteration in range(1, job.iterations + 1):
            task.run(n_epochs=1)
            origin = task.object.pos_origin_coords.detach().cpu().numpy()
            positions = task.get_data_to_cpu("probe_positions", as_numpy=True) + origin - origin_of(rows, columns)
            probe = task.get_data_to_cpu("probe", as_numpy=True)[0] * scale
            loss = task.reconstructor.loss_tracker.table["loss"].iloc[-1]
            if not report(iteration, loss, task.get_data_to_cpu("object", as_numpy=True), probe, positions):
                return None
        job.keep(lambda folder: keep(task, options, folder))
        return own_model(task, job)


def keep(task, options, folder):
    """Write its options as it prints them, and the arrays that a task begins with, which it has no file for."""
    import json

    import h5py

    with (folder / "ptychi_options.json").open("w") as file:
        json.dump(options.get_dict(), file, indent=2)
    with h5py.File(folder / "ptychi.h5", "x") as file:
        for name in ("object", "probe", "probe_positions"):
            file[name] = task.get_data_to_cpu(name, as_numpy=True)


def origin_of(rows, columns):
    """Where the package has the origin of positions that are the object's pixels under a probe's middle.

    It counts from the centre of a patch, which lies between two pixels where their number is even.
    """
    return [-0.5 if n % 2 == 0 else 0.0 for n in (rows, columns)]


def options_of(job):
    """The package's options for a job."""
    import numpy as np
    import ptychi.api as api

    values = job.values
    options = getattr(api, CLASSES[values["method"]])()
    if job.slices > 1 and values["method"] == "DM":
        raise ValueError("method DM: pty-chi has it for one slice only")
    given = {
        "data_options.fft_shift": False,
        "data_options.save_data_on_device": job.device == "cuda",
        "data_options.wavelength_m": (job.wavelength or 0.05) * METRES,
        "reconstructor_options.num_epochs": job.iterations,
        "reconstructor_options.batch_size": min(int(values["batch_size"]), len(job.patterns)),
        "reconstructor_options.batching_mode": values["batches"],
        "reconstructor_options.default_device": "gpu" if job.device == "cuda" else "cpu",
        "reconstructor_options.random_seed": job.seed,
        "reconstructor_options.allow_nondeterministic_algorithms": False,
        "object_options.determine_position_origin_coords_by": "specified",
        "object_options.position_origin_coords": origin_of(*job.probe.shape[-2:]),
        "object_options.remove_object_probe_ambiguity.enabled": False,
        "probe_options.optimizable": job.refine_probe,
        "probe_options.optimization_plan.start": job.probe_start,
        "probe_options.orthogonalize_incoherent_modes.enabled": job.refine_probe and len(job.probe) > 1,
        "probe_options.orthogonalize_opr_modes.enabled": False,
        "probe_position_options.optimizable": False,
    }
    if job.pixel:
        given["object_options.pixel_size_m"] = job.pixel[1] * METRES
        given["object_options.pixel_size_aspect_ratio"] = job.pixel[1] / job.pixel[0]
    if job.slices > 1:
        given["object_options.slice_spacings_m"] = [job.slice_thickness * METRES] * (job.slices - 1)
    given.update(options_of_method(values))
    if values["method"] == "autodiff":  # Adam's steps have the size of what it changes
        rms = float(np.sqrt(np.mean(np.abs(job.probe) ** 2) / job.probe[0].size))
        given["probe_options.step_size"] *= rms
    for name, value in {**given, **job.options}.items():
        override(options, name, value)
    return options


def options_of_method(values):
    """The options that only some methods have."""
    method = values["method"]
    both = ("object_options", "probe_options")
    if method == "autodiff":
        return {
            **{f"{part}.optimizer": "adam" for part in both},
            "object_options.step_size": float(values["learning_rate"]),
            "probe_options.step_size": float(values["probe_learning_rate"]),
            "reconstructor_options.loss_function": LOSSES[values["loss"]],
        }
    if method == "LSQML":
        return {
            **{f"{part}.optimal_step_size_scaler": float(values["step_size"]) for part in both},
            "reconstructor_options.rescale_probe_intensity_in_first_epoch": False,
            "reconstructor_options.preconditioning_damping_factor": float(values["damping"]),
            "reconstructor_options.momentum_acceleration_gain": float(values["momentum"]),
        }
    if method == "DM":
        return {
            "reconstructor_options.exit_wave_update_relaxation": float(values["relaxation"]),
            "reconstructor_options.chunk_length": int(values["batch_size"]),  # of its loop only: it has no batches
        }
    return {
        **{f"{part}.step_size": float(values["step_size"]) for part in both},
        **{f"{part}.alpha": float(values["alpha"]) for part in both},
    }


def override(options, name, value):
    """Set the option of a dotted name.

    Raises:
        ValueError: there is none, or it takes no such value.
    """
    import dataclasses

    parts = name.split(".")
    at, owner = options, options
    for part in parts:
        known = [field.name for field in dataclasses.fields(at)] if dataclasses.is_dataclass(at) else []
        if part not in known:
            raise ValueError(f"option {name}: {part} is none of {', '.join(known) or 'nothing'}")
        at, owner = getattr(at, part), at
    try:
        setattr(owner, parts[-1], value)
    except ValueError as error:
        raise ValueError(f"option {name}: {error}") from None


def own_model(task, job):
    """Intensities (checked, y, x) by the package's own forward model."""
    import numpy as np
    import torch

    found = []
    with torch.no_grad():
        for start in range(0, len(job.checked), AT_ONCE):
            indices = torch.tensor(job.checked[start : start + AT_ONCE], dtype=torch.long)
            found.append(task.reconstructor.forward_model(indices).cpu().numpy())
    return np.fft.fftshift(np.concatenate(found), axes=(-2, -1))
