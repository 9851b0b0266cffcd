"""`audit_run`: one unlearned pair in a folder against gold pairs, beside fine-tuning at the same visits."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.fleet import Executor
from expunge.gan.candidate import BASELINES, Candidate
from expunge.gan.duel import VISITS
from expunge.gan.measures import Settings, yardstick
from expunge.gan.methods.finetune import FineTune
from expunge.gan.methods.method import UnlearnedPair
from expunge.gan.problem import GanProblem
from expunge.gan.result import Asked, Json, audit_pairs
from expunge.gan.runs import GanUnlearnedFolder
from expunge.gan.work import same_pairs
from expunge.seeds import derive
from expunge.store import Store
from expunge.training import Progress, silent
from expunge.training.stream import cut

GOLD = 8
"""Gold pairs advised."""


def audit_run(
    opened: GanUnlearnedFolder,
    seeds: Sequence[int],
    *,
    settings: Settings,
    command: str,
    store: Store,
    executor: Executor,
    features: str = "",
    rows_shown: bool = True,
    device: str = "cpu",
    progress: Progress = silent,
) -> Json:
    """The result of an audit, as plain data.

    Args:
        opened: The folder of the unlearned pair.
        seeds: Of the gold pairs, at least 2.
        settings: How pairs are looked at.
        command: What a person would type to run this again.
        store: Where gold pairs, classifiers and numbers are kept.
        executor: Who trains gold.
        features: A person's own `path/file.py:NAME`, or nothing.
        rows_shown: Whether pictures of single forget rows may be shown.
        device: Where to train gold.
        progress: Called with (what, done, total).
    """
    problem, parent = opened.problem, opened.parent
    gold = same_pairs(
        parent.recipe,
        problem.rows,
        problem.retain,
        seeds,
        store=store,
        executor=executor,
        device=device,
        progress=progress,
    )
    judge = parent.judge(seed=settings.seed, store=store, features=features, progress=progress)
    plain = baseline(problem, opened.candidate.made, seed=settings.seed, device=device)
    asked = Asked(
        title=f"expunge audit: {opened.candidate.made.method} on {parent.recipe.name}",
        command=command,
        seed=settings.seed,
        rows_shown=rows_shown,
    )
    stick = yardstick(problem, judge, settings, device=device)
    return audit_pairs(asked, stick, gold, [opened.candidate, plain], store=store, progress=progress)


def baseline(problem: GanProblem, made: UnlearnedPair, *, seed: int, device: str = "cpu") -> Candidate:
    """Fine-tuning on retain for as many visits as a method took: what it would have got for the same money."""
    batches = len(cut(problem.retain, problem.recipe.batch_size))
    a_step = len(problem.retain) * VISITS / batches
    steps = max(1, round(made.cost.visits / a_step))
    own = derive(seed, "finetune alike")
    alike = FineTune(steps=steps).run(problem, seed=own, device=device)
    return Candidate(name=BASELINES[0], made=alike, role="baseline")
