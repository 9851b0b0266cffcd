"""Every measure on every split, from outputs alone: `audit_method` for many models, `audit_one` for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.accuracy import accuracy_gap
from expunge.audit.activation_distance import activation_distance
from expunge.audit.estimate import Estimate
from expunge.audit.gaussian_kl import gaussian_kl
from expunge.audit.jackknife import FloatArray
from expunge.audit.jensen_shannon import jensen_shannon
from expunge.audit.klom import klom
from expunge.audit.margins import margins
from expunge.audit.population_attack import population_attack
from expunge.audit.row_z import row_z, row_z_estimate
from expunge.errors import NeedsError

SPLITS = ("forget", "retain", "test")
"""The splits that every method audit reports."""

Table = dict[str, dict[str, Estimate]]
"""Measure -> split -> estimate."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Outputs that one audit compares; rows in the same order everywhere."""

    gold: FloatArray
    """`[gold models, rows, classes]` logits."""
    heldout: FloatArray | None
    """`[held-out gold models, rows, classes]`: they play "unlearned" in the null."""
    original: FloatArray
    """`[originals, rows, classes]`."""
    labels: npt.NDArray[np.int64]
    """`[rows]`."""
    splits: Mapping[str, npt.NDArray[np.int64]]
    """Positions of forget, retain, holdout and test among the rows."""

    def __post_init__(self) -> None:
        absent = [name for name in (*SPLITS, "holdout") if name not in self.splits]
        if absent:
            raise NeedsError(f"audit: expected the splits forget, retain, holdout and test, {absent} are absent")


def positions(train: int, holdout: int, test: int, forget: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    """Where each split stands among training, holdout and test rows laid end to end.

    Args:
        train: Number of training rows.
        holdout: Of holdout rows.
        test: Of test rows.
        forget: `[forget]` positions among the training rows.
    """
    return {
        "forget": forget,
        "retain": np.setdiff1d(np.arange(train), forget),
        "holdout": train + np.arange(holdout),
        "test": train + holdout + np.arange(test),
    }


def audit_method(pool: Pool, unlearned: FloatArray, *, seed: int, groups: npt.NDArray[Any] | None = None) -> Table:
    """Distances to gold of a method's unlearned models.

    Args:
        pool: What they are compared with.
        unlearned: `[models, rows, classes]` logits on the pool's rows.
        seed: Of the nulls.
        groups: `[models]` id of the original behind each unlearned model.

    Returns:
        Measure -> split -> Estimate. The population attack is of forget against holdout rows.
    """
    return _table(pool, unlearned, METHOD_PARTS, seed, groups)


def audit_one(pool: Pool, unlearned: FloatArray, *, seed: int) -> Table:
    """Distances to gold of one model: those measures that do not need several.

    Args:
        pool: What it is compared with.
        unlearned: `[1, rows, classes]` logits on the pool's rows.
        seed: Of the nulls.

    Returns:
        Measure -> split -> Estimate, `row_z` first.
    """
    test = np.zeros(len(pool.labels), dtype=bool)
    test[pool.splits["test"]] = True
    sides = [margins(side, pool.labels) for side in (unlearned, pool.gold, pool.original[:1])]
    found = row_z(*sides, test=test)
    table: Table = {"row_z": {split: row_z_estimate(found, pool.splits[split]) for split in SPLITS}}
    return table | _table(pool, unlearned, ONE_PARTS, seed, None)


def _table(
    pool: Pool,
    unlearned: FloatArray,
    parts: Mapping[str, Callable[..., Estimate]],
    seed: int,
    groups: npt.NDArray[Any] | None,
) -> Table:
    table: Table = {
        name: {split: part(pool, unlearned, pool.splits[split], seed, groups) for split in SPLITS}
        for name, part in parts.items()
    }
    both = np.concatenate([pool.splits["forget"], pool.splits["holdout"]])
    attacked = np.arange(len(both)) < len(pool.splits["forget"])
    wanted, unseen = (set(pool.labels[pool.splits[split]].tolist()) for split in ("forget", "holdout"))
    if not wanted <= unseen:  # a class of forget has no unseen row to compare with: there is no such attack
        return table
    table["population_attack"] = {
        "forget": population_attack(
            unlearned[:, both],
            pool.gold[:, both],
            pool.original[:, both],
            labels=pool.labels[both],
            forget=attacked,
            match="class",
            groups=groups,
        )
    }
    return table


def _accuracy(
    pool: Pool, unlearned: FloatArray, at: npt.NDArray[np.int64], seed: int, groups: npt.NDArray[Any] | None
) -> Estimate:
    return accuracy_gap(unlearned[:, at], pool.gold[:, at], pool.original[:, at], labels=pool.labels[at], groups=groups)


def _on_margins(measure: Callable[..., Estimate]) -> Callable[..., Estimate]:
    def part(
        pool: Pool, unlearned: FloatArray, at: npt.NDArray[np.int64], seed: int, groups: npt.NDArray[Any] | None
    ) -> Estimate:
        sides = [_margins(side, pool, at) for side in (unlearned, pool.gold, pool.original)]
        return measure(*sides, heldout=_margins(pool.heldout, pool, at), seed=seed, groups=groups)

    return part


def _on_logits(measure: Callable[..., Estimate]) -> Callable[..., Estimate]:
    def part(
        pool: Pool, unlearned: FloatArray, at: npt.NDArray[np.int64], seed: int, groups: npt.NDArray[Any] | None
    ) -> Estimate:
        heldout = None if pool.heldout is None else pool.heldout[:, at]
        sides = [side[:, at] for side in (unlearned, pool.gold, pool.original)]
        return measure(*sides, heldout=heldout, seed=seed, groups=groups)

    return part


def _margins(side: FloatArray | None, pool: Pool, at: npt.NDArray[np.int64]) -> FloatArray | None:
    return None if side is None else margins(side[:, at], pool.labels[at])


ONE_PARTS: dict[str, Callable[..., Estimate]] = {
    "accuracy_gap": _accuracy,
    "activation_distance": _on_logits(activation_distance),
    "jensen_shannon": _on_logits(jensen_shannon),
}
METHOD_PARTS: dict[str, Callable[..., Estimate]] = {
    "klom": _on_margins(klom),
    "gaussian_kl": _on_margins(gaussian_kl),
    **ONE_PARTS,
}
