"""Run folders of pairs: an original or an unlearned pair on disk, with all that is needed to go on from there.

gan-run        recipe, data set, seed, cost            weights: generator, discriminator
gan-unlearned  parent, forget set, method, cost        weights: the same, and after some of the method's own steps
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from expunge.data import ForgetSet, Indices, Splits, load
from expunge.errors import NeedsError, StoreError
from expunge.gan.fit import fit_pair
from expunge.gan.judge import Judge, extractor_of
from expunge.gan.methods.method import GanMethod, UnlearnedPair
from expunge.gan.pair import Pair
from expunge.gan.problem import GanProblem
from expunge.gan.recipe import GanRecipe
from expunge.gan.result import Candidate
from expunge.gan.run import Swaps
from expunge.gan.work import classifier_for
from expunge.runs import check_new, fingerprints
from expunge.store import Contents, Folder, Store, read, write
from expunge.store.folder import MANIFEST, file_hash
from expunge.training import Cost, Progress, Recipe, input_shape, silent
from expunge.training.recipes import recipe as find_recipe

RUN = "gan-run"
UNLEARNED = "gan-unlearned"
KEPT_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Steps of a method after which its pair is kept, for the measures over time."""
SWAPS = ("swap-latents", "swap-labels", "swap-pictures")
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
        self, forget: ForgetSet | Indices, *, store: Store | None = None, progress: Progress = silent
    ) -> GanProblem:
        """The problem of forgetting from this pair; with a store, its classifier is found there or trained.

        Raises:
            NeedsError: the recipe names no classifier, and a store was given.
        """
        splits, classifier = self.splits, None
        if store is not None:
            classifier = classifier_for(
                self.measuring(), splits.train, "method", seed=self.seed, store=store, progress=progress
            )
        return GanProblem(
            recipe=self.recipe,
            rows=splits.train,
            forget=cast(Indices, forget),  # resolved on construction
            holdout=splits.holdout,
            test=splits.test,
            original=self.pair,
            classifier=classifier,
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
        model = classifier_for(recipe, self.splits.train, "audit", seed=seed, store=store, progress=progress)
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


def is_gan(path: Path, *kinds: str) -> bool:
    """Whether a folder holds a pair; False too where there is no folder, so that whoever asks next says so."""
    try:
        return read(path).kind in (kinds or (RUN, UNLEARNED))
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
    if not recipe.data:
        raise NeedsError(f"recipe {recipe.name}: names no data set", hint='give it data="..." (`expunge data`)')
    splits = load(recipe.data, root=data)
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
    splits = load(recipe.data, root=data)
    for part, fingerprint in folder.facts["rows"].items():
        if fingerprints(splits)[part] != fingerprint:
            raise StoreError(
                f"{path}: the {part} rows of {recipe.data} are not those it was trained with",
                hint="give the same files with --data DIR",
            )
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
    progress: Progress = silent,
) -> UnlearnedPair:
    """Unlearn a run's pair and keep the result in the folder `out`.

    Raises:
        StoreError: `out` is taken, or cannot be made.
    """
    check_new(out)
    made, steps = watched(method, problem, seed=seed, device=device, progress=progress)
    asked = problem.forget_set
    assert asked is not None  # a command names it
    facts = {
        "parent": os.path.relpath(parent.path.resolve(), out.parent.resolve()),
        "parent_manifest": file_hash(parent.path / MANIFEST),
        "forget": {"text": asked.text, "seed": asked.seed},
        "method": made.method,
        "settings": made.settings,
        "seed": seed,
        "cost": made.cost.to_dict(),
        "notes": made.notes,
        "steps": sorted(steps),
    }
    weights = dict(made.pair.weights())
    for step, pair in steps.items():
        weights |= {f"step-{step}-{stem}": state for stem, state in pair.weights().items()}
    arrays = {stem: tensor.numpy() for stem, tensor in zip(SWAPS, made.swaps, strict=True) if tensor is not None}
    write(out, Contents(UNLEARNED, facts, weights, {"forget": problem.forget, **arrays}))
    return made


def watched(
    method: GanMethod, problem: GanProblem, *, seed: int, device: str = "cpu", progress: Progress = silent
) -> tuple[UnlearnedPair, dict[int, Pair]]:
    """Run a method and keep its pair after some of its own steps."""
    steps: dict[int, Pair] = {}

    def look(step: int, pair: Callable[[], Pair]) -> None:
        if step in KEPT_STEPS:
            steps[step] = pair().copy().to("cpu")

    return method.run(problem, seed=seed, device=device, progress=progress, watch=look), steps


def open_gan_unlearned(path: Path, *, data: Path | None = None) -> GanUnlearnedFolder:
    """The unlearned pair in a folder, with its original.

    Raises:
        StoreError: damaged, or its original is gone or another one.
    """
    folder = read(path, UNLEARNED)
    facts = folder.facts
    origin = (path.resolve().parent / facts["parent"]).resolve()
    read(origin, RUN)  # tells where there is none
    if file_hash(origin / MANIFEST) != facts["parent_manifest"]:
        raise StoreError(f"{origin}: not the run that {path} was unlearned from", hint="run `expunge forget` again")
    parent = open_gan_run(origin, data=data)
    problem = parent.problem(ForgetSet(facts["forget"]["text"], facts["forget"]["seed"]))
    shape = input_shape(parent.splits.train)
    cost = Cost.from_dict(facts["cost"])
    made = UnlearnedPair(
        parent.recipe.fresh(shape, seed=0).loaded(folder),
        facts["method"],
        facts["settings"],
        facts["seed"],
        cost,
        [],
        facts["notes"],
        _swaps(folder),
    )
    steps = {step: parent.recipe.fresh(shape, seed=0).loaded(folder, f"step-{step}-") for step in facts["steps"]}
    return GanUnlearnedFolder(path, parent, problem, Candidate(name=facts["method"], made=made, steps=steps))


def _swaps(folder: Folder) -> Swaps:
    z, y, pictures = (
        torch.from_numpy(folder.array(stem)) if f"{stem}.npy" in folder.hashes else None for stem in SWAPS
    )
    return z, y, pictures
