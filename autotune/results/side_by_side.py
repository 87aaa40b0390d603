"""Several studies side by side: do they find the same parameters, as well, at the same cost?

Two values agree where they differ by less than both are uncertain: |a - b| <= sqrt(h_a^2 + h_b^2), with h half the
width of an interval. That is how far two independent answers of the same truth lie apart as often as either interval
says; of two answers from the same measurement it is more than that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from autotune.home import Home
from autotune.results.document import NOISE_AND_SEARCH, build_result
from autotune.store.leases import alive
from autotune.store.trials import TrialStore


def contrast(stores: Sequence[TrialStore], home: Home) -> dict[str, Any]:
    """Two or more studies side by side, as plain data.

    Keys:
        studies: a list: ``study``, ``status``, ``objective``, ``content_hash``, ``metric``, ``best_trial``, ``trials``,
            ``cost``.
        parameters: name -> ``unit``; ``values``, a list by study: ``best``, ``estimate``, ``interval``, ``verdict``,
            and whether it was ``held`` at that, or None; ``pairs``: two studies (``of``), the second's value less the
            first's (``difference``), that over the combined half-width (``in_half_widths``), and whether they
            ``agree``; None where that cannot be said.
        warnings: sentences.
    """
    results = [build_result(store, home, live=bool(alive(store))) for store in stores]
    identities = [store.facts.identity for store in stores]
    names = dict.fromkeys(name for result in results for name in result["parameters"])
    return {
        "studies": [_study(result, identity) for result, identity in zip(results, identities, strict=True)],
        "parameters": {name: _parameter(name, results, identities) for name in names},
        "warnings": _warnings(results, identities),
    }


def _study(result: Mapping[str, Any], identity: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: result[key] for key in ("study", "status", "metric", "best_trial", "trials", "cost")}
    return kept | {"objective": identity["objective"]["name"], "content_hash": identity.get("content_hash")}


def _parameter(
    name: str, results: Sequence[Mapping[str, Any]], identities: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    unit = next(result["parameters"][name]["unit"] for result in results if name in result["parameters"])
    known = [
        result["parameters"].get(name) or _held(identity["parameters"].get(name), unit)
        for result, identity in zip(results, identities, strict=True)
    ]
    shown = ("best", "estimate", "interval", "interval_of", "verdict", "unit")
    return {
        "unit": unit,
        "values": [None if p is None else {key: p[key] for key in shown} | {"held": "held" in p} for p in known],
        "pairs": [
            {"of": [results[i]["study"], results[j]["study"]], **_beside(one, other)}
            for (i, one), (j, other) in combinations(enumerate(known), 2)
            if one is not None and other is not None
        ],
    }


def _held(value: Any, unit: str) -> dict[str, Any] | None:
    """A parameter that a study does not tune, where its file says its value."""
    if value is None or isinstance(value, Mapping):
        return None
    unknown = dict.fromkeys(("estimate", "interval", "interval_of", "verdict"))
    return {"best": value, "unit": unit, "held": True, **unknown}


def _beside(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two parameters: difference, that in combined half-widths, and whether they agree."""
    unknown = {"difference": None, "in_half_widths": None, "agree": None}
    a, b = _value(one), _value(other)
    if a is None or b is None or one["unit"] != other["unit"]:
        return unknown
    if isinstance(a, str) or isinstance(b, str):
        return unknown | {"agree": a == b}
    difference = b - a
    if one["interval"] is None or other["interval"] is None:
        return unknown | {"difference": difference}
    width = math.hypot(*((high - low) / 2 for low, high in (one["interval"], other["interval"])))
    ratio = 0.0 if difference == 0 else abs(difference) / width if width > 0 else math.inf
    return {
        "difference": difference,
        "in_half_widths": ratio if math.isfinite(ratio) else None,
        "agree": ratio <= 1.0,
    }


def _value(parameter: Mapping[str, Any]) -> Any:
    """The value that the interval is about; the best trial's where there is none."""
    estimate = parameter["estimate"]
    return parameter["best"] if estimate is None or parameter["interval"] is None else estimate


def _warnings(results: Sequence[Mapping[str, Any]], identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """What makes the comparison less than it looks."""
    found = []
    metrics = {result["study"]: result["metric"]["name"] for result in results}
    if len(set(metrics.values())) > 1:
        found.append(f"They tune different metrics, which do not compare: {_listed(metrics)}.")
    objectives = {r["study"]: i["objective"]["name"] for r, i in zip(results, identities, strict=True)}
    if len(set(objectives.values())) > 1:
        found.append(f"They have different objectives: {_listed(objectives)}.")
    hashes = {r["study"]: i.get("content_hash") for r, i in zip(results, identities, strict=True)}
    known = set(hashes.values())
    if len(known) > 1:
        found.append("They are of different measurements, so that their metrics do not compare; parameters may.")
    elif None in known:
        found.append("Their objectives do not tell which measurement it was: it may not be the same.")
    else:
        found.append(
            "They are of the same measurement: what its noise did to the values it did to all, so that they should "
            "agree better than intervals that cover noise say."
        )
    for result in results:
        if result["status"] != "finished":
            found.append(f"{result['study']} is {result['status']}: its values are not its answer yet.")
        search_only = [n for n, p in result["parameters"].items() if p["interval_of"] not in (None, NOISE_AND_SEARCH)]
        if search_only:
            found.append(f"{result['study']}: intervals of the search alone, without noise: {', '.join(search_only)}.")
    units: dict[str, set[str]] = {}
    for result in results:
        for name, parameter in result["parameters"].items():
            units.setdefault(name, set()).add(parameter["unit"])
    found += [f"{name} has different units: {', '.join(sorted(u))}." for name, u in units.items() if len(u) > 1]
    return found


def _listed(named: Mapping[str, str]) -> str:
    return ", ".join(f"{study} {what}" for study, what in named.items())
