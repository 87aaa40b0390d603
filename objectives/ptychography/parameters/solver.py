"""The parameters of how a reconstruction runs, the same for every measurement but for their defaults.

:data:`objectives.ptychography.solvers.table.SOLVERS` says which solvers there are and which of these parameters each
uses.
"""

from __future__ import annotations

from typing import Any, Literal

from autotune.objective import Parameter, Value
from objectives.ptychography.solvers.table import SOLVERS

Conditions = tuple[tuple[str, tuple[Value, ...]], ...]
"""See :attr:`autotune.objective.Parameter.idle_while`."""

_HELD: Conditions = (("probe", ("fixed",)),)
_PIXELS_PER_BATCH = 3 << 15


def _unused(name: str) -> Conditions:
    """The condition under which setting ``name`` is idle: one of the solvers runs that do not use it."""
    without = tuple(solver.name for solver in SOLVERS.values() if name not in solver.uses)
    return (("solver", without),) if without else ()


def solver_parameters(probe: str, pixels: int) -> tuple[Parameter, ...]:
    """The settings of the solvers.

    Args:
        probe: default of the parameter ``probe``.
        pixels: of one pattern; the default batch holds as many patterns as fit the processor's cache.
    """
    batch = max(4, _PIXELS_PER_BATCH // pixels)
    solvers = "; ".join(f"{solver.name}: {solver.description}" for solver in SOLVERS.values())
    return (
        choice("solver", next(iter(SOLVERS)), tuple(SOLVERS), f"how the object is reconstructed ({solvers})"),
        whole("iterations", 20, 10, 100, 1, 10_000, "passes over all patterns", cheaper="lower"),
        choice(
            "loss",
            "auto",
            ("auto", "intensity", "amplitude", "poisson"),
            "the discrepancy that is minimised (auto: intensity with L-BFGS, poisson with Adam); solvers without this "
            "setting work on amplitudes",
            _unused("loss"),
        ),
        choice(
            "probe", probe, ("fixed", "refined"), "whether the probe is held or reconstructed together with the object"
        ),
        whole("probe_start", 0, 0, 20, 0, 10_000, "iterations before a refined probe starts to change", _HELD),
        whole("probe_modes", 1, 1, 6, 1, 32, "incoherent modes of a refined probe", _HELD),
        whole("batch_size", batch, 4, 128, 1, 100_000, "patterns per update", _unused("batch_size")),
        choice(
            "batches",
            "interleaved",
            ("interleaved", "random", "compact"),
            "which patterns make a batch: spread evenly, at random, or neighbours",
            _unused("batches"),
        ),
        step(
            "object_step",
            0.5,
            0.05,
            1.5,
            "share of the best step of the object that is made",
            _unused("object_step"),
        ),
        step(
            "probe_step",
            0.5,
            0.05,
            1.5,
            "share of the best step of the probe that is made",
            _unused("probe_step") + _HELD,
        ),
        step(
            "object_learning_rate",
            0.05,
            1e-3,
            0.2,
            "Adam's first steps of the object (its amplitude is about 1)",
            _unused("object_learning_rate"),
        ),
        step(
            "probe_learning_rate",
            0.02,
            1e-3,
            0.2,
            "Adam's first steps of the probe, over its rms spectrum",
            _unused("probe_learning_rate") + _HELD,
        ),
        step(
            "preconditioner_floor",
            0.05,
            1e-3,
            1.0,
            "least illumination assumed, as a fraction of the highest (rPIE: its alpha)",
            _unused("preconditioner_floor"),
            maximum=1.0,
        ),
        whole(
            "patience",
            0,
            1,
            10,
            0,
            10_000,
            "end after so many iterations without a better likelihood of 2.5 % of the counts, which the solver keeps "
            "from itself, and take the best state; 0: fit all counts, to the last iteration",
        ),
        weight("smoothness", "weight of the squared differences between neighbouring object pixels"),
        weight("sparsity", "weight of the object's difference from vacuum, in absolute value"),
    )


def position_parameters() -> tuple[Parameter, ...]:
    """Refinement of scan positions."""
    unmoved: Conditions = (("position_step", (0.0,)),)
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
            unmoved,
        ),
        Parameter(
            "position_range",
            "object pixel",
            "solver",
            2.0,
            low=1.0,
            high=10.0,
            minimum=0.1,
            maximum=100.0,
            log=True,
            idle_while=unmoved,
            description="farthest that a scan position moves along either axis; above 2, a search comes first",
        ),
        whole(
            "position_search",
            40,
            10,
            100,
            0,
            10_000,
            "cycles of the search for scan positions that are wrong by pixels; runs where position_range is above 2",
            unmoved,
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
    """The weight of a penalty; 0 for none."""
    text = description + ", over the mean curvature of the data's misfit"
    return step(name, 0.0, 1e-4, 0.1, text, idle_while, minimum=0, maximum=1e3)
