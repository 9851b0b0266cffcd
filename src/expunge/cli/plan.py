"""What long work would take, from recorded measurements, and what it would show: for `--dry-run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from expunge.audit.foresight import Foresight
from expunge.data import Rows
from expunge.fleet import plan_fleet, timing
from expunge.fleet.task import KIND, Mask
from expunge.store import Store
from expunge.training import Recipe

WEIGHTS = 4
"""Bytes a number takes on disk and in memory."""
SUMS = ("models", "in_store", "to_train", "visits", "disk_megabytes")
"""What several fleets add up to; minutes only where every speed is known."""


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
    facts = {
        "models": len(tasks),
        "in_store": len(tasks) - len(missing),
        "to_train": len(missing),
        "visits": visits,
        "minutes_on_one_process": visits / fastest / 60 if fastest else None,
        "disk_megabytes": len(missing) * outputs / 1e6,
    }
    return {**facts, "sentence": _sentence(facts)}


def describe_plan(parts: Mapping[str, dict[str, Any]], foresight: Foresight | None) -> dict[str, Any]:
    """Several fleets as one plan, and what the audit behind them will be able to see.

    Args:
        parts: Name -> what `describe_fleet` gives, such as gold and shadows.
        foresight: Of the audit, or None where there is none.

    Returns:
        The keys of `describe_fleet` for all parts together, `parts` and `foresight`. The sentence has a line for each
        part, one for the total where there are several, and the foresight's lines below.
    """
    total: dict[str, Any] = {key: sum(part[key] for part in parts.values()) for key in SUMS}
    minutes = [part["minutes_on_one_process"] for part in parts.values()]
    total["minutes_on_one_process"] = None if None in minutes else sum(minutes)
    lines = [f"{name}: {part['sentence']}" for name, part in parts.items()]
    if len(parts) > 1:
        lines.append(f"total: {_sentence(total)}")
    if foresight:
        lines += foresight.text
    return {
        **total,
        "parts": dict(parts),
        "foresight": foresight.to_json() if foresight else None,
        "sentence": "\n".join(lines),
    }


def _sentence(facts: Mapping[str, Any]) -> str:
    """Models, visits, minutes and disk, for people."""
    minutes = facts["minutes_on_one_process"]
    return (
        f"{facts['models']} models: {facts['in_store']} in the store, {facts['to_train']} to train, "
        f"{facts['visits']:,} row visits"
        + ("" if minutes is None else f", about {minutes:.1f} minutes on one process")
        + f", at least {facts['disk_megabytes']:.0f} MB of outputs"
    )
