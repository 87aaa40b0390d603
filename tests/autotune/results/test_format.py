"""The format of result.json: as it was before it was a model, described by its schema, kept as it is by the store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from autotune.errors import InputError
from autotune.home import Home
from autotune.results.build import build_result
from autotune.results.document import Confirmation, StudyResult, result_schema
from autotune.results.overview import overview
from autotune.results.posterior import Answer
from autotune.store.trials import TrialStore
from tests.autotune.results.example import ANSWER, CONFIRMATION, documents, earlier, example, untouched

pytestmark = pytest.mark.usefixtures("in_memory")

STORED = documents()
STUDIES = (example, untouched, earlier)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def leaves(node: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Place and value of everything in a document that holds nothing itself, in order."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    inner = [leaf for key, part in entries for leaf in leaves(part, (*place, key))]
    yield from inner or [(place, node)]


@pytest.mark.parametrize("make", STUDIES)
def test_every_key_and_value_is_as_it_was_before_it_was_a_model(make: Callable[[Home], TrialStore], home: Home) -> None:
    document = build_result(make(home), home, live=False).as_dict()
    assert list(document["software"])[:2] == ["autotune", "python"] and document["artifacts"].endswith(make.__name__)
    document |= {"artifacts": "ARTIFACTS", "software": {}}  # these differ from machine to machine
    assert list(leaves(document)) == list(leaves(STORED[make.__name__]))


def test_the_bytes_of_the_file_are_as_they_were(home: Home) -> None:
    document = build_result(example(home), home, live=False).as_dict() | {"artifacts": "ARTIFACTS", "software": {}}
    assert json.dumps(document, indent=2, ensure_ascii=False) == json.dumps(
        STORED["example"], indent=2, ensure_ascii=False
    )


def test_the_schema_describes_it(home: Home) -> None:
    schema, document = result_schema(), build_result(example(home), home, live=False).as_dict()
    assert (schema["$schema"], schema["title"]) == ("https://json-schema.org/draft/2020-12/schema", "result.json")
    half_widths = {"noise_and_search": 0.3, "model": 0.1}
    parts = {
        "TrialCounts": document["trials"], "MetricResult": document["metric"], "LimitResult": document["limits"][0],
        "FrontTrial": document["pareto"][0], "ParameterResult": document["parameters"]["defocus"],
        "HalfWidths": half_widths,
        "Sensitivity": document["parameters"]["defocus"]["sensitivity"], "Noise": document["noise"],
        "Confirmation": document["confirmation"], "ConfirmedCandidate": document["confirmation"]["candidates"][0],
        "Behind": document["confirmation"]["candidates"][1]["behind"],
        "ExaminedMetric": document["confirmation"]["metrics"]["sharpness"], "Cost": document["cost"],
        "MlflowRecord": document["mlflow"],
    }  # fmt: skip
    assert parts.keys() == schema["$defs"].keys()
    for definition, part in [(schema, document), *((schema["$defs"][name], part) for name, part in parts.items())]:
        assert list(definition["properties"]) == definition["required"] == list(part)  # every key is always there
    statuses = schema["properties"]["status"]["description"]
    assert all(status in statuses for status in ("running", "finished", "stopped", "failed"))
    assert "flat" in schema["$defs"]["ParameterResult"]["properties"]["verdict"]["anyOf"][0]["enum"]


def test_every_field_is_described() -> None:
    schema = result_schema()
    parts = {"result.json": schema} | schema["$defs"]
    bare = [
        f"{part}.{key}" for part, of in parts.items() for key, p in of["properties"].items() if not p.get("description")
    ]
    assert bare == [] and len(parts) >= 12


def test_it_is_read_back_as_it_was_written(home: Home) -> None:
    result = build_result(example(home), home, live=False)
    assert StudyResult.model_validate_json(json.dumps(result.as_dict())) == result
    with pytest.raises(ValidationError, match="unheard"):
        StudyResult.model_validate(result.as_dict() | {"unheard": 1})
    with pytest.raises(ValidationError, match="frozen"):
        result.seed = 5  # type: ignore[misc]


def test_parts_are_read_by_attributes_and_the_document_as_plain_data(home: Home) -> None:
    result = build_result(example(home), home, live=False)
    assert result.metric.best == result.as_dict()["metric"]["best"] == 0.9
    assert result.parameters["defocus"].interval == (1.7, 2.4)
    assert not hasattr(result, "__getitem__")  # half a dictionary would be worse than none
    assert json.loads(json.dumps(result.as_dict()))["schema"] == 1


def test_stored_documents_are_read_back_as_they_were() -> None:
    assert Answer.model_validate(ANSWER).as_dict() == ANSWER
    assert list(Answer.model_validate(ANSWER).as_dict()) == list(ANSWER)
    assert Confirmation.model_validate(CONFIRMATION).as_dict() == CONFIRMATION
    assert list(leaves(Confirmation.model_validate(CONFIRMATION).as_dict())) == list(leaves(CONFIRMATION))


@pytest.mark.parametrize("fact", ["answer", "confirmation"])
def test_what_a_newer_version_kept_more_is_passed_over(fact: str, home: Home) -> None:
    store = example(home)
    before = build_result(store, home, live=False)
    store.study.set_user_attr(fact, {**store.study.user_attrs[fact], "unheard": {"of": 1}})
    assert build_result(store, home, live=False) == before


DAMAGES: list[tuple[str, Any, str]] = [
    ("answer", ANSWER | {"level": "high"}, r"its stored answer is left out: it cannot be read \(level: .*number"),
    (
        "answer",
        ANSWER | {"parameters": {"defocus": {"verdict": "unheard"}}},
        r"its stored answer is left out: it cannot be read \(parameters\.defocus\.verdict: ",
    ),
    ("answer", [1], "its fact 'answer' in the trial store cannot be read"),
    (
        "confirmation",
        {key: part for key, part in CONFIRMATION.items() if key != "rounds"},
        r"its stored confirmation is left out: it cannot be read \(rounds: Field required\)",
    ),
]


@pytest.mark.parametrize(("fact", "stored", "warning"), DAMAGES)
def test_a_stored_document_that_cannot_be_read_is_left_out_and_named(
    fact: str, stored: Any, warning: str, home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    store = example(home)
    before = build_result(store, home, live=False)
    store.study.set_user_attr(fact, stored)
    result = build_result(store, home, live=False)
    (record,) = (record for record in caplog.records if record.name.startswith("autotune"))
    assert record.levelname == "WARNING" and re.match(f"study example: {warning}", record.getMessage())
    assert (result.metric.best, result.trials) == (before.metric.best, before.trials)
    assert (result.confirmation is None) == (fact == "confirmation")
    assert (result.metric.estimate is None) == (fact == "answer")


def test_a_status_of_a_newer_version_is_shown_as_it_is(home: Home) -> None:
    store = example(home)
    store.keep(identity={}, status="resting", reason="until the beam is back")
    result = build_result(store, home, live=False)
    assert (result.status, result.reason) == ("resting", "until the beam is back")
    (line,) = overview(home)
    assert line.status == "resting"


def test_one_study_that_cannot_be_read_hides_no_other(home: Home) -> None:
    damaged, _ = example(home), untouched(home)
    damaged.keep(identity={})
    damaged.study.set_user_attr("metric", 3)
    with pytest.raises(InputError, match="study example: its fact 'metric' in the trial store cannot be read"):
        build_result(damaged, home, live=False)
    lines = {line.study: line for line in overview(home)}
    assert len(lines) == 2
    line = lines.pop("example")
    (other,) = lines.values()
    assert (line.status, line.best_trial, line.trials.finished) == ("unreadable", None, 3)
    assert line.reason.startswith("its fact 'metric' in the trial store cannot be read")
    assert other.status != "unreadable"
