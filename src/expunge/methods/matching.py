"""Matching given outputs: fine-tune towards target logits on forget rows and some retain rows, in one shuffled stream.

Shared by `oracle_matching` (targets from gold) and `datamodel_matching` (targets predicted by attribution).

Source:     arXiv:2410.23232. Reconstruction, from a description of the authors' settings and losses.
Objective:  min_w  mean over the stream and the outputs of (f_w(x) - t(x))^2, on raw logits
            the stream of an epoch: D_f forget_times over, and retain_times |D_f| rows of D_r
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from expunge.data import Indices
from expunge.errors import check
from expunge.methods.method import Method
from expunge.problem import Problem
from expunge.seeds import numpy_generator
from expunge.training import Batch, Run, Stream, descend, predict
from expunge.training.optim import OPTIMIZERS
from expunge.training.stream import Draw, cut, order

STATISTICS = ("frozen", "running")
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MatchSettings:
    """How targets are matched; the methods' own settings of the same names say more."""

    epochs: int
    lr: float
    decay: float
    batch_size: int
    forget_times: float
    retain_times: float
    fresh: bool
    optimizer: str
    statistics: str


def settings_of(method: Method) -> MatchSettings:
    """The settings that a method shares with every other that matches outputs."""
    return MatchSettings(**{one.name: getattr(method, one.name) for one in fields(MatchSettings)})


def check_matching(own: MatchSettings) -> None:
    """Every setting is in its range.

    Raises:
        ConfigError: one is not.
    """
    check("epochs", own.epochs, ">= 1", own.epochs >= 1)
    check("lr", own.lr, "> 0", own.lr > 0)
    check("decay", own.decay, "in (0, 1]", 0 < own.decay <= 1)
    check("batch_size", own.batch_size, ">= 1", own.batch_size >= 1)
    check("forget_times", own.forget_times, "> 0", own.forget_times > 0)
    check("retain_times", own.retain_times, ">= 0", own.retain_times >= 0)
    check("fresh", own.fresh, "true or false", isinstance(own.fresh, bool))
    check("optimizer", own.optimizer, f"one of {', '.join(OPTIMIZERS)}", own.optimizer in OPTIMIZERS)
    check("statistics", own.statistics, f"one of {', '.join(STATISTICS)}", own.statistics in STATISTICS)


def passes(problem: Problem, run: Run, own: MatchSettings, weights: FloatArray | None = None) -> list[Indices]:
    """The rows `[n]` of each epoch's stream, unshuffled: forget rows several times over, then retain rows.

    Args:
        problem: Whose rows.
        run: Seed and notes; a share of retain that is too small for what is asked for is noted.
        own: How often.
        weights: `[retain]` how likely each retain row is drawn, unscaled; None: all alike.
    """
    gone, kept = problem.forget, problem.retain
    wanted = max(1, round(own.retain_times * len(gone))) if own.retain_times else 0
    count = min(wanted, len(kept))
    if count < wanted:
        run.notes["retain_rows_capped"] = f"{wanted} asked for, {count} there are"
    chance = None if weights is None else weights / weights.sum()
    drawn: list[Indices] = []
    for epoch in range(own.epochs):
        if epoch and not own.fresh:
            drawn.append(drawn[0])
            continue
        picked = numpy_generator(run.seed, "matching/retain", epoch).choice(len(kept), count, replace=False, p=chance)
        drawn.append(np.concatenate([repeated(gone, own.forget_times, run.seed), kept[np.sort(picked)]]))
    return drawn


def by_change(change: Tensor) -> FloatArray:
    """How likely each row is drawn, `[rows]` unscaled: as its mean absolute change, plus the mean over all rows.

    So half of the draws go to rows alike, and those that should stay as they are are seen too.

    Args:
        change: `[rows, outputs]` of the outputs, logits.
    """
    size = change.abs().double().mean(1).numpy()
    return np.asarray(size + size.mean() + np.finfo(np.float64).tiny)


def repeated(indices: Indices, times: float, seed: int) -> Indices:
    """`indices` `[n]` so many times over; of a fraction of a time a random part, at least one row in all.

    Example:
        >>> repeated(np.array([4, 7]), 2.5, seed=0).tolist()[:4]
        [4, 7, 4, 7]
    """
    whole, rest = int(times), max(round((times - int(times)) * len(indices)), int(times < 1))
    part = numpy_generator(seed, "matching/forget").permutation(len(indices))[:rest]
    return np.concatenate([np.tile(indices, whole), indices[np.sort(part)]])


def match(
    problem: Problem,
    run: Run,
    own: MatchSettings,
    epochs: list[Indices],
    targets: Callable[[Indices], Tensor],
    *,
    enough: Callable[[nn.Module], bool] | None = None,
) -> nn.Module:
    """A copy of the original, fine-tuned until its outputs are near the targets.

    Args:
        problem: Whose original.
        run: Seed, device, meter.
        own: How.
        epochs: From `passes`.
        targets: Positions `[n]` among the training rows -> target outputs `[n, outputs]`, logits; asked once.
        enough: Asked of the model after each epoch, to leave its mode as it is; true ends the run.
    """
    model = deepcopy(problem.original)
    needed = np.unique(np.concatenate(epochs))
    table = torch.full((len(problem.rows), problem.recipe.task.width), torch.nan)
    table[torch.as_tensor(needed)] = targets(needed).float()
    table = table.to(run.device)
    steps = []
    for epoch, rows in enumerate(epochs):
        shuffled = order(rows, run.seed, "mixed", epoch)
        steps += [(Draw("mixed", problem.rows, part),) for part in cut(shuffled, own.batch_size)]
    length = len(steps) // len(epochs)  # every epoch has as many rows

    def objective(batch: Batch) -> Tensor:
        away: Tensor = model(batch.x).float() - table[torch.as_tensor(batch.indices)]
        return away.square().mean()

    def after_step(step: int) -> bool:
        return enough is not None and (step + 1) % length == 0 and enough(model)

    return descend(
        model,
        Stream(tuple(steps)),
        objective,
        run=run,
        lr=own.lr,
        optimizer_name=own.optimizer,
        schedule=lambda step: own.decay ** (step // length),
        statistics=own.statistics,
        after_step=after_step,
    )


def mean_outputs(models: tuple[nn.Module, ...], problem: Problem, at: Indices, run: Run) -> Tensor:
    """Mean outputs `[n, outputs]` of frozen models on the training rows at `at` `[n]`; visits count as forward."""
    for _ in models:
        run.meter.forward("mixed", len(at))
    return torch.stack([predict(model, problem.rows, at, device=run.device) for model in models]).mean(0)
