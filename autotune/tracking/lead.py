"""The lead: which run of a study keeps its parent run in MLflow.

Several runs of a study may record it at once. The trial store lists them in the order in which they began (fact
``recording``), and holds for each whether it goes on or is closing. The first one that is alive and goes on leads: it
makes the parent run, keeps its curves, and records the trials of runs that have died.

    nobody goes on           ->  a run that enters leads
    the leader leaves, dies  ->  the next one in the list takes the lead, at its next look
    the last one leaves      ->  it leads from then on, and ends the parent run

The list is read and written while the study's lock is held. A run that has led leads until its process ends, which
costs nothing: two leaders write the same points.
"""

from __future__ import annotations

from collections.abc import Set

from autotune.session import RunningStudy


class Lead:
    """One run's view of the lead; nothing else in the process holds who leads.

    Attributes:
        held: whether this run leads. Once true it stays so. The recorder's thread reads it.
    """

    def __init__(self, study: RunningStudy) -> None:
        """Touch nothing yet."""
        self._study, self._own = study, study.lease.owner
        self.held = False

    def enter(self) -> None:
        """Put this run on the list; take the lead where no other run goes on."""
        with self._study.locked():
            runs = self._alive()
            self._study.store.keep(recording={**runs, self._own: True})
            self.held = self._first(runs) == self._own

    def is_free(self) -> bool:
        """Whether this run is the first one that goes on, and so is to lead. The study's lock must be held."""
        return self._first(self._alive()) == self._own

    def leave(self, patience: float, writes: bool) -> bool:
        """End this run's part in the record; whether it was the last run, which takes the lead.

        Args:
            patience: seconds to wait for the study's lock; negative for as long as it takes. Without the lock, the run
                stays on the list until its process ends.
            writes: whether this run will write its own trials. If so it stays on the list as closing, and the others
                leave its trials to it until it ends; if not, they record them.
        """
        try:
            with self._study.locked(patience):
                rest = {run: goes_on for run, goes_on in self._alive().items() if run != self._own}
                last = not any(rest.values())
                self._study.store.keep(recording={**rest, self._own: False} if last or writes else rest)
        except TimeoutError:
            last = not self._study.others()
        self.held = self.held or last
        return last

    def others(self) -> Set[str]:
        """The other runs that record the study, those that are closing included."""
        return self._alive().keys() - {self._own}

    def _alive(self) -> dict[str, bool]:
        """The runs on the list that are alive."""
        alive = {self._own, *self._study.others()}
        return {run: goes_on for run, goes_on in self._study.store.facts.recording.items() if run in alive}

    def _first(self, runs: dict[str, bool]) -> str:
        """The first run that goes on; this one where there is none."""
        return next((run for run, goes_on in runs.items() if goes_on), self._own)
