"""What every GAN method has in common: its metadata, and the run around its `unlearn`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from expunge.errors import NeedsError
from expunge.folder import InFolder
from expunge.gan.pair import Pair
from expunge.gan.problem import GanProblem, private
from expunge.gan.run import GanRun, Swaps, Watch, unwatched
from expunge.training import Cost, Progress, silent

NEEDS = frozenset({"retain", "forget", "holdout", "classifier", "labels"})
"""labels: a conditional pair, which is told the label of what it draws."""
FORGET_KINDS = frozenset({"item", "class"})


@dataclass(frozen=True)
class UnlearnedPair:
    """What a GAN method returns."""

    pair: Pair
    """In evaluation mode; shares no tensor with the original."""
    method: str
    settings: dict[str, Any]
    seed: int
    cost: Cost
    """Visits by net and role: "generator/fake", "discriminator/retain"."""
    history: list[float]
    notes: dict[str, Any]
    """What the method found out on the way, such as how many rows its latent search missed."""
    steps: int = 0
    """Steps that it took, of whatever kind it takes."""
    swaps: Swaps = (None, None, None)
    """Some latents that drew what had to go, their labels, and what shall be drawn instead."""


@dataclass(frozen=True, kw_only=True)
class GanMethod(InFolder, ABC):
    """An unlearning algorithm for pairs: a frozen value of hyper-parameters, and `unlearn`.

    A subclass is found by its file, as methods for classifiers are.
    """

    paper: ClassVar[str]
    """Where it comes from."""
    needs: ClassVar[frozenset[str]]
    """What it reads beside the pair; see NEEDS."""
    forget_kinds: ClassVar[frozenset[str]] = FORGET_KINDS
    """Whether it is meant for items, for whole classes or for both."""
    status: ClassVar[str] = "experimental"
    """"exact", "reconstruction" (the paper leaves parts open), or "experimental"."""
    stochastic: ClassVar[bool] = True

    @abstractmethod
    def unlearn(self, problem: GanProblem, run: GanRun) -> Pair:
        """The algorithm: a new pair, leaving `problem.original` as it is."""

    def looks(self, kind: str) -> bool:
        """Whether it looks at pictures through a classifier where rows of this kind have to go."""
        return "classifier" in self.needs

    def run(
        self,
        problem: GanProblem,
        *,
        seed: int,
        device: str = "cpu",
        progress: Progress = silent,
        watch: Watch = unwatched,
    ) -> UnlearnedPair:
        """Unlearn, counting visits and time.

        Args:
            problem: What has to be forgotten, and from what.
            seed: Root seed of all that the method draws.
            device: Such as "cpu" or "cuda".
            progress: Called after each step.
            watch: Shown the pair after each step.

        Raises:
            NeedsError: the method cannot treat this kind of forget set, or this pair.
            DivergedError: the run became non-finite; the original is untouched.
        """
        if problem.kind not in self.forget_kinds:
            raise NeedsError(
                f"{self.name()} forgets a {' or an '.join(sorted(self.forget_kinds))}, got {problem.kind} rows",
                hint="`expunge methods` lists what each method can treat; a class goes as a whole, class:C",
            )
        if "labels" in self.needs and not problem.recipe.classes:
            raise NeedsError(
                f"{self.name()} needs a conditional pair, {problem.recipe.name} is told no labels",
                hint="`expunge recipes` lists the conditional ones",
            )
        run = GanRun(seed, problem.recipe.batch_size, device, label=self.name(), progress=progress, watch=watch)
        pair = self.unlearn(private(problem), run).to("cpu").eval()
        cost, notes = run.meter.cost(), dict(run.notes)
        if self.looks(problem.kind) and problem.classifier_cost is not None:
            once = problem.classifier_cost
            notes |= {"classifier_seconds": once.seconds, "classifier_visits": once.visits}
        return UnlearnedPair(
            pair, self.name(), self.settings(), seed, cost, run.history, notes, len(run.history), run.swaps
        )
