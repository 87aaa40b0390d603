"""What an evaluation costs is known before it is made."""

from __future__ import annotations

import pytest

from autotune.objective import CountsWork, InputError, Value
from tests.objectives.ptychography.scenes import TRUTH, free, lens, near, objective, thick

AT: dict[str, Value] = {**TRUTH, "iterations": 12}


@pytest.mark.parametrize(
    "cheaper", [{"iterations": 4}, {"scan_fraction": 0.5}, {"detector_binning": 2}], ids=lambda level: next(iter(level))
)
def test_cheap_levels_cost_less(cheaper: dict[str, Value]) -> None:
    problem = objective(lens())
    assert isinstance(problem, CountsWork)
    assert 0 < problem.work({**AT, **cheaper}) < 0.95 * problem.work(AT)


def test_modes_slices_and_free_unknowns_cost_more() -> None:
    problem = objective(thick())
    one = problem.work({"iterations": 12})
    three = problem.work({"iterations": 12, "slices": 3, "thickness": 60.0})
    refined, two, held = (
        problem.work({"iterations": 12, "probe": probe, "probe_modes": modes})
        for probe, modes in (("refined", 1), ("refined", 2), ("fixed", 2))
    )
    assert three > 1.5 * one and two > refined > one and held == one
    moved: dict[str, Value] = {"iterations": 12, "position_step": 0.5}
    assert problem.work(moved) > one
    searched = problem.work({**moved, "position_range": 5.0})
    assert searched > 20 * problem.work(moved) and searched > problem.work(
        {**moved, "position_range": 5.0, "position_search": 10}
    )
    assert problem.work({**moved, "position_range": 5.0, "position_search": 0}) == problem.work(moved)


def test_passes_dominate_long_evaluations_of_much_data() -> None:
    """With all else small, half the iterations are half the work."""
    problem = objective(free())
    long, longer = (problem.work({"iterations": n}) for n in (5000, 10_000))
    assert longer == pytest.approx(2 * long, rel=0.01)


@pytest.mark.parametrize("measured", [free, near], ids=["far", "near"])
def test_part_of_the_scan_costs_less_without_a_lens(measured) -> None:  # type: ignore[no-untyped-def]
    problem = objective(measured())
    assert 0 < problem.work({"scan_fraction": 0.4}) < problem.work({})


def test_values_are_checked() -> None:
    with pytest.raises(InputError, match="scan_fraction"):
        objective(lens()).work({"scan_fraction": 2.0})
