"""A small real problem to tune on, and an executor that keeps count."""

from dataclasses import replace
from functools import cache

import numpy as np

from expunge.data import MemoryRows
from expunge.fleet import Here
from expunge.problem import Problem
from expunge.training import fit
from tests.tiny import tiny_problem, tiny_rows


@cache
def tunable(*, seed: int = 0, forget: int = 12, holdout: int = 330) -> Problem:
    """`forget` of 40 rows of class 0 are to go; `holdout` rows, a third of each class."""
    made = tiny_problem(seed=seed, forget=forget, kind="class")
    rows = tiny_rows(holdout, seed=seed + 1000)
    return replace(made, holdout=MemoryRows(rows.x, rows.labels, ids=[f"holdout {i}" for i in range(holdout)]))


@cache
def rewindable() -> Problem:
    """The same, with the original as it was after half of its training."""
    problem = tunable()
    return replace(problem, halfway=fit(problem.recipe, problem.rows, seed=0, halfway=True).halfway)


class Counting(Here):
    """Keeps the jobs that it was given, and may stop as somebody at a keyboard would."""

    def __init__(self, *, processes=1, most=10**9):
        self.processes, self.most, self.jobs = processes, most, []

    def map(self, work, jobs):
        for job in jobs:
            if len(self.jobs) == self.most:
                raise KeyboardInterrupt
            self.jobs.append(job)
            yield work(job)


def read_from_now_on(monkeypatch) -> set[str]:
    """Ids of the rows that anything reads or takes after this call; the set fills as it goes."""
    read: set[str] = set()
    batch, take = MemoryRows.batch, MemoryRows.take

    def spied_batch(rows, indices, device="cpu"):
        read.update(rows.ids[i] for i in np.asarray(indices))
        return batch(rows, indices, device)

    def spied_take(rows, indices):
        read.update(rows.ids[i] for i in indices)
        return take(rows, indices)

    monkeypatch.setattr(MemoryRows, "batch", spied_batch)
    monkeypatch.setattr(MemoryRows, "take", spied_take)
    return read
