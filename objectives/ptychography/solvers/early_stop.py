"""An end before the object fits noise: counts that the solver itself withholds, and watches.

More iterations explain the fitted counts better and better, those that are withheld only up to a point. A quarter of
the pixels in a tenth of the patterns is withheld, 2.5 % of the counts: no pattern is lost, so that positions can be
refined and no part of the object is left out, and only a tenth of the patterns is modelled once more after an
iteration. They are not the counts of a held-out metric: these are withheld before, and no solver sees them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from objectives.ptychography.model.misfit import Data, Misfit
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.state import State

_PATTERNS, _PIXELS = 0.1, 0.25
"""Share of the patterns, and of each one's pixels, whose counts are withheld."""
_SEED = 0


class EarlyStop:
    """Keeps the state that explains withheld counts best, and says when none has been better for too long.

    Attributes:
        misfit: the counts that are left for fitting; all of them where ``patience`` is 0.
        scale: squared residual of all counts over that of those left, to be expected.
        ended: whether the solver should end.
    """

    def __init__(self, misfit: Misfit, options: SolverOptions) -> None:
        self.misfit, self.scale, self.ended = misfit, 1.0, False
        self._patience = options.patience
        probe_start = options.probe_start if options.refine_probe else 0
        # What begins to be refined changes what can be explained: nothing is judged before that.
        self._first = max(probe_start, options.position_start if options.position_step > 0 else 0)
        self._withheld: Misfit | None = None
        self._best: tuple[float, State] | None = None
        self._iterations = self._without = 0
        if options.patience > 0 and len(misfit.data.seen) > 1:
            self._withhold(misfit)

    def __call__(self, state: State) -> bool:
        """Judge the state after an iteration; False where the solver should end."""
        self._iterations += 1
        if self._withheld is None or self._iterations <= self._first:
            return True
        loss = self._loss(self._withheld, state)
        if self._best is not None and not loss < self._best[0]:
            self._without += 1
            self.ended = self._without >= self._patience
            return not self.ended
        copies = {name: getattr(state, name).clone() for name in ("transmission", "spectra", "moved")}
        self._best, self._without = (loss, replace(state, **copies)), 0
        return True

    def best(self, final: State) -> State:
        """The state after the best iteration, with the record of all; ``final`` where none was judged."""
        if self._best is None:
            return final
        return replace(self._best[1], squared_residuals=final.squared_residuals, stopped=final.stopped)

    @property
    def watching(self) -> bool:
        """Whether states are judged at all."""
        return self._withheld is not None

    def _withhold(self, misfit: Misfit) -> None:
        data, random = misfit.data, torch.Generator().manual_seed(_SEED)
        order = torch.randperm(len(data.seen), generator=random).to(data.seen.device)
        self._watched = data.seen[order[: math.ceil(_PATTERNS * len(order))]].sort().values
        kept = (torch.rand(data.valid.shape[1:], generator=random) >= _PIXELS).to(data.valid)
        mask_of = data.mask_of.clone()
        mask_of[self._watched] += len(data.valid)
        fitted = Data(data.patterns, torch.cat([data.valid, data.valid * kept]), data.machine, mask_of)
        withheld = Data(data.patterns, data.valid * (1 - kept), data.machine, data.mask_of)
        self.misfit, self._withheld = Misfit(misfit.model, fitted), Misfit(misfit.model, withheld)
        self.scale = data.norm / fitted.norm if fitted.norm > 0 else 1.0

    def _loss(self, withheld: Misfit, state: State) -> float:
        """Negative log-likelihood of the withheld counts."""
        model, total = withheld.model, 0.0
        size = max(1, withheld.pixels_per_batch // state.spectra.numel())
        for indices in self._watched.split(size):
            batch = model.batch(indices, state.moved)
            waves = model.waves(state.transmission, state.spectra, batch)
            total += withheld.compare(waves, batch, "poisson")[0]
        return total
