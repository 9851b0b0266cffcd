"""Forget sets that a model chooses: rows that matter most, and rows that look alike. Random rows alone flatter methods.

influential:N    both ends of the first principal component of the attribution matrix (training rows x a draw of them):
                 N/2 rows with the largest and N/2 with the smallest projection
coherent:N       a row drawn by the seed and its N - 1 nearest neighbours in the features before the last dense layer

The model that chooses is trained on all rows with a seed of its own: it is none of the originals that are unlearned,
so that no method is compared on rows that its own model picked.

Source:     the construction of the forget sets of arXiv:2410.23232. Reconstruction: there the matrix comes from
            regression on thousands of subset models, here from ESTIMATOR on one model.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import nn

from expunge.attribution import Source
from expunge.attribution.named import configured
from expunge.bench.fleets import Fleets
from expunge.data import ForgetSet, Indices
from expunge.data.forget import CHOSEN
from expunge.errors import ProblemError
from expunge.fleet import role_seeds
from expunge.methods.twin_features import penultimate
from expunge.seeds import derive, numpy_generator
from expunge.training import Run

ESTIMATOR = "last_layer"
TARGETS = 500
"""Training rows whose margins the attribution matrix looks at; drawn once."""


def resolved(forget: ForgetSet, fleets: Fleets, *, seed: int) -> Indices:
    """Positions `[forget]` of a forget set among the training rows, chosen by a model where it takes one.

    Args:
        forget: Of any form.
        fleets: Where the model that chooses is trained or found.
        seed: Of the suite.

    Raises:
        ProblemError: more rows are asked for than there are.
    """
    head, _, count = forget.text.partition(":")
    if head not in CHOSEN:
        return forget.indices(fleets.rows)
    size, rows = int(count), len(fleets.rows)
    if size >= rows:
        raise ProblemError(f"forget set {forget}: expected fewer than {rows} rows, got {size}")
    own, seeds = derive(seed, f"chosen/{head}", forget.seed), role_seeds(seed, "chooser", 1)
    model = fleets.same(np.arange(rows), seeds, "train the model that chooses", weights=True).model(0)
    if head == "influential":
        return influential(model, fleets, size, seed=own)
    return coherent(model, fleets, size, seed=own)


def as_many(forget: ForgetSet) -> ForgetSet:
    """The forget set, or as many random rows where a model would have to be trained to choose them: for a plan.

    They are rows that no suite draws, so that a plan does not take the models of a random set for those of this one; it
    counts them as not yet trained.
    """
    head, _, count = forget.text.partition(":")
    return ForgetSet(f"random:{count}", derive(forget.seed, f"as many/{head}")) if head in CHOSEN else forget


def influential(model: nn.Module, fleets: Fleets, size: int, *, seed: int) -> Indices:
    """The `size` rows at both ends of the first principal component of the model's attribution matrix."""
    rows = fleets.rows
    fitted = configured(ESTIMATOR).fit(Source(recipe=fleets.recipe, rows=rows, model=model), seed=seed)
    targets = numpy_generator(seed, "targets").permutation(len(rows))[:TARGETS]
    looked_at = rows.take(np.sort(targets))
    scores = np.concatenate([part for _, part in fitted.stream(looked_at)])
    return both_ends(first_component(scores), size)


def first_component(matrix: npt.NDArray[np.floating[npt.NBitBase]]) -> npt.NDArray[np.float64]:
    """Projection `[rows]` of each row of a matrix `[rows, columns]` on the first principal component."""
    centred = matrix.astype(np.float64) - matrix.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ vectors[:, -1])


def both_ends(values: npt.NDArray[np.float64], size: int) -> Indices:
    """Positions `[size]`, sorted, of the smallest and the largest values, as many of the one as of the other.

    Example:
        >>> both_ends(np.array([0.0, 5.0, -3.0, 1.0]), 2).tolist()
        [1, 2]
    """
    order = np.argsort(values, kind="stable")
    low, high = size // 2, size - size // 2
    return np.sort(np.concatenate([order[:low], order[len(order) - high :]])).astype(np.int64)


def coherent(model: nn.Module, fleets: Fleets, size: int, *, seed: int) -> Indices:
    """A row and its nearest neighbours in the model's features, `size` in all, sorted."""
    rows = fleets.rows
    found = penultimate(model, rows, np.arange(len(rows)), Run(seed), role="train").double().numpy()
    middle = int(numpy_generator(seed, "middle").integers(len(found)))
    away = np.square(found - found[middle]).sum(axis=1)
    return np.sort(np.argsort(away, kind="stable")[:size]).astype(np.int64)
