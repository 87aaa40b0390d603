"""The facts that the store keeps about a study beside its trials: what each is called there, and of which type it is.

A fact is one user attribute of the Optuna study, plain JSON data. :class:`StoredFacts` reads one snapshot of them;
:class:`Facts` lists those that :meth:`autotune.store.trials.TrialStore.keep` writes. A new fact of the engine is a line
in each. The names and the JSON may not change: studies of earlier versions are opened and continued.

Documents whose shape others own (answer, confirmation, record) are plain data here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, TypedDict, TypeVar, Unpack

from autotune.errors import InputError, Problem
from autotune.objective import Metric
from autotune.problem.goals import Limit
from autotune.problem.space import Space
from autotune.store.plain_data import (
    as_mapping,
    as_metric,
    as_number,
    as_text,
    as_text_or_none,
    as_whole,
    as_whole_or_none,
)

CREATED = "autotune:created"
"""The last fact that the creation of a study writes: without it, the creation was cut short."""
_LEASE = "autotune:lease:"  # and a number
_ENVIRONMENT = "environment:"  # and a digest

T = TypeVar("T")


@dataclass(frozen=True)
class LeaseFact:
    """A run's claim to be alive (:mod:`autotune.store.leases`).

    Attributes:
        owner: the run's name.
        expires: when the claim ends, with its time zone.
    """

    owner: str
    expires: datetime


@dataclass(frozen=True)
class MlflowPlace:
    """Where a study is recorded in MLflow.

    Attributes:
        tracking_uri: without a password.
        experiment: the experiment's name.
        run_id: the parent run; None until it has been made.
        stated: whether the study file names the tracking URI.
    """

    tracking_uri: str
    experiment: str
    run_id: str | None = None
    stated: bool = False


@dataclass(frozen=True)
class Origin:
    """The file that a study was run from.

    Attributes:
        path: its absolute path.
        from_home: its path relative to the home, for a copy of both.
    """

    path: str
    from_home: str


@dataclass(frozen=True)
class Conclusion:
    """How a study came to its end, and from what.

    Attributes:
        trials: how many trials it had.
        replicates: how many repetitions of the measurement its intervals were computed with; None where nothing was
            evaluated for them.
        status, reason: as in ``result.json``.
    """

    trials: int
    replicates: int | None
    status: str
    reason: str


@dataclass(frozen=True)
class Concluding:
    """A run's claim to compute the answer at the end of a study, valid while the run is alive.

    Attributes:
        owner: the run's name, as in its lease.
        trials, replicates: as of the conclusion that it is to reach (:class:`Conclusion`).
    """

    owner: str
    trials: int
    replicates: int | None


class Facts(TypedDict, total=False):
    """The facts that the engine keeps, by their names in the store; :class:`StoredFacts` says what each is."""

    study_id: str
    identity: Mapping[str, Any]
    metric: Metric
    limits: Sequence[Limit]
    against: Sequence[Metric]
    space: Space
    seed: int
    status: str
    reason: str
    seconds: float
    origin: Origin
    budget: Mapping[str, Any]
    environments: Mapping[str, str]
    mlflow: MlflowPlace
    record: Mapping[str, Any]
    recording: Mapping[str, bool]
    answer: Mapping[str, Any]
    confirmation: Mapping[str, Any]
    conclusion: Conclusion
    concluding: Concluding
    answer_error: str | None
    best_error: str | None
    report_error: str | None


def plain_facts(**facts: Unpack[Facts]) -> dict[str, Any]:
    """The facts as the plain data that the store keeps, in the order given."""
    return {key: _plain(key, value) for key, value in facts.items()}


def plain_environment(digest: str, environment: Mapping[str, Any]) -> dict[str, Any]:
    """The fact that says what an environment is, which runs then name by its digest."""
    return {_ENVIRONMENT + digest: environment}


def plain_lease(slot: int, lease: LeaseFact) -> dict[str, Any]:
    """The fact that is the lease in a slot."""
    return {f"{_LEASE}{slot}": {"owner": lease.owner, "expires": lease.expires.isoformat()}}


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, Space):
        return value.as_dict()
    if isinstance(value, Metric | MlflowPlace | Origin | Conclusion | Concluding):
        return asdict(value)
    if key == "limits":  # as versions that knew no twins wrote them, where there are none
        return [{name: part for name, part in asdict(limit).items() if name != "of_twins" or part} for limit in value]
    if key == "against":
        return [asdict(part) for part in value]
    if key == "recording":
        return [[run, goes_on] for run, goes_on in value.items()]  # JSON objects have no order to rely on
    return value


@dataclass(frozen=True)
class StoredFacts(Mapping[str, object]):
    """One snapshot of a study's facts.

    The properties are those that the engine keeps; each checks its fact when it is read. As a mapping it holds the
    plain data of all facts, those that a caller of :meth:`autotune.store.trials.TrialStore.create` adds too.

    Attributes:
        study: the study's name, for messages.
        plain: fact -> plain data.

    Raises:
        InputError: from a property, where its fact is damaged, or missing where every study from a file has it.
    """

    study: str
    plain: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, key: str) -> object:
        return self.plain[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain)

    def __len__(self) -> int:
        return len(self.plain)

    @property
    def created(self) -> bool:
        """Whether the study's creation came to its end."""
        return CREATED in self.plain

    @property
    def by_hand(self) -> bool:
        """Whether the study was made by ask and tell, without a study file."""
        return "identity" not in self.plain

    # What is tuned; fixed when the study is created.

    @property
    def study_id(self) -> str:
        """Name of the study that no other study has, anywhere."""
        return self._required("study_id", as_text)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The parts of the study file, and the measurement's hash, that must be the same for a run to continue it."""
        return self._required("identity", as_mapping)

    @property
    def content_hash(self) -> str | None:
        """Hash of the measurement; None where its objective tells none."""
        return as_text_or_none(self.identity.get("content_hash"))

    @property
    def objective(self) -> str:
        """Name of the objective in the study file."""
        return self._required("identity", lambda identity: as_text(as_mapping(identity)["objective"]["name"]))

    @property
    def metric(self) -> Metric:
        """The tuned metric."""
        return self._required("metric", as_metric)

    @property
    def metric_name(self) -> str | None:
        """The tuned metric's name; None where a study made by hand does not say it."""
        return self._optional("metric", lambda metric: as_text_or_none(metric.get("name")), None)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """What a trial must keep to be an answer."""
        return self._optional("limits", lambda limits: tuple(Limit(**limit) for limit in limits), ())

    @property
    def against(self) -> tuple[Metric, ...]:
        """The metrics that the tuned one is weighed against."""
        return self._optional("against", lambda metrics: tuple(as_metric(metric) for metric in metrics), ())

    @property
    def space(self) -> Space:
        """The tuned parameters, without what does not identify them (:meth:`autotune.problem.space.Space.as_dict`)."""
        return self._required("space", Space.from_dict)

    @property
    def seed(self) -> int:
        """Seed of the search and of every evaluation."""
        return self._required("seed", as_whole)

    # How far the study is.

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``stopped`` or ``failed``; ``running`` also where the run was killed."""
        return self._optional("status", as_text, "running")

    @property
    def reason(self) -> str:
        """Why it ended; empty while it runs."""
        return self._optional("reason", as_text, "")

    @property
    def seconds(self) -> float:
        """Wall-clock time that its runs have taken, in seconds."""
        return self._optional("seconds", as_number, 0.0)

    @property
    def leases(self) -> dict[int, LeaseFact]:
        """Slot -> the lease in it, expired ones included."""
        slots = [key for key in self.plain if key.startswith(_LEASE)]
        return {int(slot.removeprefix(_LEASE)): self._required(slot, _lease) for slot in slots}

    # What its runs ran from and in.

    @property
    def origin(self) -> Origin | None:
        """The file that it was run from last; None where the version that ran it did not keep that."""
        return self._optional("origin", lambda plain: Origin(as_text(plain["path"]), as_text(plain["from_home"])), None)

    @property
    def budget(self) -> Mapping[str, Any] | None:
        """Its budget at its last run, as in the study file; None where that was not kept."""
        return self._optional("budget", as_mapping, None)

    @property
    def environments(self) -> Mapping[str, str]:
        """Run -> digest of the environment that it had, the latest run last."""
        return self._optional("environments", as_mapping, {})

    def environment(self, digest: str | None) -> dict[str, Any] | None:
        """The environment of that digest (:func:`autotune.provenance.environment.environment`); None if unknown."""
        return self._optional(f"{_ENVIRONMENT}{digest}", lambda plain: dict(as_mapping(plain)), None)

    # Its record in MLflow.

    @property
    def mlflow(self) -> MlflowPlace | None:
        """Where it is recorded; None where no run has recorded it."""
        return self._optional("mlflow", _place, None)

    @property
    def record(self) -> Mapping[str, Any] | None:
        """The study-level data of its MLflow record, plain; None where no run has recorded it."""
        return self._optional("record", as_mapping, None)

    @property
    def recording(self) -> dict[str, bool]:
        """The runs that record it, in the order in which they began; False for one that is closing."""
        return self._optional("recording", lambda pairs: {as_text(run): bool(goes_on) for run, goes_on in pairs}, {})

    # What it has found.

    @property
    def answer(self) -> Mapping[str, Any]:
        """The surrogate's answer at the study's last end, without its samples; empty before."""
        return self._optional("answer", as_mapping, {})

    @property
    def confirmation(self) -> Mapping[str, Any]:
        """The document of ``autotune confirm``; empty before."""
        return self._optional("confirmation", as_mapping, {})

    @property
    def conclusion(self) -> Conclusion | None:
        """Its latest end; None before it has ended once."""
        return self._optional("conclusion", _conclusion, None)

    @property
    def concluding(self) -> Concluding | None:
        """The run that computes the answer, or that did so last; None before."""
        return self._optional("concluding", _concluding, None)

    @property
    def answer_error(self) -> str | None:
        """Why the surrogate's answer could not be computed; None where it could."""
        return self._optional("answer_error", as_text_or_none, None)

    @property
    def best_error(self) -> str | None:
        """Why the best values could not be written as files; None where they could."""
        return self._optional("best_error", as_text_or_none, None)

    @property
    def report_error(self) -> str | None:
        """Why the report could not be written; None where it could."""
        return self._optional("report_error", as_text_or_none, None)

    def _required(self, key: str, parse: Callable[[Any], T]) -> T:
        if key not in self.plain:
            raise self._damaged(key, "is missing")
        return self._parsed(key, parse)

    def _optional(self, key: str, parse: Callable[[Any], T], otherwise: T) -> T:
        return self._parsed(key, parse) if key in self.plain else otherwise

    def _parsed(self, key: str, parse: Callable[[Any], T]) -> T:
        try:
            return parse(self.plain[key])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise self._damaged(key, f"cannot be read ({type(error).__name__}: {error})") from error

    def _damaged(self, key: str, what: str) -> InputError:
        remedy = "restore the trial store from a copy, or use the version of autotune that wrote it"
        return InputError(Problem(f"study {self.study}", f"its fact '{key}' in the trial store {what}", remedy))


def _lease(plain: Any) -> LeaseFact:
    return LeaseFact(as_text(plain["owner"]), datetime.fromisoformat(plain["expires"]))


def _conclusion(plain: Any) -> Conclusion:
    return Conclusion(
        as_whole(plain["trials"]),
        as_whole_or_none(plain.get("replicates")),
        as_text(plain["status"]),
        as_text(plain["reason"]),
    )


def _concluding(plain: Any) -> Concluding:
    return Concluding(as_text(plain["owner"]), as_whole(plain["trials"]), as_whole_or_none(plain.get("replicates")))


def _place(plain: Any) -> MlflowPlace:
    return MlflowPlace(
        as_text(plain["tracking_uri"]),
        as_text(plain["experiment"]),
        as_text_or_none(plain.get("run_id")),
        bool(plain.get("stated")),
    )
