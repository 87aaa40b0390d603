"""One row of the table is a solver: offered by the parameters, its settings idle with the others, and run by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autotune.objective import InputError, Parameter, Status, complete_values
from objectives.ptychography.model.misfit import Misfit
from objectives.ptychography.parameters.solver import solver_parameters
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.state import Report, State
from objectives.ptychography.solvers.table import SOLVERS, Solver
from tests.objectives.ptychography.scenes import TRUTH, lens, objective

DOCS = Path(__file__).parents[4] / "docs"


def solve_half(misfit: Misfit, state: State, options: SolverOptions, report: Report, seed: int) -> State:
    """A solver of one iteration that dims the object by ``object_step``."""
    done = State(options.object_step * state.transmission, state.spectra, state.moved, [misfit.data.norm / 4])
    done.stopped = not report(1, done.squared_residuals[0])
    return done


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Solver:
    row = Solver("half", f"{__name__}:solve_half", frozenset({"object_step"}), "dims the object")
    monkeypatch.setitem(SOLVERS, row.name, row)
    return row


def settings() -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in solver_parameters("fixed", 576)}


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_every_row_names_a_function_and_settings_that_there_are(solver: Solver) -> None:
    assert SOLVERS[solver.name] is solver and callable(solver.load())
    known = settings()
    assert solver.uses and solver.uses <= set(known)
    assert solver.description and not solver.description.endswith(".")
    for name, parameter in known.items():
        used_by_some = any(name in other.uses for other in SOLVERS.values())
        idle = parameter.idle_because({"solver": solver.name}) == "solver"
        assert idle == (used_by_some and name not in solver.uses), name


def test_an_added_row_is_offered(row: Solver) -> None:
    known = settings()
    assert known["solver"].choices == (*(name for name in SOLVERS if name != "half"), "half")
    assert known["solver"].default == "lbfgs" and "half: dims the object" in known["solver"].description
    idle = {name for name, parameter in known.items() if parameter.idle({"solver": "half"})}
    others = {name for solver in SOLVERS.values() for name in solver.uses} - {"object_step"}
    assert idle == others


def test_an_added_row_is_run(row: Solver) -> None:
    values = {**TRUTH, "solver": "half", "object_step": 0.25, "iterations": 1}
    evaluation = objective(lens()).evaluate(values, metric="consistency", seed=0)
    assert evaluation.status is Status.COMPLETE and evaluation.curve["consistency"] == [0.5]
    assert (evaluation.arrays["object"] == 0.25).all()


def test_a_row_that_is_not_there_is_refused_with_the_names_of_those_that_are(row: Solver) -> None:
    with pytest.raises(InputError, match="'dm' is not a choice; one of: lbfgs, lsqml, epie, rpie, adam, half"):
        complete_values(objective(lens()).parameters(), {"solver": "dm"})


def test_the_documentation_names_every_solver() -> None:
    for page in ("solvers.md", "study-file.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        assert not [name for name in SOLVERS if f"`{name}`" not in text], page


def test_parameters_are_listed_without_torch() -> None:
    program = (
        "import sys; from objectives.ptychography.parameters import instrument; "
        "print('torch' in sys.modules, 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
