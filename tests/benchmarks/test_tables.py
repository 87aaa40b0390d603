from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from search_bench.cells import Cell, Reference, Results, append, read
from search_bench.problem import Instance, Outcome, Problem
from search_bench.reference import find_reference
from search_bench.report import report, table
from search_bench.summary import simple_regret, summarise, trials_to

from autotune.problem.space import Dimension, Space

SPACE = Space((Dimension("x"),))


def problem(name: str = "calibration6", optimum: float | None = 1.0, target: float = 0.01) -> Problem:
    return Problem(name, "A problem", SPACE, target, lambda seed: Instance(lambda values: Outcome(0.0)), optimum)


def cell(
    engine: str,
    seed: int,
    outcomes: Sequence[float],
    name: str = "calibration6",
    version: str = "v",
    sample: float = 0.25,
) -> Cell:
    points = [{"x": 0.5}] * len(outcomes)
    return Cell(engine, name, seed, version, 1.0, list(outcomes), list(points), [0.5] * len(outcomes), sample)


def results(*cells: Cell, references: Sequence[Reference] = ()) -> Results:
    return Results({c.key: c for c in cells}, {(r.problem, r.seed): r for r in references})


def reaching(trial: int, trials: int = 10, final: float = 1.0) -> list[float]:
    """Values of a search that is at ``final`` from its ``trial``-th trial on."""
    return [0.0] * (trial - 1) + [final] * (trials - trial + 1)


def test_the_file_gives_back_what_was_added_last(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    assert not read(path).cells
    append(path, cell("gp", 0, [0.1, 0.2]))
    append(path, cell("gp", 1, [0.3]))
    append(path, Reference("calibration6", 0, 0.9, {"x": 0.25}, 40, 0.25))
    with path.open("a") as file:
        file.write('{"kind": "cell", "engine": "cut sh\n')
    append(path, cell("gp", 0, [0.5], version="new"))
    content = read(path)
    assert content.cells == results(cell("gp", 0, [0.5], version="new"), cell("gp", 1, [0.3])).cells
    assert content.references == {("calibration6", 0): Reference("calibration6", 0, 0.9, {"x": 0.25}, 40, 0.25)}


def test_the_best_known_value_is_anyones() -> None:
    content = results(
        cell("gp", 0, [0.1, 0.95, 0.2]),
        cell("ax", 1, [0.3]),
        references=[Reference("calibration6", 0, 0.9, {}, 1, 0.25)],
    )
    assert content.best_known("calibration6", 0) == 0.95
    assert content.best_known("calibration6", 1) == 0.3
    assert content.best_known("calibration8", 0) == -np.inf


def test_regret_is_of_the_best_so_far_over_the_scale() -> None:
    searched = Cell("gp", "p", 0, "v", 0.5, [0.2, 0.1, 0.8], [], [], 0.0)
    regret = simple_regret(searched, 1.0)
    assert regret == pytest.approx([1.6, 1.6, 0.4])
    assert (trials_to(regret, 1.6), trials_to(regret, 0.5), trials_to(regret, 0.1)) == (1, 3, np.inf)


def test_medians_are_over_the_seeds_asked_for() -> None:
    cells = [cell("gp", seed, reaching(trial)) for seed, trial in enumerate((2, 4, 9, 1, 1))]
    (row,) = summarise(problem(), results(*cells), seeds=3, trials=10).rows
    assert (row.seeds, row.reached, row.to_target, row.seconds) == (3, 3, 4, 0.5)
    assert row.regret == pytest.approx([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    short = [*cells[:2], cell("gp", 2, reaching(1, trials=4))]
    (row,) = summarise(problem(), results(*short), seeds=3, trials=10).rows
    assert row.seeds == 2


def test_most_seeds_that_do_not_reach_the_target_make_its_median_infinite() -> None:
    cells = [cell("gp", 0, reaching(2)), *(cell("gp", seed, [0.5] * 10) for seed in (1, 2))]
    (row,) = summarise(problem(), results(*cells), seeds=3, trials=10).rows
    assert (row.reached, row.to_target) == (1, np.inf)


def test_ranks_leave_out_gradients_and_tie_below_the_resolution() -> None:
    finals = {"gp-gradients": 1.0, "gp": 0.99995, "optuna-tpe": 0.5, "ax": 0.99999, "skopt": 0.9}
    cells = [cell(name, seed, [final] * 10) for name, final in finals.items() for seed in range(3)]
    summary = summarise(problem(), results(*cells), seeds=3, trials=10)
    ranks = {row.kind.name: row.ranks for row in summary.rows}
    assert ranks == {
        "gp-gradients": {},
        "gp": {10: 1.5},
        "ax": {10: 1.5},
        "skopt": {10: 3},
        "optuna-tpe": {10: 4},
    }
    fewer = summarise(problem(), results(*cells[:-1]), seeds=3, trials=10)
    assert (summary.ranked_seeds, fewer.ranked_seeds) == (3, 2)


def page(ours: int, peer: int | None, gp: float = 0.5, other: float = 0.5) -> str:
    peers = reaching(peer) if peer else [other] * 10
    cells = [cell("gp-gradients", 0, reaching(ours)), cell("gp", 0, [gp] * 10), cell("ax", 0, peers)]
    return report([summarise(problem(), results(*cells), 1, 10)], results(*cells), "p.png")


def test_the_page_says_whether_the_aims_are_reached() -> None:
    assert "gradients 2, Ax 10: 5.0 times fewer. **Reached.**" in page(2, 10)
    assert "gradients 2, Ax 9: 4.5 times fewer. **Not reached.**" in page(2, 9)
    assert "no peer within 10: more than 5.5 times fewer. **Reached.**" in page(2, None)
    assert "no peer within 10: more than 3.7 times fewer. **Not shown.**" in page(3, None)
    assert "calibration6 2 against 1. **Not reached on calibration6.**" in page(2, None, gp=0.4)
    assert "calibration6 1 against 2. **Reached.**" in page(2, None, gp=0.6)
    assert "Six-parameter calibration: not measured yet." in report(
        [summarise(problem("branin"), results(cell("gp", 0, [1.0] * 10, "branin")), 1, 10)], results(), "p.png"
    )


def test_the_page_says_where_the_best_value_is_the_engines_own() -> None:
    cells = [cell("gp", seed, [0.5] * 10) for seed in range(2)]
    content = results(*cells, references=[Reference("calibration6", 0, 0.6, {}, 1, 0.25)])
    text = report([summarise(problem(optimum=None), content, 2, 10)], content, "p.png")
    assert "For 1 of 2 seeds the best value is the engines' own" in text


def test_the_page_says_where_cells_are_of_different_problems() -> None:
    cells = [cell("gp", 0, [0.5] * 10), cell("ax", 0, [0.5] * 10, sample=0.26), cell("gp", 1, [0.5] * 10)]
    text = report([summarise(problem(), results(*cells), 2, 10)], results(*cells), "p.png")
    assert "On 1 of 2 seeds the engines were not given quite the same problem" in text
    same = [cell("gp", 0, [0.5] * 10), cell("ax", 0, [0.5] * 10, sample=0.25001)]
    assert "same problem" not in report([summarise(problem(), results(*same), 1, 10)], results(*same), "p.png")


def test_a_table_is_aligned() -> None:
    assert table(["a", "name"], [["1", "x"], ["1000", "y"]]).splitlines() == [
        "| a    | name |",
        "| ---- | ---- |",
        "| 1    | x    |",
        "| 1000 | y    |",
    ]


def test_the_reference_search_finds_the_peak_of_the_better_choice() -> None:
    space = Space(
        (Dimension("x"), Dimension("y", low=1.0, high=9.0), Dimension("c", type="categorical", choices=("a", "b")))
    )

    def evaluate(values: dict[str, float | int | str]) -> Outcome:
        x, y = float(values["x"]), float(values["y"])
        return Outcome(-((x - 0.31) ** 2) - (y - 2.0) ** 2 / 64 + 0.1 * (values["c"] == "b"))

    reference = find_reference(
        Problem("p", "P", space, 0.01, lambda seed: Instance(evaluate, truth={"x": 0.3})), seed=0, evaluations=200
    )
    assert reference.value == pytest.approx(0.1, abs=1e-6)
    assert reference.point["c"] == "b"
    assert reference.point["x"] == pytest.approx(0.31, abs=1e-3)
    assert (reference.seed, reference.evaluations) == (0, 400)
