"""An evaluation whose gradient is divided: one reconstruction, one more for each parameter that is moved, and some on
other grids of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from autotune.objective import Evaluation, InputError, Status
from objectives.ptychography.evaluation.parts import Other, gradient_in_parts
from objectives.ptychography.evaluation.reconstruction import Reconstruction
from objectives.ptychography.evaluation.wedge import CENTRE, wedge_of_specimen
from objectives.ptychography.solvers.state import to_the_end


def divided(
    reconstruction: Reconstruction,
    reconstruction_at: Callable[[Mapping[str, float]], Reconstruction],
    metric: str,
    moved: Mapping[str, tuple[float, float]],
    on_other_grids: Iterable[Callable[[], Reconstruction]],
    seed: int,
    *,
    counted: bool,
) -> Evaluation:
    """Evaluate, and divide the gradient among regions of the detector.

    Args:
        reconstruction: the one to divide.
        reconstruction_at: from other values of some parameters to the reconstruction to be made there.
        metric: one of the counts that are seen.
        moved: parameter name -> another value of it, and by how much that is larger, or its square where derivatives
            are by that.
        on_other_grids: makers of reconstructions at the same values on other grids of pixels. A position that is
            rounded to another pixel is a little another probe; where a reconstruction fits noise, that counts.
        seed: seed of every reconstruction.
        counted: whether the values are counted quanta, so that the noise, and with it the misfit, is known.

    Returns:
        What :class:`autotune.objective.DividesGradient` returns, without seconds and arrays; an evaluation that has
        failed where the reconstruction at the values themselves has.
    """
    state = reconstruction.run(to_the_end, seed)
    evaluation = replace(reconstruction.evaluation(state, metric), arrays={})
    if evaluation.status is not Status.COMPLETE:
        return evaluation
    others: dict[str, Other] = {}
    shifts: dict[str, dict[str, float]] = {}
    for name, (there, distance) in moved.items():
        try:
            elsewhere = reconstruction_at({name: there})
        except InputError:  # beyond a hard limit
            continue
        end = elsewhere.run(to_the_end, seed)
        at_end = elsewhere.evaluation(end, metric)
        if at_end.status is Status.COMPLETE:
            others[name] = Other(elsewhere.misfit.model, end, distance)
            shifts[name] = {
                n: s - evaluation.gradient[n] for n, s in at_end.gradient.items() if n in evaluation.gradient
            }
    again = [made.evaluation(made.run(to_the_end, seed), metric) for made in (make() for make in on_other_grids)]
    parts = gradient_in_parts(reconstruction.misfit, state, metric, others)
    return replace(
        evaluation,
        metrics={**evaluation.metrics, **({"misfit": parts.misfit} if counted else {})},
        gradient_parts=parts.slopes,
        gradient_changes=parts.changes,
        gradient_noise=parts.noise,
        gradient_shifts=shifts,
        gradient_again=[each.gradient for each in again if each.status is Status.COMPLETE],
        confounded=wedge_of_specimen(reconstruction.misfit, state) if moved.keys() & set(CENTRE) else {},
    )
