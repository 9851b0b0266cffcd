"""`audit`: one unlearned model against N gold models, which are found in the store or trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

from expunge.audit.assemble import Pool, positions
from expunge.audit.jackknife import FloatArray
from expunge.audit.margins import margins
from expunge.audit.model_audit import LEAST, ModelAudit, model_audit
from expunge.audit.policy import Policy
from expunge.audit.policy import policy as find_policy
from expunge.audit.utility import utility
from expunge.bench.result import HOLDOUT_USED, Head, Json, Outcome, check_classes, model_result
from expunge.data import ForgetSet
from expunge.errors import check
from expunge.fleet import Executor, Fleet, role_seeds, same_rows, timing, train_fleet
from expunge.methods import Unlearned
from expunge.problem import Problem
from expunge.report import print_table, write_page
from expunge.store import Store
from expunge.training import Cost, Progress, predict, silent

MOST = 100_000
"""Gold models; more is a slip of the finger."""
STANDARD = find_policy("standard")


@dataclass(frozen=True)
class Result:
    """What an audit found: plain data (schema 1, see `report/result.py`) with ways to show it."""

    data: Json

    @property
    def verdict(self) -> str:
        """One of pass, fail, inconclusive, or measured where no single model was judged."""
        return str(self.data["verdict"]["state"])

    def table(self) -> str:
        """The table of accuracies, distances and costs, as text."""
        text = StringIO()
        print_table(self.data, Console(file=text, width=160))
        return text.getvalue()

    def to_html(self, path: str | Path) -> Path:
        """Write the report: one self-contained page."""
        return write_page(self.data, Path(path))


def audit(
    problem: Problem,
    unlearned: Unlearned | nn.Module,
    *,
    gold: int = 64,
    seed: int = 0,
    policy: Policy = STANDARD,
    forget: ForgetSet | None = None,
    command: str = "",
    device: str = "cpu",
    store: Store | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Result:
    """Is this unlearned model a plausible draw from the gold distribution?

    Args:
        problem: What was to be forgotten.
        unlearned: What a method returned, or any model of the same outputs.
        gold: How many gold models to compare with; fewer than the policy asks for is inconclusive.
        seed: Root seed of the gold models; another role than any original's.
        policy: What the verdict demands; see `expunge.audit.policy`.
        forget: The forget set's text form, for the report; by default the problem's own.
        command: What reproduces this, for the report; by default this call.
        device: Where gold is trained; on an accelerator leave the executor as it is.
        store: Where gold models are found and kept; by default `Store()`.
        executor: Who trains gold; by default this process.
        progress: Called with (what, done, total).

    Raises:
        ConfigError: `gold` is less than 4.
    """
    check_gold(gold)
    check_classes(problem.recipe)
    store = store or Store()
    fleet = gold_fleet(problem, gold, seed=seed, store=store, executor=executor, device=device, progress=progress)
    outcome = _outcome(problem, unlearned)
    splits = problem.rows, problem.holdout, problem.test
    pool = Pool(
        gold=fleet.logits(),
        heldout=None,
        original=_logits(problem.original, problem),
        labels=np.concatenate([rows.labels.numpy() for rows in splits]),
        splits=positions(len(problem.rows), len(problem.holdout), len(problem.test), problem.forget),
    )
    head = Head(
        title=f"audit of {outcome.method}",
        command=command or f"expunge.audit(problem, unlearned, gold={gold}, seed={seed})",
        seed=seed,
        recipe=problem.recipe,
        forget=forget or problem.forget_set,
        ids=tuple(row_id for rows in splits for row_id in rows.ids),
        retraining=retraining_seconds(problem, store) if outcome.costs[0].threads == 1 else np.nan,
    )
    names = np.empty(len(pool.labels), dtype="<U7")
    for name, at in pool.splits.items():
        names[at] = name
    sides = [margins(side, pool.labels) for side in (outcome.logits, pool.gold, pool.original)]
    fair = names != "holdout" if HOLDOUT_USED in outcome.notes else np.ones(len(names), dtype=bool)
    verdict = model_audit(
        *(side[:, fair] for side in sides),
        split=names[fair],
        alpha=policy.alpha,
        shift_margin=policy.shift_margin,
        excess_margin=policy.excess_margin,
        least_gold=policy.gold,
    )
    return Result(model_result(head, pool, outcome, decide(verdict, guard(pool, outcome.logits, policy)), policy))


def guard(pool: Pool, logits: FloatArray, policy: Policy) -> list[str]:
    """What speaks against the utility of a model, as sentences.

    A term does where the model is worse than every gold model, and beyond the band that gold's spread gives.

    Args:
        pool: With gold's outputs.
        logits: `[1, rows, classes]` of the model.
        policy: Whose `utility_alpha` is shared by the four limits.
    """
    at = np.concatenate([pool.splits["retain"], pool.splits["test"]])
    test = np.arange(len(at)) >= len(pool.splits["retain"])
    sides = logits[:, at], pool.gold[:, at], pool.original[:, at]
    found = utility(*sides, labels=pool.labels[at], test=test, alpha=policy.utility_alpha / 4)
    against = ["The outputs do not depend on the row."] * bool(found.constant.any())
    against += ["Test accuracy is no better than always calling one class."] * bool(found.destroyed.any())
    for name, term in found.terms.items():
        ours, lowest, highest = (term.extra[key] for key in ("unlearned_mean", "gold_min", "gold_max"))
        worst = ours > highest if name == "calibration" else ours < lowest
        if term.extra["beyond"] > 0 and worst:  # a band from the spread of gold is too narrow where most agree exactly
            loss, band = term.extra["loss"], term.extra["band"]
            against.append(f"{name.replace('_', ' ')} is worse than gold's by {loss:.3g}, its band is {band:.3g}.")
    return against


def decide(verdict: ModelAudit, against: Sequence[str]) -> ModelAudit:
    """The verdict once utility has been looked at: a model that is no use fails, unless the audit has no power."""
    if not against or not verdict.judged:
        return verdict
    return replace(verdict, verdict="fail", reasons=(*against, *verdict.reasons))


def check_gold(models: int) -> None:
    """Fewer gold models than the model audit can work with are refused before any is trained."""
    check("gold", models, f"{LEAST['gold']} to {MOST:,} models", LEAST["gold"] <= models <= MOST)


def retraining_seconds(problem: Problem, store: Store) -> float:
    """Seconds of one retraining alone on one thread, from the recorded speed; NaN where none was recorded."""
    speed = timing(problem.recipe, problem.rows, store).get("single_visits_per_second", np.nan)
    return problem.recipe.epochs * len(problem.retain) / float(speed)


def gold_fleet(
    problem: Problem,
    models: int,
    *,
    seed: int,
    store: Store,
    executor: Executor | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Fleet:
    """Gold models of a problem; those that the store holds already are not trained again."""
    return train_fleet(
        problem.recipe,
        problem.rows,
        same_rows(problem.rows, problem.retain, models),
        role_seeds(seed, "gold", models),
        watch=(problem.rows, problem.holdout, problem.test),
        store=store,
        executor=executor,
        device=device,
        progress=progress,
        label="train gold",
    ).excluding(problem.forget)


def _outcome(problem: Problem, unlearned: Unlearned | nn.Module) -> Outcome:
    if isinstance(unlearned, Unlearned):
        logits = _logits(unlearned.model, problem)
        return Outcome(unlearned.method, unlearned.settings, logits, [unlearned.cost], unlearned.notes)
    nothing: dict[str, Any] = {}
    return Outcome("model", nothing, _logits(unlearned, problem), [Cost({}, {}, 0.0)], nothing)


def _logits(model: nn.Module, problem: Problem) -> Any:  # noqa: ANN401  (float32 array)
    parts = [predict(model, rows) for rows in (problem.rows, problem.holdout, problem.test)]
    return torch.cat(parts).numpy()[None]
