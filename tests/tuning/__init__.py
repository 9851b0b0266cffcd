"""A small real problem to tune on, and an executor that keeps count."""

from dataclasses import replace
from functools import cache

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
