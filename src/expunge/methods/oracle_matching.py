"""Oracle matching: fine-tune the original until its outputs are those of gold. An upper bound: it takes gold models.

Source:     arXiv:2410.23232 (published there as Oracle Matching, OM). Reconstruction: the authors' released benchmark
            lacks this algorithm's file; settings and loss follow a description of it.
Objective:  min_w  mean over the stream and the outputs of (f_w(x) - t(x))^2, t the mean logits of the gold models
            the stream of an epoch: D_f forget_times over and retain_times |D_f| rows of D_r, in one shuffled mixture
Deviations: 1. statistics of normalisation stay frozen; the published runs let them go ("running").
            2. no pull towards the original's weights, which the published default leaves out too.
            3. affected (off by default) draws those retain rows more often that gold treats otherwise.
Cost:       epochs (forget_times + retain_times) |D_f| visits, and each gold model's outputs on these rows once; the
            gold models themselves are not counted, which is why nobody can use this and every other method is
            compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from expunge.data import Indices
from expunge.errors import check
from expunge.methods.matching import FloatArray, by_change, check_matching, match, mean_outputs, passes, settings_of
from expunge.methods.method import Method
from expunge.problem import Problem
from expunge.training import Run


@dataclass(frozen=True, kw_only=True)
class OracleMatching(Method):
    """Fine-tuning towards the outputs of gold models."""

    paper: ClassVar = "arXiv:2410.23232"
    needs: ClassVar = frozenset({"retain", "gold"})

    epochs: int = 10
    """Passes over the stream, >= 1. (code: RoyRin/data-unlearning-bench, study of trajectories)"""
    lr: float = 1e-3
    """Step size of the first pass, > 0. (code: RoyRin/data-unlearning-bench, study of trajectories)"""
    decay: float = 0.95
    """Factor on the step size from pass to pass, in (0, 1]. (code: RoyRin/data-unlearning-bench)"""
    batch_size: int = 512
    """Rows a step, >= 1. (code: RoyRin/data-unlearning-bench)"""
    forget_times: float = 1.0
    """How often each forget row stands in a pass, > 0; a fraction is drawn. (code: RoyRin/data-unlearning-bench)"""
    retain_times: float = 5.0
    """Retain rows in a pass, per forget row, >= 0. (code: RoyRin/data-unlearning-bench, study of trajectories)"""
    fresh: bool = False
    """Whether retain rows are drawn anew for every pass. (code: RoyRin/data-unlearning-bench, once)"""
    affected: bool = False
    """Whether retain rows are drawn in proportion to how far their target is from the original's output: gold then
    looks at every retain row. (ours)"""
    optimizer: str = "adam"
    """"sgd", "adam" or "adamw". (code: RoyRin/data-unlearning-bench)"""
    statistics: str = "frozen"
    """"frozen" (ours) or "running" (code: RoyRin/data-unlearning-bench): statistics of normalisation layers."""

    def __post_init__(self) -> None:
        check_matching(settings_of(self))
        check("affected", self.affected, "true or false", isinstance(self.affected, bool))

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Match the mean outputs of the problem's gold models."""
        own = settings_of(self)
        run.notes["gold_models"] = len(problem.gold)

        def targets(at: Indices) -> Tensor:
            return mean_outputs(problem.gold, problem, at, run)

        weights: FloatArray | None = None
        if self.affected:
            kept = problem.retain
            weights = by_change(targets(kept) - mean_outputs((problem.original,), problem, kept, run))
        return match(problem, run, own, passes(problem, run, own, weights), targets)
