"""Many models of one recipe on chosen rows: gold, originals, shadows. Resumable; none is trained twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn

from expunge.data import Indices, Rows
from expunge.errors import NeedsError, ShapeError, StoreError
from expunge.fleet.choice import prefer_stacked
from expunge.fleet.executor import Executor, Here
from expunge.fleet.shelf import fetch, shelve
from expunge.fleet.task import KIND, Mask, Task, pack, unpack
from expunge.fleet.work import train_job
from expunge.seeds import derive
from expunge.store import Contents, Folder, Store, key_of
from expunge.training import Cost, Progress, Recipe, check_device, input_shape, silent

STACK = 64
"""Most models in one stacked job: enough to be fast, few enough that a killed run loses little."""


@dataclass(frozen=True)
class Fleet:
    """Finished models in the store, in the order asked for."""

    recipe: Recipe
    shape: tuple[int, ...]
    """Of one row's input."""
    folders: tuple[Folder, ...]
    masks: Mask
    """`[models, rows]`: which rows each model was trained on, as recorded with the model."""
    rows: str
    """Fingerprint of the rows that the masks choose from."""
    watched: tuple[str, ...]
    """`[watched rows]` ids of the rows whose outputs are kept."""

    def __len__(self) -> int:
        return len(self.folders)

    def logits(self, at: Indices | None = None) -> npt.NDArray[np.float32]:
        """`[models, watched rows, outputs]` in the order of the call that made the fleet.

        Args:
            at: `[n]` positions among the watched rows, by default all; only these are held in memory.
        """
        kept: slice | Indices = slice(None) if at is None else at
        return np.stack([folder.array("logits")[kept] for folder in self.folders])

    def model(self, index: int) -> nn.Module:
        """One model, in evaluation mode.

        Raises:
            NeedsError: the fleet was trained without keeping weights.
        """
        folder = self.folders[index]
        if "weights.safetensors" not in folder.hashes:
            raise NeedsError("this fleet kept outputs only", hint="train it with keep_weights=True")
        return folder.load_into(self.recipe.fresh(self.shape, seed=0), "weights")

    def costs(self) -> list[Cost]:
        """`[models]` what each training cost."""
        return [Cost.from_dict(folder.facts["cost"]) for folder in self.folders]

    def excluding(self, forget: Indices) -> Fleet:
        """This fleet, once it is known that no model saw a forget row `[forget]`.

        Raises:
            StoreError: a model did; such a fleet cannot serve as gold.
        """
        saw = self.masks[:, forget].any(1)
        if saw.any():
            raise StoreError(
                f"{self.folders[int(saw.argmax())].path}: this model was trained on forget rows and cannot be gold",
                hint="train gold on retain rows alone",
            )
        return self


def train_fleet(
    recipe: Recipe,
    rows: Rows,
    masks: Mask,
    seeds: Sequence[int],
    *,
    watch: Sequence[Rows],
    store: Store,
    executor: Executor | None = None,
    keep_weights: bool = False,
    device: str = "cpu",
    progress: Progress = silent,
    label: str = "train models",
) -> Fleet:
    """Train the models that the store does not hold yet, and return all of them.

    Args:
        recipe: How, the same for all.
        rows: Training rows.
        masks: `[models, rows]` bool, which rows each model is trained on.
        seeds: `[models]` root seeds.
        watch: Rows whose outputs are kept, one after another.
        store: Where finished models lie.
        executor: Who trains; by default this process.
        keep_weights: Keep the weights beside the outputs.
        device: Where models are trained; use `Here` as executor on an accelerator.
        progress: Called with (label, finished models, models).
        label: What progress calls it.

    Raises:
        ShapeError: masks and rows or seeds do not fit together.
    """
    if masks.ndim != 2 or masks.shape != (len(seeds), len(rows)):
        raise ShapeError(f"masks: expected [{len(seeds)}, {len(rows)}], got {list(masks.shape)}")
    check_device(device)
    tasks = plan_fleet(recipe, rows, masks, seeds, watch=watch, store=store, keep_weights=keep_weights)
    missing = [task for task in tasks if not store.has(KIND, task.id)]
    done = len(tasks) - len(missing)
    progress(label, done, len(tasks))
    stacked = len(tasks) > 2 and bool(missing) and prefer_stacked(recipe, rows, store)
    executor = executor or Here()
    for finished in executor.map(train_job, _jobs(missing, stacked, store, device, executor.processes)):
        done += len(finished)
        progress(label, done, len(tasks))
    folders = tuple(_opened(task, store) for task in tasks)
    watched = tuple(row_id for part in watch for row_id in part.ids)
    return Fleet(recipe, input_shape(rows), folders, masks.copy(), rows.fingerprint, watched)


def plan_fleet(
    recipe: Recipe,
    rows: Rows,
    masks: Mask,
    seeds: Sequence[int],
    *,
    watch: Sequence[Rows],
    store: Store,
    keep_weights: bool = False,
) -> list[Task]:
    """The tasks of a fleet `[models]`; their rows are put in the store, nothing is trained."""
    shelved = shelve(store, rows)
    watched = tuple(shelve(store, part) for part in watch)
    return [
        Task(recipe.to_dict(), shelved, len(rows), pack(mask), seed, watched, keep_weights)
        for mask, seed in zip(masks, seeds, strict=True)
    ]


def keep_fleet(fleet: Fleet, store: Store) -> str:
    """Keep the list of a fleet's models in the store; returns the key by which `open_fleet` finds them."""
    models = [folder.path.name for folder in fleet.folders]
    key = key_of({"fleet": models})
    if not store.has("fleet", key):
        store.put(key, Contents("fleet", {"models": models}))
    return key


def open_fleet(key: str, store: Store) -> Fleet:
    """The fleet that `keep_fleet` wrote down.

    Raises:
        StoreError: it or one of its models is absent or damaged.
    """
    folders = tuple(store.get(KIND, name) for name in store.get("fleet", key).facts["models"])
    tasks = [Task.from_dict(folder.facts["task"]) for folder in folders]
    first = tasks[0]
    masks = np.stack([unpack(task.mask, task.size) for task in tasks])
    watched = tuple(row_id for part in first.watch for row_id in fetch(store, part).ids)
    shape = input_shape(fetch(store, first.rows))
    return Fleet(Recipe.from_dict(first.recipe), shape, folders, masks, first.rows, watched)


def same_rows(rows: Rows, indices: Indices, models: int) -> Mask:
    """`[models, rows]`: every model on the same rows `indices` `[n]`."""
    mask = np.zeros((models, len(rows)), dtype=bool)
    mask[:, indices] = True
    return mask


def role_seeds(seed: int, role: str, models: int) -> list[int]:
    """`[models]` root seeds of one role, such as "gold"; two roles never share one."""
    return [derive(seed, role, index) for index in range(models)]


def _jobs(tasks: Sequence[Task], stacked: bool, store: Store, device: str, processes: int) -> list[dict[str, object]]:
    """Tasks in jobs: stacks of equal step counts, spread over the processes, or one model a job."""
    groups: dict[int, list[Task]] = defaultdict(list)
    for task in tasks:
        groups[task.steps].append(task)
    size = min(STACK, -(-len(tasks) // processes)) if stacked else 1
    return [
        {
            "store": str(store.root.resolve()),
            "stacked": stacked,
            "device": device,
            "tasks": [task.to_dict() for task in group[cut : cut + size]],
        }
        for group in groups.values()
        for cut in range(0, len(group), size)
    ]


def _opened(task: Task, store: Store) -> Folder:
    """A finished task's folder, once it is known to be the task that was asked for."""
    folder = store.get(KIND, task.id)
    found = Task.from_dict(folder.facts["task"])
    if found.id != task.id or (unpack(found.mask, found.size) != unpack(task.mask, task.size)).any():
        raise StoreError(f"{folder.path}: holds another model than its name says", hint="delete it")
    return folder
