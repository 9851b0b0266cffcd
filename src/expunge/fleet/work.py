"""Jobs: what an executor carries and any process can do, given the store. Plain data in, plain data out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from expunge.fleet.shelf import fetch
from expunge.fleet.stacked import train_stack
from expunge.fleet.task import KIND, Task
from expunge.store import Store
from expunge.training import Cost, Recipe, fit, predict


def train_job(job: dict[str, Any]) -> list[str]:
    """Train the models of a job and keep each in the store; returns their ids.

    Args:
        job: `{"store": path, "tasks": [task, ...], "stacked": bool, "device": name}`; the tasks share recipe and rows.
    """
    store = Store(job["store"])
    tasks = [Task.from_dict(task) for task in job["tasks"]]
    missing = [task for task in tasks if not store.has(KIND, task.id)]
    if missing and job["stacked"]:
        _train_together(store, missing, job["device"])
    else:
        for task in missing:
            _train_alone(store, task, job["device"])
    return [task.id for task in tasks]


def _train_alone(store: Store, task: Task, device: str) -> None:
    recipe, rows = Recipe.from_dict(task.recipe), fetch(store, task.rows)
    trained = fit(recipe, rows, task.indices, seed=task.seed, device=device)
    logits = torch.cat([predict(trained.model, fetch(store, watched), device=device) for watched in task.watch])
    store.put(task.id, task.contents(logits.numpy(), trained.model.state_dict(), trained.cost))


def _train_together(store: Store, tasks: Sequence[Task], device: str) -> None:
    recipe, rows = Recipe.from_dict(tasks[0].recipe), fetch(store, tasks[0].rows)
    begin = time.perf_counter()
    trained = tasks if len(tasks) > 1 else [*tasks, *tasks]  # a stack of one is rounded otherwise than a larger one
    chosen, seeds = [task.indices for task in trained], [task.seed for task in trained]
    stack = train_stack(recipe, rows, chosen, seeds, device=device)
    seconds = (time.perf_counter() - begin) / len(tasks)
    logits = torch.cat([stack.outputs(fetch(store, watched)) for watched in tasks[0].watch], dim=1).numpy()
    for model, task in enumerate(tasks):
        cost = Cost({}, {"train": recipe.epochs * len(task.indices)}, seconds)
        store.put(task.id, task.contents(np.ascontiguousarray(logits[model]), stack.weights(model), cost))
