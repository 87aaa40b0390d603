"""A study's facts: what is kept is read back typed, and what earlier versions kept still is."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from autotune.errors import InputError
from autotune.objective import Metric
from autotune.problem.goals import Limit
from autotune.problem.space import Dimension, Space
from autotune.store.facts import Conclusion, LeaseFact, MlflowPlace, Origin, StoredFacts, plain_facts
from autotune.store.trials import TrialStore

METRIC = Metric("consistency", "maximize", noise_ceiling=0.97, description="1 - ||y - Hx|| / ||y||")
OTHER = Metric("error", "minimize", "angstrom")
SPACE = Space(
    (
        Dimension("defocus", "angstrom", low=-300.0, high=300.0, initial=20.0),
        Dimension("solver", kind="solver", type="categorical", choices=("epie", "lsqml")),
        Dimension("slices", "1", "solver", "int", low=2, high=8, log=True, when=(("solver", ("lsqml",)),)),
    )
)

OF_902A55A: dict[str, Any] = {
    "study_id": "9f1c2e",
    "identity": {"objective": {"name": "ptychography"}, "parameters": {"defocus": {}}, "content_hash": "c0ffee"},
    "metric": {
        "name": "consistency",
        "goal": "maximize",
        "unit": "1",
        "noise_ceiling": 0.97,
        "held_out_of": None,
        "description": "1 - ||y - Hx|| / ||y||",
    },
    "limits": [{"metric": "seconds", "below": 60.0, "above": None}],
    "against": [
        {
            "name": "error",
            "goal": "minimize",
            "unit": "angstrom",
            "noise_ceiling": None,
            "held_out_of": None,
            "description": "",
        }
    ],
    "space": [
        {
            "name": "defocus",
            "unit": "angstrom",
            "kind": "mismatch",
            "type": "float",
            "choices": [],
            "low": -300.0,
            "high": 300.0,
            "log": False,
            "initial": 20.0,
        },
        {"name": "solver", "unit": "1", "kind": "solver", "type": "categorical", "choices": ["epie", "lsqml"]},
        {
            "name": "slices",
            "unit": "1",
            "kind": "solver",
            "type": "int",
            "choices": [],
            "low": 2,
            "high": 8,
            "log": True,
            "when": {"solver": ["lsqml"]},
        },
    ],
    "seed": 4,
    "autotune:created": True,
    "autotune:lease:0": {"owner": "beamline/1/2:77:88:ab", "expires": "2026-11-29T17:00:00+00:00"},
    "origin": {"path": "/data/study.yaml", "from_home": "../study.yaml"},
    "budget": {"trials": 40, "reconstructions": None, "seconds": None, "converged": None},
    "environment:0123456789abcdef": {"python": "3.11.7", "packages": {"numpy": "2.0.0"}},
    "environments": {"beamline/1/2:77:88:ab": "0123456789abcdef"},
    "status": "finished",
    "reason": "the budget of 40 trials is used",
    "mlflow": {"tracking_uri": "sqlite:///m.db", "experiment": "autotune", "run_id": "c0ffee", "stated": False},
    "record": {"study_id": "9f1c2e", "name": "toy"},
    "recording": [["beamline/1/2:77:88:ab", True], ["beamline/1/2:78:89:cd", False]],
    "seconds": 12.5,
    "answer": {"trials": 40, "level": 0.9, "parameters": {}},
    "answer_error": "ValueError: no optimum",
    "best_error": "ValueError: no folder",
    "report_error": None,
    "confirmation": {"trials": 40},
    "conclusion": {"trials": 40, "replicates": 8, "status": "finished", "reason": "the budget of 40 trials is used"},
}
"""What the version of that commit writes in the store, in its order."""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trials.db'}"


def rows(url: str) -> dict[str, str]:
    """The facts as the database has them: name -> JSON text, in the order in which they were written."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        query = "SELECT key, value_json FROM study_user_attributes ORDER BY study_user_attribute_id"
        return dict(connection.execute(query).fetchall())


def read(facts: StoredFacts) -> dict[str, Any]:
    """Every property, for comparisons."""
    names = [name for name, member in vars(StoredFacts).items() if isinstance(member, property)]
    return {name: getattr(facts, name) for name in names}


def test_a_study_of_an_earlier_version_is_read(url: str) -> None:
    store = TrialStore.create(url, "toy", METRIC, {})
    for key, value in OF_902A55A.items():
        store.study.set_user_attr(key, value)
    opened = TrialStore.open(url, "toy")
    assert opened is not None
    facts = opened.facts
    run, late = "beamline/1/2:77:88:ab", "beamline/1/2:78:89:cd"
    assert read(facts) == {
        "created": True,
        "by_hand": False,
        "study_id": "9f1c2e",
        "identity": OF_902A55A["identity"],
        "content_hash": "c0ffee",
        "objective": "ptychography",
        "metric": METRIC,
        "metric_name": "consistency",
        "limits": (Limit("seconds", below=60.0),),
        "against": (OTHER,),
        "space": SPACE,
        "seed": 4,
        "status": "finished",
        "reason": "the budget of 40 trials is used",
        "seconds": 12.5,
        "leases": {0: LeaseFact(run, datetime(2026, 11, 29, 17, tzinfo=UTC))},
        "origin": Origin("/data/study.yaml", "../study.yaml"),
        "budget": OF_902A55A["budget"],
        "environments": {run: "0123456789abcdef"},
        "mlflow": MlflowPlace("sqlite:///m.db", "autotune", "c0ffee"),
        "record": OF_902A55A["record"],
        "recording": {run: True, late: False},
        "answer": OF_902A55A["answer"],
        "confirmation": {"trials": 40},
        "conclusion": Conclusion(40, 8, "finished", "the budget of 40 trials is used"),
        "concluding": None,
        "answer_error": "ValueError: no optimum",
        "best_error": "ValueError: no folder",
        "report_error": None,
    }
    assert facts.environment("0123456789abcdef") == OF_902A55A["environment:0123456789abcdef"]
    assert facts.environment("ffff") is facts.environment(None) is None


def test_what_is_kept_is_what_earlier_versions_wrote(url: str) -> None:
    """To the byte: they, too, may go on with a study of this version."""
    facts = StoredFacts("toy", OF_902A55A)
    created = plain_facts(
        study_id=facts.study_id,
        identity=facts.identity,
        metric=facts.metric,
        limits=facts.limits,
        against=facts.against,
        space=SPACE,
        seed=facts.seed,
    )
    store = TrialStore.create(url, "toy", METRIC, created)
    store.keep_lease(0, facts.leases[0])
    assert facts.origin is not None and facts.budget is not None and facts.mlflow is not None
    assert facts.record is not None and facts.conclusion is not None
    assert facts.answer_error is not None and facts.best_error is not None
    store.keep(origin=facts.origin, budget=facts.budget)
    store.keep_environment("0123456789abcdef", {"python": "3.11.7", "packages": {"numpy": "2.0.0"}})
    store.keep(
        environments=facts.environments,
        status=facts.status,
        reason=facts.reason,
        mlflow=facts.mlflow,
        record=facts.record,
        recording=facts.recording,
        seconds=facts.seconds,
        answer=facts.answer,
        answer_error=facts.answer_error,
        best_error=facts.best_error,
        report_error=facts.report_error,
        confirmation=facts.confirmation,
        conclusion=facts.conclusion,
    )
    assert rows(url) == {key: json.dumps(value) for key, value in OF_902A55A.items()}
    assert list(rows(url)) == list(OF_902A55A)


def test_a_study_made_by_hand_may_have_no_facts_and_keeps_its_own(url: str) -> None:
    store = TrialStore.create(url, "by hand", METRIC, {"sample": "MoS2"})
    store.set_fact("beamline", 25)
    facts = store.facts
    assert dict(facts) == {"sample": "MoS2", "autotune:created": True, "beamline": 25}
    assert facts.by_hand and facts.metric_name is None and facts.leases == {}
    assert (facts.status, facts.reason, facts.seconds, facts.limits) == ("running", "", 0.0, ())
    assert facts.mlflow is facts.record is facts.origin is facts.budget is facts.conclusion is None
    with pytest.raises(InputError, match=r"^study by hand: its fact 'seed' in the trial store is missing; restore"):
        _ = facts.seed


def test_facts_are_a_snapshot(url: str) -> None:
    store = TrialStore.create(url, "toy", METRIC, {})
    before = store.facts
    store.keep(seconds=3.0)
    assert (before.seconds, store.facts.seconds) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("key", "plain", "prop"),
    [
        ("study_id", 7, "study_id"),
        ("identity", "x", "content_hash"),
        ("identity", {"objective": []}, "objective"),
        ("metric", {"name": "c", "goal": "enlarge"}, "metric"),
        ("metric", {"name": "c", "goal": "maximize", "colour": "red"}, "metric"),
        ("metric", [], "metric_name"),
        ("limits", [{"metric": "c"}], "limits"),
        ("against", [{"goal": "maximize"}], "against"),
        ("space", [{"name": "defocus"}], "space"),
        ("space", None, "space"),
        ("seed", "4", "seed"),
        ("seed", True, "seed"),
        ("status", None, "status"),
        ("seconds", "12", "seconds"),
        ("autotune:lease:3", {"owner": "a"}, "leases"),
        ("autotune:lease:3", {"owner": "a", "expires": "soon"}, "leases"),
        ("origin", {"path": "/x"}, "origin"),
        ("budget", [1], "budget"),
        ("environments", "x", "environments"),
        ("mlflow", {"tracking_uri": 1, "experiment": "autotune"}, "mlflow"),
        ("record", "x", "record"),
        ("recording", [["a"]], "recording"),
        ("answer", 3, "answer"),
        ("confirmation", 3, "confirmation"),
        ("conclusion", {"trials": "x", "status": "finished", "reason": ""}, "conclusion"),
        ("report_error", 3, "report_error"),
    ],
)
def test_a_damaged_fact_is_named(key: str, plain: Any, prop: str) -> None:
    facts = StoredFacts("toy", {**OF_902A55A, key: plain})
    with pytest.raises(InputError) as raised:
        getattr(facts, prop)
    assert str(raised.value).startswith(f"study toy: its fact '{key}' in the trial store cannot be read (")


def test_the_limit_that_tells_twins_apart_is_kept_with_the_others() -> None:
    limits = (Limit("seconds", below=60.0), Limit("sign", above=0.0, of_twins=True))
    kept = plain_facts(limits=limits)["limits"]
    assert kept[0] == OF_902A55A["limits"][0] and kept[1]["of_twins"] is True
    assert StoredFacts("toy", {**OF_902A55A, "limits": kept}).limits == limits
