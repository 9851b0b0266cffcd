"""What long work would take, from recorded measurements: for `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from expunge.data import Rows
from expunge.fleet import plan_fleet, timing
from expunge.fleet.task import KIND, Mask
from expunge.store import Store
from expunge.training import Recipe

WEIGHTS = 4
"""Bytes a number takes on disk and in memory."""


def describe_fleet(
    recipe: Recipe,
    rows: Rows,
    masks: Mask,
    seeds: Sequence[int],
    watch: Sequence[Rows],
    store: Store,
    *,
    weights: bool = False,
) -> dict[str, Any]:
    """Models to train, row visits, minutes on one process, and disk, with a sentence for people."""
    tasks = plan_fleet(recipe, rows, masks, seeds, watch=watch, store=store, keep_weights=weights)
    missing = [task for task in tasks if not store.has(KIND, task.id)]
    measured = timing(recipe, rows, store)
    speeds = [measured.get("stacked_visits_per_second"), measured.get("single_visits_per_second")]
    fastest = max((speed for speed in speeds if speed), default=None)
    visits = sum(recipe.epochs * len(task.indices) for task in missing)
    outputs = sum(len(part) for part in watch) * recipe.task.width * WEIGHTS
    return {
        "models": len(tasks),
        "in_store": len(tasks) - len(missing),
        "to_train": len(missing),
        "visits": visits,
        "minutes_on_one_process": visits / fastest / 60 if fastest else None,
        "disk_megabytes": len(missing) * outputs / 1e6,
        "sentence": f"{len(tasks)} models: {len(tasks) - len(missing)} in the store, {len(missing)} to train, "
        f"{visits:,} row visits"
        + (f", about {visits / fastest / 60:.1f} minutes on one process" if fastest else "")
        + f", at least {len(missing) * outputs / 1e6:.0f} MB of outputs",
    }
