"""Which measurement an objective is bound to: what the engine asks before it continues a study."""

from __future__ import annotations

from autotune.objective.protocols import IdentifiesMeasurement, Objective

_SUMMARY_KEY = "content hash"


def content_hash_of(objective: Objective) -> str | None:
    """Hash of the objective's measurement; None where it tells none.

    An objective that is not an :class:`autotune.objective.IdentifiesMeasurement` may have it in its summary, as
    objectives did before there was that protocol.
    """
    if isinstance(objective, IdentifiesMeasurement):
        return objective.content_hash
    return objective.summary().get(_SUMMARY_KEY)
