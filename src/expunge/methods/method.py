"""What every unlearning method has in common: its metadata, and the run around its `unlearn`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from expunge.errors import NeedsError
from expunge.folder import InFolder
from expunge.methods.search import Search
from expunge.problem import Problem
from expunge.training import Cost, Progress, Run, silent

NEEDS = frozenset({"retain", "forget_labels", "holdout", "gold", "history", "auxiliary", "initial_weights"})
BEYOND = frozenset({"history", "auxiliary", "initial_weights"})
"""Needs that no Problem can supply."""
GOLD = "Problem(..., gold=(model, ...)) with other gold models than those that judge; `expunge bench matching` does so"
"""How gold models for an upper bound are supplied."""
FORGET_KINDS = frozenset({"random", "class", "subject"})


@dataclass(frozen=True)
class Unlearned:
    """What a method returns."""

    model: nn.Module
    """In evaluation mode; shares no tensor with the original."""
    method: str
    """The method's name."""
    settings: dict[str, Any]
    """Its hyper-parameters."""
    seed: int
    cost: Cost
    history: list[float]
    """The loss of every step, in the order taken."""
    notes: dict[str, Any]
    """What the method found out on the way, such as the share of weights that it selected."""


@dataclass(frozen=True, kw_only=True)
class Method(InFolder, ABC):
    """An unlearning algorithm: a frozen value of hyper-parameters, and `unlearn`.

    A subclass is found by its file: `methods/neggrad_plus.py` holds `NegGradPlus`, and the command line
    calls it `neggrad_plus`.
    """

    paper: ClassVar[str]
    """Where it comes from: "arXiv:2302.09880", or "folklore"."""
    needs: ClassVar[frozenset[str]]
    """What it reads beside the model and the forget inputs; see NEEDS."""
    forget_kinds: ClassVar[frozenset[str]] = FORGET_KINDS
    """Which forget sets it is meant for."""
    status: ClassVar[str] = "experimental"
    """"exact", "reproduced", "deviates" or "experimental": no published figure has been reproduced here yet."""
    stochastic: ClassVar[bool] = True
    """Whether two seeds give two results."""
    makes_model: ClassVar[bool] = True
    """Whether the result is a model of the recipe's architecture, which a run folder can keep."""
    search: ClassVar[Search] = {}
    """What tuning may choose, and from where; empty: the method cannot be tuned. (ranges: ours)"""

    @abstractmethod
    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """The algorithm: a new model, leaving `problem.original` as it is."""

    def most_visits(self, problem: Problem) -> float | None:
        """The most row visits that a run can come to, where what it finds on the way may end it sooner.

        None where they follow from the settings and the numbers of rows alone: then a run on any model tells them.
        """
        return None

    def run(self, problem: Problem, *, seed: int, device: str = "cpu", progress: Progress = silent) -> Unlearned:
        """Unlearn, counting visits and time.

        Args:
            problem: What has to be forgotten, and from what.
            seed: Root seed of all that the method draws.
            device: Such as "cpu" or "cuda".
            progress: Called after each step.

        Raises:
            NeedsError: the method cannot treat this kind of forget set.
            DivergedError: the run became non-finite; the original is untouched.
        """
        if problem.kind not in self.forget_kinds:
            raise NeedsError(
                f"{self.name()} forgets {' or '.join(sorted(self.forget_kinds))} sets, got a {problem.kind} set",
                hint="`expunge methods` lists what each method can treat",
            )
        absent = sorted(self.needs & BEYOND)
        if absent:
            raise NeedsError(f"{self.name()} needs {' and '.join(absent)}, which a Problem does not hold")
        if "gold" in self.needs and not problem.gold:
            raise NeedsError(f"{self.name()} is an upper bound and needs gold models, got none", hint=GOLD)
        recipe = problem.recipe
        run = Run(seed, recipe.batch_size, device, recipe.precision, self.name(), progress)
        model = self.unlearn(problem, run).eval()
        return Unlearned(model, self.name(), self.settings(), seed, run.meter.cost(), run.history, dict(run.notes))
