"""Draw pictures of a reconstruction.

Only Matplotlib's object interface is used, without pyplot's state, so that pictures can be drawn in any thread. It is
imported where they are drawn: most of what an objective does needs none.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from autotune.objective import Evaluation, View
from objectives.ptychography.evaluation.scanned_region import scanned_region

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

Image = np.ndarray[Any, Any]
Arrays = Mapping[str, Image]
Attributes = Mapping[str, float | int | str]

_MICROMETRE = 1e4
_DARK = 0.05
"""Share of the largest amplitude below which a phase is not shown, since it says nothing."""


def draw_reconstruction(evaluation: Evaluation) -> bytes:
    """Draw object, probe, and one pattern measured and modelled with their difference; returns a PNG file."""
    from matplotlib.figure import Figure

    arrays, attributes = evaluation.arrays, evaluation.attributes
    phase, amplitude = views_of(arrays, attributes)
    figure = Figure(figsize=(13.2, 5.9), dpi=80)
    # Fixed places: matplotlib's automatic layouts take longer than a small reconstruction.
    figure.subplots_adjust(left=0.02, right=0.955, bottom=0.09, top=0.94, wspace=0.26, hspace=0.18)
    axes = figure.subplots(2, 4)
    measured, modelled, residual, *probe = fits_of(arrays, attributes)
    for place, view in zip(axes[0], (phase, amplitude, *probe), strict=True):
        _panel(place, view)
    _panel(axes[1, 0], measured, bar=False)  # the next panel's holds for it
    _panel(axes[1, 1], modelled)
    _panel(axes[1, 2], residual)
    _curve(axes[1, 3], evaluation)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 3})
    return buffer.getvalue()


def views_of(arrays: Arrays, attributes: Attributes) -> tuple[View, View]:
    """Phase and amplitude of the object between the outermost scan positions; of a thick object, of its projection.

    The phase is centred, since a constant phase is arbitrary.
    """
    projection = arrays["object"].prod(axis=0)[scanned_region(attributes)]
    phase = np.angle(projection)
    phase = np.angle(np.exp(1j * (phase - np.angle(np.exp(1j * phase).mean()))))
    pixel_y, pixel_x = float(attributes["object_pixel_y"]), float(attributes["object_pixel_x"])
    unit = str(attributes["length_unit"])
    return (
        View("object phase", phase, "rad", pixel_y, pixel_x, unit),
        View("object amplitude", np.abs(projection), "1", pixel_y, pixel_x, unit, "gray"),
    )


def _probe(modes: Image, attributes: Attributes) -> tuple[View, View]:
    """Amplitude of the probe, summed over its modes (m, y, x), and the phase of the first mode where it is not dark."""
    amplitude = np.sqrt(np.square(np.abs(modes)).sum(axis=0))
    limits = (0.0, float(amplitude.max()) or 1.0)
    first = np.abs(modes[0])
    bright = np.where(first > _DARK * first.max(), np.angle(modes[0]), np.nan)
    name = "probe phase" if len(modes) == 1 else f"phase of the first of {len(modes)} modes"
    size = float(attributes["object_pixel_y"]), float(attributes["object_pixel_x"]), str(attributes["length_unit"])
    return (
        View("probe amplitude", amplitude, "sqrt counts", *size, "viridis", limits),
        View(name, bright, "rad", *size, "twilight", (-math.pi, math.pi)),
    )


def _patterns(arrays: Arrays, attributes: Attributes) -> tuple[View, View, View]:
    """One pattern measured and modelled, with equal limits, and their difference, with symmetric ones."""
    measured, modelled = (np.sqrt(np.maximum(arrays[f"pattern_{name}"], 0)) for name in ("measured", "modelled"))
    shared = (0.0, float(np.quantile(measured, 0.999)) or 1.0)
    # Counting gives the square root of a count a standard deviation of about a half, whatever the count.
    residual = measured - modelled
    most = float(np.quantile(np.abs(residual), 0.995)) or 1.0
    pixel_y, pixel_x = (float(attributes.get(f"detector_pixel_{axis}", 1.0)) for axis in "yx")
    size = pixel_y, pixel_x, str(attributes.get("detector_unit", "pixel"))
    return (
        View("one pattern, measured", measured, "sqrt counts", *size, "viridis", shared),
        View("the same, modelled", modelled, "sqrt counts", *size, "viridis", shared),
        View("measured - modelled", residual, "sqrt counts", *size, "RdBu_r", (-most, most)),
    )


def fits_of(arrays: Arrays, attributes: Attributes) -> tuple[View, View, View, View, View]:
    """One pattern measured and modelled, their difference, and amplitude and phase of the probe."""
    return (*_patterns(arrays, attributes), *_probe(arrays["probe"], attributes))


def _limits(image: Any) -> tuple[float, float]:
    low, high = (float(q) for q in np.quantile(image, (0.005, 0.995)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _panel(axes: Axes, view: View, *, bar: bool = True) -> None:
    """Draw a view with a scale bar, and a colour bar beside it."""
    limits = view.limits or _limits(view.image)
    aspect = view.pixel_y / view.pixel_x
    shown = axes.imshow(
        view.image, cmap=view.colours, vmin=limits[0], vmax=limits[1], aspect=aspect, interpolation="nearest"
    )
    axes.set_title(view.label, fontsize=10)
    axes.set(xticks=[], yticks=[], facecolor="0.8")
    _scale_bar(axes, view.image.shape[1], view.pixel_x, view.length_unit)
    if bar:
        _colour_bar(axes, shown, limits)


def _colour_bar(axes: Axes, shown: AxesImage, limits: tuple[float, float]) -> None:
    """Draw a colour bar beside the image, with three ticks."""
    bar = axes.inset_axes((1.02, 0.0, 0.04, 1.0))
    bar.imshow(
        np.linspace(limits[1], limits[0], 64)[:, None],
        cmap=shown.get_cmap(),
        aspect="auto",
        extent=(0, 1, limits[0], limits[1]),
    )
    bar.set_xticks([])
    ticks = np.linspace(limits[0], limits[1], 3)
    bar.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks], fontsize=8)
    bar.yaxis.tick_right()


def _scale_bar(axes: Axes, columns: int, pixel: float, unit: str) -> None:
    """Draw a bar of a round length, about a quarter of the width."""
    quarter = columns * pixel / 4
    decade = 10.0 ** math.floor(math.log10(quarter))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= quarter)
    if unit == "angstrom" and length >= _MICROMETRE / 10:
        label = f"{length / _MICROMETRE:g} µm"
    elif unit == "angstrom" and length >= 10:
        label = f"{length / 10:g} nm"
    else:
        label = f"{length:g} {unit}"
    for colour, width in (("k", 6), ("w", 4)):  # rimmed, to be seen on white
        ends = [0.04, 0.04 + length / (columns * pixel)]
        axes.plot(ends, [0.05, 0.05], color=colour, lw=width, solid_capstyle="butt", transform=axes.transAxes)
    shade = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
    axes.text(0.045, 0.09, label, color="w", fontsize=9, transform=axes.transAxes, bbox=shade)


def _curve(axes: Axes, evaluation: Evaluation) -> None:
    from matplotlib.ticker import MaxNLocator

    curve = evaluation.curve.get("consistency", ())
    axes.plot(range(1, len(curve) + 1), curve, "o-", ms=3, color="#0072B2")
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.tick_right()
    axes.set_title(f"consistency: {evaluation.metrics['consistency']:.5f} at the end", fontsize=10)
    axes.grid(alpha=0.3)
