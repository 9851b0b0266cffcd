"""Models on random subsets of the training rows: datamodels are fitted on them, calibration and LDS compare with them.

Which rows a model saw lies with the model, as a part of its name in the store: a killed run goes on where it was, and
a larger fleet of the same seed begins with the models of the smaller one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from expunge.data import Indices, Rows
from expunge.errors import NeedsError, check
from expunge.fleet import Executor, Fleet, role_seeds, train_fleet
from expunge.fleet.task import Mask
from expunge.seeds import numpy_generator
from expunge.store import Store
from expunge.training import Cost, Progress, Recipe, silent

MOST = 20
"""Held-out models that calibration may use: what it costs must stay below what it calibrates."""


def train_subsets(
    recipe: Recipe,
    rows: Rows,
    watch: Sequence[Rows],
    models: int,
    *,
    share: float = 0.5,
    equal: bool = False,
    repeats: int = 1,
    seed: int,
    store: Store,
    executor: Executor | None = None,
    keep_weights: bool = False,
    device: str = "cpu",
    progress: Progress = silent,
) -> Fleet:
    """Train models on random subsets of the training rows; those that the store holds already are not trained again.

    Args:
        recipe: How, the same for all.
        rows: Training rows.
        watch: Rows whose outputs are kept, one after another; only these can be answered for.
        models: How many, >= 1.
        share: Share of the training rows that a model sees, in (0, 1).
        equal: Whether every subset has the same size. If not, each row is drawn on its own; then the effect that rows
            have on average can be told too, which subsets of one size never show.
        repeats: Models on each subset, with seeds of their own, >= 1; they stand next to each other.
        seed: Root seed of the subsets and of the trainings.
        store: Where finished models lie.
        executor: Who trains; by default this process.
        keep_weights: Keep the weights beside the outputs.
        device: Where models are trained.
        progress: Called with (what, done, total).

    Raises:
        ConfigError: a number out of range; a share that leaves no row in or none out.
    """
    check("models", models, ">= 1", models >= 1)
    check("repeats", repeats, ">= 1", repeats >= 1)
    masks = subset_masks(-(-models // repeats), len(rows), share=share, equal=equal, seed=seed)
    return train_fleet(
        recipe,
        rows,
        np.repeat(masks, repeats, axis=0)[:models],
        role_seeds(seed, "subset", models),
        watch=watch,
        store=store,
        executor=executor,
        keep_weights=keep_weights,
        device=device,
        progress=progress,
        label="train subset models",
    )


def held_out_removals(
    recipe: Recipe,
    rows: Rows,
    watch: Sequence[Rows],
    models: int = MOST,
    *,
    size: int,
    groups: Sequence[Indices] = (),
    repeats: int = 1,
    seed: int,
    store: Store,
    executor: Executor | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Fleet:
    """Train models that each leave out a random set of `size` rows, to calibrate on: see `calibrate`.

    Args:
        recipe: How, the same for all.
        rows: Training rows.
        watch: Rows whose outputs are kept, one after another.
        models: How many, in 1..20.
        size: Rows that each leaves out, >= 1; that of the requests to come is the best choice.
        groups: Each set is drawn from one of these `[n]` positions in turn, such as those of a class, where the
            requests to come are of rows that have as much in common; by default from all rows.
        repeats: Models without each set, with seeds of their own, >= 1; two or more tell the noise of the seed.
        seed: Root seed of the sets and of the trainings; no model is shared with `train_subsets`.
        store: Where finished models lie.
        executor: Who trains; by default this process.
        device: Where models are trained.
        progress: Called with (what, done, total).

    Raises:
        ConfigError: a number out of range.
    """
    check("models", models, f"in 1..{MOST}", 1 <= models <= MOST)
    check("repeats", repeats, ">= 1", repeats >= 1)
    check("size", size, f"in 1..{len(rows) - 1}", 1 <= size < len(rows))
    masks = removal_masks(-(-models // repeats), len(rows), size=size, groups=groups, seed=seed)
    return train_fleet(
        recipe,
        rows,
        np.repeat(masks, repeats, axis=0)[:models],
        role_seeds(seed, "held-out removal", models),
        watch=watch,
        store=store,
        executor=executor,
        device=device,
        progress=progress,
        label="train held-out models",
    )


def subset_masks(subsets: int, rows: int, *, share: float = 0.5, equal: bool = False, seed: int) -> Mask:
    """`[subsets, rows]` which rows each subset has; the first ones do not depend on how many there are.

    Raises:
        ConfigError: the share is outside (0, 1), or leaves no row in or none out.

    Example:
        >>> subset_masks(2, 10, share=0.3, equal=True, seed=0).sum(axis=1).tolist()
        [3, 3]
    """
    check("share", share, "in (0, 1)", 0 < share < 1)
    kept = round(share * rows)
    check("share", share, f"to leave at least one of {rows} rows in and one out", 0 < kept < rows)
    masks = np.zeros((subsets, rows), dtype=bool)
    for index, mask in enumerate(masks):
        draw = numpy_generator(seed, "subset rows", index)
        if equal:
            mask[draw.choice(rows, kept, replace=False)] = True
        else:
            mask[:] = draw.random(rows) < share
            if not mask.any():  # a handful of rows alone can come to this
                mask[draw.integers(rows)] = True
    return masks


def removal_masks(sets: int, rows: int, *, size: int, groups: Sequence[Indices] = (), seed: int) -> Mask:
    """`[sets, rows]` all rows but `size` random ones; the first sets do not depend on how many there are.

    Raises:
        ConfigError: a group has fewer rows.

    Example:
        >>> removal_masks(2, 10, size=3, seed=0).sum(axis=1).tolist()
        [7, 7]
    """
    for group in groups:
        check("groups", len(group), f"of at least {size} rows", len(group) >= size)
    masks = np.ones((sets, rows), dtype=bool)
    for index, mask in enumerate(masks):
        among = groups[index % len(groups)] if groups else rows
        mask[numpy_generator(seed, "held-out rows", index).choice(among, size, replace=False)] = False
    return masks


def check_left_out(masks: Mask, forget: Indices, *, least: int = 1) -> None:
    """Every forget row was seen by some subset models and left out of others.

    Args:
        masks: `[models, rows]` which rows each model was trained on.
        forget: `[forget]` positions.
        least: Fewest models on each side, >= 1.

    Raises:
        NeedsError: there are too few masks for the forget set; names the row that is worst off.
    """
    inside = masks[:, forget].sum(axis=0)
    for said, counts in (("was left out of", len(masks) - inside), ("was in", inside)):
        if counts.min() < least:
            raise NeedsError(
                f"too few masks for the forget set: row {forget[counts.argmin()]} {said} {counts.min()} of "
                f"{len(masks)} subset models, expected at least {least}; {int((counts < least).sum())} of "
                f"{len(forget)} rows are so",
                hint="train more subset models, or with a share nearer to one half",
            )


def part(fleet: Fleet, at: Indices) -> Fleet:
    """The models of a fleet at positions `at` `[n]`."""
    return replace(fleet, folders=tuple(fleet.folders[index] for index in at), masks=fleet.masks[at])


def by_mask(masks: Mask) -> list[Indices]:
    """Positions of the models on each subset, in order of its first model.

    Example:
        >>> [at.tolist() for at in by_mask(np.array([[True, False], [False, True], [True, False]]))]
        [[0, 2], [1]]
    """
    found: dict[bytes, list[int]] = {}
    for index, mask in enumerate(masks):
        found.setdefault(mask.tobytes(), []).append(index)
    return [np.array(at, dtype=np.int64) for at in found.values()]


def total(costs: Sequence[Cost], role: str = "attribution") -> Cost:
    """What several runs cost together, all visits under one role; seconds add up as if one followed the other."""
    forward, backward = (sum(sum(getattr(cost, kind).values()) for cost in costs) for kind in ("forward", "backward"))
    return Cost(
        {role: forward} if forward else {},
        {role: backward} if backward else {},
        sum(cost.seconds for cost in costs),
        max((cost.threads for cost in costs), default=1),
    )
