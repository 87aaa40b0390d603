"""The contract of gest-api 0.2: suggest, ingest, finalize, identities, best points."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gest_api", reason="gest-api is not installed (extra gest)")

import gest_api.generator

from autotune.integrations.gest import Generator
from tests.autotune.integrations.problems import evaluated, make_vocs, search, states


def test_it_is_a_generator_that_returns_ids() -> None:
    generator = Generator(make_vocs())
    assert isinstance(generator, gest_api.generator.Generator)
    assert generator.returns_id and Generator.returns_id
    assert generator.vocs == make_vocs()


def test_importing_autotune_does_not_import_gest_api() -> None:
    code = "import autotune, autotune.integrations, autotune.cli.main, sys; print('gest_api' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_suggest_gives_exactly_so_many_points_with_variables_and_constants(count: int) -> None:
    generator = Generator(make_vocs())
    points = generator.suggest(count)
    assert len(points) == count
    assert all(list(point) == ["_id", "x", "y", "alpha"] and point["alpha"] == 2.0 for point in points)
    assert all(type(point["x"]) is float and 0 <= point["x"] <= 1 and -5 <= point["y"] <= 5 for point in points)
    assert len({point["_id"] for point in points}) == count
    assert len({(point["x"], point["y"]) for point in points}) == count


def test_suggest_without_a_number_gives_one_point_and_a_negative_number_is_refused() -> None:
    generator = Generator(make_vocs())
    assert len(generator.suggest()) == len(generator.suggest(None)) == 1
    with pytest.raises(ValueError, match="num_points is -1"):
        generator.suggest(-1)


def test_it_finds_the_optimum() -> None:
    generator = Generator(make_vocs())
    points = search(generator, 16)
    [(number, values, outcomes)] = generator.get_best_points()
    assert outcomes["f"] < 1e-3
    assert values == {name: points[number][name] for name in ("x", "y")}


def test_equal_seeds_give_equal_points() -> None:
    one, other, third = (Generator(make_vocs(), seed=seed) for seed in (3, 3, 4))
    assert search(one, 7) == search(other, 7) != search(third, 7)


def test_derivatives_that_come_back_as_observables_are_worth_evaluations() -> None:
    vocs = make_vocs(observables=["df_dx", "df_dy", "note"])
    generator = Generator(vocs, gradients={"x": "df_dx", "y": "df_dy"})
    points = search(generator, 8)
    assert generator._store.trials()[0].gradient == {"x": points[0]["df_dx"], "y": points[0]["df_dy"]}
    assert generator.get_best_points()[0][2]["f"] < 1e-4


def test_a_derivative_that_is_missing_is_left_out() -> None:
    generator = Generator(make_vocs(observables=["df_dx"]), gradients={"x": "df_dx"})
    first, second = generator.suggest(2)
    generator.ingest([first | {"f": 1.0, "df_dx": math.nan}, second | {"f": 2.0}])
    assert [dict(trial.gradient) for trial in generator._store.trials()] == [{}, {}]


@pytest.mark.parametrize("unknown", [7, "0", "first", 0.5, True, -1])
def test_an_unknown_id_is_a_value_error_and_nothing_is_stored(unknown: Any) -> None:
    generator = Generator(make_vocs())
    [point] = generator.suggest(1)
    with pytest.raises(ValueError, match="no point with '_id'"):
        generator.ingest([evaluated(point), evaluated(point) | {"_id": unknown}])
    assert states(generator) == ["running"]


@pytest.mark.parametrize("no_id", [None, math.nan, np.float64("nan"), "absent"])
def test_points_from_elsewhere_have_no_id_and_are_learned_from(no_id: Any) -> None:
    generator = Generator(make_vocs())
    foreign = [evaluated({"x": 0.1 * i, "y": i - 2.0, "alpha": 2.0, "_id": no_id}) for i in range(5)]
    if no_id == "absent":
        foreign = [{key: value for key, value in point.items() if key != "_id"} for point in foreign]
    generator.ingest(foreign)
    assert states(generator) == ["finished"] * 5
    assert generator.get_best_points()[0][2]["f"] == pytest.approx(min(point["f"] for point in foreign))
    with pytest.raises(ValueError, match="no point with '_id' 0 was suggested"):  # its number is no identity
        generator.ingest([foreign[0] | {"_id": 0}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": 1.5}, "x is 1.5, outside its domain of 0 to 1"),
        ({"x": None}, "it lacks x"),
        ({"alpha": 3.0}, "alpha is 3.0, and this problem holds it at 2.0"),
        ({"f": "high"}, "f is 'high', which is not one number"),
        ({"f": [1.0, 2.0]}, "not one number"),
        ({"y": math.inf}, "outside its domain"),
    ],
)
def test_ingest_stores_all_results_or_none(change: dict[str, Any], message: str) -> None:
    generator = Generator(make_vocs())
    good = evaluated({"x": 0.5, "y": 0.0})
    with pytest.raises(ValueError, match=message):
        generator.ingest([good, good | change])
    assert states(generator) == []


def test_ids_may_come_back_as_other_numbers_without_variables() -> None:
    generator = Generator(make_vocs())
    points = generator.suggest(3)
    kinds = (float, np.int64, np.float64)
    generator.ingest([{"_id": kind(p["_id"]), "f": np.float32(p["x"])} for kind, p in zip(kinds, points, strict=True)])
    assert states(generator) == ["finished"] * 3
    assert [trial.values["x"] for trial in generator._store.trials()] == [point["x"] for point in points]


def test_a_result_may_come_twice_but_not_with_another_value() -> None:
    generator = Generator(make_vocs())
    [point] = search(generator, 1)
    generator.ingest([point])
    assert states(generator) == ["finished"]
    with pytest.raises(ValueError, match="has another result already"):
        generator.ingest([point | {"f": -1.0}])
    with pytest.raises(ValueError, match="two results have '_id' 0"):
        generator.ingest([point, point])
    generator.ingest([{key: value for key, value in point.items() if key != "_id"}])  # measured again
    assert states(generator) == ["finished"] * 2


@pytest.mark.parametrize("outcome", [{}, {"f": math.nan}, {"f": None}, {"f": math.inf}])
def test_a_result_without_a_finite_objective_has_failed(outcome: dict[str, Any]) -> None:
    generator = Generator(make_vocs())
    points = generator.suggest(2)
    generator.ingest([points[0] | outcome, evaluated(points[1])])
    assert states(generator) == ["failed", "finished"]
    assert generator.get_best_points()[0][0] == 1
    assert len(search(generator, 6)) == 6


def test_a_point_that_was_evaluated_beside_its_place_is_kept_where_it_was() -> None:
    generator = Generator(make_vocs())
    near, far = generator.suggest(2)
    generator.ingest([evaluated(near | {"x": near["x"] + 1e-9}), evaluated(far | {"x": 0.875})])
    assert states(generator) == ["finished", "interrupted", "finished"]
    trials = generator._store.trials()
    assert [trial.values["x"] for trial in trials] == [near["x"], far["x"], 0.875]
    assert [trial.index for trial in trials] == [0, 1, 1]  # it has taken the place in the search
    generator.ingest([evaluated(far | {"x": 0.875})])
    assert len(states(generator)) == 3
    with pytest.raises(ValueError, match="'_id' 1 has another result already"):
        generator.ingest([evaluated(far)])
    generator.ingest([point | {"f": 1.0} for point in generator.suggest(1)])
    assert generator.get_best_points()[0][0] in (0, 1)


def test_failures_can_be_registered() -> None:
    generator = Generator(make_vocs())
    points = search(generator, 1) + generator.suggest(2)
    generator.register_failures(points)
    assert states(generator) == ["finished", "failed", "failed"]
    with pytest.raises(ValueError, match="'_id' None"):
        generator.register_failures([{"x": 0.5}])


def test_finalize_releases_pending_points_whose_results_are_still_taken() -> None:
    generator = Generator(make_vocs())
    points = search(generator, 2) + generator.suggest(2)
    generator.finalize()
    generator.finalize()
    assert states(generator) == ["finished", "finished", "interrupted", "interrupted"]
    [again] = generator.suggest(1)
    assert [again["x"], again["y"]] == [points[2]["x"], points[2]["y"]]  # its place in the search is free again
    late = evaluated(points[3])
    generator.ingest([late])
    generator.ingest([late])
    generator.ingest([points[2] | {"f": math.nan}])
    assert states(generator) == ["finished", "finished", "interrupted", "interrupted", "running", "finished"]
    assert dict(generator._store.trials()[-1].values) == {"x": late["x"], "y": late["y"]}


def test_nothing_found_gives_no_best_point() -> None:
    generator = Generator(make_vocs())
    assert generator.get_best_points() == []
    generator.ingest([])
    generator.ingest([point | {"f": math.nan} for point in generator.suggest(2)])
    assert generator.get_best_points() == []


def test_several_objectives_give_the_pareto_front() -> None:
    generator = Generator(make_vocs(objectives={"f": "MINIMIZE", "g": "MAXIMIZE"}))
    for _ in range(8):
        [point] = generator.suggest(1)
        generator.ingest([evaluated(point) | {"g": point["x"]}])
    front = [outcomes for _, _, outcomes in generator.get_best_points()]
    assert len(front) > 1
    assert [o["f"] for o in front] == sorted(o["f"] for o in front)
    assert [o["g"] for o in front] == sorted(o["g"] for o in front)


@pytest.mark.parametrize(
    ("constraint", "kept", "missed"),
    [
        (["LESS_THAN", 0.5], [0.49, -3], [0.5, 0.6, math.nan, None]),
        (["GREATER_THAN", 0.5], [0.51], [0.5, 0.4]),
        (["BOUNDS", 0.2, 0.5], [0.2, 0.3, 0.5], [0.1, 0.6]),
    ],
)
def test_the_best_point_keeps_the_constraints(constraint: list[Any], kept: list[Any], missed: list[Any]) -> None:
    vocs = make_vocs(constraints={"c": constraint})
    for value, answers in [*((value, True) for value in kept), *((value, False) for value in missed)]:
        if value is not None and not math.isnan(value):
            assert vocs.constraints["c"].check(value) is answers
        generator = Generator(vocs)
        [point] = generator.suggest(1)
        generator.ingest([evaluated(point) | {"c": value}])
        assert bool(generator.get_best_points()) is answers


def test_constraints_steer_the_search() -> None:
    generator = Generator(make_vocs(constraints={"c": ["GREATER_THAN", 0.6]}))
    for _ in range(14):
        [point] = generator.suggest(1)
        generator.ingest([evaluated(point) | {"c": point["x"]}])
    [(_, values, _)] = generator.get_best_points()
    assert 0.6 < values["x"] < 0.65


def test_observables_that_are_numbers_are_kept() -> None:
    generator = Generator(make_vocs(observables=["o", "text", "array"]))
    [point] = generator.suggest(1)
    generator.ingest([evaluated(point) | {"o": np.float32(3), "text": "good", "array": np.ones(3), "other": 1}])
    assert set(generator.get_best_points()[0][2]) == {"f", "o"}


def test_a_study_in_a_database_goes_on_in_another_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    first = Generator(make_vocs(), database=url)
    points = search(first, 3)
    left = first.suggest(1)[0]
    second = Generator(make_vocs(), database=url)  # the first one's process is gone
    assert states(second) == ["finished"] * 3 + ["interrupted"]
    second.ingest([points[0], evaluated(left)])
    assert states(second) == ["finished"] * 3 + ["interrupted", "finished"]
    with pytest.raises(ValueError, match="the study 'gest' in the database is of another VOCS"):
        Generator(make_vocs(variables={"x": [0.0, 2.0]}), database=url)
    assert states(Generator(make_vocs(variables={"x": [0.0, 2.0]}), database=url, study="other")) == []
    with pytest.raises(ValueError, match="database: mysql is no kind of store"):
        Generator(make_vocs(), database="mysql://nowhere/trials")
    for in_memory in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(ValueError, match="is in memory; leave it out"):
            Generator(make_vocs(), database=in_memory)
