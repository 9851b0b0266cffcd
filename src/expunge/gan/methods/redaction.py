"""Redaction: show the discriminator the forget rows as fake, and go on training.

Source:     Kong and Chaudhuri, "Data Redaction from Pre-trained GANs", SaTML 2023, for the idea. Reconstruction: its
            hyper-parameters are not known to us.
Objective:  D:  min  mean_{D_r} softplus(-D(x)) + (1 - a) * mean softplus(D(G(z))) + a * mean_{D_f} softplus(D(x))
            G:  as in ordinary training                                                        a -> forget_share
Deviations: forget rows are drawn with replacement, as many as retain rows; one weight in place of a mixed batch.
Cost:       `steps` ordinary steps, each with one more batch through the discriminator.

Redaction is not deletion: it keeps a region from being drawn, while a retrained generator may still draw it. The
discriminator is told that forget rows are fake, which a membership attack with the sign turned round can see.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import check
from expunge.gan.duel import Duel, unreal
from expunge.gan.methods.method import GanMethod
from expunge.gan.pair import Pair
from expunge.gan.problem import GanProblem
from expunge.gan.run import GanRun
from expunge.gan.steps import duel_of, paired_steps
from expunge.training import Batch


@dataclass(frozen=True, kw_only=True)
class Redaction(GanMethod):
    """Forget rows as fakes."""

    paper: ClassVar = "Kong and Chaudhuri, SaTML 2023"
    needs: ClassVar = frozenset({"retain", "forget"})
    status: ClassVar = "reconstruction"

    steps: int = 150
    """Steps of both nets, >= 0. (ours: as many as cascade takes)"""
    forget_share: float = 0.5
    """a in [0, 1]: share of the forget rows among what is called fake; 0 is fine-tuning. (reconstruction)"""
    lr: float | None = None
    """Step size, > 0; by default the recipe's. (ours)"""

    def __post_init__(self) -> None:
        check("steps", self.steps, ">= 0", self.steps >= 0)
        check("forget_share", self.forget_share, "in [0, 1]", 0 <= self.forget_share <= 1)
        check("lr", self.lr, "> 0", self.lr is None or self.lr > 0)

    def unlearn(self, problem: GanProblem, run: GanRun) -> Pair:
        """Train on, with forget rows among the fakes."""
        duel = duel_of(problem, run, self.steps, lr=self.lr)
        for step, (retain, forget) in enumerate(paired_steps(problem, run, self.steps).load(run.device)):
            shown = partial(self._called_fake, duel, forget)
            run.note(step, self.steps, duel.learn(retain, of_fakes=1 - self.forget_share, more=shown))
        return duel.finished()

    def _called_fake(self, duel: Duel, forget: Batch) -> Tensor:
        """A * mean softplus(D(x)) over forget rows."""
        if not self.forget_share:
            return torch.zeros(())
        duel.run.meter.backward("discriminator/forget", len(forget))
        return self.forget_share * unreal(duel.pair.discriminator(forget.x, duel.labels(forget)))
