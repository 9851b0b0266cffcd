"""What GAN methods share: which rows each step sees, and the duel that they go on with."""

from __future__ import annotations

from expunge.data import Indices
from expunge.gan.duel import Duel
from expunge.gan.problem import GanProblem
from expunge.gan.run import GanRun
from expunge.training import Stream
from expunge.training.stream import beside, cut


def retain_steps(problem: GanProblem, run: GanRun, steps: int) -> Stream:
    """`steps` batches of retain rows, in shuffled passes; no forget row is among them."""
    return _passes(problem, run, problem.retain, "retain", steps)


def forget_steps(problem: GanProblem, run: GanRun, steps: int) -> Stream:
    """`steps` batches of forget rows, in shuffled passes."""
    return _passes(problem, run, problem.forget, "forget", steps)


def paired_steps(problem: GanProblem, run: GanRun, steps: int) -> Stream:
    """`retain_steps`, each batch beside a forget batch of its size, drawn with replacement."""
    return beside(retain_steps(problem, run, steps), "forget", problem.rows, problem.forget, seed=run.seed)


LAST = 6
"""A method averages the generator over about the last sixth of its own steps, where its recipe averages at all."""


def duel_of(problem: GanProblem, run: GanRun, steps: int, *, lr: float | None = None) -> Duel:
    """A duel that begins with a copy of the original and is to take `steps` steps."""
    decay = max(0.0, 1 - LAST / steps) if problem.recipe.average and steps else 0.0
    return Duel(problem.original.copy(), problem.recipe, run, role="learn", lr=lr, average=decay, watched=True)


def _passes(problem: GanProblem, run: GanRun, at: Indices, role: str, steps: int) -> Stream:
    passes = -(-steps // len(cut(at, run.batch_size)))  # every pass is cut into as many batches
    return Stream(run.epochs(role, problem.rows, at, count=passes).steps[:steps])
