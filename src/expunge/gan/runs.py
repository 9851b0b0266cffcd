"""Run folders of pairs: an original or an unlearned pair on disk, with all that is needed to go on from there.

gan-run        recipe, data set, seed, cost            weights: generator, discriminator
gan-unlearned  parent, forget set, method, cost        weights: the same           arrays: forget

The pair after some of a method's own steps, and latents that drew what had to go, would give that away: they are kept
in the store for the audit, never in the folder of the unlearned pair, which somebody may hand out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from expunge.data import ForgetSet, Indices, Splits
from expunge.errors import ConfigError, NeedsError, StoreError
from expunge.gan.candidate import Candidate
from expunge.gan.fit import fit_pair
from expunge.gan.judge import Judge, extractor_of
from expunge.gan.methods.method import GanMethod, UnlearnedPair
from expunge.gan.pair import Pair
from expunge.gan.problem import GanProblem
from expunge.gan.recipe import GanRecipe
from expunge.gan.run import Swaps
from expunge.gan.work import classifier_for
from expunge.runs import check_new, fingerprints, named_rows, origin_of, recorded_rows
from expunge.store import Contents, Store, key_of, read, write
from expunge.store.folder import MANIFEST, file_hash
from expunge.training import Cost, Progress, Recipe, input_shape, silent
from expunge.training.recipes import recipe as find_recipe

RUN = "gan-run"
UNLEARNED = "gan-unlearned"
KEPT_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Steps of a method after which its pair is kept, for the measures over time."""
WAY = "gan-way"
"""Of the store's folders that hold what a method passed through."""
SWAP_STEMS = ("swap-latents", "swap-labels", "swap-pictures")
"""Stems of the arrays that show what a method put in the place of what had to go."""


@dataclass(frozen=True)
class GanRunFolder:
    """A run folder, opened: the original pair and the rows it was trained on."""

    path: Path
    recipe: GanRecipe
    splits: Splits
    seed: int
    pair: Pair
    cost: Cost

    def problem(
        self,
        forget: ForgetSet | Indices,
        *,
        store: Store | None = None,
        forget_set: ForgetSet | None = None,
        progress: Progress = silent,
    ) -> GanProblem:
        """The problem of forgetting from this pair; with a store, its classifier is found there or trained.

        Raises:
            NeedsError: the recipe names no classifier, and a store was given.
        """
        splits, looks = self.splits, None
        if store is not None:
            looks = classifier_for(
                self.measuring(), splits.train, "method", seed=self.seed, store=store, progress=progress
            )
        return GanProblem(
            recipe=self.recipe,
            rows=splits.train,
            forget=cast(Indices, forget),  # resolved on construction
            holdout=splits.holdout,
            test=splits.test,
            original=self.pair,
            classifier=None if looks is None else looks.model,
            classifier_cost=None if looks is None else looks.cost,
            forget_set=forget_set,
        )

    def measuring(self) -> Recipe:
        """The recipe of the classifier that measures."""
        if not self.recipe.classifier:
            raise NeedsError(
                f"recipe {self.recipe.name}: names no classifier to measure by", hint='GanRecipe(classifier="...")'
            )
        return find_recipe(self.recipe.classifier)

    def judge(self, *, seed: int, store: Store, features: str = "", progress: Progress = silent) -> Judge:
        """The classifier of the audit, with a person's own features where `features` names them."""
        recipe = self.measuring()
        model = classifier_for(recipe, self.splits.train, "audit", seed=seed, store=store, progress=progress).model
        if not features:
            return Judge(model, recipe)
        path = Path(features.rpartition(":")[0])
        extractor = extractor_of(features)
        return Judge(model, recipe, extractor, f"{features} (SHA-256 {file_hash(path)[:12]})")


@dataclass(frozen=True)
class GanUnlearnedFolder:
    """An unlearned pair's folder, opened, with the problem that it answers."""

    path: Path
    parent: GanRunFolder
    problem: GanProblem
    candidate: Candidate


def is_gan(path: Path) -> bool:
    """Whether a folder holds a pair; False too where there is no folder, so that whoever asks next says so."""
    try:
        return read(path).kind in (RUN, UNLEARNED)
    except StoreError:
        return False


def train_gan_run(
    recipe: GanRecipe,
    out: Path,
    *,
    seed: int = 0,
    data: Path | None = None,
    device: str = "cpu",
    store: Store | None = None,
    progress: Progress = silent,
) -> GanRunFolder:
    """Train an original pair on the recipe's data set and keep it in the folder `out`.

    Raises:
        NeedsError: the recipe names no data set, or its files are not there.
        StoreError: `out` is taken, or cannot be made.
    """
    check_new(out)
    splits = named_rows(recipe.name, recipe.data, data)
    trained = fit_pair(recipe, splits.train, seed=seed, device=device, store=store, progress=progress)
    pair = trained.pair.to("cpu")
    facts = {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "rows": fingerprints(splits),
        "cost": trained.cost.to_dict(),
    }
    write(out, Contents(RUN, facts, pair.weights()))
    return GanRunFolder(out, recipe, splits, seed, pair, trained.cost)


def open_gan_run(path: Path, *, data: Path | None = None) -> GanRunFolder:
    """The original pair in a run folder, with its rows loaded again and compared.

    Raises:
        StoreError: not such a folder, damaged, or the data set is no longer what it was trained with.
    """
    folder = read(path, RUN)
    recipe = GanRecipe.from_dict(folder.facts["recipe"])
    splits = recorded_rows(folder, recipe.data, data)
    pair = recipe.fresh(input_shape(splits.train), seed=0).loaded(folder)
    return GanRunFolder(path, recipe, splits, folder.facts["seed"], pair, Cost.from_dict(folder.facts["cost"]))


def forget_gan_run(
    parent: GanRunFolder,
    problem: GanProblem,
    method: GanMethod,
    out: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    store: Store | None = None,
    progress: Progress = silent,
) -> UnlearnedPair:
    """Unlearn a run's pair and keep the result in the folder `out`; what it passed through goes to the store.

    Raises:
        ConfigError: the problem's rows have no text form.
        StoreError: `out` is taken, or cannot be made.
    """
    check_new(out)
    asked = problem.forget_set
    if asked is None:
        raise ConfigError("forget: expected rows in text form, such as class:3, to write down what was asked")
    made, steps = watched(method, problem, seed=seed, device=device, progress=progress)
    facts = {
        "parent": os.path.relpath(parent.path.resolve(), out.parent.resolve()),
        "parent_manifest": file_hash(parent.path / MANIFEST),
        "forget": {"text": asked.text, "seed": asked.seed},
        "method": made.method,
        "settings": made.settings,
        "seed": seed,
        "cost": made.cost.to_dict(),
        "steps": made.steps,
        "notes": made.notes,
        "way": "" if store is None else _keep_way(made, steps, store),
    }
    write(out, Contents(UNLEARNED, facts, made.pair.weights(), {"forget": problem.forget}))
    return made


def _keep_way(made: UnlearnedPair, steps: dict[int, Pair], store: Store) -> str:
    """Keep what a method passed through; returns its key."""
    key = key_of({"pair": made.pair.hash(), "method": made.method, "settings": made.settings, "seed": made.seed})
    weights = {f"step-{step}-{stem}": state for step, pair in steps.items() for stem, state in pair.weights().items()}
    arrays = {stem: tensor.numpy() for stem, tensor in zip(SWAP_STEMS, made.swaps, strict=True) if tensor is not None}
    store.put(key, Contents(WAY, {"steps": sorted(steps)}, weights, arrays))
    return key


def watched(
    method: GanMethod, problem: GanProblem, *, seed: int, device: str = "cpu", progress: Progress = silent
) -> tuple[UnlearnedPair, dict[int, Pair]]:
    """Run a method and keep its pair after some of its own steps."""
    steps: dict[int, Pair] = {}

    def look(step: int, pair: Callable[[], Pair]) -> None:
        if step in KEPT_STEPS:
            steps[step] = pair().copy().to("cpu")

    return method.run(problem, seed=seed, device=device, progress=progress, watch=look), steps


def open_gan_unlearned(path: Path, *, data: Path | None = None, store: Store | None = None) -> GanUnlearnedFolder:
    """The unlearned pair in a folder, with its original, and with what its method passed through where a store has it.

    Raises:
        StoreError: damaged, or its original is gone or another one.
    """
    folder = read(path, UNLEARNED)
    facts = folder.facts
    parent = open_gan_run(origin_of(folder, RUN), data=data)
    asked = ForgetSet(facts["forget"]["text"], facts["forget"]["seed"])
    problem = parent.problem(folder.array("forget"), forget_set=asked)  # a file that was named may have changed
    shape = input_shape(parent.splits.train)
    steps, swaps = _way(parent, facts["way"], store, shape)
    made = UnlearnedPair(
        pair=parent.recipe.fresh(shape, seed=0).loaded(folder),
        method=facts["method"],
        settings=facts["settings"],
        seed=facts["seed"],
        cost=Cost.from_dict(facts["cost"]),
        history=[],
        notes=facts["notes"],
        steps=facts["steps"],
        swaps=swaps,
    )
    return GanUnlearnedFolder(path, parent, problem, Candidate(name=facts["method"], made=made, steps=steps))


def _way(parent: GanRunFolder, key: str, store: Store | None, shape: tuple[int, ...]) -> tuple[dict[int, Pair], Swaps]:
    """What `_keep_way` kept; nothing where that store does not hold it."""
    if store is None or not key or not store.has(WAY, key):
        return {}, (None, None, None)
    folder = store.get(WAY, key)
    steps = {step: parent.recipe.fresh(shape, seed=0).loaded(folder, f"step-{step}-") for step in folder.facts["steps"]}
    z, y, pictures = (
        torch.from_numpy(folder.array(stem)) if f"{stem}.npy" in folder.hashes else None for stem in SWAP_STEMS
    )
    return steps, (z, y, pictures)
