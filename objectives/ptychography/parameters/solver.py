"""The parameters of how a reconstruction runs, the same for every measurement but for their defaults."""

from __future__ import annotations

from typing import Any, Literal

from autotune.objective import Parameter, Value

Conditions = tuple[tuple[str, tuple[Value, ...]], ...]
"""See :attr:`autotune.objective.Parameter.idle_while`."""

SOLVERS = ("lbfgs", "lsqml", "epie", "rpie", "adam")

_NOT_STOCHASTIC: Conditions = (("solver", ("lbfgs",)),)
_NOT_STEPPING: Conditions = (("solver", ("lbfgs", "adam")),)
_NOT_ADAM: Conditions = (("solver", ("lbfgs", "lsqml", "epie", "rpie")),)
_HELD: Conditions = (("probe", ("fixed",)),)
_PIXELS_PER_BATCH = 3 << 15


def solver_parameters(probe: str, pixels: int) -> tuple[Parameter, ...]:
    """The solver's settings; ``pixels`` of one pattern set the default batch: as many as fit the processor's cache."""
    batch = max(4, _PIXELS_PER_BATCH // pixels)
    return (
        choice("solver", "lbfgs", SOLVERS, "how the object is found; see the documentation of the study file"),
        whole("iterations", 20, 10, 100, 1, 10_000, "passes over all patterns (L-BFGS: steps)", cheaper="lower"),
        choice(
            "loss",
            "intensity",
            ("intensity", "amplitude", "poisson"),
            "what L-BFGS and Adam minimise; the others work on amplitudes",
            (("solver", ("lsqml", "epie", "rpie")),),
        ),
        choice(
            "probe", probe, ("fixed", "refined"), "whether the probe is held or reconstructed together with the object"
        ),
        whole("probe_start", 0, 0, 20, 0, 10_000, "iterations before a refined probe starts to change", _HELD),
        whole("probe_modes", 1, 1, 6, 1, 32, "incoherent modes of a refined probe", _HELD),
        whole("batch_size", batch, 4, 128, 1, 100_000, "neighbouring patterns per update", _NOT_STOCHASTIC),
        step("object_step", 0.5, 0.05, 1.5, "share of the best step of the object that is made", _NOT_STEPPING),
        step("probe_step", 0.5, 0.05, 1.5, "share of the best step of the probe that is made", _NOT_STEPPING + _HELD),
        step(
            "object_learning_rate", 0.005, 1e-3, 0.2, "Adam's step of the object (its amplitude is about 1)", _NOT_ADAM
        ),
        step(
            "probe_learning_rate", 0.03, 1e-3, 0.2, "Adam's step of the probe, over its rms spectrum", _NOT_ADAM + _HELD
        ),
        step(
            "preconditioner_floor",
            0.05,
            1e-3,
            1.0,
            "least illumination assumed, as a fraction of the highest (rPIE: its alpha)",
            (("solver", ("epie", "adam")),),
            maximum=1.0,
        ),
        weight("smoothness", "weight of the squared differences between neighbouring object pixels"),
        weight("sparsity", "weight of the object's difference from vacuum, in absolute value"),
    )


def position_parameters() -> tuple[Parameter, ...]:
    """Refinement of scan positions."""
    return (
        step(
            "position_step",
            0.0,
            0.01,
            1.0,
            "share of each scan position's best move that is made; L-BFGS, Adam: scale of moves; 0: none",
            (),
            minimum=0,
        ),
        whole(
            "position_start",
            0,
            0,
            20,
            0,
            10_000,
            "iterations before positions start to move",
            (("position_step", (0.0,)),),
        ),
    )


def _setting(name: str, default: Value, description: str, idle_while: Conditions, **rest: Any) -> Parameter:
    """A solver's setting; ``rest`` as in :class:`autotune.objective.Parameter`."""
    return Parameter(name, "1", "solver", default, description=description, idle_while=idle_while, **rest)


def whole(
    name: str,
    default: int,
    low: int,
    high: int,
    minimum: int,
    maximum: int,
    description: str,
    idle_while: Conditions = (),
    cheaper: Literal["lower", "higher"] | None = None,
) -> Parameter:
    """A number of something."""
    limits = {"low": low, "high": high, "minimum": minimum, "maximum": maximum}
    return _setting(name, default, description, idle_while, type="int", cheaper=cheaper, **limits)


def choice(
    name: str, default: str, choices: tuple[str, ...], description: str, idle_while: Conditions = ()
) -> Parameter:
    """One of several names."""
    return _setting(name, default, description, idle_while, type="categorical", choices=choices)


def step(
    name: str,
    default: float,
    low: float,
    high: float,
    description: str,
    idle_while: Conditions,
    minimum: float = 1e-6,
    maximum: float = 10.0,
) -> Parameter:
    """A positive number on a logarithmic scale."""
    limits = {"low": low, "high": high, "minimum": minimum, "maximum": maximum}
    return _setting(name, default, description, idle_while, log=True, **limits)


def weight(name: str, description: str, idle_while: Conditions = ()) -> Parameter:
    """Of a penalty; 0 for none."""
    text = description + ", over the mean curvature of the data's misfit"
    return step(name, 0.0, 1e-4, 0.1, text, idle_while, minimum=0, maximum=1e3)
