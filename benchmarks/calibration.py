"""Does the audit of one model hold its level? Gold against gold, and the original against gold, on real fleets.

Each repetition draws one gold model to play "unlearned" and N others from a pool, and judges both it and an original
under the policy `standard`, utility included.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator

import numpy as np

from benchmarks.figure import Figure, Options
from expunge.audit.assemble import Pool, positions
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import margins
from expunge.audit.model_audit import model_audit
from expunge.bench.audit import STANDARD, decide, guard
from expunge.data import Splits, forget, load
from expunge.fleet import Local, role_seeds, same_rows, train_fleet
from expunge.seeds import numpy_generator
from expunge.store import Store
from expunge.training.recipes import RECIPES

FORGET = "class:8:80"
POOL, ORIGINALS = 512, 64
SIZES = (24, 32, 64)
REPETITIONS = 200


def measure(options: Options) -> Iterator[Figure]:
    """Shares of verdicts, for several numbers of gold models."""
    splits = load("digits")
    at = forget(FORGET).indices(splits.train)
    retain = np.setdiff1d(np.arange(len(splits.train)), at)
    with tempfile.TemporaryDirectory() as folder:
        gold = outputs(splits, retain, "gold", POOL, folder)
        originals = outputs(splits, np.arange(len(splits.train)), "original", ORIGINALS, folder)
    labels = np.concatenate([rows.labels.numpy() for rows in (splits.train, splits.holdout, splits.test)])
    parts = positions(len(splits.train), len(splits.holdout), len(splits.test), at)
    allowed = STANDARD.alpha + 2 * math.sqrt(STANDARD.alpha * (1 - STANDARD.alpha) / REPETITIONS)
    for size in SIZES:
        draw = numpy_generator(0, "calibration", size)
        ours, theirs = [], []
        for _ in range(REPETITIONS):
            picked = draw.choice(POOL, size + 1, replace=False)
            original = originals[[draw.integers(ORIGINALS)]]
            pool = Pool(gold[picked[1:]], None, original, labels, parts)
            ours.append(verdict(pool, gold[picked[:1]]))
            theirs.append(verdict(pool, original))
        what = f"calibration, {REPETITIONS} x one gold model against {size}, {FORGET}, policy standard: fails"
        yield Figure(what=what, measured=ours.count("fail") / REPETITIONS, most=allowed)
        yield Figure(what="  passes", measured=ours.count("pass") / REPETITIONS)
        yield Figure(what="  the original fails", measured=theirs.count("fail") / REPETITIONS, least=0.95)


def outputs(splits: Splits, indices: FloatArray, role: str, models: int, folder: str) -> FloatArray:
    """`[models, rows, classes]` logits of a fleet on training, holdout and test rows."""
    watch = (splits.train, splits.holdout, splits.test)
    masks, seeds = same_rows(splits.train, indices, models), role_seeds(0, role, models)
    with Local() as executor:
        fleet = train_fleet(
            RECIPES["digits-mlp"], splits.train, masks, seeds, watch=watch, store=Store(folder), executor=executor
        )
        return fleet.logits()


def verdict(pool: Pool, logits: FloatArray) -> str:
    """The verdict on one model `[1, rows, classes]` under the policy `standard`."""
    names = np.empty(len(pool.labels), dtype="<U7")
    for name, at in pool.splits.items():
        names[at] = name
    sides = [margins(side, pool.labels) for side in (logits, pool.gold, pool.original)]
    found = model_audit(*sides, split=names, alpha=STANDARD.alpha, least_gold=STANDARD.gold)
    return decide(found, guard(pool, logits, STANDARD)).verdict
