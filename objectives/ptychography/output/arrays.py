"""Describe the units and axes of a reconstruction's arrays, for files that others open."""

from __future__ import annotations

from collections.abc import Mapping

from autotune.objective import ArrayAxis, ArrayDescription, Evaluation


def describe_arrays(evaluation: Evaluation) -> Mapping[str, ArrayDescription]:
    """Units and axes of the arrays that an evaluation kept.

    The object is a transmission; the probe's squared modulus is in counts. Both are sampled in the object's pixels.
    """
    attributes = evaluation.attributes
    unit = str(attributes.get("length_unit", ""))
    in_length = unit == "angstrom"
    plane = tuple(
        ArrayAxis(name, unit if in_length else "1", float(attributes[f"object_pixel_{name}"]) if in_length else 1.0)
        for name in ("y", "x")
        if f"object_pixel_{name}" in attributes
    )
    of_detector = str(attributes.get("detector_unit", "1"))
    detector = tuple(
        ArrayAxis(name, of_detector, float(attributes.get(name.replace("_", "_pixel_"), 1.0)))
        for name in ("detector_y", "detector_x")
    )
    descriptions = {
        "object": ArrayDescription("1", (ArrayAxis("slice"), *plane)),
        "probe": ArrayDescription("sqrt counts", (ArrayAxis("mode"), *plane)),
        "pattern_measured": ArrayDescription("counts", detector),
        "pattern_modelled": ArrayDescription("counts", detector),
        "position_displacement": ArrayDescription("object pixel", (ArrayAxis("position"), ArrayAxis("y, x"))),
    }
    return {name: description for name, description in descriptions.items() if name in evaluation.arrays}
