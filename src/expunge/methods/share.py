"""What a run has cost beside one retraining, as a note."""

from __future__ import annotations

from expunge.problem import Problem
from expunge.training import Run


def note_share(problem: Problem, run: Run, settings: str) -> None:
    """Note the visits so far as a share of one retraining; from 1 on, warn and name the `settings` to lower."""
    share = run.meter.cost().visits / (problem.recipe.epochs * len(problem.retain))
    run.notes["share_of_retraining"] = share
    if share >= 1:
        run.notes["warning"] = f"this cost {share:.2f} of one retraining; lower {settings}"
