"""Planted tests: train once more with marks on the forget rows, unlearn by the same method, and look for the marks.

Three trainings and three unlearnings, each a claim about the method with these settings on this problem, not about the
one model that is audited. No gold model saw a mark, so the gold fleet serves as it is.
    noise       independent noise on the forget rows' inputs: `audit.gaussian_poison`, an exact test
    swap        the forget rows' labels exchanged with another class: `audit.confusion`
    canaries    wrong labels, each row included with probability 1/2: `audit.one_run`, a bound on epsilon
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from expunge.audit.assemble import Audited, Pool
from expunge.audit.confusion import confusion
from expunge.audit.estimate import Estimate, summary
from expunge.audit.gaussian_poison import GaussianPoison, gaussian_poison
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import margins
from expunge.audit.one_run import one_run
from expunge.bench.poison import input_gradients, plant_noise, relabelled, swap_labels
from expunge.data import Indices, MemoryRows, joined
from expunge.errors import ExpungeError, NeedsError
from expunge.methods import Unlearned, method
from expunge.problem import Problem
from expunge.seeds import derive, numpy_generator
from expunge.training import fit, predict

NOISE = 0.57
"""Standard deviation of the noise, as a share of that of the inputs; 0.57 (variance 0.32) is published."""


@dataclass(frozen=True)
class Planting:
    """The method that is tested, and where the randomness of its tests comes from."""

    problem: Problem
    unlearned: Unlearned
    gold: tuple[nn.Module, ...]
    """Some of the pool's gold models, with weights: the null of the noise test."""
    pool: Pool
    seed: int
    device: str = "cpu"

    def run(self, name: str, rows: MemoryRows, indices: Indices, forget: Indices) -> tuple[nn.Module, nn.Module]:
        """An original trained on the planted rows `indices`, and what the method makes of it."""
        recipe, device = self.problem.recipe, self.device
        seed = derive(self.seed, f"planted/{name}")
        kept = rows.take(indices)
        original = fit(recipe, kept, seed=seed, device=device).model
        places = np.flatnonzero(np.isin(indices, forget))
        marked = replace(self.problem, rows=kept, forget=places, original=original, kind="random")
        made = method(self.unlearned.method)(**self.unlearned.settings)
        return original, made.run(marked, seed=derive(seed, "unlearn"), device=device).model


def planted(planting: Planting) -> Audited:
    """Measure -> "forget" -> Estimate of the three tests; a test that cannot be made says why in `skipped`."""
    found = Audited({})
    tests: dict[str, Callable[[Planting], Estimate]] = {
        "gaussian_poison": _noise,
        "confusion": _swap,
        "one_run": _canaries,
    }
    for name, test in tests.items():
        try:
            found.table[name] = {"forget": test(planting)}
        except ExpungeError as error:  # a planted training that fails must not take the audit with it
            found.skipped[name] = error.message
    return found


def _noise(planting: Planting) -> Estimate:
    problem, forget = planting.problem, planting.problem.forget
    clean = joined(problem.rows)
    sd = NOISE * float(clean.x.std())
    marked, noise = plant_noise(clean, forget, sd=sd, seed=derive(planting.seed, "planted/marks"))
    original, unlearned = planting.run("noise", marked, np.arange(len(marked)), forget)

    def look(model: nn.Module) -> GaussianPoison:
        gradients = input_gradients(model, problem.recipe.task, clean, forget, device=planting.device)
        return gaussian_poison(gradients, noise, sd=sd)

    ours, start, golds = look(unlearned), look(original), [look(model) for model in planting.gold]
    low, high = ours.interval
    away = np.abs(ours.rows)
    extra = {"z": ours.z, "p": ours.p, "signed": ours.value, "p_original": start.p, "tpr": ours.tpr, "fpr": ours.fpr}
    return Estimate(
        "gaussian_poison",
        abs(ours.value),
        (max(low, -high, 0.0), max(-low, high)),
        float(np.mean([abs(one.value) for one in golds])),
        abs(start.value),
        away,
        summary(away),
        extra | {"used": float(ours.used), "dropped": float(ours.dropped), "gold_models": float(len(golds))},
    )


def _swap(planting: Planting) -> Estimate:
    problem, pool, forget = planting.problem, planting.pool, planting.problem.forget
    labels = problem.rows.labels.numpy()
    classes = _two_classes(pool, labels[forget])
    swapped = forget[np.isin(labels[forget], classes)]
    marked = swap_labels(joined(problem.rows), swapped, classes=classes)
    original, unlearned = planting.run("swap", marked, np.arange(len(marked)), forget)
    at = np.concatenate([swapped, pool.splits["test"]])

    def look(model: nn.Module) -> FloatArray:
        parts = predict(model, problem.rows, swapped), predict(model, problem.test)
        outputs: FloatArray = torch.cat(parts).numpy()[None]
        return outputs

    attacked = np.arange(len(at)) < len(swapped)
    sides = look(unlearned), pool.gold[:, at], look(original)
    found = confusion(*sides, labels=pool.labels[at], forget=attacked, classes=classes)
    return replace(found, extra=found.extra | {"first": float(classes[0]), "second": float(classes[1])})


def _two_classes(pool: Pool, labels: FloatArray) -> tuple[int, int]:
    """The two commonest classes of the forget rows, or the only one and the one that gold takes it for most often."""
    ids, counts = np.unique(labels, return_counts=True)
    order = ids[np.argsort(-counts, kind="stable")]
    if len(order) > 1:
        return int(order[0]), int(order[1])
    mean = pool.gold[:, pool.splits["forget"]].mean(axis=(0, 1))
    mean[order[0]] = -np.inf
    return int(order[0]), int(mean.argmax())


def _canaries(planting: Planting) -> Estimate:
    problem, pool, forget = planting.problem, planting.pool, planting.problem.forget
    draw = numpy_generator(planting.seed, "planted/canaries")
    rows, width = joined(problem.rows), pool.gold.shape[2]
    true = rows.labels[torch.as_tensor(forget)].numpy()
    wrong = (true + draw.integers(1, width, len(forget))) % width
    included = draw.random(len(forget)) < 0.5
    marked = relabelled(rows, forget, torch.as_tensor(wrong))
    trained = np.sort(np.concatenate([problem.retain, forget[included]]))
    if not included.any() or included.all():
        raise NeedsError(f"one_run: {len(forget)} canaries are too few: chance included all of them or none")
    original, unlearned = planting.run("canaries", marked, trained, forget)
    usual = margins(pool.gold[:, forget], wrong).mean(axis=0)  # what a model says that never saw the canary
    guesses = max(1, len(forget) // 2)

    def look(model: nn.Module) -> FloatArray:
        outputs = predict(model, marked, forget).numpy()
        scores: FloatArray = margins(outputs, wrong) - usual
        return scores

    scores = look(unlearned)
    ours, start = (
        one_run(one, included, guesses=guesses, seed=derive(planting.seed, "planted/ties"))
        for one in (scores, look(original))
    )
    extra = {"p": ours.p, "guesses": float(ours.guesses), "correct": float(ours.correct), "ceiling": ours.ceiling}
    extra |= {"canaries": float(ours.canaries), "correct_original": float(start.correct), "p_original": start.p}
    rows_away = np.abs(scores)
    return Estimate("one_run", ours.epsilon, None, 0.0, start.epsilon, rows_away, summary(rows_away), extra)
