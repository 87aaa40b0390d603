"""Adapter of phaser: gradient descent by automatic differentiation, LSQML or ePIE; slices, modes.

Its engines run from a state of arrays, and tell an observer the state after every iteration. They rescale the probe to
the counts before the first one, which the observer takes back. The patterns' unscattered beam is in the corner, and the
Fourier transform preserves power, so that a probe is the job's. A position is that of a patch's middle, which lies
between two pixels where their number is even.
"""

import itertools
import logging
import os
import warnings

PACKAGES = ("phaserem", "jax", "numpy")
SHARED = ("noise_model", "bwlim_frac", "grouping", "compact", "shuffle_groups", "buffer_n_groups", "jit_unroll_slices",
          "update_object", "update_probe", "update_positions", "group_constraints", "iter_constraints")  # fmt: skip
OFFERED = {
    "gradient": (*SHARED, "solvers", "regularizers"),
    "conventional": (*SHARED, "solver", "position_solver"),
}
"""What its options begin with. The others name files, and what is done before an engine runs."""
DARK = 1e-6
"""Counts that are added to what an amplitude is taken of: its derivative at no counts is infinite."""
TILE = 32
"""Sides of the object are multiples of it, so that few sizes are compiled for."""
COMPILED = 64
"""Jobs after which what was compiled is forgotten: every size and every rate that a job has takes memory."""
kept = {}
begun = itertools.count(1)


def open_package():
    """Import it."""
    os.environ["MPLBACKEND"] = "Agg"
    os.environ["NPROC"] = os.environ.get("OMP_NUM_THREADS", "1")  # threads of XLA, which starts with the import
    # Equal jobs give equal results on a GPU only with this.
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
    logging.disable(logging.INFO)
    from phaser.utils.num import get_backend_module

    get_backend_module("jax")
    import phaser.engines.conventional.solvers
    import phaser.engines.gradient.solvers
    import phaser.execute  # noqa: F401


def run(job, report):
    """Reconstruct; see host.py."""
    import numpy as np
    from phaser.observer import Observer
    from phaser.types import EarlyTermination
    from phaser.utils.num import get_backend_module, to_numpy

    warnings.filterwarnings("ignore")
    use_device(job)
    forget()
    xp = get_backend_module("jax")
    engine = engine_of(job)
    patterns, state = prepared(job, xp)
    probe = job.probe.astype(np.complex64)
    middle = middle_of(job)

    class Told(Observer):
        """Hands each state to the job's report."""

        def start_engine(self, init_state):
            init_state.probe.data = xp.array(probe)  # which the engine has rescaled

        def update_iteration(self, state, i, n, errors):
            found, probe = (to_numpy(part.data) for part in (state.object, state.probe))
            positions = to_numpy(state.scan.data) / state.object.sampling.sampling + middle
            if not report(i, errors["total_loss"], found, probe, positions):
                raise EarlyTermination(state)

    args = {"data": patterns, "dtype": np.float32, "xp": xp, "recons_name": "job", "observer": Told()}
    try:
        state = engine({**args, "state": state, "seed": job.seed})
    except EarlyTermination:
        return None
    job.keep(lambda folder: write_files(folder, state, engine))
    return own_model(job, engine.props, state, patterns, xp)


def write_files(folder, state, engine):
    """Write its state, and its engine as an entry of a plan (``init: {state: phaser.h5}``)."""
    import pane
    import yaml

    state.to_numpy().write_hdf5(str(folder / "phaser.h5"))
    with (folder / "phaser_engine.yaml").open("w") as file:
        yaml.safe_dump({"type": engine.type, **pane.into_data(engine.props)}, file, sort_keys=False)


def use_device(job):
    """Compute on the job's device, or on the processor where the installed jax knows no GPU."""
    import jax
    from phaser.utils.num import get_backend_module, set_default_device

    try:
        found = jax.devices("gpu" if job.device == "cuda" else "cpu")[0]
    except RuntimeError:
        job.remarks.append("phaser ran on the processor: the jax beside it knows no GPU (jax[cuda12] does).")
        found = jax.devices("cpu")[0]
    set_default_device(found, get_backend_module("jax"))


def forget():
    """Now and then, drop what was compiled for earlier jobs."""
    import jax

    if next(begun) % COMPILED == 0:
        kept.clear()
        jax.clear_caches()


def engine_of(job):
    """Its engine with all settings: those of the job, then the job's dotted options.

    Raises:
        ValueError: an option is none of the package's, or has no such value.
    """
    import pane
    from phaser.hooks import EngineHook

    given = settings_of(job)
    offered = OFFERED[given["type"]]
    for name, value in job.options.items():
        *above, last = name.split(".")
        if (above or [last])[0] not in offered:
            raise ValueError(f"option {name}: begins with none of {', '.join(offered)}")
        at = given
        for part in above:
            if not isinstance(at.get(part), dict):
                at[part] = {}
            at = at[part]
        at[last] = value
    try:
        engine = pane.from_data(given, EngineHook)
    except pane.ConvertError as error:
        raise ValueError(f"options {', '.join(job.options)}: {error}") from None
    keep(engine.props.noise_model)
    for variables, solver in getattr(engine.props, "solvers", {}).items():
        keep(solver, *sorted(variables))
    return engine


def keep(hook, *variables):
    """Have a part of an engine be one object for equal settings: jax compiles anew for every other one."""
    make, key = hook.resolve(), (*variables, repr(hook))

    def found(args, props):
        if key not in kept:
            kept[key] = make(args, props=props)
        return kept[key]

    hook.f = found


def settings_of(job):
    """The settings of its engine, without the job's options."""
    import numpy as np

    values, method = job.values, job.values["method"]
    noise = {"type": values["noise_model"] if method == "gradient" else "anscombe"}  # others have no poisson
    given = {
        "niter": job.iterations,
        "grouping": min(int(values["grouping"]), len(job.patterns)),
        "compact": values["groups"] == "compact",
        "bwlim_frac": None,  # or it cuts frequencies off between slices
        "buffer_n_groups": None,
        "update_probe": {"after": job.probe_start} if job.refine_probe else False,
        "group_constraints": [],
        "iter_constraints": [],
        "noise_model": noise,
    }
    if method != "gradient":
        beta = float(values["beta"])
        solver = {"type": method, "beta_object": beta * unit_of(job.probe, method), "beta_probe": beta}
        return {"type": "conventional", "solver": solver, "calc_error_fraction": 1.0, **given}
    if noise["type"] == "amplitude":
        noise["offset"] = DARK
    # Adam's steps have the size of what it changes. Rounded, since a new rate is compiled for.
    rms = float(f"{np.sqrt(np.mean(np.abs(job.probe) ** 2)):.3g}")
    solvers = {
        "object": {"type": "adam", "learning_rate": float(values["learning_rate"])},
        "probe": {"type": "adam", "learning_rate": float(values["probe_learning_rate"]) * rms},
    }
    return {"type": "gradient", "solvers": solvers, "regularizers": [], **given}


def unit_of(probe, method):
    """What a step of an object is counted in: LSQML divides it by the illumination once too often for any counts."""
    import numpy as np

    if method != "lsqml":
        return 1.0
    illumination = (np.abs(probe.astype(np.complex128)) ** 2).sum(axis=0)
    return float((illumination**2).sum() / illumination.sum())


def middle_of(job):
    """From the package's position to the object's pixel under a probe's middle."""
    import numpy as np

    return np.array([0.5 if n % 2 == 0 else 0.0 for n in job.probe.shape[-2:]])


def prepared(job, xp):
    """The patterns, and the state before the first iteration, in angstrom. No two of its arrays share memory."""
    import numpy as np
    from phaser import state
    from phaser.utils.num import Sampling
    from phaser.utils.object import ObjectSampling

    side = np.array(job.pixel or (1.0, 1.0))
    shape = tuple(-(-n // TILE) * TILE for n in job.object_shape)
    scan = ((job.positions - middle_of(job)) * side).astype(np.float32)
    # Pixels that are not compared may hold anything.
    patterns = np.where(job.valid, np.maximum(job.patterns, 0), 0).astype(np.float32)
    patterns, valid = (np.fft.ifftshift(array, axes=(-2, -1)) for array in (patterns, job.valid.astype(np.float32)))
    thicknesses = np.full(job.slices if job.slices > 1 else 0, job.slice_thickness or 0.0, np.float32)
    return state.Patterns(xp.array(patterns), xp.array(valid)), state.ReconsState(
        iter=state.IterState.empty(),
        wavelength=float(job.wavelength or 0.05),
        probe=state.PixelatedProbeState(
            Sampling(job.probe.shape[-2:], sampling=side), xp.array(job.probe.astype(np.complex64))
        ),
        object=state.PixelatedObjectState(
            ObjectSampling(shape, side, (0.0, 0.0)),
            xp.ones((job.slices, *shape), np.complex64),
            xp.array(thicknesses),
        ),
        scan=state.ScanState(xp.array(scan), xp.array(scan)),
    )


class Seen:
    """A noise model that keeps the intensities that it is asked about."""

    def calc_loss(self, model_wave, model_intensity, exp_patterns, mask, state):
        """No loss, and the intensities as the new state."""
        return model_intensity.sum() * 0, model_intensity


SEEN = Seen()


def own_model(job, plan, state, patterns, xp):
    """Intensities (checked, y, x) by the package's own forward model."""
    import numpy as np
    from phaser.engines.common.simulation import make_propagators
    from phaser.engines.gradient.run import SolverStates, run_model
    from phaser.utils.num import to_numpy

    checked = np.array(job.checked)
    _, (after, _) = run_model(
        {},
        state,
        xp.array(checked)[None],
        props=make_propagators(state, plan.bwlim_frac),
        mtf=None,
        group_patterns=patterns.patterns[checked],
        pattern_mask=patterns.pattern_mask,
        noise_model=SEEN,
        regularizers=(),
        solver_states=SolverStates(None, [], [], []),
        xp=xp,
        dtype=np.float32,
        jit_unroll_slices=False,
    )
    return np.fft.fftshift(to_numpy(after.noise_model_state), axes=(-2, -1))
