"""Many models at once: batched training, executors, tasks as data."""

from expunge.fleet.choice import prefer_stacked, timing
from expunge.fleet.executor import Executor, Here, Local
from expunge.fleet.fleet import Fleet, keep_fleet, open_fleet, plan_fleet, role_seeds, same_rows, train_fleet
from expunge.fleet.shelf import fetch, shelve
from expunge.fleet.stacked import Stack, stackable, train_stack
from expunge.fleet.task import Task

__all__ = [
    "Executor",
    "Fleet",
    "Here",
    "Local",
    "Stack",
    "Task",
    "fetch",
    "keep_fleet",
    "open_fleet",
    "plan_fleet",
    "prefer_stacked",
    "role_seeds",
    "same_rows",
    "shelve",
    "stackable",
    "timing",
    "train_fleet",
    "train_stack",
]
