"""The backends of this project: a row for each. Its adapter is a file of its name in ``programs/``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autotune.objective import Parameter, Value
from objectives.ptychography.backends.backend import Backend
from objectives.ptychography.parameters.solver import Conditions, choice, step, whole

_PROGRAMS = Path(__file__).parent / "programs"


_PROJECTIONS = ("DM_AP", "RAAR", "RRR")
_GENTLE = 0.02
"""Largest learning rate of PtyRAD with which its final state is near enough to a minimum for derivatives."""
_OF_PTYCHI = ("autodiff", "LSQML", "ePIE", "rPIE", "DM")
_AT_ONCE: Conditions = (("method", ("DM",)),)
_BY_RULE: Conditions = (("method", ("lsqml", "epie")),)
_HELD: Conditions = (("probe", ("fixed",)),)
_THIN: Conditions = (("slices", (1,)),)
_PROJECTS: Conditions = (("method", _PROJECTIONS),)


def _amplitude_by_descent(values: Mapping[str, Value]) -> str:
    held = values["method"] == "gradient-descent" and values["probe"] == "fixed"
    return "amplitude_consistency" if held else ""


def _by_power(values: Mapping[str, Value]) -> str:
    changes = (values["position_learning_rate"], values["object_blur"], values.get("kz_filter", 0.0))
    gentle = values["optimizer"] == "Adam" and float(values["object_learning_rate"]) <= _GENTLE
    exact = values["loss"] == "single" and values["probe"] == "fixed" and gentle
    if not exact or any(float(value) > 0 for value in changes):
        return ""
    return {1.0: "consistency", 0.5: "amplitude_consistency"}.get(float(values["dp_pow"]), "")


def _but(*methods: str) -> Conditions:
    """The condition that a method of pty-chi runs that is none of these."""
    return (("method", tuple(method for method in _OF_PTYCHI if method not in methods)),)


def _adam(idle: Conditions = (), rate: float = 0.01) -> tuple[Parameter, ...]:
    """The rates of Adam, of packages whose object starts with 1 and whose probe's rate is over its rms."""
    of_object, of_probe = "Adam's first steps of the object", "Adam's first steps of the probe, over its rms"
    return (
        step("learning_rate", rate, 1e-3, 0.1, of_object, idle, maximum=1.0),
        step("probe_learning_rate", 0.01, 1e-3, 0.1, of_probe, idle + _HELD, maximum=1.0),
    )


def _none(values: Mapping[str, Value]) -> str:
    """None: near the optimum the rotation's derivative was off by more than half, if only with some settings."""
    return ""


SHIPPED = (
    Backend(
        name="py4dstem",
        description="py4DSTEM: gradient descent and projections; slices, modes",
        adapter=_PROGRAMS / "py4dstem.py",
        parameters=(
            choice(
                "method",
                "gradient-descent",
                ("gradient-descent", *_PROJECTIONS),
                "reconstruction_method of py4DSTEM",
            ),
            step("step_size", 0.5, 0.05, 1.5, "step_size of its gradient descent", _PROJECTS),
            step("normalization_min", 1.0, 0.01, 1.0, "least illumination over the highest", (), maximum=1.0),
            whole("batch_size", 64, 4, 256, 1, 100_000, "max_batch_size: patterns per update", _PROJECTS),
        ),
        requirements=("py4DSTEM==0.14.18",),
        python=((3, 10), (3, 12)),
        thick=True,
        modes=True,
        minimises=_amplitude_by_descent,
    ),
    Backend(
        name="ptyrad",
        description="PtyRAD: gradient descent by automatic differentiation; slices, modes",
        adapter=_PROGRAMS / "ptyrad.py",
        parameters=(
            choice("optimizer", "Adam", ("Adam", "RAdam", "Adamax", "RMSprop"), "optimizer_params.name of PtyRAD"),
            step("object_learning_rate", 1e-2, 1e-4, 5e-2, "lr of the object's amplitude and phase", (), maximum=1.0),
            step(
                "probe_learning_rate",
                5e-3,
                1e-4,
                5e-2,
                "lr of the probe, for patterns of maximum 1",
                _HELD,
                maximum=1.0,
            ),
            whole("batch_size", 32, 16, 512, 1, 100_000, "patterns per update"),
            choice("group_mode", "random", ("random", "sparse", "compact"), "GROUP_MODE: which patterns make a batch"),
            choice("loss", "single", ("single", "poissn"), "its misfit: of powers of intensities, or Poisson's"),
            step(
                "dp_pow",
                1.0,
                0.2,
                1.0,
                "power of intensities that loss_single compares",
                (("loss", ("poissn",)),),
                minimum=0.05,
                maximum=2.0,
            ),
            step(
                "position_learning_rate",
                0.0,
                1e-4,
                1e-2,
                "lr of positions in object pixels; 0: none",
                (),
                minimum=0,
                maximum=1.0,
            ),
            step("object_blur", 0.0, 0.2, 1.0, "std of obj_rblur in pixels, every iteration; 0: none", (), minimum=0),
            step("kz_filter", 0.0, 0.05, 1.0, "beta of kz_filter, which evens out slices; 0: none", _THIN, minimum=0),
        ),
        requirements=("ptyrad==1.0.0", "torch==2.13.0"),
        python=((3, 11), (3, 12)),
        thick=True,
        modes=True,
        minimises=_by_power,
    ),
    Backend(
        name="ptychi",
        description="pty-chi: automatic differentiation, LSQML, PIE, difference map; slices, modes",
        adapter=_PROGRAMS / "ptychi.py",
        parameters=(
            choice("method", "autodiff", _OF_PTYCHI, "reconstructor of pty-chi (DM: one slice only)"),
            choice("loss", "intensity", ("intensity", "amplitude"), "loss_function of autodiff", _but("autodiff")),
            *_adam(_but("autodiff")),
            step(
                "step_size",
                0.5,
                0.05,
                1.5,
                "optimal_step_size_scaler of LSQML, step_size of ePIE and rPIE",
                _but("LSQML", "ePIE", "rPIE"),
            ),
            step("damping", 0.1, 0.01, 1.0, "preconditioning_damping_factor of LSQML", _but("LSQML")),
            step(
                "momentum",
                0.0,
                0.05,
                1.0,
                "momentum_acceleration_gain of LSQML, for the probe, and for the object where batches are compact",
                _but("LSQML"),
                minimum=0,
            ),
            step(
                "alpha",
                0.3,
                0.01,
                1.0,
                "alpha: of ePIE a factor of its steps, of rPIE the least illumination over the highest",
                _but("ePIE", "rPIE"),
                maximum=1.0,
            ),
            step("relaxation", 0.1, 0.02, 1.0, "exit_wave_update_relaxation of DM", _but("DM"), maximum=1.0),
            whole("batch_size", 50, 4, 256, 1, 100_000, "patterns per update", _AT_ONCE),
            choice(
                "batches",
                "random",
                ("random", "uniform", "compact"),
                "batching_mode: which patterns make a batch",
                _AT_ONCE,
            ),
        ),
        requirements=("ptychi==2.2.0", "torch==2.13.0"),
        python=((3, 11), (3, 12)),
        thick=True,
        modes=True,
        minimises=_none,
    ),
    Backend(
        name="quantem",
        description="quantem: gradient descent by automatic differentiation; slices, modes",
        adapter=_PROGRAMS / "quantem.py",
        parameters=(
            choice(
                "object_type",
                "complex",
                ("complex", "pure_phase", "potential"),
                "obj_type of quantem (complex: its amplitude is at most 1)",
            ),
            choice("loss", "intensity", ("intensity", "amplitude", "poisson"), "loss_type of quantem"),
            *_adam(),
            whole("batch_size", 64, 4, 256, 1, 100_000, "patterns per update"),
        ),
        requirements=("quantem==0.1.10", "torch==2.13.0"),
        python=((3, 11), (3, 12)),
        thick=True,
        modes=True,
        minimises=_none,
    ),
    Backend(
        name="phaser",
        description="phaser: gradient descent by automatic differentiation, LSQML, ePIE; slices, modes",
        adapter=_PROGRAMS / "phaser.py",
        parameters=(
            choice("method", "gradient", ("gradient", "lsqml", "epie"), "engine or solver of phaser"),
            choice(
                "noise_model",
                "anscombe",
                ("anscombe", "amplitude", "poisson"),
                "noise_model of gradient (that of lsqml and epie is anscombe)",
                _BY_RULE,
            ),
            *_adam(_BY_RULE, 0.02),
            step(
                "beta",
                0.2,
                0.02,
                1.0,
                "beta_probe and beta_object of lsqml and epie; the latter of lsqml over the mean illumination",
                (("method", ("gradient",)),),
            ),
            whole("grouping", 64, 4, 256, 1, 100_000, "patterns per update"),
            choice("groups", "sparse", ("sparse", "compact"), "which patterns make a group: any, or neighbours"),
        ),
        requirements=("phaserem==0.3.1", "jax==0.10.2", "numpy==2.4.6"),
        python=((3, 11), (3, 13)),
        thick=True,
        modes=True,
        minimises=_none,
    ),
)
