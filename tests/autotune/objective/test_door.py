"""The import path ``autotune.objective`` offers plug-ins all that it ever offered, whichever file it comes from."""

from __future__ import annotations

import autotune.objective as door

SINCE_THE_FIRST_VERSION = {
    "ENTRY_POINT_GROUP",
    "ArrayAxis",
    "BackendStatus",
    "WrapsBackends",
    "ArrayDescription",
    "AutotuneError",
    "CountsWork",
    "DescribesArrays",
    "Draft",
    "DraftLine",
    "DraftsStudies",
    "GuessesParameters",
    "DrawsPictures",
    "Evaluation",
    "Examines",
    "ExplainsAbsence",
    "ExportsMeasurement",
    "InputError",
    "Kind",
    "KnowsTruth",
    "MeasuresAgain",
    "Metric",
    "Objective",
    "ObjectiveType",
    "Parameter",
    "Problem",
    "Progress",
    "ShowsFits",
    "ShowsReconstructions",
    "Simulates",
    "Status",
    "Value",
    "View",
    "complete_values",
    "find_objective_type",
    "near_miss",
    "never_stop",
    "objective_names",
}


def test_the_door_offers_what_plug_ins_import() -> None:
    since = {"Diverged", "DividesGradient", "HasTwin", "IdentifiesMeasurement", "Twin", "child_environment"}
    since |= {"NarrowsForService"}
    assert set(door.__all__) == SINCE_THE_FIRST_VERSION | since
    assert all(hasattr(door, name) for name in door.__all__)
