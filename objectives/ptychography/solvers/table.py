"""The table of solvers: each reconstructs an object and a probe from a forward model and data.

:data:`SOLVERS` is the only place that lists them: the choices of the parameter ``solver`` and the conditions under
which a solver's settings are idle are derived from it. To add a solver, write its module in ``algorithms/`` and a row
here. Modules are imported when their solver runs, so that listing the parameters needs no torch.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from objectives.ptychography.model.misfit import Misfit
    from objectives.ptychography.solvers.options import SolverOptions
    from objectives.ptychography.solvers.state import Report, State


class Solve(Protocol):
    """The function of a solver."""

    def __call__(self, misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int) -> State:
        """Reconstruct.

        Args:
            misfit: the forward model and the data.
            state: where to start; it is left as it is.
            options: the solver's settings.
            report: called after every iteration; the solver ends where it returns False.
            seed: fixes everything random.

        Returns:
            The final state, ``stopped`` where ``report`` asked for it. Equal arguments give equal states on one
            machine.
        """


@dataclass(frozen=True)
class Solver:
    """A solver that a study may choose.

    Attributes:
        name: its name in study.yaml, a choice of the parameter ``solver``.
        place: ``module:function`` of its :class:`Solve`.
        uses: names of the settings that not every solver uses but this one does; all others of them are idle with it.
        description: what it does, in one line without a full stop.
    """

    name: str
    place: str
    uses: frozenset[str]
    description: str

    @property
    def on_batches(self) -> bool:
        """Whether every update sees a batch of the patterns."""
        return "batch_size" in self.uses

    def load(self) -> Solve:
        """Import the solver's module and return its function."""
        module, _, function = self.place.partition(":")
        solve: Solve = getattr(importlib.import_module(module), function)
        return solve


_HERE = "objectives.ptychography.solvers.algorithms"
_BATCHES = frozenset({"batch_size", "batches"})
_STEPPING = _BATCHES | {"object_step", "probe_step"}

SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (
        Solver(
            "lbfgs",
            f"{_HERE}.lbfgs:solve_lbfgs",
            frozenset({"loss", "preconditioner_floor"}),
            "L-BFGS over all patterns at once, whose iterations are its steps",
        ),
        Solver(
            "lsqml",
            f"{_HERE}.lsqml:solve_lsqml",
            _STEPPING | {"preconditioner_floor"},
            "least-squares maximum likelihood, each pattern with its own best step",
        ),
        Solver(
            "epie",
            f"{_HERE}.pie:solve_epie",
            _STEPPING,
            "ePIE, the gradient over the largest illumination",
        ),
        Solver(
            "rpie",
            f"{_HERE}.pie:solve_rpie",
            _STEPPING | {"preconditioner_floor"},
            "rPIE, the gradient over a mixture of local and largest illumination",
        ),
        Solver(
            "adam",
            f"{_HERE}.adam:solve_adam",
            _BATCHES | {"loss", "object_learning_rate", "probe_learning_rate"},
            "Adam on batches of patterns",
        ),
    )
}
"""Name -> solver; the first is the default."""


def solve(misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int) -> State:
    """Reconstruct with the solver that ``options`` name; see :class:`Solve`.

    Where positions may be wrong by more than gradients can mend, they are searched for first.
    """
    if options.searches_positions:
        from objectives.ptychography.solvers.position_search import search_positions

        state = search_positions(misfit, state, options, seed)
    return SOLVERS[options.solver].load()(misfit, state, options, report, seed)
