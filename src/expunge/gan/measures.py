"""How the measures of `measure_table` are taken: of original, gold and unlearned pairs in the very same way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from expunge.audit.population_attack import auc
from expunge.data import Indices, Rows, joined
from expunge.errors import NeedsError, check
from expunge.gan.distances import NEIGHBOURS, frechet, kid, precision_recall
from expunge.gan.judge import Judge, downstream
from expunge.gan.latents import mean_picture, search
from expunge.gan.pair import Pair, drawn, judged, latents, said_of
from expunge.gan.problem import GanProblem, check_labels_known
from expunge.seeds import derive, numpy_generator
from expunge.training import Run, predict

Numbers = dict[str, float]


@dataclass(frozen=True)
class Settings:
    """How pairs are looked at; the same for all of them."""

    seed: int = 0
    """Of latents, searches and downstream trainings."""
    pictures: int = 2048
    """Pictures drawn, and test rows that they are compared with, at most; >= 4."""
    searched: int = 128
    """Forget rows, and unseen rows, that are searched for; 0 leaves the reconstruction attack out."""
    search_steps: int = 200
    """Adam steps of each search, >= 1."""
    search_lr: float = 0.05
    """Its step size, > 0."""
    downstream: int = 10_000
    """Pictures, and retain rows, that a downstream classifier is trained on at most; 0 trains none."""

    def __post_init__(self) -> None:
        check("pictures", self.pictures, ">= 4", self.pictures > NEIGHBOURS)
        check("searched", self.searched, ">= 0", self.searched >= 0)
        check("search_steps", self.search_steps, ">= 1", self.search_steps >= 1)
        check("search_lr", self.search_lr, "> 0", self.search_lr > 0)
        check("downstream", self.downstream, ">= 0", self.downstream >= 0)


@dataclass(frozen=True)
class Yardstick:
    """The rows and pictures that every pair is held against, prepared once."""

    problem: GanProblem
    judge: Judge
    settings: Settings
    reference: npt.NDArray[np.float64]
    """`[n, d]` features of test rows of the classes that stay."""
    unseen: Rows
    """Rows that nobody was trained on: the audit's half of the holdout."""
    same: Rows | None
    """Unseen rows of the forgotten classes, from that half and from test; None for items."""
    stays: Indices
    """Positions of the test rows of the classes that stay."""
    device: str = "cpu"
    """Where pairs and classifiers compute; it does not change what is measured."""

    @property
    def pictures(self) -> int:
        """Pictures drawn from each pair: as many as reference rows."""
        return len(self.reference)

    @cached_property
    def centre(self) -> Tensor:
        """`[*shape]` mean of the rows that stay, against which a search's misses are measured."""
        return mean_picture(self.problem.rows, self.problem.retain)


def yardstick(problem: GanProblem, judge: Judge, settings: Settings | None = None, *, device: str = "cpu") -> Yardstick:
    """What every pair of a problem is held against.

    Raises:
        NeedsError: too few test rows of the classes that stay, or no unseen row of a forgotten class.
        ShapeError: the judge knows other labels than the rows have.
    """
    settings = settings or Settings()
    check_labels_known(problem, judge.classifier)
    gone = np.isin(problem.test.labels.numpy(), problem.forgotten)
    stays = np.flatnonzero(~gone)
    if len(stays) <= NEIGHBOURS:
        raise NeedsError(f"audit: expected at least {NEIGHBOURS + 1} test rows of classes that stay, got {len(stays)}")
    few = stays[: settings.pictures]  # test rows stand in a random order
    unseen = problem.holdout.take(problem.for_audit)
    if not problem.forgotten:  # items of one class are held against unseen rows of that class
        alike = np.isin(unseen.labels.numpy(), problem.rows.labels[torch.as_tensor(problem.forget)].numpy())
        if not alike.any():
            raise NeedsError("audit: expected unseen rows with the labels of the forget rows, got none in holdout")
        unseen = unseen.take(np.flatnonzero(alike))
    same = None
    if problem.forgotten:
        inside = np.flatnonzero(np.isin(unseen.labels.numpy(), problem.forgotten))
        if not len(inside) and not gone.any():
            raise NeedsError("audit: expected unseen rows of the forgotten class, got none in holdout or test")
        both = [rows.take(at) for rows, at in ((unseen, inside), (problem.test, np.flatnonzero(gone))) if len(at)]
        same = joined(*both)
    reference = judge.features(problem.test.batch(few)[0])
    return Yardstick(problem, judge, settings, reference, unseen, same, stays, device)


def measure(stick: Yardstick, pair: Pair) -> Numbers:
    """Every measure that applies, of one pair.

    Raises:
        ShapeError: the judge's features do not fit. ConfigError: the downstream classifier cannot be trained.
    """
    problem, judge, settings = stick.problem, stick.judge, stick.settings
    pair = pair.copy().eval().to(stick.device)  # the caller's stays where it is
    z, y = drawn_from(stick, pair)
    pictures = drawn(pair.generator, z, y)
    probability = judge.probabilities(pictures)  # [n, classes]
    features = judge.features(pictures)
    inside = judged(pair.discriminator, problem.rows, problem.forget).numpy()
    numbers: Numbers = {"discriminator_auc": _auc(inside, judged(pair.discriminator, stick.unseen).numpy())}
    few = judged(pair.discriminator, problem.test, stick.stays[: stick.pictures]).numpy()
    numbers["discriminator_skill"] = _auc(few, said_of(pair.discriminator, pictures, y).numpy())
    if problem.forgotten and stick.same is not None:
        gone = list(problem.forgotten)
        numbers["discriminator_auc_same_class"] = _auc(inside, judged(pair.discriminator, stick.same).numpy())
        called_gone = np.isin(probability.argmax(1).numpy(), gone)
        numbers["class_share"] = float(called_gone.mean())
        numbers["class_probability"] = float(probability[:, gone].sum(1).mean())
    elif settings.searched:
        numbers["reconstruction_auc"] = _reconstruction(stick, pair)
    numbers["entropy"] = float(-(probability * probability.clamp_min(1e-12).log()).sum(1).mean())
    numbers["frechet"] = frechet(features, stick.reference)
    numbers["kid"] = kid(features, stick.reference)
    numbers["precision"], numbers["recall"] = precision_recall(stick.reference, features)
    if settings.downstream:
        numbers["downstream_accuracy"] = _downstream(stick, pair)
    return numbers


def quick(stick: Yardstick, pair: Pair) -> Numbers:
    """The measures that need neither a search nor a training, for a pair on its way."""
    return measure(replace(stick, settings=replace(stick.settings, searched=0, downstream=0)), pair)


def drawn_from(stick: Yardstick, pair: Pair) -> tuple[Tensor, Tensor | None]:
    """The latents of the audit, the same for every pair.

    A conditional generator is asked for every label in turn, the forgotten ones too: that is the question.
    """
    return latents(pair.generator, stick.pictures, seed=stick.settings.seed, role="audit")


def _auc(members: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> float:
    return float(auc(members[None].astype(np.float64), others[None].astype(np.float64))[0])


def _reconstruction(stick: Yardstick, pair: Pair) -> float:
    """AUC of nearness of the search on forget rows against unseen rows."""
    problem, settings = stick.problem, stick.settings
    source = numpy_generator(settings.seed, "reconstruction")
    nearness = []
    for rows, at in ((problem.rows, problem.forget), (stick.unseen, np.arange(len(stick.unseen)))):
        few = at if len(at) <= settings.searched else np.sort(source.choice(at, settings.searched, replace=False))
        run = Run(settings.seed, device=stick.device)
        found = search(
            pair.generator,
            rows,
            few,
            stick.centre,
            run,
            steps=settings.search_steps,
            lr=settings.search_lr,
            role="attack",  # never from where a method began to search
        )
        nearness.append(-found.error.numpy())
    return _auc(*nearness)


def _downstream(stick: Yardstick, pair: Pair) -> float:
    """Accuracy on test rows that stay; as many pictures are drawn as there are retain rows beside them.

    A conditional generator is asked for the labels that stay alone, which leaves out a few of these.
    """
    problem, settings = stick.problem, stick.settings
    retain = problem.retain
    if len(retain) > settings.downstream:
        source = numpy_generator(settings.seed, "downstream rows")
        retain = np.sort(source.choice(retain, settings.downstream, replace=False))
    z, y = latents(pair.generator, len(retain), seed=settings.seed, role="downstream")
    if y is not None:  # nobody would ask for what was forgotten
        kept = ~torch.isin(y, torch.tensor(problem.forgotten, dtype=torch.int64))
        z, y = z[kept], y[kept]
    pictures = drawn(pair.generator, z, y)
    labels = stick.judge.probabilities(pictures).argmax(1) if y is None else y
    seed = derive(settings.seed, "downstream")
    model = downstream(stick.judge, pictures, labels, problem.rows, retain, seed=seed, device=stick.device)
    test = problem.test.labels[torch.as_tensor(stick.stays)]
    answers = predict(model, problem.test, stick.stays, device=stick.device).argmax(1)
    return float((answers == test).float().mean())


def shown(stick: Yardstick, pair: Pair, *, count: int) -> Tensor:
    """The first `count` pictures of the audit's latents, `[count, *shape]`."""
    z, y = drawn_from(stick, pair)
    return drawn(pair.generator, z[:count], None if y is None else y[:count])
