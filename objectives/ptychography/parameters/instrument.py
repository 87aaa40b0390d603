"""The parameters that a measurement has, and which of them its geometry gives a meaning to.

Names, units, meanings and default ranges are the project's one definition for every diffraction objective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from autotune.objective import Parameter
from objectives.diffraction.data.measurement import FarField, Measurement, NearField
from objectives.ptychography.model.illumination import forms_probe, knows_lengths
from objectives.ptychography.parameters.fidelity import BINNING, fidelity_parameters, why_not_binned
from objectives.ptychography.parameters.solver import (
    Conditions,
    position_parameters,
    solver_parameters,
    weight,
    whole,
)
from objectives.ptychography.parameters.window import PADDING, padding_parameter

_FREE_PROBE: Conditions = (("probe", ("refined",)),)
_ONE_SLICE: Conditions = (("slices", (1,)),)
_UNSURE_APERTURE = 0.01 / 3**0.5
"""Relative standard uncertainty of a stated semi-convergence angle: it surely lies within 1 % of what is stated."""
_UNSURE_BLUR = 0.3
"""Blur of a detector, in pixels, where none is stated."""
_APPROXIMATE_BLUR = 0.16
"""Blur, in pixels, of what is approximate about the edge of an aperture and about a pixel's response: the square of the
blur that fits was off by 0.026 squared pixels (rms; 0.019 on average) on 42 measurements by independent simulators."""
_PROBE_SCALE = "the curvature of a free probe"
"""In the far field a larger scan step with a probe of another curvature gives almost the same patterns."""


@dataclass(frozen=True)
class InstrumentParameter(Parameter):
    """A mismatch parameter of the instrument, with the path on which it acts on the patterns.

    Attributes:
        through_lens: it acts through the probe that the lens forms. Once the probe itself is an unknown, the parameter
            has no gradient, and the probe makes up for any change of it.
        through_slices: it acts through the propagation between slices, too, and so keeps its gradient if there are any.
    """

    through_lens: bool = False
    through_slices: bool = False


def acts_through_probe_alone(parameter: Parameter, slices: int) -> bool:
    """Whether a parameter changes the probe that the lens forms and nothing else, in an object of ``slices`` slices."""
    if not isinstance(parameter, InstrumentParameter) or not parameter.through_lens:
        return False
    return slices == 1 or not parameter.through_slices


def parameters_of(measurement: Measurement) -> tuple[Parameter, ...]:
    """All parameters of a measurement, their defaults from its metadata."""
    geometry = measurement.geometry
    size = measurement.patterns.shape[1] * measurement.patterns.shape[2]
    background = _background(float(measurement.patterns.mean(dtype="float64")))
    if isinstance(geometry, NearField):
        return (
            *_near_field(geometry),
            *_scan(0.0, 180.0, ""),
            background,
            *_pixels(),
            *solver_parameters("refined", size),
            *fidelity_parameters(),
        )
    nominal = geometry.scan_rotation_degree
    scan = (*_scan(nominal or 0.0, 180.0 if nominal is None else 10.0, _PROBE_SCALE), background, *_pixels())
    moved = (padding_parameter(measurement), *position_parameters())
    depth = _depth() if knows_lengths(geometry) else ()
    if geometry.semi_convergence_mrad is not None and forms_probe(geometry):
        lens = (*_detector(), *_lens(geometry, geometry.semi_convergence_mrad))
        return (*lens, *scan, *depth, *solver_parameters("fixed", size), *moved, *fidelity_parameters(geometry))
    return (*scan, *depth, *solver_parameters("refined", size), *moved, *fidelity_parameters())


def why_absent(measurement: Measurement, name: str) -> str:
    """Say what must be stated so that parameter ``name`` has a meaning for this measurement; empty if nothing helps."""
    geometry = measurement.geometry
    if not isinstance(geometry, FarField):
        if name == BINNING:
            return why_not_binned(None)
        far = (*_detector(), *_lens(FarField(), 1.0), *_depth(), *position_parameters())
        return "it exists in the far field only" if name in {PADDING, *(parameter.name for parameter in far)} else ""
    if name == "focus_to_sample":
        return "it exists in the near field only: state objective.geometry.regime: near field"
    if name == BINNING:
        return why_not_binned(geometry if forms_probe(geometry) else None)
    if forms_probe(geometry):
        return ""
    thick = name in {parameter.name for parameter in _depth()}
    if not thick and name not in {parameter.name for parameter in (*_detector(), *_lens(geometry, 1.0))}:
        return ""
    if thick and knows_lengths(geometry):
        return ""
    needed = {
        "semi_convergence_mrad": 1.0 if thick else geometry.semi_convergence_mrad,
        "wavelength_angstrom": geometry.wavelength_angstrom,
        "angular_sampling_mrad": geometry.angular_sampling_mrad,
    }
    missing = " and ".join(f"objective.geometry.{key}" for key, value in needed.items() if value is None)
    return f"it needs a known {'length scale' if thick else 'aperture'}: state {missing}"


def _mismatch(
    name: str,
    unit: str,
    default: float,
    low: float,
    high: float,
    description: str,
    idle_while: Conditions = (),
    made_up_by: str = "",
    *,
    through_lens: bool = False,
    through_slices: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    uncertainty: float | None = None,
) -> InstrumentParameter:
    """A differentiable parameter; ``made_up_by`` holds while the probe is reconstructed, too."""
    if through_lens:
        made_up_by = "a free probe"
    return InstrumentParameter(
        name,
        unit,
        "mismatch",
        default,
        low=low,
        high=high,
        differentiable=True,
        idle_while=idle_while,
        made_up_by=made_up_by,
        made_up_while=(*(_FREE_PROBE if made_up_by else ()), *(_ONE_SLICE if through_slices else ())),
        description=description,
        minimum=minimum,
        maximum=maximum,
        uncertainty=uncertainty,
        through_lens=through_lens,
        through_slices=through_slices,
    )


def _center(name: str, description: str) -> Parameter:
    """One coordinate of the unscattered beam, which shifts the probe and tilts the propagation between slices."""
    return _mismatch(name, "pixel", 0.0, -3, 3, description, through_lens=True, through_slices=True)


def _near_field(geometry: NearField) -> tuple[Parameter, ...]:
    nominal = geometry.focus_to_sample_mm
    detector = geometry.detector_distance_mm
    return (
        Parameter(
            "focus_to_sample",
            "mm",
            "mismatch",
            nominal,
            low=0.7 * nominal if nominal is not None else None,
            high=1.3 * nominal if nominal is not None else None,
            minimum=1e-6 * detector,
            maximum=0.99 * detector,
            differentiable=True,
            description="distance from the focus to the sample; the effective pixel is the detector's over z12 / z1",
        ),
    )


def _detector() -> tuple[Parameter, ...]:
    return (
        _mismatch(
            "camera_length",
            "%",
            0.0,
            -5,
            5,
            "the pattern is magnified by 1 + v/100",
            made_up_by=_PROBE_SCALE,
            minimum=-50,
            maximum=50,
        ),
        _center("center_offset_y", "row of the unscattered beam minus N//2"),
        _center("center_offset_x", "column of the unscattered beam minus N//2"),
        _mismatch(
            "elliptical_distortion",
            "1",
            0.0,
            -0.03,
            0.03,
            "stretch 1 + v/2 along the ellipse axis, 1 - v/2 across it",
            minimum=-0.5,
            maximum=0.5,
        ),
        _mismatch(
            "elliptical_angle",
            "degree",
            0.0,
            0,
            180,
            "angle of the ellipse axis from detector +x towards +y",
            idle_while=(("elliptical_distortion", (0.0,)),),
        ),
    )


def _lens(geometry: FarField, semi_convergence: float) -> tuple[Parameter, ...]:
    defocus = geometry.defocus_angstrom or 0.0
    return (
        _mismatch(
            "defocus",
            "angstrom",
            defocus,
            defocus - 300,
            defocus + 300,
            "positive = underfocus, C10 = -defocus",
            through_lens=True,
        ),
        _mismatch("astigmatism", "angstrom", 0.0, 0, 100, "two-fold astigmatism C12", through_lens=True, minimum=0),
        _mismatch(
            "astigmatism_angle",
            "degree",
            0.0,
            0,
            180,
            "angle phi12 of the two-fold astigmatism",
            idle_while=(("astigmatism", (0.0,)),),
            through_lens=True,
        ),
        _mismatch("spherical_aberration", "micrometre", 0.0, -20, 20, "C30", through_lens=True),
        _mismatch(
            "convergence_angle",
            "mrad",
            semi_convergence,
            0.95 * semi_convergence,
            1.05 * semi_convergence,
            "semi-convergence angle of the aperture",
            through_lens=True,
            minimum=1e-3,
            uncertainty=_UNSURE_APERTURE * semi_convergence,
        ),
    )


def _scan(nominal_rotation: float, half_range: float, makes_up_for_scale: str) -> tuple[Parameter, ...]:
    low, high = nominal_rotation - half_range, nominal_rotation + half_range
    return (
        _mismatch(
            "scan_rotation",
            "degree",
            nominal_rotation,
            low,
            high,
            "turns the scan axes in the detector's frame",
        ),
        _mismatch(
            "scan_scale",
            "%",
            0.0,
            -5,
            5,
            "scan step multiplied by 1 + v/100",
            made_up_by=makes_up_for_scale,
            minimum=-90,
            maximum=900,
        ),
        _mismatch(
            "scan_shear",
            "degree",
            0.0,
            -2,
            2,
            "angle between the scan axes minus 90",
            minimum=-60,
            maximum=60,
        ),
    )


def _background(mean: float) -> Parameter:
    return _mismatch(
        "background",
        "counts/pixel",
        0.0,
        0,
        0.2 * mean if mean > 0 else 1.0,
        "expected counts of every pixel that the specimen does not scatter there",
        minimum=0,
    )


def _pixels() -> tuple[Parameter, ...]:
    """The response of the detector's pixels."""
    blur = _mismatch(
        "detector_blur",
        "pixel",
        0.0,
        0,
        1,
        "standard deviation of the detector's point spread function, beside the integration over a pixel's area",
        minimum=0,
        maximum=5,
        uncertainty=_UNSURE_BLUR,
    )
    fill = Parameter(
        "pixel_fill",
        "1",
        "mismatch",
        1.0,
        low=0.5,
        high=1,
        minimum=0,
        maximum=1,
        description="side of the area that a pixel counts over its pitch: 1 for all of it, 0 for a simulated point",
    )
    return replace(blur, in_quadrature=_APPROXIMATE_BLUR, by_square=True), fill


def _depth() -> tuple[Parameter, ...]:
    """The parameters of a thick specimen (multislice)."""
    return (
        Parameter(
            "thickness",
            "angstrom",
            "mismatch",
            None,
            low=10,
            high=500,
            minimum=0,
            differentiable=True,
            idle_while=_ONE_SLICE,
            description="total thickness, slices x slice thickness; the defocus is that at the first slice",
        ),
        *(
            _mismatch(
                f"tilt_{axis}",
                "mrad",
                0.0,
                -10,
                10,
                f"specimen tilt: a column leans by +v along {axis}",
                _ONE_SLICE,
                minimum=-200,
                maximum=200,
            )
            for axis in ("y", "x")
        ),
        whole("slices", 1, 1, 12, 1, 500, "slices of the object"),
        weight("slice_smoothness", "weight of the squared difference between adjacent slices", _ONE_SLICE),
    )
