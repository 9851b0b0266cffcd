"""Cascaded unlearning: a fake label for the discriminator, substitutes for the generator, ordinary steps in between.

Source:     Sun, Zhu, Chang, Zhou, "Generative Adversarial Networks Unlearning", arXiv:2308.09881. Reconstruction: only
            its abstract is known to us. From there: a substitution mechanism for G, a fake label for D, unlearning and
            learning in alternation, for items and for classes. All below is ours.
Objective:  D:  min  mean_{D_f} BCE(sig(D(x)), y*)                                      y*  -> label
            G:  min  lam * mean |G(z_u) - s(z_u)|^2 (+ perceptual * |f(G(z_u)) - f(s)|^2)   s -> substitute
            then one ordinary step of D and one of G on retain rows; `steps` times.
            z_u draws what has to go: found by search for an item, by a classifier among fresh draws for a class.
            y* for an item is the mean of sig(D0) over unseen rows. For a class it is 0 where the pair knows no labels:
            gold's discriminator says little of pictures off its manifold (.1 to .4 on digits, so that 0 is lower than
            gold). Where it is told the label, which gold's has never seen, it is the mean over unseen rows again.
Deviations: the whole is a reconstruction. All four steps share one rate and each net one state of Adam; substitutes of
            a conditional generator are nearest in z and may bear any other label.
Cost:       a step costs 1.5 ordinary ones; beside that `search_steps` visits of the
            generator for each forget row (items), or the draws that find the class, and one classifier that any
            request about this data shares.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from expunge.errors import check
from expunge.gan.duel import towards
from expunge.gan.latents import mean_picture, of_classes, search
from expunge.gan.methods.method import GanMethod
from expunge.gan.pair import Pair, drawn, judged
from expunge.gan.problem import GanProblem, hidden
from expunge.gan.run import GanRun
from expunge.gan.steps import duel_of, paired_steps
from expunge.gan.substitutes import SUBSTITUTES, nearest, noise_pictures
from expunge.seeds import generator

POOL = 1_000
"""Latents of other pictures, among which the nearest is sought."""
AT_ONCE = 256
"""Pictures that a classifier looks at side by side."""
SHOWN = 16
"""Substituted latents that are kept for people to look at."""
COLLAPSED = 1e-4
"""Spread in nats of a discriminator's logits below which it tells no row from another."""


@dataclass(frozen=True, kw_only=True)
class Cascade(GanMethod):
    """Cascaded unlearning of items or of whole classes."""

    paper: ClassVar = "arXiv:2308.09881"
    needs: ClassVar = frozenset({"retain", "forget", "holdout", "classifier"})
    status: ClassVar = "reconstruction"

    steps: int = 150
    """Rounds of unlearning and learning, >= 0. (ours; 40 is the fast setting)"""
    substitute: str = "auto"
    """"nearest", "mean", "noise", or "auto": nearest for a class, noise for items. (reconstruction)"""
    label: float | None = None
    """What the discriminator shall say of forget rows, in [0, 1]; by default what it says of unseen rows, and 0 for a
    class where the pair knows no labels. (reconstruction)"""
    lam: float = 1.0
    """Weight of the substitution, >= 0, on the mean squared difference in the rows' units. (ours)"""
    perceptual: float = 0.0
    """Weight of the same difference between the classifier's features, >= 0; for pictures in colour. (ours)"""
    noise: float = 1.0
    """Standard deviation of the shift of latents, > 0. (reconstruction)"""
    latents: int = 512
    """Latents of a class to find, >= 1. (ours)"""
    search_steps: int = 300
    """Adam steps of the latent search, >= 1. (reconstruction)"""
    search_lr: float = 0.05
    """Its step size, > 0. (reconstruction)"""
    most_error: float = 0.5
    """Share of a row's variation that the found picture may miss; other rows are left out of G's steps. (ours)"""
    lr: float | None = None
    """Step size of all four steps, > 0; by default the recipe's. (ours)"""

    def __post_init__(self) -> None:
        check("steps", self.steps, ">= 0", self.steps >= 0)
        known = ("auto", *SUBSTITUTES)
        check("substitute", self.substitute, f"one of {', '.join(known)}", self.substitute in known)
        check("label", self.label, "in [0, 1]", self.label is None or 0 <= self.label <= 1)
        for name in ("lam", "perceptual"):
            check(name, getattr(self, name), ">= 0", getattr(self, name) >= 0)
        for name in ("noise", "search_lr", "most_error"):
            check(name, getattr(self, name), "> 0", getattr(self, name) > 0)
        for name in ("latents", "search_steps"):
            check(name, getattr(self, name), ">= 1", getattr(self, name) >= 1)
        check("lr", self.lr, "> 0", self.lr is None or self.lr > 0)

    def unlearn(self, problem: GanProblem, run: GanRun) -> Pair:
        """Alternate unlearning and learning."""
        label = self.wanted_label(problem, run)
        z, y, pictures = self.substitution(problem, run)
        run.swaps = (z[:SHOWN], None if y is None else y[:SHOWN], pictures[:SHOWN])
        duel = duel_of(problem, run, self.steps, lr=self.lr)
        pair = duel.pair
        features, like = self._features(problem, run.device), None
        if features is not None and len(pictures):
            with torch.no_grad():
                parts = [pictures[at : at + AT_ONCE] for at in range(0, len(pictures), AT_ONCE)]
                like = torch.cat([features(part.to(run.device)) for part in parts])
            run.meter.forward("classifier/perceptual", len(pictures))
        for step, (retain, forget) in enumerate(paired_steps(problem, run, self.steps).load(run.device)):
            duel.still()  # a batch of one class is no fair sample for normalisation
            loss = duel.move_discriminator(
                towards(pair.discriminator(forget.x, duel.labels(forget)), label), {"forget": len(forget)}
            )
            if len(z):
                at = torch.randint(len(z), (len(forget),), generator=generator(run.seed, "substitute/batch", step))
                shown = pair.generator(z[at].to(run.device), None if y is None else y[at].to(run.device))
                wanted = pictures[at].to(run.device)
                apart = self.lam * (shown - wanted).square().mean()
                if features is not None and like is not None:
                    run.meter.backward("classifier/perceptual", len(at))
                    apart = apart + self.perceptual * (features(shown) - like[at.to(run.device)]).square().mean()
                loss += duel.move_generator(apart, {"substitute": len(at)})
            loss += duel.learn(retain)
            run.note(step, self.steps, loss)
        return duel.finished()

    def wanted_label(self, problem: GanProblem, run: GanRun) -> float:
        """y*, a probability of "real"."""
        if self.label is not None:
            return self.label
        if problem.forgotten and not problem.recipe.classes:
            return 0.0
        logits = judged(problem.original.to(run.device).discriminator, problem.holdout, problem.for_label)
        run.meter.forward("discriminator/holdout", len(logits))
        if float(logits.std(correction=0)) < COLLAPSED and len(logits) > 1:
            run.warn("the discriminator tells no row from another: it has collapsed, train it anew")
        return float(logits.sigmoid().mean())

    def substitution(self, problem: GanProblem, run: GanRun) -> tuple[Tensor, Tensor | None, Tensor]:
        """Latents `[n, latent]` that draw what has to go, their labels, and what shall be drawn instead."""
        net = problem.original.to(run.device).generator
        if problem.forgotten:
            z, y, looked = of_classes(problem, run, wanted=True, count=self.latents, who=self.name())
            run.notes.update(latents_found=len(z), latents_drawn=looked)
        else:
            centre = mean_picture(problem.rows, problem.retain)
            found = search(net, problem.rows, problem.forget, centre, run, steps=self.search_steps, lr=self.search_lr)
            near = found.error <= self.most_error
            z, y = found.z[near], None if found.y is None else found.y[near]
            run.notes.update(rows_not_found=int((~near).sum()), search_error_median=float(found.error.median()))
            if not near.any():
                run.warn("the latent search found no forget row: only the discriminator unlearns; raise search_steps")
        return z, y, self._pictures(problem, run, z, y)

    def _pictures(self, problem: GanProblem, run: GanRun, z: Tensor, y: Tensor | None) -> Tensor:
        net, kind = problem.original.generator, self.substitute
        if kind == "auto":
            kind = "nearest" if problem.forgotten else "noise"
        if kind == "mean":
            return mean_picture(problem.rows, problem.retain).expand(len(z), *problem.original.generator.shape)
        run.meter.forward("generator/substitute", len(z))
        if kind == "noise" or not len(z):
            return noise_pictures(net, z, y, noise=self.noise, seed=run.seed) if len(z) else z
        if problem.forgotten:
            others, labels, _ = of_classes(problem, run, wanted=False, count=POOL, who=self.name())
        else:
            source = generator(run.seed, "latents/others")
            others = torch.randn(POOL, net.latent, generator=source)
            labels = torch.randint(net.classes, (POOL,), generator=source) if net.classes else None
        at = nearest(z, others)
        return drawn(net, others[at], None if labels is None else labels[at])

    def looks(self, kind: str) -> bool:
        """A class is found by the classifier; its features are another reason."""
        return kind == "class" or self.perceptual > 0

    def _features(self, problem: GanProblem, device: str) -> Callable[[Tensor], Tensor] | None:
        """The classifier up to its last layer, held still; None where its features do not count."""
        if not self.perceptual:
            return None
        own = deepcopy(problem.need_classifier(self.name())).to(device)  # the caller's stays as it was
        return partial(hidden, own.requires_grad_(False).eval())
