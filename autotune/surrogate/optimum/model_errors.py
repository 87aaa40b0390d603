"""What errors of the model do to an optimum: deviations of the metric's derivative at it, larger is better.

Where the model is right, each part of the data (a region of a detector, say) has its optimum at the same parameter
values but for noise. Where it is wrong, each part pulls its own way: its share of the gradient is not zero although the
sum is. If errors of different parts are independent, the covariance of the sum is that of R parts g_r,

    J = R / (R - 1) sum_r (g_r - g) (g_r - g)^T,    g = sum_r g_r / R

(the cluster-robust covariance: Liang and Zeger, Biometrika 73, 13 (1986)). Two things are no errors of the model, or
are counted elsewhere:

- What a quantity pulls that is stated and held, but not known exactly. It moves the derivative by some shift for one
  standard uncertainty of the quantity, which is one more deviation. Its pulls on the parts are taken off: g_r is that
  after all values, tuned and uncertain ones (these under their uncertainty), have been fitted to all data.
- Noise. The covariance N that independent noise gives the sum is taken off J where it is known: what is left is due to
  errors that a part's values have in common. Of few parts J scatters around N even where noise is all there is, and
  more so in the directions that are then the largest: they are shrunk for that (Donoho, Gavish and Johnstone,
  Ann. Stat. 46, 1742 (2018)).
Few parts may make up most of J, so that it is not well known; intervals are widened as by Student's t.

What acts on all data as a parameter does pulls no part away from another, and no part shows it. It adds to the
parameter's value; the objective says how large it may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtri, stdtrit

from autotune.objective import Evaluation, Value
from autotune.problem.space import Floats
from autotune.surrogate.optimum.held_values import Slopes, corrected, definite, first_step

MISFIT = 3.0
"""Standard deviations of the noise by which a residual may exceed it before the model is said not to explain it."""
_UPPER = 0.95
"""Probability below the upper end of a 90 % interval."""
_ALIKE = 1e-10
"""Share of the largest singular value below which parameters are taken to act alike."""


@dataclass(frozen=True)
class ModelErrors:
    """The effect of errors of the model at one set of parameter values.

    Attributes:
        pulls: what the parts pull the parameters, such that the sum of p p^T is J.
        noise: vectors n of which the sum of n n^T is N, as far as it is known.
        shifts: changes of the derivative by one standard uncertainty of each value that is held and not known exactly.
        curvature: parameter name -> parameter name -> change of the second one's derivative per unit of the first, as
            measured; empty where it was not.
        misfit: standard deviations of the noise by which the residual exceeds it; None where that is not known.
        again: changes of the derivative in evaluations of the same values that are as valid: they mean nothing.
        by_differences: whether the curvature comes from differences of evaluations that have no derivative.
        confounded: parameter name -> standard deviation, in its unit, of what acts as the parameter does.
    """

    pulls: Sequence[Slopes] = ()
    noise: Sequence[Slopes] = ()
    shifts: Sequence[Slopes] = ()
    curvature: Mapping[str, Slopes] = field(default_factory=dict)
    misfit: float | None = None
    again: Sequence[Slopes] = ()
    by_differences: bool = False
    confounded: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        divided: Evaluation,
        steps: Mapping[str, float],
        uncertain: Mapping[str, float],
        misfit: float | None,
    ) -> ModelErrors:
        """From an evaluation with parts.

        Args:
            divided: the evaluation, for which each of ``uncertain`` was moved by its standard uncertainty.
            steps: name of a tuned parameter -> by how much it was moved.
            uncertain: name of a held parameter that is not known exactly -> by how much it was moved, its standard
                uncertainty.
            misfit: as for the class.
        """
        # Where there is no derivative, how the parts change says how their sum, which it would be, changes.
        changes_of = {
            moved: {name: sum(row[moved]) for name, row in divided.gradient_changes.items() if moved in row}
            for moved in divided.gradient_changes
        }
        shifts = tuple(
            {n: by * uncertain[name] for n, by in changes_of.get(name, {}).items() if n in steps} | dict(slopes)
            for name, slopes in divided.gradient_shifts.items()
            if name in uncertain
        )
        curvature = {
            name: changes_of.get(name, {}) | {other: slope / steps[name] for other, slope in slopes.items()}
            for name, slopes in divided.gradient_shifts.items()
            if name in steps
        }
        first = divided.gradient
        again = tuple({n: s - first[n] for n, s in row.items() if n in first} for row in divided.gradient_again)
        names = [name for name in divided.gradient_parts if name in steps]
        held = [name for name in divided.gradient_parts if name in uncertain and name not in steps]
        parts = np.array([divided.gradient_parts[name] for name in [*names, *held]], dtype=np.float64)
        count = parts.shape[1] if names else 0
        indirect = not steps.keys() <= first.keys()
        confounded = {name: size for name, size in divided.confounded.items() if name in steps}
        rest = cls((), (), shifts, curvature, misfit, again, indirect, confounded)
        if count < 2:
            return rest
        noise = _matrix(divided.gradient_noise, names)
        changes = np.array([[divided.gradient_changes.get(a, {}).get(b, np.zeros(count)) for b in [*names, *held]]
                            for a in [*names, *held]])  # fmt: skip
        own = _fitted(parts, changes, noise, [uncertain[name] for name in held])[: len(names)]
        scattered = (own - own.mean(axis=1, keepdims=True)) * np.sqrt(count / (count - 1))
        return replace(rest, pulls=_slopes(names, scattered.T), noise=_slopes(names, _root(noise).T))

    @property
    def explained(self) -> bool:
        """Whether the model explains the data, as far as the noise can tell."""
        return self.misfit is None or self.misfit <= MISFIT

    def followed(
        self, limits: Mapping[str, tuple[float, float]], change_at: Callable[[int, Slopes], Slopes | None]
    ) -> ModelErrors:
        """The same, with shifts that account for how far the best values go: see
        :mod:`autotune.surrogate.optimum.held_values`.

        Args:
            limits: parameter name -> least and largest move from the values.
            change_at: from the index of a shift and a move of the parameters to the change of the derivatives there,
                with the held value moved too; None where that is not known, and the shift stays as it is.
        """
        shifts = []
        for i, shift in enumerate(self.shifts):
            step = first_step(shift, self.curvature, limits)
            left = change_at(i, step) if step else None
            shifts.append(corrected(shift, self.curvature, step, left) if left else shift)
        return replace(self, shifts=tuple(shifts))

    def knows(self, name: str) -> bool:
        """Whether errors along a parameter are known; where nothing pulls at all, none are there."""
        known = {n for each in (*self.pulls, *self.shifts) for n in each}
        return name in known or name in self.confounded or not known

    def times(self, factor: float) -> ModelErrors:
        """The same for the metric times ``factor``."""
        parts = (self.pulls, self.noise, self.shifts, self.again)
        pulls, noise, shifts, again = (
            tuple({name: factor * slope for name, slope in each.items()} for each in part) for part in parts
        )
        curvature = {a: {b: factor * change for b, change in row.items()} for a, row in self.curvature.items()}
        return replace(self, pulls=pulls, noise=noise, shifts=shifts, curvature=curvature, again=again)


@dataclass(frozen=True)
class Deviations:
    """Errors of the model along k coordinates: arrays (any, k) of what :class:`ModelErrors` has.

    Attributes:
        pulls, noise, shifts, again: see there.
        confounded: (k,) standard deviations of what acts as a coordinate does; None for none.
        curvature: (k, k) second derivatives of the metric, NaN where they were not measured; None for none.
    """

    pulls: Floats
    noise: Floats
    shifts: Floats
    curvature: Floats | None = None
    again: Floats | None = None
    confounded: Floats | None = None

    def curvature_along(self, columns: Sequence[int]) -> Floats | None:
        """The measured second derivatives (p, p) along p of the coordinates; None where one is not known, or where they
        do not curve down in every direction, as they do at a maximum.
        """
        if self.curvature is None:
            return None
        found = definite(self.curvature[np.ix_(columns, columns)])
        return None if found is None or (found.diagonal() > 0).any() else found

    def confounded_along(self, columns: Sequence[int], H: Floats) -> Floats:
        """Deviations (p, p) of the derivative that move the maximum, where the curvature is -H (p, p), by those of
        ``confounded`` along one of p coordinates each.
        """
        return np.zeros_like(H) if self.confounded is None else self.confounded[list(columns), None] * H

    def noise_along(self, columns: Sequence[int]) -> Floats | None:
        """N (p, p) along p of the coordinates; None where it is not known along all."""
        N: Floats = self.noise[:, columns].T @ self.noise[:, columns]
        return N if len(columns) and (N.diagonal() > 0).all() else None

    def along(self, columns: Sequence[int]) -> Floats:
        """Independent deviations (d, p) of the derivative along p of the coordinates, one standard deviation each."""
        pulls, noise = self.pulls[:, columns], self.noise[:, columns]
        J, N = pulls.T @ pulls, noise.T @ noise
        known = np.flatnonzero((J.diagonal() > 0) & (N.diagonal() > 0))
        if len(known) == 0:  # all scatter counts
            return np.concatenate([_root(J).T, self.shifts[:, columns]])
        found = np.zeros((len(known), len(columns)))
        block = np.ix_(known, known)
        units = np.sqrt(N.diagonal()[known])
        scaled = np.outer(units, units)
        left = _excess(J[block] / scaled, N[block] / scaled, len(pulls))
        left = left * _of_few(pulls[:, known] / units, N[block] / scaled)
        found[:, known] = (units[:, None] * left).T
        return np.concatenate([found, self.shifts[:, columns]])


def _matrix(of: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> Floats:
    """Square array of a mapping of mappings, 0 where it has nothing."""
    return np.array([[of.get(a, {}).get(b, 0.0) for b in names] for a in names])


def _slopes(names: Sequence[str], rows: Floats) -> tuple[Slopes, ...]:
    return tuple(dict(zip(names, row, strict=True)) for row in rows.tolist())


def _fitted(parts: Floats, changes: Floats, noise: Floats, uncertainties: Sequence[float]) -> Floats:
    """The parts (n, R) after all n values have been moved, to first order, to where the sum of the parts vanishes.

    The last of them, with ``uncertainties``, are held back by these: a metric that is lower by half of ``size`` is one
    standard deviation away, where noise (k, k) is near ``size`` times the curvature.
    """
    sign = 1.0 if np.trace(changes.sum(axis=2)) <= 0 else -1.0  # of a metric that is minimised
    parts, changes = sign * parts, sign * changes
    curvature = -changes.sum(axis=2)
    bent, known = curvature.diagonal()[: len(noise)], noise.diagonal()
    if not (bent > 0).any():
        return sign * parts
    size = float(np.median(known[bent > 0] / bent[bent > 0]))
    free = len(curvature) - len(uncertainties)
    held_back = np.concatenate([np.zeros(free), size / np.square(uncertainties)])
    units = np.sqrt(np.maximum(curvature.diagonal() + held_back, 0.0))
    units[units == 0] = 1.0
    scaled = (curvature + np.diag(held_back)) / np.outer(units, units)
    moved = np.linalg.lstsq(scaled, parts.sum(axis=1) / units, rcond=_ALIKE)[0] / units
    fitted: Floats = sign * (parts + np.einsum("abr,b->ar", changes, moved))
    return fitted


def _excess(J: Floats, N: Floats, count: int) -> Floats:
    """E (p, p) with E E^T = J - N, without the directions that noise may explain; J comes from ``count`` parts."""
    root = _root(N)
    inverse = np.linalg.pinv(root, rcond=_ALIKE**0.5)
    variances, directions = np.linalg.eigh(inverse @ J @ inverse.T)
    excess: Floats = root @ (directions * np.sqrt(beyond_noise(variances, len(J) / max(count - 1, 1))))
    return excess


def beyond_noise(variances: Floats, ratio: float) -> Floats:
    """What variances (p,) of a sample of a spiked covariance exceed those of noise, 1, by: that of the population.

    Noise alone gives variances up to (1 + sqrt(ratio))^2, and a direction of variance v one of v (1 + ratio / (v - 1)).

    Args:
        variances: eigenvalues of the sample's covariance, in units of the noise.
        ratio: p over the sample's degrees of freedom.
    """
    seen = variances > (1 + ratio**0.5) ** 2
    middle = np.where(seen, variances + 1 - ratio, 0.0)
    true = (middle + np.sqrt(np.maximum(middle**2 - 4 * variances, 0.0))) / 2
    return np.where(seen, true - 1.0, 0.0)


def _of_few(pulls: Floats, N: Floats) -> float:
    """How much wider a 90 % interval is for pulls (R, p) that few of the parts make up.

    Of independent vectors of which few are long, the sum of squares has as many degrees of freedom as the effective
    number of them, (sum q)^2 / sum q^2 with squared lengths q in units of the noise; Student's t allows for that.
    """
    squares = np.square(np.linalg.pinv(_root(N), rcond=_ALIKE**0.5) @ pulls.T).sum(axis=0)
    freedom = max(float(squares.sum() ** 2 / np.square(squares).sum()) - 1.0, 1.0)
    return float(stdtrit(freedom, _UPPER) / ndtri(_UPPER))


def _root(matrix: Floats) -> Floats:
    """R (p, p) with R R^T = matrix, of which negative eigenvalues are taken to be 0."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root


FindModelErrors = Callable[[Mapping[str, Value], Mapping[str, float]], ModelErrors | None]
"""From parameter values, and a step for each of those along which derivatives are wanted, to the effect of errors of
the model there; None where they cannot be evaluated."""
