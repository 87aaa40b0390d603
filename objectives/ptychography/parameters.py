"""The parameters of ptychography, by what the measurement's geometry gives a meaning to.

Names, units, meanings and default ranges are the project's one definition for every diffraction objective.
"""

from __future__ import annotations

from typing import Any

from autotune.objective import Parameter, Value
from objectives.data.measurement import FarField, Measurement, NearField

Conditions = tuple[tuple[str, tuple[Value, ...]], ...]
"""See :attr:`autotune.objective.Parameter.idle_while`."""

SOLVERS = ("lbfgs", "lsqml", "epie", "rpie", "adam")


def parameters_of(measurement: Measurement) -> tuple[Parameter, ...]:
    """Every parameter that this measurement understands, defaults from its metadata."""
    geometry = measurement.geometry
    size = measurement.patterns.shape[1] * measurement.patterns.shape[2]
    background = _background(float(measurement.patterns.mean(dtype="float64")))
    if isinstance(geometry, NearField):
        return (*_near_field(geometry), *_scan(0.0, 180.0), background, *_solver("refined", size))
    nominal = geometry.scan_rotation_degree
    scan = (*_scan(nominal or 0.0, 180.0 if nominal is None else 10.0), background)
    moved = _position_refinement()
    depth = _depth() if _knows_lengths(geometry) else ()
    if geometry.semi_convergence_mrad is not None and forms_probe(geometry):
        lens = (*_detector(), *_lens(geometry, geometry.semi_convergence_mrad))
        return (*lens, *scan, *depth, *_solver("fixed", size), *moved)
    return (*scan, *depth, *_solver("refined", size), *moved)


def _knows_lengths(geometry: FarField) -> bool:
    return geometry.wavelength_angstrom is not None and geometry.angular_sampling_mrad is not None


def forms_probe(geometry: FarField) -> bool:
    """Whether a lens of known aperture, wavelength and angular sampling gives the illumination.

    Only then do detector and lens parameters act: with a free probe they trade against it.
    """
    needed = (geometry.semi_convergence_mrad, geometry.wavelength_angstrom, geometry.angular_sampling_mrad)
    return all(value is not None for value in needed)


def why_absent(measurement: Measurement, name: str) -> str:
    """What must be stated for parameter ``name`` to have a meaning for this measurement; empty where nothing helps."""
    geometry = measurement.geometry
    if not isinstance(geometry, FarField):
        far = (*_detector(), *_lens(FarField(), 1.0), *_depth(), *_position_refinement())
        return "it exists in the far field only" if name in {parameter.name for parameter in far} else ""
    if name == "focus_to_sample":
        return "it exists in the near field only: state objective.geometry.regime: near field"
    if forms_probe(geometry):
        return ""
    thick = name in {parameter.name for parameter in _depth()}
    if not thick and name not in {parameter.name for parameter in (*_detector(), *_lens(geometry, 1.0))}:
        return ""
    if thick and _knows_lengths(geometry):
        return ""
    known = {
        "semi_convergence_mrad": 1.0 if thick else geometry.semi_convergence_mrad,
        "wavelength_angstrom": geometry.wavelength_angstrom,
        "angular_sampling_mrad": geometry.angular_sampling_mrad,
    }
    missing = " and ".join(f"objective.geometry.{key}" for key, value in known.items() if value is None)
    return f"it needs a known {'length scale' if thick else 'aperture'}: state {missing}"


def _mismatch(
    name: str,
    unit: str,
    default: float,
    low: float,
    high: float,
    description: str,
    idle_while: Conditions = (),
    **limits: float,
) -> Parameter:
    return Parameter(
        name,
        unit,
        "mismatch",
        default,
        low=low,
        high=high,
        differentiable=True,
        idle_while=idle_while,
        description=description,
        minimum=limits.get("minimum"),
        maximum=limits.get("maximum"),
    )


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
        _mismatch("camera_length", "%", 0.0, -5, 5, "the pattern is magnified by 1 + v/100", minimum=-50, maximum=50),
        _mismatch("center_offset_y", "pixel", 0.0, -3, 3, "row of the unscattered beam minus N//2"),
        _mismatch("center_offset_x", "pixel", 0.0, -3, 3, "column of the unscattered beam minus N//2"),
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
        ),
        _mismatch("astigmatism", "angstrom", 0.0, 0, 100, "two-fold astigmatism C12", minimum=0),
        _mismatch(
            "astigmatism_angle",
            "degree",
            0.0,
            0,
            180,
            "angle phi12 of the two-fold astigmatism",
            idle_while=(("astigmatism", (0.0,)),),
        ),
        _mismatch("spherical_aberration", "micrometre", 0.0, -20, 20, "C30"),
        _mismatch(
            "convergence_angle",
            "mrad",
            semi_convergence,
            0.95 * semi_convergence,
            1.05 * semi_convergence,
            "semi-convergence angle of the aperture",
            minimum=1e-3,
        ),
    )


def _scan(nominal_rotation: float, half_range: float) -> tuple[Parameter, ...]:
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
        _mismatch("scan_scale", "%", 0.0, -5, 5, "scan step multiplied by 1 + v/100", minimum=-90, maximum=900),
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


def _depth() -> tuple[Parameter, ...]:
    """A thick specimen: multislice."""
    thin: Conditions = (("slices", (1,)),)
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
            idle_while=thin,
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
                thin,
                minimum=-200,
                maximum=200,
            )
            for axis in ("y", "x")
        ),
        _whole("slices", 1, 1, 12, 1, 500, "slices of the object"),
        _weight("slice_smoothness", "weight of the squared difference between adjacent slices", thin),
    )


def _position_refinement() -> tuple[Parameter, ...]:
    return (
        _step(
            "position_step",
            0.0,
            0.01,
            1.0,
            "share of each scan position's best move that is made; L-BFGS, Adam: scale of moves; 0: none",
            (),
            minimum=0,
        ),
        _whole(
            "position_start",
            0,
            0,
            20,
            0,
            10_000,
            "iterations before positions start to move",
            (("position_step", (0.0,)),),
        ),
    )


_NOT_STOCHASTIC: Conditions = (("solver", ("lbfgs",)),)
_NOT_STEPPING: Conditions = (("solver", ("lbfgs", "adam")),)
_NOT_ADAM: Conditions = (("solver", ("lbfgs", "lsqml", "epie", "rpie")),)
_HELD: Conditions = (("probe", ("fixed",)),)
_PIXELS_PER_BATCH = 3 << 15


def _solver(probe: str, pixels: int) -> tuple[Parameter, ...]:
    """The solver's settings; ``pixels`` of one pattern set the default batch: as many as fit the processor's cache."""
    batch = max(4, _PIXELS_PER_BATCH // pixels)
    return (
        _choice("solver", "lbfgs", SOLVERS, "how the object is found; see the documentation of the study file"),
        _whole("iterations", 20, 10, 100, 1, 10_000, "passes over all patterns (L-BFGS: steps)"),
        _choice(
            "loss",
            "intensity",
            ("intensity", "amplitude", "poisson"),
            "what L-BFGS and Adam minimise; the others work on amplitudes",
            (("solver", ("lsqml", "epie", "rpie")),),
        ),
        _choice(
            "probe", probe, ("fixed", "refined"), "whether the probe is held or reconstructed together with the object"
        ),
        _whole("probe_start", 0, 0, 20, 0, 10_000, "iterations before a refined probe starts to change", _HELD),
        _whole("probe_modes", 1, 1, 6, 1, 32, "incoherent modes of a refined probe", _HELD),
        _whole("batch_size", batch, 4, 128, 1, 100_000, "neighbouring patterns per update", _NOT_STOCHASTIC),
        _step("object_step", 0.5, 0.05, 1.5, "share of the best step of the object that is made", _NOT_STEPPING),
        _step("probe_step", 0.5, 0.05, 1.5, "share of the best step of the probe that is made", _NOT_STEPPING + _HELD),
        _step(
            "object_learning_rate", 0.005, 1e-3, 0.2, "Adam's step of the object (its amplitude is about 1)", _NOT_ADAM
        ),
        _step(
            "probe_learning_rate", 0.03, 1e-3, 0.2, "Adam's step of the probe, over its rms spectrum", _NOT_ADAM + _HELD
        ),
        _step(
            "preconditioner_floor",
            0.05,
            1e-3,
            1.0,
            "least illumination assumed, as a fraction of the highest (rPIE: its alpha)",
            (("solver", ("epie", "adam")),),
            maximum=1.0,
        ),
        _weight("smoothness", "weight of the squared differences between neighbouring object pixels"),
        _weight("sparsity", "weight of the object's difference from vacuum, in absolute value"),
    )


def _setting(name: str, default: Value, description: str, idle_while: Conditions, **rest: Any) -> Parameter:
    """A solver's setting; ``rest`` as in :class:`autotune.objective.Parameter`."""
    return Parameter(name, "1", "solver", default, description=description, idle_while=idle_while, **rest)


def _whole(
    name: str,
    default: int,
    low: int,
    high: int,
    minimum: int,
    maximum: int,
    description: str,
    idle_while: Conditions = (),
) -> Parameter:
    limits = {"low": low, "high": high, "minimum": minimum, "maximum": maximum}
    return _setting(name, default, description, idle_while, type="int", **limits)


def _choice(
    name: str, default: str, choices: tuple[str, ...], description: str, idle_while: Conditions = ()
) -> Parameter:
    return _setting(name, default, description, idle_while, type="categorical", choices=choices)


def _step(
    name: str,
    default: float,
    low: float,
    high: float,
    description: str,
    idle_while: Conditions,
    minimum: float = 1e-6,
    maximum: float = 10.0,
) -> Parameter:
    """A positive number on a logarithmic scale."""
    limits = {"low": low, "high": high, "minimum": minimum, "maximum": maximum}
    return _setting(name, default, description, idle_while, log=True, **limits)


def _weight(name: str, description: str, idle_while: Conditions = ()) -> Parameter:
    text = description + ", over the mean curvature of the data's misfit"
    return _step(name, 0.0, 1e-4, 0.1, text, idle_while, minimum=0, maximum=1e3)
