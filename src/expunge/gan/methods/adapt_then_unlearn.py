"""Adapt, then unlearn: learn the forget rows on purpose, then train on retain while keeping away from there.

Source:     Tiwary, Guha, Panda, Prathosh, "Adapt then Unlearn", TMLR; arXiv:2309.14054. Reconstruction on small pairs.
Objective:  1. `copies` times, from the original G0: ordinary training on D_f with a penalty
                   lam * sum_i F_i (w_i - w0_i)^2            F -> diagonal Fisher of the original, lam -> penalty
            2. from G0: ordinary training on D_r with the repulsion of every adapted copy w_a, where
                   d = sum (w - w_a)^2 / sum (w0 - w_a)^2:
                   exp  100 * exp(-d / a)      l2  -d / a      reciprocal  1 / (a * d)          a -> scale
                   weighted by gamma
Deviations: 1. distances are divided by the original's distance to the copy, so that `scale` does not depend on how many
               weights there are; the paper's are plain sums.
            2. "l2" has no lower end, so its step is left out once d exceeds `most`.
            3. the discriminator goes on from the original's in both stages.
            4. positive rows are the retain rows, not rows that a person has marked.
Cost:       `copies * adapt_steps + steps` ordinary steps, and `fisher_rows` visits for the Fisher information.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import check
from expunge.gan.duel import Duel
from expunge.gan.fisher import Weights, held, output_fisher, weights_of
from expunge.gan.methods.method import GanMethod
from expunge.gan.pair import Pair
from expunge.gan.problem import GanProblem
from expunge.gan.run import GanRun
from expunge.gan.steps import duel_of, forget_steps, retain_steps
from expunge.seeds import derive

REPULSIONS = ("exp", "l2", "reciprocal")
STRONGEST = 100.0
"""Greatest value of "exp". (code: atriguha/Adapt_Unlearn)"""
TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class AdaptThenUnlearn(GanMethod):
    """Repulsion from weights that were adapted to the forget rows."""

    paper: ClassVar = "arXiv:2309.14054"
    needs: ClassVar = frozenset({"retain", "forget"})
    status: ClassVar = "reconstruction"

    copies: int = 2
    """Adapted copies, >= 1. (ours)"""
    adapt_steps: int = 50
    """Steps of each adaptation, >= 1. (ours; code: atriguha/Adapt_Unlearn takes 2000 on MNIST)"""
    steps: int = 150
    """Steps of the second stage, >= 0. (ours; code: atriguha/Adapt_Unlearn takes 3000 on MNIST)"""
    penalty: float = 10.0
    """lam >= 0. (ours)"""
    fisher_rows: int = 256
    """Latents behind the Fisher information, >= 1. (ours)"""
    repulsion: str = "exp"
    """"exp", "l2" or "reciprocal"."""
    gamma: float = 1.0
    """Weight of the repulsion, >= 0. (ours)"""
    scale: float = 0.83
    """a > 0, in units of the original's squared distance to a copy. (code: atriguha/Adapt_Unlearn, MNIST: 1 / 1.2)"""
    most: float = 4.0
    """Squared distance at which "l2" stops, > 0, in the same units. (ours)"""
    lr: float | None = None
    """Step size, > 0; by default the recipe's. (ours)"""

    def __post_init__(self) -> None:
        for name in ("copies", "adapt_steps", "fisher_rows"):
            check(name, getattr(self, name), ">= 1", getattr(self, name) >= 1)
        for name in ("steps", "penalty", "gamma"):
            check(name, getattr(self, name), ">= 0", getattr(self, name) >= 0)
        for name in ("scale", "most"):
            check(name, getattr(self, name), "> 0", getattr(self, name) > 0)
        check("repulsion", self.repulsion, f"one of {', '.join(REPULSIONS)}", self.repulsion in REPULSIONS)
        check("lr", self.lr, "> 0", self.lr is None or self.lr > 0)

    def unlearn(self, problem: GanProblem, run: GanRun) -> Pair:
        """Adapt, then train away from there."""
        start = weights_of(problem.original.to(run.device).generator)
        fisher = output_fisher(problem.original.generator, run, count=self.fisher_rows)
        adapted = [self._adapted(problem, run, start, fisher, copy) for copy in range(self.copies)]
        duel = duel_of(problem, run, self.steps, lr=self.lr)
        away = partial(self._repelled, duel, start, adapted)
        for step, (retain,) in enumerate(retain_steps(problem, run, self.steps).load(run.device)):
            run.note(step, self.steps, duel.learn(retain, penalty=away))
        return duel.finished()

    def _adapted(self, problem: GanProblem, run: GanRun, start: Weights, fisher: Weights, copy: int) -> Weights:
        """The weights of a generator that has learnt the forget rows."""
        duel = Duel(problem.original.copy(), problem.recipe, run, role=f"adapt-{copy}", lr=self.lr)

        def near() -> Tensor:
            return self.penalty * held(duel.pair.generator, start, fisher)

        anew = GanRun(derive(run.seed, "adapt", copy), run.batch_size, run.device)  # another order for each copy
        for (forget,) in forget_steps(problem, anew, self.adapt_steps).load(run.device):
            duel.learn(forget, penalty=near)
        return weights_of(duel.pair.generator)

    def _repelled(self, duel: Duel, start: Weights, adapted: list[Weights]) -> Tensor:
        """Gamma times the mean repulsion of the copies."""
        now = weights_of(duel.pair.generator, live=True)
        total = [repel(now, start, copy, self.repulsion, scale=self.scale, most=self.most) for copy in adapted]
        return self.gamma * torch.stack(total).mean()


def repel(now: Weights, start: Weights, adapted: Weights, form: str, *, scale: float, most: float) -> Tensor:
    """The repulsion of one copy, a scalar that falls as `now` moves away from it.

    Args:
        now: name -> weight, with gradients.
        start: The original's weights: their squared distance to the copy is the unit.
        adapted: The copy's.
        form: "exp", "l2" or "reciprocal".
        scale: a > 0.
        most: Squared distance at which "l2" stops.

    Example:
        >>> one = lambda value: {"w": torch.tensor([value])}
        >>> round(float(repel(one(0.0), one(0.0), one(1.0), "exp", scale=1.0, most=4.0)), 2)  # 100 / e
        36.79
    """
    unit, apart = (torch.stack([(one[k] - adapted[k]).square().sum() for k in start]).sum() for one in (start, now))
    d = apart / unit.clamp_min(TINY)
    if form == "exp":
        return STRONGEST * torch.exp(-d / scale)
    if form == "l2":
        return -d.clamp_max(most) / scale  # beyond `most` the gradient is zero
    return 1 / (scale * d.clamp_min(TINY))
