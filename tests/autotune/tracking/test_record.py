"""What one run of several tells its recorder, and the store: who waits, who writes beside another, who leads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from autotune.store.records import TrialRecord
from autotune.tracking import Closing, RecorderReport, StudyFacts
from autotune.tracking.record import Record
from tests.autotune.tracking.company import METRIC, Company

pytestmark = pytest.mark.usefixtures("in_memory")


class FakeRecorder:
    """Keeps what it is told; ``run_id`` is what MLflow would answer."""

    def __init__(self, facts: StudyFacts, destination: object, *, leads: Callable[[], bool], opening: object) -> None:
        self.leads, self.run_id = leads, None
        self.started = False
        self.told: list[tuple[str, list[int], list[int]]] = []
        self.closing: Closing | None = None

    def start(self, trials: Sequence[TrialRecord] = (), others: Sequence[TrialRecord] = ()) -> None:
        self.started = True
        self._tell("start", trials, others)

    def submit(self, trial: TrialRecord) -> None:
        self._tell("submit", [trial], [])

    def learn(self, others: Sequence[TrialRecord]) -> None:
        self._tell("learn", [], others)

    def finish(
        self, closing: Closing, trials: Sequence[TrialRecord], others: Sequence[TrialRecord], timeout: float
    ) -> RecorderReport:
        self.closing = closing
        self._tell("finish", trials, others)
        return RecorderReport(self.run_id, 0, 0)

    def _tell(self, what: str, trials: Sequence[TrialRecord], others: Sequence[TrialRecord]) -> None:
        self.told.append((what, [trial.number for trial in trials], [trial.number for trial in others]))


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    def facts_of(study: Any, experiment: str) -> StudyFacts:
        return StudyFacts("f3a9", "toy", experiment, "", METRIC, {}, tags={"by": study.lease.owner})

    monkeypatch.setattr("autotune.tracking.record.Recorder", FakeRecorder)
    monkeypatch.setattr("autotune.tracking.record.facts_of", facts_of)
    return Company(tmp_path)


def begin(company: Company, name: str) -> tuple[Record, FakeRecorder]:
    record = Record(company.study(name))
    record.start()
    recorder = record._recorder
    assert isinstance(recorder, FakeRecorder)
    return record, recorder


def trial(number: int, owner: str, state: str = "finished") -> TrialRecord:
    return TrialRecord(number, state, {}, owner=owner)  # type: ignore[arg-type]


def recorded_by(company: Company) -> str:
    assert company.store.facts.record is not None
    who: str = company.store.facts.record["tags"]["by"]
    return who


def test_trials_wait_until_the_leader_has_made_the_parent(company: Company) -> None:
    (leader, leading), (beside, waiting) = begin(company, "a"), begin(company, "b")
    assert leading.leads() and not waiting.leads()
    beside.add(trial(1, "b"))
    assert not waiting.started
    leading.run_id = "r1"
    leader.follow([trial(0, "a", "running"), trial(1, "b")])
    beside.add(trial(2, "b"))
    assert waiting.started
    assert waiting.told == [("submit", [1], []), ("submit", [2], []), ("start", [], [])]
    assert leading.told == [("start", [], []), ("learn", [], [1])]
    assert not waiting.leads() and recorded_by(company) == "a"


@pytest.mark.parametrize("made", [True, False])
def test_the_lead_passes_on_with_the_trials_of_the_dead(company: Company, made: bool) -> None:
    (leader, leading), (heir, taking) = begin(company, "a"), begin(company, "b")
    if made:
        leading.run_id = "r1"
        leader.follow([])
    heir.add(trial(1, "b"))
    company.alive -= {"a"}
    heir.follow([trial(0, "a"), trial(1, "b"), trial(2, "c", "running")])
    assert taking.leads()
    assert taking.told[-1] == ("start", [0], [])  # looks anew: the dead one may have recorded it
    assert recorded_by(company) == "b"  # so that sync leaves the tags that the new leader gave the parent
    heir.follow([trial(0, "a"), trial(1, "b"), trial(2, "c")])
    assert taking.told[-1] == ("start", [2], [])


def test_the_lead_is_taken_although_the_store_failed_at_first(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(company, "a")
    heir, taking = begin(company, "b")
    company.alive -= {"a"}

    def away(**facts: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(company.store, "keep", away)
        with pytest.raises(OSError, match="disk full"):
            heir.follow([])
    heir.follow([trial(0, "a")])
    assert taking.leads() and taking.told == [("start", [0], [])]
    assert recorded_by(company) == "b"


def test_a_closing_run_writes_its_own_trials_and_the_last_one_ends_the_parent(company: Company) -> None:
    (leader, leading), (last, ending) = begin(company, "a"), begin(company, "b")
    leading.run_id = "r1"
    leader.follow([])
    own = company.store.study.ask().number
    company.store.claim(own, 0, "a")
    company.store.release(company.store.trials()[0], cancelled=True)
    assert leader.close("stopped") == ""
    assert leading.told[-1] == ("finish", [own], []) and leading.closing == Closing(None, {}, [])
    assert not ending.leads()
    assert last.close("finished") == ""
    assert ending.leads() and ending.closing == Closing("FINISHED", {}, [])
    assert ending.told == [("start", [], []), ("finish", [], [own])]  # the other one may not have ended yet
    assert recorded_by(company) == "b"


def test_a_run_that_has_not_begun_leaves_its_trials_to_the_leader(company: Company) -> None:
    (leader, leading), (other, waiting) = begin(company, "a"), begin(company, "b")
    other.add(trial(0, "b"))
    assert other.close("finished") == ""
    assert not waiting.started and waiting.closing is None
    leader.follow([trial(0, "b")])
    assert leading.told[-1] == ("start", [0], [])


def test_a_run_that_records_nothing_is_on_no_list(company: Company) -> None:
    study = company.study("a")
    study.file.spec.tracking.enabled = False
    record = Record(study)
    record.start()
    record.add(trial(0, "a"))
    record.follow([trial(0, "a")])
    assert record.close("finished") == ""
    assert company.store.facts.recording == {} and company.store.facts.mlflow is None
