"""Which forget rows gold would get right: a small network on the rows' features, taught on the twin problem.

Source:     "Towards Aligned Data Removal via Twin Machine Unlearning", 2024, arXiv:2408.11433, its predictor.
            Reconstruction: weight decay, batch size and the scaling of the features are not known.
Objective:  binary cross-entropy of a network with 64 and 32 hidden units over the auxiliary rows, whose labels
            (does the original, which never saw the row, get it right?) are free.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from expunge.data import Indices, MemoryRows
from expunge.methods.twin_problem import some
from expunge.models.mlp import mlp
from expunge.seeds import derive, generator, lent
from expunge.training import Batch, Run, descend

SCALERS = ("transductive", "shared")
HIDDEN = (64, 32)
MOMENTUM = 0.9
BATCH = 128
"""Rows a step; the paper's value is not known. (code: abc321123444/TWIN-unlearning)"""
FEW = 20
"""With fewer forget rows than this their own scale means nothing; with fewer auxiliary rows none are held back."""
CHECKED = 0.2
"""Share of the auxiliary rows, of either label, that says after which epoch the network was best."""
LIMIT = 5.0
"""Scaled features end here: a loss that is almost 0 on most rows would send a few rows into the thousands."""


@dataclass(frozen=True)
class Fit:
    """How the network is trained."""

    epochs: int = 100
    """Most passes over the auxiliary rows, >= 1."""
    lr: float = 0.01
    """Constant step size of SGD with momentum 0.9, > 0."""
    weight_decay: float = 5e-4
    """L2 coefficient, >= 0."""
    balanced: bool = False
    """Whether easy and hard rows weigh the same in the loss, however many there are of each."""


def scaled(auxiliary: Tensor, forget: Tensor, scaler: str) -> tuple[Tensor, Tensor]:
    """Both tables with median 0 and an interquartile range of 1 in each column, cut at 5 such ranges.

    Args:
        auxiliary: `[auxiliary, features]`.
        forget: `[forget, features]`.
        scaler: "transductive": each by its own rows; "shared": both by the auxiliary rows, which also holds
            where there are fewer than 20 forget rows.
    """
    own = forget if own_scale(len(forget), scaler) else auxiliary
    return _within_quartiles(auxiliary, auxiliary), _within_quartiles(forget, own)


def _within_quartiles(table: Tensor, by: Tensor) -> Tensor:
    """`table` on the scale of `by`, both `[rows, features]`; a column that does not vary is only centred."""
    quartiles = torch.from_numpy(np.percentile(by.numpy(), [25, 50, 75], axis=0)).float()  # [3, features]
    low, middle, high = quartiles[0], quartiles[1], quartiles[2]
    width = torch.where(high > low, high - low, 1.0)
    return ((table - middle) / width).clamp(-LIMIT, LIMIT)


def own_scale(forget: int, scaler: str) -> bool:
    """Whether `forget` rows are scaled by themselves."""
    return scaler == "transductive" and forget >= FEW


def easy_probability(auxiliary: Tensor, easy: Tensor, forget: Tensor, *, scaler: str, fit: Fit, seed: int) -> Tensor:
    """Probability that gold gets each forget row right, `[forget]`.

    Args:
        auxiliary: `[auxiliary, features]` of the auxiliary rows, under the twin.
        easy: `[auxiliary]` 1.0 where the original gets the row right, else 0.0.
        forget: `[forget, features]` of the forget rows, under the original.
        scaler: See `scaled`.
        fit: How the network is trained.
        seed: Root seed of initialisation, order and the rows held back.
    """
    if one_valued(easy):
        return easy[:1].repeat(len(forget))
    known, asked = scaled(auxiliary, forget, scaler)
    network = taught(known, easy, fit, seed)
    with torch.no_grad():
        probability: Tensor = network(asked).squeeze(1).sigmoid()
    return probability


def one_valued(easy: Tensor) -> bool:
    """Whether all rows `[rows]` are easy, or none is: then there is nothing to tell apart."""
    return bool((easy == easy[0]).all())


def taught(features: Tensor, easy: Tensor, fit: Fit, seed: int) -> nn.Module:
    """The network after the epoch that was best on the rows held back; after the last where none are.

    Args:
        features: `[rows, features]`, scaled.
        easy: `[rows]` of 0.0 and 1.0, both present.
        fit: How it is trained.
        seed: Root seed.
    """
    with lent(generator(seed, "predictor init")):
        model = mlp((features.shape[1],), 1, hidden=HIDDEN)
    weight = weights(easy, fit.balanced)
    rows = MemoryRows(features, easy)
    aside = held_back(easy, seed)
    # a meter of its own: a visit to three numbers is none to a row
    run = Run(derive(seed, "predictor"), BATCH, label="predictor")
    stream = run.epochs("predictor", rows, np.setdiff1d(np.arange(len(rows)), aside), count=fit.epochs)
    length, best, state = len(stream) // fit.epochs, torch.inf, {}

    def losses(x: Tensor, y: Tensor, at: Indices) -> Tensor:
        return binary_cross_entropy_with_logits(model(x).squeeze(1), y, weight[torch.as_tensor(at)])

    def objective(batch: Batch) -> Tensor:
        return losses(batch.x, batch.y, batch.indices)

    def after_step(step: int) -> None:
        nonlocal best, state
        if len(aside) and (step + 1) % length == 0:
            with torch.no_grad():
                loss = float(losses(*rows.batch(aside), aside))
            if loss < best:
                best, state = loss, deepcopy(model.state_dict())

    descend(
        model,
        stream,
        objective,
        run=run,
        lr=fit.lr,
        momentum=MOMENTUM,
        weight_decay=fit.weight_decay,
        after_step=after_step,
    )
    if state:
        model.load_state_dict(state)
    return model


def held_back(easy: Tensor, seed: int) -> Indices:
    """A fifth of the rows of either label, sorted; none of fewer than 20 rows."""
    if len(easy) < FEW:
        return np.empty(0, dtype=np.int64)
    either = (np.flatnonzero(easy.numpy() == value) for value in (0.0, 1.0))
    parts = [some(at, round(CHECKED * len(at)), seed, "predictor check", i) for i, at in enumerate(either)]
    return np.sort(np.concatenate(parts))


def weights(easy: Tensor, balanced: bool) -> Tensor:
    """Of each row in the loss, mean 1, `[rows]`; balanced, the easy weigh as much together as the hard.

    Example:
        >>> weights(torch.tensor([1.0, 1.0, 1.0, 0.0]), balanced=True).tolist()[2:]
        [0.6666666865348816, 2.0]
    """
    if not balanced:
        return torch.ones(len(easy))
    share = easy.mean()
    return torch.where(easy > 0, 0.5 / share, 0.5 / (1 - share))


def highest(scores: Tensor, count: int) -> Tensor:
    """True at the `count` largest scores, ties to the earlier, bool `[rows]`.

    Example:
        >>> highest(torch.tensor([0.2, 0.9, 0.9, 0.1]), 2).tolist()
        [False, True, True, False]
    """
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    chosen[torch.argsort(scores, descending=True, stable=True)[:count]] = True
    return chosen
