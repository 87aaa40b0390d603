"""Adapter of PtyRAD: gradient descent by automatic differentiation, one slice or several, one mode or several.

Probe, positions and the object's start are given as arrays, so that none of its own conventions for aberrations or
rotations is used. Of what it does unless told otherwise, random shifts, blurs, constraints and the refinement of
positions are off: an option turns them on. It scales the patterns, so that its learning rates fit any counts.
"""

import difflib
import importlib.machinery
import logging
import math
import os
import sys
import warnings

from __main__ import import_torchvision

PACKAGES = ("ptyrad", "torch", "numpy")

_OFFERED = ("init_params", "model_params", "loss_params", "constraint_params", "recon_params.BATCH_SIZE",
            "recon_params.GROUP_MODE")  # fmt: skip
"""What its options begin with. The others name files, what it prints, and loops that are not run here."""


def open_package():
    """Import it."""
    os.environ["MPLBACKEND"] = "Agg"
    # Equal jobs give equal results on a GPU only with this, and it is read when the GPU is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import_torchvision()
    if sys.version_info < (3, 12):
        sys.meta_path.insert(0, Mended())
    import ptyrad.init
    import ptyrad.solver.reconstruction  # noqa: F401

    logging.getLogger("ptyrad").setLevel(logging.ERROR)


class Mended(importlib.machinery.PathFinder):
    """Finds its module of pictures with one line mended, which is an error of syntax below Python 3.12."""

    class Loader(importlib.machinery.SourceFileLoader):
        """Compiles the mended source; nothing is written."""

        def get_code(self, fullname):
            """The module's code."""
            source = self.get_data(self.path).decode()
            return compile(source.replace("['niter'][-1]}'", '["niter"][-1]}\''), self.path, "exec")

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        """The module's place."""
        found = super().find_spec(fullname, path, target) if fullname == "ptyrad.plotting.basic" else None
        if found is not None:
            found.loader = cls.Loader(fullname, found.origin)
        return found


def run(job, report):
    """Reconstruct; see host.py."""
    import numpy as np
    import torch
    from ptyrad.core import CombinedConstraint, CombinedLoss
    from ptyrad.solver import reconstruction as steps

    warnings.filterwarnings("ignore")
    torch.set_num_threads(job.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    steps.set_random_seed(job.seed)
    params = parameters_of(job)
    model, counts = prepared(job, params)
    recon, of_model = params["recon_params"], params["model_params"]
    optimizer = steps.create_optimizer(of_model["optimizer_params"], model.optimizable_params)
    scheduler = steps.create_scheduler(of_model["scheduler_params"], optimizer)
    loss = CombinedLoss(params["loss_params"], device=job.device)
    constraint = CombinedConstraint(params["constraint_params"], device=job.device)
    count, middle = len(job.patterns), job.probe.shape[-1] // 2
    size, accumulated = (int(recon["BATCH_SIZE"][name]) for name in ("size", "grad_accumulation"))
    batches = steps.make_batches(
        np.arange(count), job.positions, min(size, count), mode=recon["GROUP_MODE"], seed=job.seed
    )
    # Its clustering may leave a group without patterns, of which the mean is not a number.
    batches = [torch.as_tensor(batch, device=job.device) for batch in batches if len(batch)]
    compare = steps.compute_loss if job.valid.all() else comparison(torch.as_tensor(job.valid, device=job.device))
    for iteration in range(1, job.iterations + 1):
        steps.toggle_grad_requires(model, iteration)
        steps.recon_step(
            batches, accumulated, model, optimizer, scheduler, loss, constraint, iteration, compute_loss_fn=compare,
            scheduler_step_unit=(of_model["scheduler_params"] or {}).get("step_unit", "iter"),
        )  # fmt: skip
        with torch.no_grad():
            found = torch.polar(model.opt_obja, model.opt_objp)[0].cpu().numpy()
            probe = model.get_complex_probe_view().cpu().numpy() * math.sqrt(counts)
            positions = (model.crop_pos.double() + model.opt_probe_pos_shifts.double()).cpu().numpy() + middle
        if not report(iteration, model.loss_iters[-1][1], found, probe, positions):
            return None
    with torch.no_grad():
        own = [model(part).cpu() for part in torch.as_tensor(job.checked, device=job.device).split(max(1, size))]
    job.keep(lambda folder: keep(folder, job, params, model, optimizer, scheduler))
    return torch.cat(own).numpy() * counts


def keep(folder, job, params, model, optimizer, scheduler):
    """Write its model file, and a parameter file with which it goes on from there (``ptyrad run``)."""
    import json

    import numpy as np
    import yaml
    from ptyrad.io.save import make_save_dict, save_dict_to_hdf5

    power = float(model.get_complex_probe_view().detach().abs().square().sum())
    given = {**params["init_params"], "meas_source": "file"}
    given["meas_params"] = {"path": "measurement.h5", "key": "patterns"}
    for part in ("probe", "pos", "obj"):
        given.update({f"{part}_source": "PtyRAD", f"{part}_params": "ptyrad_model.hdf5"})
    given["probe_normalization"] = {"mode": "target_intensity", "value": power}
    recon = {**params["recon_params"], "NITER": job.iterations, "output_dir": "output"}
    told = json.loads(json.dumps({**params, "init_params": given, "recon_params": recon}, default=list))
    rows = np.arange(len(job.patterns))
    saved = make_save_dict(".", model, told, optimizer, scheduler, job.iterations, rows, {})
    save_dict_to_hdf5(saved, folder / "ptyrad_model.hdf5")
    with (folder / "ptyrad_params.yaml").open("w") as file:
        yaml.safe_dump(told, file, sort_keys=False)


def comparison(valid):
    """Its loss of the pixels that are compared: it has no mask, and its losses take pixels in any arrangement."""

    def compare(batch, model, instance, measured, loss):
        expected = model(batch)
        return loss(expected[:, valid], measured[:, valid], *instance._current_object_patches, instance.omode_occu)

    return compare


def prepared(job, params):
    """Its model before the first iteration, and the counts of one unit of its intensities."""
    import numpy as np
    from ptyrad.core import PtychoModel
    from ptyrad.init import Initializer

    start = Initializer(params["init_params"], seed=job.seed)
    start.init_cache()
    start.init_measurements()
    # Its calibration would fit a disk to the patterns, for its log alone; all that is used of it is the pixel.
    start.init_params["simu_Npix"] = start.init_params["simu_Npix"] or start.init_params["meas_Npix"]
    start.init_params["probe_dx"] = start.init_params["meas_calibration"]["value"]
    start.set_variables_dict()
    for part in ("probe", "pos", "obj", "omode_occu", "H", "obj_tilts", "check", "provenance"):
        getattr(start, "init_" + part)()
    if len(start.init_variables["omode_occu"]) > 1:
        raise ValueError("several modes of the object cannot be taken over: leave obj_omode_max at 1")
    sent, theirs = params["init_params"]["meas_params"], start.init_variables["measurements"]
    counts = sent.sum(dtype=np.float64) / theirs.sum(dtype=np.float64)
    return PtychoModel(start.init_variables, params["model_params"], device=job.device), counts


def parameters_of(job):
    """All that it is told, in its own structure."""
    from ptyrad.params.ptyrad_params import PtyRADParams

    given = given_by(job)
    every = PtyRADParams(**given).model_dump()
    if job.options:
        known = {name: below for name, below in names_of(every) if name.startswith(_OFFERED)}
        # Its tables of what is updated take one entry more than they list.
        known.update({name.replace(".lr", ".end_iter"): False for name in known if name.endswith(".lr")})
        for name, value in job.options.items():
            give(given, known, name, value)
        every = PtyRADParams(**given).model_dump()
    return every


def names_of(nested, before=""):
    """The dotted names in nested dictionaries, each with whether other names may stand below it."""
    for name, value in nested.items():
        if isinstance(value, dict) and value:
            yield from names_of(value, before + name + ".")
        else:
            yield before + name, value is None or isinstance(value, dict)


def give(given, known, name, value):
    """Set an option by its dotted name.

    Raises:
        ValueError: it has no such option.
    """
    parts = name.split(".")
    below = any(known.get(".".join(parts[:end])) for end in range(1, len(parts)))  # which names, the package knows
    if name not in known and not below:
        near = difflib.get_close_matches(name, known, 1, 0.0)[0]
        raise ValueError(f"option {name}: PtyRAD has none of this name that acts here; the nearest is {near}")
    for part in parts[:-1]:
        if not isinstance(given.get(part), dict):
            given[part] = {}
        given = given[part]
    given[parts[-1]] = value


def given_by(job):
    """What the job tells it."""
    import numpy as np

    count, rows, columns = job.patterns.shape
    if rows != columns:
        raise ValueError(f"PtyRAD takes square patterns only, and these have {rows} x {columns} pixels: crop them")
    # It takes no negative counts; pixels that are not compared may hold anything.
    patterns = np.where(job.valid, np.maximum(job.patterns, 0), 0).astype(np.float32)
    unit = float(patterns.mean(axis=0, dtype=np.float64).max()) or 1.0
    pixel = job.pixel or (1.0, 1.0)
    values = job.values
    rate, moves = float(values["object_learning_rate"]), float(values["position_learning_rate"])
    blur, layers = float(values["object_blur"]), float(values["kz_filter"]) if job.slices > 1 else 0.0
    poisson = values["loss"] == "poissn"
    off = {"start_iter": None}
    constraints = {"ortho_pmode": off, "fix_probe_int": off, "obj_rblur": off, "obj_zblur": off, "pos_recenter": off}
    if blur > 0:
        constraints["obj_rblur"] = {"start_iter": 1, "std": blur, "kernel_size": 2 * math.ceil(3 * blur) + 1}
    if layers > 0:
        constraints["kz_filter"] = {"start_iter": 1, "beta": layers}
    return {
        "init_params": {
            "random_seed": job.seed,
            "probe_kv": kilovolts(job.wavelength),
            "probe_conv_angle": 1.0,  # asked for, and of no effect on a given probe
            "meas_Npix": rows,
            # Square pixels; of others, the mean side. Only slices notice.
            "meas_calibration": {"mode": "dx", "value": math.sqrt(pixel[0] * pixel[1])},
            "meas_source": "custom",
            "meas_params": patterns,
            "meas_normalization": {"mode": "divide_const", "value": unit},
            "probe_source": "custom",
            "probe_params": job.probe.astype(np.complex64),
            "probe_pmode_max": len(job.probe),
            "probe_normalization": {
                "mode": "target_intensity",
                "value": float((np.abs(job.probe.astype(np.complex128)) ** 2).sum()) / unit,
            },
            "pos_source": "custom",
            "pos_params": job.positions - rows // 2,  # of the corner of the probe's window
            "pos_N_scans": count,
            "pos_N_scan_slow": count,
            "pos_N_scan_fast": 1,
            "pos_scan_step_size": 1.0,
            "pos_scan_affine": None,
            "pos_scan_rand_std": None,
            "obj_source": "custom",
            "obj_params": np.ones((1, job.slices, *job.object_shape), np.complex64),
            "obj_Nlayer": job.slices,
            "obj_slice_thickness": job.slice_thickness or 1.0,
        },
        "model_params": {
            "optimizer_params": {"name": values["optimizer"]},
            "update_params": {
                "obja": updated(rate),
                "objp": updated(rate),
                "obj_tilts": updated(0.0),
                "slice_thickness": updated(0.0),
                "probe": updated(float(values["probe_learning_rate"]) * job.refine_probe, job.probe_start + 1),
                "probe_pos_shifts": updated(moves),
            },
        },
        "loss_params": {
            "loss_single": {"state": not poisson, "dp_pow": float(values["dp_pow"])},
            "loss_poissn": {"state": poisson},
        },
        "constraint_params": constraints,
        "recon_params": {
            "BATCH_SIZE": {"size": int(values["batch_size"])},
            "GROUP_MODE": values["group_mode"],
            "SAVE_ITERS": None,
        },
    }


def updated(rate, start=1):
    """How an array of its model is reconstructed; 0 for not at all."""
    return {"start_iter": start if rate > 0 else None, "lr": rate}


def kilovolts(wavelength):
    """The energy in keV at which electrons have a wavelength in angstrom: the package asks for it."""
    rest, hc = 510.99895, 12.3984198
    return math.sqrt(rest**2 + (hc / (wavelength or 0.05)) ** 2) - rest
