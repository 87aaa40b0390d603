"""Pictures of a reconstruction, for people who look before they believe.

Matplotlib's object interface only: no pyplot state, so that pictures can be drawn in any thread.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from autotune.objective import Evaluation

_MICROMETRE = 1e4


def draw_reconstruction(evaluation: Evaluation) -> bytes:
    """Phase and amplitude of the object, the probe, and one pattern measured and modelled on one scale, as PNG."""
    arrays, attributes = evaluation.arrays, evaluation.attributes
    pixel = float(attributes["object_pixel_y"])
    aspect = float(attributes["object_pixel_y"]) / float(attributes["object_pixel_x"])
    unit = str(attributes["length_unit"])
    window = _scanned(attributes)
    # A thick object is shown as its projection, a mixed probe as its summed intensity.
    projection = arrays["object"].prod(axis=0)[window]
    phase = np.angle(projection)
    # A constant phase is arbitrary: centre it, and show the range that holds all but the outliers.
    phase = np.angle(np.exp(1j * (phase - np.angle(np.exp(1j * phase).mean()))))

    figure = Figure(figsize=(11, 6.4), dpi=80)
    # Fixed places: matplotlib's automatic layouts take longer than a small reconstruction.
    figure.subplots_adjust(left=0.03, right=0.95, bottom=0.08, top=0.94, wspace=0.24, hspace=0.18)
    axes = figure.subplots(2, 3)
    _panel(axes[0, 0], phase, "object phase (rad)", "cividis", aspect, _limits(phase))
    _scale_bar(axes[0, 0], phase.shape[1], pixel / aspect, unit)
    amplitude = np.abs(projection)
    _panel(axes[0, 1], amplitude, "object amplitude (1)", "gray", aspect, _limits(amplitude))
    _scale_bar(axes[0, 1], amplitude.shape[1], pixel / aspect, unit)
    probe = np.sqrt(np.square(np.abs(arrays["probe"])).sum(axis=0))
    _panel(axes[0, 2], probe, "probe amplitude (sqrt counts)", "magma", aspect, (0.0, float(probe.max())))
    _scale_bar(axes[0, 2], probe.shape[1], pixel / aspect, unit)
    measured, modelled = (np.sqrt(np.maximum(arrays[f"pattern_{name}"], 0)) for name in ("measured", "modelled"))
    shared = (0.0, float(np.quantile(measured, 0.999)) or 1.0)
    _panel(axes[1, 0], measured, "one pattern, measured (sqrt counts)", "viridis", 1.0, shared)
    _panel(axes[1, 1], modelled, "the same, modelled (sqrt counts)", "viridis", 1.0, shared)
    _curve(axes[1, 2], evaluation)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _scanned(attributes: Any) -> tuple[slice, slice]:
    """The part of the object between the outermost scan positions."""
    return (
        slice(int(attributes["scan_first_row"]), int(attributes["scan_last_row"]) + 1),
        slice(int(attributes["scan_first_column"]), int(attributes["scan_last_column"]) + 1),
    )


def _limits(image: Any) -> tuple[float, float]:
    low, high = (float(q) for q in np.quantile(image, (0.005, 0.995)))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _panel(axes: Axes, image: Any, title: str, colours: str, aspect: float, limits: tuple[float, float]) -> None:
    shown = axes.imshow(image, cmap=colours, vmin=limits[0], vmax=limits[1], aspect=aspect, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    _colour_bar(axes, shown, limits)


def _colour_bar(axes: Axes, shown: AxesImage, limits: tuple[float, float]) -> None:
    """A colour bar beside the image, with three ticks."""
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
    """A bar of a round length, about a quarter of the width."""
    quarter = columns * pixel / 4
    decade = 10.0 ** math.floor(math.log10(quarter))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= quarter)
    if unit == "angstrom" and length >= _MICROMETRE / 10:
        label = f"{length / _MICROMETRE:g} µm"
    elif unit == "angstrom" and length >= 10:
        label = f"{length / 10:g} nm"
    else:
        label = f"{length:g} {unit}"
    axes.plot([0.04, 0.04 + length / (columns * pixel)], [0.05, 0.05], "w-", lw=4, transform=axes.transAxes)
    shade = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
    axes.text(0.045, 0.09, label, color="w", fontsize=9, transform=axes.transAxes, bbox=shade)


def _curve(axes: Axes, evaluation: Evaluation) -> None:
    curve = evaluation.curve.get("consistency", ())
    axes.plot(range(1, len(curve) + 1), curve, "o-", ms=3, color="#0072B2")
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.tick_right()
    axes.set_title(f"consistency: {evaluation.metrics['consistency']:.5f} at the end", fontsize=10)
    axes.grid(alpha=0.3)
