"""Solvers: from a forward model and data to an object and a probe. One module per algorithm."""

from __future__ import annotations

from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.solvers.adam import Adam
from objectives.ptychography.solvers.lbfgs import solve_lbfgs
from objectives.ptychography.solvers.lsqml import LsqMl
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.pie import Pie
from objectives.ptychography.solvers.state import Report, State
from objectives.ptychography.solvers.stepwise import Step, solve_stepwise

__all__ = ["Report", "SolverOptions", "State", "solve"]

_STEPS: dict[str, type[Step]] = {"epie": Pie, "rpie": Pie, "lsqml": LsqMl, "adam": Adam}


def solve(misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int) -> State:
    """Reconstruct from ``state`` with the solver that ``options`` name.

    Returns:
        The final state, ``stopped`` if ``report`` asked for it. Equal arguments give equal states on one machine.
    """
    if options.solver == "lbfgs":
        return solve_lbfgs(misfit, state, options, report)
    return solve_stepwise(misfit, state, options, report, seed, _STEPS[options.solver])
