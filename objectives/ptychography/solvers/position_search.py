"""Search for scan positions that are wrong by pixels, before any solver refines them.

Where positions are wrong by more than the object's detail is wide, gradients lead nowhere. Three steps follow:

1. Annealing (Maiden et al., Ultramicroscopy 120, 64 (2012)). An object is made of half of the patterns; each of the
   others tries random moves and keeps the one that explains it best, since a pattern that made the object itself
   would be bound to where it already is. Moves shrink from cycle to cycle, and with them the blur of the object: detail
   finer than positions are known would only mislead.
2. Rescue. The patterns that are explained worst are left out and tried everywhere within the range; at last also where
   no other pattern has seen the object.
3. The affine part. A scan that is stretched, turned or sheared with its object fits nearly as well, so that neither
   moves of single positions nor their gradients find it: L-BFGS over four numbers does, each time with a new object.

All parts start from an empty object. The common shift of all positions moves the object alone and is taken out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from objectives.ptychography.model.misfit import Data, Misfit
from objectives.ptychography.solvers.algorithms.lbfgs import Unknowns, loss_and_gradients, minimise
from objectives.ptychography.solvers.options import SolverOptions
from objectives.ptychography.solvers.state import State, to_the_end
from objectives.ptychography.solvers.uncovered import Uncovered

_FIRST_RADIUS = 1 / 3
"""Radius of the first moves over the range: about the rms of positions that the range holds."""
_LAST_RADIUS = 0.3
"""Radius of the last moves, pixels: gradients do the rest."""
_NEAR, _FAR = 12, 2
"""Moves that a pattern tries in a cycle: around its place, and anywhere within the range."""
_BLUR = 0.8
"""Standard deviation of the object's blur over the radius of the moves."""
_DISTRUST = 0.2
"""How much better a move to the end of the range must explain a pattern than none: periodic detail repeats itself."""
_WORST, _WORST_BEYOND = 0.15, 0.05
"""Share of the patterns that a rescue takes up; of one that looks beyond the scanned area, where less is known."""
_RESCUES, _RESCUES_BEYOND = 4, 3
_OBJECT, _JOINT, _AFFINE = 8, 20, 12
"""Iterations of L-BFGS: for an object, for object and positions together, for an object of the affine search."""
_AFFINE_TRIES = 14


def search_positions(misfit: Misfit, state: State, options: SolverOptions, seed: int) -> State:
    """Find scan positions that may be wrong by up to ``options.position_range`` pixels along either axis.

    Args:
        misfit: the forward model and the data. Positions of patterns without a compared pixel follow the affine part.
        state: the start of the solver; it is left as it is.
        options: the solver's; ``position_search`` is the number of cycles.
        seed: fixes the random moves.

    Returns:
        ``state`` with other displacements and, where it is refined, another probe.
    """
    search = _Search(misfit, state, options, seed)
    search.anneal(options.position_search)
    for _ in range(_RESCUES):
        search.rescue(_WORST, beyond=False)
    search.find_affine_part()
    for _ in range(_RESCUES_BEYOND):
        search.rescue(_WORST_BEYOND, beyond=True)
    return State(state.transmission, search.spectra, search.moved, list(state.squared_residuals))


class _Search:
    """Displacements and probe of a search in progress.

    Attributes:
        moved: (position, 2) displacements in object pixels.
        spectra: (mode, det_y, det_x) the probe.
    """

    def __init__(self, misfit: Misfit, state: State, options: SolverOptions, seed: int) -> None:
        self._misfit, self._range = misfit, options.position_range
        self._options = replace(
            options, loss="intensity", position_step=1.0, smoothness=0.0, sparsity=0.0, slice_smoothness=0.0
        )
        self._empty = torch.ones_like(state.transmission)
        self._random = torch.Generator().manual_seed(seed)
        self._seen = misfit.data.seen
        self.moved, self.spectra = state.moved.clone(), state.spectra

    def anneal(self, cycles: int) -> None:
        """Step 1. Half of the patterns move in a cycle."""
        first, halves = max(self._range * _FIRST_RADIUS, _LAST_RADIUS), list[Tensor]()
        for cycle in range(cycles):
            if not halves:
                order = torch.randperm(len(self._seen), generator=self._random).to(self._seen.device)
                halves = [self._seen[half.sort().values] for half in order.chunk(2)]
            share = cycle / max(1, cycles - 1)
            radius = first * (_LAST_RADIUS / first) ** share
            self._relocate(halves.pop(), radius, _DISTRUST * radius / first)
            self._centre()

    def _relocate(self, which: Tensor, radius: float, distrust: float) -> None:
        """Move patterns ``which`` at random, and keep the moves that explain them better."""
        blurred = _blurred(self._object_without(which), _BLUR * radius)
        start, count = self.moved[which], len(which)
        tried = [start, *(self._within(start + self._disc(count, radius)) for _ in range(_NEAR))]
        tried += [self._within(self._disc(count, self._range)) for _ in range(_FAR)]
        moves = torch.stack(tried)
        worth = torch.stack([self._misfits(blurred, which, move) for move in tried])
        best = (worth * self._distrusted(moves, distrust)).argmin(0)
        self.moved[which] = moves[best, torch.arange(count, device=best.device)]

    def rescue(self, share: float, *, beyond: bool) -> None:
        """Step 2 for a ``share`` of the patterns, then object and positions together.

        ``beyond`` what the other patterns have seen of the object, it is free.
        """
        explained = self._misfits(self._object(_OBJECT), self._seen, self.moved[self._seen])
        worst = self._seen[explained.argsort(descending=True)[: max(1, round(share * len(self._seen)))]]
        misfits = self._judge(worst, beyond=beyond)
        reach = math.floor(self._range)
        axis = torch.arange(-reach, reach + 1, dtype=self.moved.dtype, device=self.moved.device)
        grid = torch.cartesian_prod(axis, axis)
        for pattern in worst.tolist():
            moves = torch.cat([self.moved[pattern][None], grid])
            same = torch.full((len(moves),), pattern, device=moves.device)
            worth = misfits(same, moves) * self._distrusted(moves, _DISTRUST)
            self.moved[pattern] = moves[worth.argmin()]
        state = self._fit(self._state(self._object(_OBJECT)), _JOINT, self._misfit, positions=True)
        self.moved, self.spectra = self._within(state.moved), state.spectra
        self._centre()

    def _judge(self, left_out: Tensor, *, beyond: bool) -> Callable[[Tensor, Tensor], Tensor]:
        """The function (patterns, moves) -> misfits beside an object of all patterns but ``left_out``."""
        blurred = _blurred(self._object_without(left_out), _BLUR)
        if len(blurred) > 1 or not beyond:
            return partial(self._misfits, blurred)
        others = self._seen[~torch.isin(self._seen, left_out)]
        return Uncovered(self._misfit, blurred[0], self.spectra, self.moved, others).misfits

    def find_affine_part(self) -> None:
        """Step 3."""
        places = self._misfit.model.scene.positions + self.moved
        places = places - places[self._seen].mean(0)
        places = places / places[self._seen].square().mean().sqrt()  # so that an entry of the matrix is in pixels

        def evaluate(matrix: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            turned = torch.as_tensor(matrix, dtype=places.dtype, device=places.device).reshape(2, 2)
            state = State(self._empty, self.spectra, self.moved + places @ turned.T)
            state = self._fit(state, _AFFINE, self._misfit)
            value, _, gradients = loss_and_gradients(self._misfit, state, self._options, Unknowns(False, True))
            # By the envelope theorem the fitted object counts as held.
            slope = (gradients[2].T @ places).reshape(-1).to("cpu", torch.float64).numpy()
            return value / unit, slope / unit

        unit = 1.0
        start, slope = evaluate(np.zeros(4))
        # The first step of the line search has length 1, a pixel, at most.
        unit = max(float(np.linalg.norm(slope)), 1e-9 * start)
        limits = [(-self._range, self._range)] * 4
        found = minimize(
            evaluate, np.zeros(4), jac=True, method="L-BFGS-B", bounds=limits, options={"maxfun": _AFFINE_TRIES}
        )
        if found.fun * unit < start:
            matrix = torch.as_tensor(found.x, dtype=places.dtype, device=places.device).reshape(2, 2)
            self.moved = self._within(self.moved + places @ matrix.T)

    def _object(self, iterations: int) -> Tensor:
        """An object that is made anew, with the probe if that is refined."""
        state = self._fit(State(self._empty, self.spectra, self.moved), iterations, self._misfit)
        self.spectra = state.spectra
        return state.transmission

    def _object_without(self, left_out: Tensor) -> Tensor:
        """An object of the other patterns."""
        data = self._misfit.data
        masks = torch.cat([data.valid, torch.zeros_like(data.valid[:1])])
        mask_of = data.mask_of.clone()
        mask_of[left_out] = len(data.valid)
        others = Misfit(self._misfit.model, Data(data.patterns, masks, data.machine, mask_of))
        if not others.data.total > 0:
            return self._empty
        return self._fit(State(self._empty, self.spectra, self.moved), _OBJECT, others).transmission

    def _fit(self, state: State, iterations: int, misfit: Misfit, *, positions: bool = False) -> State:
        unknowns = Unknowns(self._options.refine_probe, positions)
        return minimise(misfit, state, self._options, iterations, unknowns, to_the_end)

    def _state(self, transmission: Tensor) -> State:
        return State(transmission, self.spectra, self.moved)

    def _misfits(self, transmission: Tensor, which: Tensor, moves: Tensor) -> Tensor:
        """Sum of (sqrt I - sqrt y)^2 of patterns ``which`` (n,), moved by ``moves`` (n, 2), shape (n,)."""
        misfit, found = self._misfit, []
        model, data = misfit.model, misfit.data
        size = max(1, misfit.pixels_per_batch // (len(self.spectra) * data.valid[0].numel()))
        for some, moved in zip(which.split(size), moves.split(size), strict=True):
            waves = model.waves(transmission, self.spectra, model.batch_at(some, moved))
            difference = model.expected(waves).clamp(min=0).sqrt() - data.patterns[some].sqrt()
            found.append((difference.square() * data.valid[data.mask_of[some]]).sum((1, 2)))
        return torch.cat(found)

    def _distrusted(self, moves: Tensor, distrust: float) -> Tensor:
        """The factor by which the misfits of ``moves`` (..., 2) count, from 1 at 0 to 1 + distrust at the range."""
        return 1 + distrust * moves.square().sum(-1) / self._range**2

    def _disc(self, count: int, radius: float) -> Tensor:
        """Points (count, 2), uniformly in a disc."""
        random = torch.rand(2, count, generator=self._random, dtype=torch.float64)
        away, angle = radius * random[0].sqrt(), 2 * math.pi * random[1]
        return torch.stack([away * angle.sin(), away * angle.cos()], dim=1).to(self.moved)

    def _within(self, moved: Tensor) -> Tensor:
        return moved.clamp(-self._range, self._range)

    def _centre(self) -> None:
        """Take out the common shift."""
        seen = self.moved[self._seen]
        self.moved[self._seen] = self._within(seen - seen.mean(0))


def _blurred(transmission: Tensor, width: float) -> Tensor:
    """The object (slice, rows, columns) convolved with a Gaussian of standard deviation ``width`` in pixels."""
    f_y, f_x = (torch.fft.fftfreq(n, dtype=transmission.real.dtype) for n in transmission.shape[1:])
    transfer = torch.exp(-2 * (math.pi * width) ** 2 * (f_y[:, None] ** 2 + f_x[None, :] ** 2))
    return torch.fft.ifft2(torch.fft.fft2(transmission) * transfer.to(transmission.device)).contiguous()
