"""`fit_pair`: the only place where a pair is trained from scratch. Original and gold both pass here.

What was trained is kept in a store now and then: a training that was stopped goes on from there and ends with the very
weights that it would have had.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expunge.data import Indices, Rows
from expunge.errors import ConfigError
from expunge.gan.duel import Duel
from expunge.gan.pair import Pair
from expunge.gan.recipe import GanRecipe, span_of
from expunge.gan.run import GanRun
from expunge.store import Contents, Folder, Store, key_of
from expunge.store.folder import write
from expunge.training import Cost, Progress, Stream, input_shape, silent
from expunge.training.fit import check_indices

KIND = "gan"
"""Of the store's folders that hold a finished pair."""
UNFINISHED = "gan-unfinished"
"""Of those that hold a training that goes on."""
EVERY = 60.0
"""Seconds between two notes of where a training is."""


@dataclass(frozen=True)
class TrainedPair:
    """A pair that `fit_pair` made, in evaluation mode."""

    pair: Pair
    cost: Cost
    history: list[float]
    """The loss of both nets together, for every step since it was last resumed."""


def fit_pair(
    recipe: GanRecipe,
    rows: Rows,
    indices: Indices | None = None,
    *,
    seed: int,
    device: str = "cpu",
    store: Store | None = None,
    progress: Progress = silent,
    run: GanRun | None = None,
    role: str = "real",
    every: float = EVERY,
) -> TrainedPair:
    """Train a fresh pair on some rows, or take it from the store.

    Args:
        recipe: How.
        rows: Where the training rows lie.
        indices: `[n]` int64, the rows to train on, by default all; of the others, only least and greatest value are
            looked at, which span what can be drawn.
        seed: Root seed of initialisation, order and latents.
        device: Such as "cpu" or "cuda".
        store: Where finished and unfinished trainings are kept; None keeps nothing.
        progress: Called after each step.
        run: The run to count in, where one exists already.
        role: What the meter calls the rows.
        every: Seconds between two notes of where the training is, >= 0.

    Raises:
        ProblemError: no rows, or positions that are negative, repeated or out of range.
        ConfigError: the architecture cannot draw such rows, or labels are beyond a conditional pair's.
        DivergedError: a loss became non-finite.
    """
    at = np.arange(len(rows)) if indices is None else indices
    check_indices(at, len(rows))
    check_labels(recipe, rows)
    shape = input_shape(rows, int(at[0]))
    key = training_key(recipe, rows, at, seed)
    if store is not None and store.has(KIND, key):
        folder = store.get(KIND, key)
        return TrainedPair(recipe.fresh(shape, seed).loaded(folder), Cost.from_dict(folder.facts["cost"]), [])
    run = run or GanRun(seed, recipe.batch_size, device, label=f"train {recipe.name}", progress=progress)
    training = _Training(recipe, recipe.fresh(shape, seed, span_of(rows)), run)
    if store is not None and store.has(UNFINISHED, key):
        training.resume(store.get(UNFINISHED, key))
    stream = run.epochs(role, rows, at, count=recipe.epochs, batch_size=recipe.batch_size)
    noted = time.monotonic()
    for batch in Stream(stream.steps[training.duel.step :]).load(run.device):
        run.note(training.duel.step, len(stream), training.duel.learn(batch[0]))
        if store is not None and time.monotonic() - noted >= every and training.duel.step < len(stream):
            write(store.path(UNFINISHED, key), training.contents(), replace=True)
            noted = time.monotonic()
    pair, cost = training.duel.finished(), training.cost()
    if store is not None:
        facts = {"recipe": recipe.to_dict(), "rows": rows.fingerprint, "seed": seed, "cost": cost.to_dict()}
        store.put(key, Contents(KIND, facts, pair.weights()))
        store.drop(UNFINISHED, key)
    return TrainedPair(pair, cost, run.history)


def training_key(recipe: GanRecipe, rows: Rows, at: Indices, seed: int) -> str:
    """The key of one training: everything that decides its weights."""
    ids = [rows.ids[i] for i in at]
    return key_of({"recipe": recipe.fingerprint(), "rows": rows.fingerprint, "trained_on": ids, "seed": seed})


def check_labels(recipe: GanRecipe, rows: Rows) -> None:
    """A conditional pair knows the labels of the rows.

    Raises:
        ConfigError: a label is none of its classes.
    """
    if recipe.classes:
        odd = rows.labels.is_floating_point() or int(rows.labels.max()) >= recipe.classes
        if odd:
            raise ConfigError(
                f"recipe {recipe.name}: expected labels 0..{recipe.classes - 1}, got up to {rows.labels.max()}",
                hint="give it as many classes as the rows have",
            )


class _Training:
    """A training that can be put down and taken up again."""

    def __init__(self, recipe: GanRecipe, pair: Pair, run: GanRun) -> None:
        self.duel = Duel(pair, recipe, run, role="train", average=recipe.average)
        self.run, self.before = run, Cost({}, {}, 0.0)

    def cost(self) -> Cost:
        """Of this sitting and those before."""
        now = self.run.meter.cost()
        return Cost(
            _summed(self.before.forward, now.forward),
            _summed(self.before.backward, now.backward),
            self.before.seconds + now.seconds,
            now.threads,
        )

    def contents(self) -> Contents:
        """All that going on needs."""
        weights = self.duel.pair.weights()
        for stem, optimizer in self._optimizers().items():
            weights[stem] = _flat(optimizer)
        if self.duel.average is not None:
            weights["average"] = self.duel.average.state_dict()
        return Contents(UNFINISHED, {"step": self.duel.step, "cost": self.cost().to_dict()}, weights)

    def resume(self, folder: Folder) -> None:
        """Take up where a folder's training was put down."""
        self.duel.pair.loaded(folder)
        for stem, optimizer in self._optimizers().items():
            _restore(optimizer, folder.weights(stem))
        if self.duel.average is not None:
            folder.load_into(self.duel.average, "average")
        self.duel.step = int(folder.facts["step"])
        self.before = Cost.from_dict(folder.facts["cost"])

    def _optimizers(self) -> dict[str, torch.optim.Adam]:
        return {"adam-generator": self.duel.of_generator, "adam-discriminator": self.duel.of_discriminator}


def _flat(optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """An optimiser's state as named tensors, `<parameter>/<what>`."""
    state = optimizer.state_dict()["state"]
    return {f"{at}/{name}": torch.as_tensor(value) for at, one in state.items() for name, value in one.items()}


def _restore(optimizer: torch.optim.Adam, flat: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        at, _, name = key.partition("/")
        state.setdefault(int(at), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _summed(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {role: one.get(role, 0) + other.get(role, 0) for role in {**one, **other}}
