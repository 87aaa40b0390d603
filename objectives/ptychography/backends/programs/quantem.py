"""Adapter of quantem: gradients of its pixelated object and probe, by Adam; one slice or several, one mode or several.

It keeps a probe corner-centred, with the transform that preserves power, and a periodic object, which is padded so that
no patch wraps. It sets probe and positions anew while it prepares a dataset, so ours go in after that.
"""

import gc
import math
import os
import warnings

from __main__ import import_torchvision

PACKAGES = ("quantem", "torch", "numpy")
LOSSES = {"amplitude": "l2_amplitude", "intensity": "l2_intensity", "poisson": "poisson"}
RECONSTRUCT = ("batch_size", "loss_type", "autograd", "analytic_step_normalization")
AT_ONCE = 64


def open_package():
    """Import it."""
    os.environ["MPLBACKEND"] = "Agg"
    import_torchvision()
    import quantem.diffractive_imaging  # noqa: F401

    gc.collect()
    gc.freeze()  # the package collects garbage twice an iteration, and all that is imported would be searched


def run(job, report):
    """Reconstruct; see host.py."""
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    sections = sections_of(job)
    ptychography = prepared(job, sections)
    probe = ptychography.probe_model
    for iteration in range(1, job.iterations + 1):
        learned = job.refine_probe and iteration > job.probe_start
        for parameter in probe.params:
            parameter.requires_grad_(learned)  # without a gradient its optimizer passes it over
        ptychography.reconstruct(num_iters=1, **sections["reconstruct"])
        loss = ptychography.iter_losses[-1]
        middle = torch.fft.fftshift(probe.probe.detach(), dim=(-2, -1)).cpu().numpy()
        positions = ptychography.dset.scan_positions_px.detach().cpu().numpy()
        if not report(iteration, loss, transmission(ptychography), middle, positions):
            return None
    job.keep(lambda folder: keep(ptychography, sections["reconstruct"], folder))
    return own_model(ptychography, job)


def keep(ptychography, told, folder):
    """Write its own file, without the patterns, and what it was told for its iterations."""
    import json

    ptychography.save(folder / "quantem.zip")
    (folder / "quantem_reconstruct.json").write_text(json.dumps(told, indent=2))


def sections_of(job):
    """The package's settings by what they belong to: the adapter's, then the job's dotted options.

    Raises:
        ValueError: an option is none of the package's.
    """
    import numpy as np

    values = job.values
    rms = float(np.sqrt(np.mean(np.abs(job.probe) ** 2)))
    sections = {
        "object": {"positivity": False},
        "probe": {"orthogonalize_probe": False},  # it keeps each mode's power, which changes the sum of patterns
        "object_optimizer": {"name": "adam", "lr": float(values["learning_rate"])},
        "probe_optimizer": {"name": "adam", "lr": float(values["probe_learning_rate"]) * rms},
        "object_scheduler": {"name": "none"},
        "probe_scheduler": {"name": "none"},
        "reconstruct": {
            "batch_size": min(int(values["batch_size"]), len(job.patterns)),
            "loss_type": LOSSES[values["loss"]],
        },
    }
    for name, value in job.options.items():
        section, _, rest = name.partition(".")
        if section not in sections or not rest:
            raise ValueError(f"option {name}: begins with none of {', '.join(sections)}")
        if section == "reconstruct" and rest not in RECONSTRUCT:
            raise ValueError(f"option {name}: {rest} is none of {', '.join(RECONSTRUCT)}")
        sections[section][rest] = value
    return sections


def settings(section, kind, given):
    """An instance of one of the package's dataclasses of settings.

    Raises:
        ValueError: it has no such setting.
    """
    import dataclasses

    known = [field.name for field in dataclasses.fields(kind) if not field.name.startswith("_")]
    for name in given:
        if name not in known:
            raise ValueError(f"option {section}.{name}: {name} is none of {', '.join(known) or 'nothing'}")
    return kind(**given)


def named(section, kinds, sections):
    """The settings of an optimizer or a scheduler, which is one of several kinds."""
    given = dict(sections[section])
    return settings(section, type(kinds.parse_dict({"name": given.pop("name")})), given)


def prepared(job, sections):
    """The package's reconstruction before its first iteration."""
    import numpy as np
    from quantem.core.ml.optimizer_mixin import OptimizerParams, SchedulerParams
    from quantem.diffractive_imaging import Ptychography
    from quantem.diffractive_imaging.detector_models import DetectorPixelated
    from quantem.diffractive_imaging.object_models import ObjectPixelated, PtychoObjConstraintParams
    from quantem.diffractive_imaging.probe_models import ProbePixelated, PtychoProbeConstraintParams

    dataset = dataset_of(job)
    arrays = np.fft.ifftshift(job.probe, axes=(-2, -1)).astype(np.complex64)
    energy = electron_energy(job.wavelength)
    several = {"num_slices": job.slices, "slice_thicknesses": job.slice_thickness} if job.slices > 1 else {}
    ptychography = Ptychography.from_models(
        dset=dataset,
        obj_model=ObjectPixelated.from_uniform(obj_type=job.values["object_type"], rng=job.seed, **several),
        probe_model=ProbePixelated.from_array(arrays, probe_params={"energy": energy}, rng=job.seed),
        detector_model=DetectorPixelated(),
        device="cuda:0" if job.device == "cuda" else "cpu",
        verbose=0,
        rng=job.seed,
    )
    padding = tuple(4 * math.ceil(n / 8) for n in job.object_shape)  # a side is twice this, and a multiple of 8
    ptychography.preprocess(obj_padding_px=padding)
    ptychography.probe_model.probe = arrays
    dataset.scan_positions_px = job.positions.astype(np.float32)
    dataset._set_patch_indices(ptychography.obj_padding_px)
    ptychography._set_obj_fov_mask()
    # New settings, not changed ones: those that a model starts with are its class's.
    for part, model, constraints in (
        ("object", ptychography.obj_model, PtychoObjConstraintParams.Raster),
        ("probe", ptychography.probe_model, PtychoProbeConstraintParams.Raster),
    ):
        model.constraints = settings(part, constraints, sections[part])
        model.set_optimizer(named(f"{part}_optimizer", OptimizerParams, sections))
        model.set_scheduler(named(f"{part}_scheduler", SchedulerParams, sections), job.iterations)
    return ptychography


def dataset_of(job):
    """The patterns, as a scan of one column: where they were taken is told later."""
    import numpy as np
    from quantem.diffractive_imaging import PtychographyDatasetRaster

    count, rows, columns = job.patterns.shape
    pixel = job.pixel or (1.0, 1.0)
    no_step = 1e-9  # the size of the object would follow from the steps of the scan
    dataset = PtychographyDatasetRaster.from_array(
        np.array(job.patterns, dtype=np.float32).reshape(count, 1, rows, columns),
        sampling=(no_step, no_step, 1 / (pixel[0] * rows), 1 / (pixel[1] * columns)),
        units=["A", "A", "A^-1", "A^-1"],
        detector_mask=job.valid.astype(np.float32),
        verbose=0,
        learn_descan=False,
        learn_scan_positions=False,
    )
    dataset.preprocess(
        com_fit_function="no_shift",
        force_com_rotation=0.0,
        force_com_transpose=False,
        plot_rotation=False,
        plot_com=False,
        probe_energy=electron_energy(job.wavelength),
    )
    # It has turned them by an interpolation, even where nothing is to be moved.
    dataset.centered_amplitudes = np.sqrt(np.maximum(job.patterns, 0)).astype(np.float32)
    return dataset


def electron_energy(wavelength):
    """The energy in eV at which electrons have a wavelength in angstrom: the package asks for it."""
    rest, hc = 510998.95, 12398.4198
    return math.sqrt(rest**2 + (hc / (wavelength or 0.05)) ** 2) - rest


def transmission(ptychography):
    """The object as a complex transmission."""
    import numpy as np

    found = ptychography.obj_model.obj.detach().cpu().numpy()
    return found if ptychography.obj_type == "complex" else np.exp(1j * found)


def own_model(ptychography, job):
    """Intensities (checked, y, x) by the package's own forward model."""
    import numpy as np
    import torch

    found = []
    with torch.no_grad():
        for start in range(0, len(job.checked), AT_ONCE):
            indices = torch.tensor(job.checked[start : start + AT_ONCE], device=ptychography.dset.device)
            patches, _, fractions, descan = ptychography.dset.forward(indices, ptychography.obj_padding_px)
            probes = ptychography.probe_model.forward(fractions)
            exits = ptychography.forward_operator(ptychography.obj_model.forward(patches), probes, descan)[1]
            found.append(ptychography.detector_model.forward(exits).cpu().numpy())
    return np.concatenate(found)
