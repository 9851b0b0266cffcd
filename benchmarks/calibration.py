"""Do the audits hold their level, and what do they see? Gold against gold, and the original, on real fleets.

Each repetition draws models from a pool: one gold model to play "unlearned" and N others (model audit), or N to play
the method's, N as gold and N held out (method audit); and judges both them and originals under the policy `standard`,
utility included. The curve of power moves the margins of gold's forget rows by a known amount.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.figure import Figure, Options
from expunge.audit.assemble import Candidate, Pool, positions
from expunge.audit.jackknife import FloatArray
from expunge.bench.judged import judged_method, judged_model, method_reference
from expunge.bench.suite import STANDARD
from expunge.data import Splits, forget, load
from expunge.fleet import Local, role_seeds, same_rows, train_fleet
from expunge.seeds import numpy_generator
from expunge.store import Store
from expunge.training.recipes import RECIPES

FORGET = "class:8:80"
POOL, ORIGINALS = 512, 64
SIZES = (24, 32, 64)
METHOD_SIZES = (32, 64)
REPETITIONS = 200
SHIFTS = (0.25, 0.5, 1.0, 2.0)
"""Of all forget rows, in gold standard deviations of each row."""
POWER_SIZES = (24, 32, 64, 128)
POWER_REPETITIONS = 100


@dataclass(frozen=True)
class Models:
    """Outputs of real models, `[models, rows, classes]`, and what the rows are."""

    gold: FloatArray
    original: FloatArray
    labels: FloatArray
    splits: dict[str, FloatArray]

    def pool(self, gold: FloatArray, original: FloatArray, heldout: FloatArray | None = None) -> Pool:
        """Some of them, as an audit takes them."""
        return Pool(gold, heldout, original, self.labels, self.splits)


def measure(options: Options) -> Iterator[Figure]:
    """Shares of verdicts, for several numbers of models."""
    models = trained()
    allowed = STANDARD.alpha + 2 * math.sqrt(STANDARD.alpha * (1 - STANDARD.alpha) / REPETITIONS)
    for mode, sizes, repeat in (("model", SIZES, one_model), ("method", METHOD_SIZES, one_method)):
        for size in sizes:
            ours, theirs = repeated(models, repeat, size)
            what = f"{mode} audit, {REPETITIONS} times gold against {size} gold, {FORGET}, policy standard: fails"
            yield Figure(what=what, measured=ours.count("fail") / REPETITIONS, most=allowed)
            yield Figure(what="  passes", measured=ours.count("pass") / REPETITIONS)
            yield Figure(what="  the original fails", measured=theirs.count("fail") / REPETITIONS, least=0.95)
    for size in POWER_SIZES:
        shares = [power(models, size, shift) for shift in SHIFTS]
        shown = ", ".join(f"{share:.2f} at {shift:g}" for share, shift in zip(shares, SHIFTS, strict=True))
        what = f"model audit, N = {size}: share that fails with all forget rows moved (gold sd)"
        yield Figure(what=what, measured=shares[-1], text=shown)


def trained() -> Models:
    """The pool of gold models and the originals, trained for this."""
    splits = load("digits")
    at = forget(FORGET).indices(splits.train)
    retain = np.setdiff1d(np.arange(len(splits.train)), at)
    with tempfile.TemporaryDirectory() as folder:
        gold = outputs(splits, retain, "gold", POOL, folder)
        original = outputs(splits, np.arange(len(splits.train)), "original", ORIGINALS, folder)
    labels = np.concatenate([rows.labels.numpy() for rows in (splits.train, splits.holdout, splits.test)])
    parts = positions(len(splits.train), len(splits.holdout), len(splits.test), at)
    return Models(gold, original, labels, parts)


def outputs(splits: Splits, indices: FloatArray, role: str, models: int, folder: str) -> FloatArray:
    """`[models, rows, classes]` logits of a fleet on training, holdout and test rows."""
    watch = (splits.train, splits.holdout, splits.test)
    masks, seeds = same_rows(splits.train, indices, models), role_seeds(0, role, models)
    with Local() as executor:
        fleet = train_fleet(
            RECIPES["digits-mlp"], splits.train, masks, seeds, watch=watch, store=Store(folder), executor=executor
        )
        return fleet.logits()


Repeat = Callable[[Models, int, np.random.Generator, int], tuple[str, str]]


def repeated(models: Models, repeat: Repeat, size: int) -> tuple[list[str], list[str]]:
    """Verdicts on gold and on the original, over all repetitions."""
    draw = numpy_generator(0, f"calibration/{repeat.__name__}", size)
    pairs = [repeat(models, size, draw, turn) for turn in range(REPETITIONS)]
    return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]


def one_model(models: Models, size: int, draw: np.random.Generator, turn: int) -> tuple[str, str]:
    """Verdicts of a model audit on one gold model and on one original, against `size` other gold models."""
    picked = draw.choice(len(models.gold), size + 1, replace=False)
    original = models.original[[draw.integers(len(models.original))]]
    pool = models.pool(models.gold[picked[1:]], original)
    sides = models.gold[picked[:1]], original
    return tuple(judged_model(Candidate(pool, side, turn), STANDARD).verdict for side in sides)  # type: ignore[return-value]


def one_method(models: Models, size: int, draw: np.random.Generator, turn: int) -> tuple[str, str]:
    """Verdicts of a method audit on `size` gold models and on as many originals as there are, at most half of them."""
    picked = draw.choice(len(models.gold), 3 * size, replace=False)
    halves = np.array_split(draw.permutation(len(models.original)), 2)
    gold, heldout, ours = np.array_split(models.gold[picked], 3)
    pool = models.pool(gold, models.original[halves[0]], heldout)
    reference = method_reference(pool, STANDARD, seed=turn)
    sides = ours, models.original[halves[1]]
    return tuple(judged_method(Candidate(pool, side, turn), reference, STANDARD).verdict for side in sides)  # type: ignore[return-value]


def power(models: Models, size: int, shift: float) -> float:
    """Share of gold models that fail once the margins of all their forget rows are moved up by that many gold sd."""
    draw = numpy_generator(0, f"power/{shift}", size)
    at = models.splits["forget"]
    label = models.labels[at]
    verdicts = []
    for turn in range(POWER_REPETITIONS):
        picked = draw.choice(len(models.gold), size + 1, replace=False)
        pool = models.pool(models.gold[picked[1:]], models.original[[draw.integers(len(models.original))]])
        moved = models.gold[picked[:1]].copy()  # what is added to the label's logit is added to the margin
        moved[:, at, label] += shift * pool.margins["gold"][:, at].std(axis=0, ddof=1)
        verdicts.append(judged_model(Candidate(pool, moved, turn), STANDARD).verdict)
    return verdicts.count("fail") / POWER_REPETITIONS
