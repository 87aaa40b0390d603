"""What the noise of the measurement does to an optimum, from derivatives of the metric on repeated measurements.

Let the metric of an exact measurement have its maximum at x0, with curvature -H. On a noisy one its derivative at x0,
the score, is some g, and the maximum is at x0 + H^-1 g. Repeated in simulation, measurements give scores at the answer:
their mean is a bias (of over-fitting, which favours some parameter values, or of an unfinished reconstruction), their
covariance J is the noise, and the optimum scatters with H^-1 J H^-1. Were the metric a log-likelihood, J would be H
(Bartlett's identity); so J is sought near a multiple of H, or of what is known to be nearer, and few repetitions are
enough.

Source: H. White, Econometrica 50, 1 (1982), for H^-1 J H^-1; A. Gelman et al., Bayesian Data Analysis (3rd ed.), 3.6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotune.problem.space import Floats

PRIOR = 4.0
"""Weight, in repetitions, of the prior guess that the noise is proportional to the curvature."""


@dataclass(frozen=True)
class ScoreNoise:
    """Scores (p,) that noise gives the metric at its optimum.

    Attributes:
        mean: (p,) bias; 0 for coordinates along which no derivative is known.
        covariance: (p, p) covariance of the score of one measurement.
        size: the covariance is near size * H, in the metric's unit: a metric lower by size / 2 is one standard
            deviation away.
        freedom: degrees of freedom of that estimate, for Student's t.
        repetitions: number of measurements that the mean is taken over.
    """

    mean: Floats
    covariance: Floats
    size: float
    freedom: float
    repetitions: int

    @classmethod
    def of(cls, scores: Floats, H: Floats, like: Floats | None = None) -> ScoreNoise:
        """Estimate from repeated measurements.

        Args:
            scores: (b, p), b of at least two; a column without scores is NaN throughout.
            H: (p, p) positive definite, minus the curvature of the metric, in the scores' coordinates.
            like: (p, p) what the covariance is sought near a multiple of; H where left out.
        """
        b = len(scores)
        measured = np.flatnonzero(np.isfinite(scores).all(axis=0))
        mean, covariance, size = np.zeros(len(H)), np.zeros_like(H), 0.0
        if measured.size:
            columns = scores[:, measured]
            mean[measured] = columns.mean(axis=0)
            scatter = (columns - mean[measured]).T @ (columns - mean[measured])
            block = H[np.ix_(measured, measured)]
            size = float(np.median(np.diag(scatter) / np.diag(block))) / (b - 1)
            covariance = size * H
            guess = block if like is None else like[np.ix_(measured, measured)]
            guess = guess * np.median(np.diag(scatter) / np.diag(guess)) / (b - 1)
            covariance[np.ix_(measured, measured)] = (PRIOR * guess + scatter) / (PRIOR + b - 1)
        return cls(mean, covariance, size, PRIOR + b - 1, b)

    def draw(self, count: int, random: np.random.Generator) -> Floats:
        """Samples, (count, p), of the correction that takes the score of the measurement to the score without noise.

        The mean is not exactly known either: it adds its share to the variance.
        """
        return self.scatter(count, random, 1 + 1 / self.repetitions) - self.mean

    def scatter(self, count: int, random: np.random.Generator, share: float = 1.0) -> Floats:
        """Samples, (count, p), of mean 0 and that share of the covariance, by Student's t."""
        values, directions = np.linalg.eigh(self.covariance * share)
        normal = random.normal(size=(count, len(values))) @ (directions * np.sqrt(np.maximum(values, 0.0))).T
        samples: Floats = normal * np.sqrt(self.freedom / random.chisquare(self.freedom, size=(count, 1)))
        return samples
