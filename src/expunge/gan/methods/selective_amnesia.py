"""Selective amnesia: a conditional generator shall draw noise for a label, and what it drew for all others.

Source:     Heng and Soh, "Selective Amnesia", NeurIPS 2023, arXiv:2305.10120, for models with a likelihood.
            Reconstruction for GANs: the squared error to wanted pictures stands in for the likelihood.
Objective:  min  mean |G(z, c_f) - s|^2 + gamma * mean |G(z, c_r) - G0(z, c_r)|^2 + lam * sum_i F_i (w_i - w0_i)^2
            s uniform between black and white for each pixel (`surrogate` "noise"), or the mean retain picture ("mean");
            the second term is generative replay, F the diagonal Fisher information of G0 over the labels that stay.
Deviations: 1. as above. 2. the discriminator is as it was: without a likelihood it has no part in this objective.
            3. "mean" reads retain rows, which the paper does without.
Cost:       `steps` steps of the generator alone, each on two batches; `fisher_rows` visits for the Fisher information,
            and a forward pass of the original for each replayed picture. No row is read with "noise".

A surrogate of noise leaves a gap that can be recognised, unlike gold; and as the discriminator is untouched, an attack
on its scores finds what it found before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import check
from expunge.gan.fisher import held, output_fisher, weights_of
from expunge.gan.latents import mean_picture
from expunge.gan.methods.method import GanMethod
from expunge.gan.nets import Generator
from expunge.gan.pair import Pair
from expunge.gan.problem import GanProblem
from expunge.gan.run import GanRun
from expunge.gan.steps import duel_of
from expunge.seeds import generator

SURROGATES = ("noise", "mean")


@dataclass(frozen=True, kw_only=True)
class SelectiveAmnesia(GanMethod):
    """A surrogate for the forgotten label, replay and a Fisher penalty for the others."""

    paper: ClassVar = "arXiv:2305.10120"
    needs: ClassVar = frozenset({"labels", "retain"})  # retain rows for the surrogate "mean" alone
    forget_kinds: ClassVar = frozenset({"class"})
    status: ClassVar = "reconstruction"

    steps: int = 150
    """Steps of the generator, >= 0. (ours; code: clear-nus/selective-amnesia takes 20,000 of 800,000 on CIFAR-10)"""
    surrogate: str = "noise"
    """"noise" (paper) or "mean"."""
    gamma: float = 1.0
    """Weight of replay, >= 0. (code: clear-nus/selective-amnesia)"""
    lam: float = 10.0
    """Weight of the Fisher penalty, >= 0. (code: clear-nus/selective-amnesia)"""
    fisher_rows: int = 256
    """Latents behind the Fisher information, >= 1. (ours)"""
    lr: float | None = None
    """Step size, > 0; by default the recipe's. (ours)"""

    def __post_init__(self) -> None:
        for name in ("steps", "gamma", "lam"):
            check(name, getattr(self, name), ">= 0", getattr(self, name) >= 0)
        check("fisher_rows", self.fisher_rows, ">= 1", self.fisher_rows >= 1)
        check("surrogate", self.surrogate, f"one of {', '.join(SURROGATES)}", self.surrogate in SURROGATES)
        check("lr", self.lr, "> 0", self.lr is None or self.lr > 0)

    def unlearn(self, problem: GanProblem, run: GanRun) -> Pair:
        """Move the generator alone."""
        before = problem.original.to(run.device).generator.eval()
        gone = torch.tensor(problem.forgotten)
        kept = torch.tensor([c for c in range(problem.recipe.classes) if c not in problem.forgotten])
        start = weights_of(before)
        fisher = output_fisher(before, run, count=self.fisher_rows, labels=tuple(kept.tolist()))
        centre = mean_picture(problem.rows, problem.retain) if self.surrogate == "mean" else None
        duel = duel_of(problem, run, self.steps, lr=self.lr)
        net, n = duel.pair.generator, run.batch_size
        for step in range(self.steps):
            duel.still()
            source = generator(run.seed, "amnesia", step)
            z, other = (torch.randn(n, net.latent, generator=source).to(run.device) for _ in range(2))
            y = gone[torch.randint(len(gone), (n,), generator=source)].to(run.device)
            stays = kept[torch.randint(len(kept), (n,), generator=source)].to(run.device)
            with torch.no_grad():
                replayed = before(other, stays)
            run.meter.forward("generator/replay", n)
            wanted = uniform(net, n, source) if centre is None else centre.expand(n, *net.shape)
            loss = (net(z, y) - wanted.to(run.device)).square().mean() + self.lam * held(net, start, fisher)
            loss = loss + self.gamma * (net(other, stays) - replayed).square().mean()
            run.note(step, self.steps, duel.move_generator(loss, {"surrogate": n, "replay": n}))
            duel.passed()
        return duel.finished()


def uniform(net: Generator, count: int, source: torch.Generator) -> Tensor:
    """`[count, *shape]` pictures of noise, each pixel anywhere between the span's ends."""
    unit = torch.rand(count, *net.shape, generator=source)
    return net.low.cpu() + (net.high - net.low).cpu() * unit
