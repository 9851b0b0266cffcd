"""`audit`: one unlearned model, or a method by several of its models, against gold found in the store or trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from torch import nn

from expunge.audit.assemble import Audited, Pool
from expunge.audit.detectable import spread_of_shift
from expunge.audit.foresight import foresee_method, foresee_model
from expunge.audit.jackknife import FloatArray
from expunge.audit.method_distance import LEAST as DISTANCE
from expunge.audit.model_audit import LEAST
from expunge.audit.policy import Policy
from expunge.bench.fleets import Fleets, outputs
from expunge.bench.planted import Planting
from expunge.bench.planted import planted as look_for_marks
from expunge.bench.relearn import relearned
from expunge.bench.result import Head, Json, Outcome, check_classes, method_result, model_result
from expunge.bench.strip import stripped
from expunge.bench.suite import STANDARD, enough_shadows
from expunge.data import ForgetSet
from expunge.errors import ExpungeError, NeedsError, ProblemError, ShapeError, check
from expunge.fleet import Executor, Here, timing
from expunge.methods import Unlearned
from expunge.problem import Problem
from expunge.report import print_table, write_page
from expunge.store import Store
from expunge.training import Cost, Progress, silent, weights_hash

MOST = 100_000
"""Gold models; more is a slip of the finger."""
PLANTED_GOLD = 4
"""Gold models whose input gradients show what noise looks like to a model that never saw it."""
Made = Unlearned | nn.Module
"""What a method returned, or any model of the same outputs."""


@dataclass(frozen=True)
class Result:
    """What an audit found: plain data (schema 1, see `report/result.py`) with ways to show it."""

    data: Json

    @property
    def verdict(self) -> str:
        """One of pass, fail, inconclusive, or measured where several methods were judged each by itself."""
        return str(self.data["verdict"]["state"])

    def measure(self, name: str, split: str = "forget", *, entry: str = "") -> Json:
        """One measure of one entry: value, interval, null, start, stats and extra.

        Args:
            name: Of the measure, as the result has it.
            split: forget, retain, test, or "all" where a measure looks at all three.
            entry: Its name in the table; by default the first that is neither the original nor gold.

        Raises:
            NeedsError: it was not measured; the result's limits say why.
        """
        entries = {one["name"]: one for one in self.data["entries"]}
        ours = [label for label in entries if label not in ("original", "gold")]
        found = entries.get(entry or ours[0], {}).get("measures", {}).get(name, {})
        if split not in found:
            raise NeedsError(f"{name} on {split} rows was not measured", hint="the result's limits say why")
        one: Json = found[split]
        return one

    def strip_rows(self) -> Result:
        """The same without ids and distances of single rows, which are personal data."""
        return Result(stripped(self.data))

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
    unlearned: Made | Sequence[Made],
    *,
    originals: Sequence[nn.Module] = (),
    gold: int = 64,
    heldout: int | None = None,
    shadows: int = 0,
    relearn: int = 0,
    planted: bool = False,
    seed: int = 0,
    policy: Policy = STANDARD,
    forget: ForgetSet | None = None,
    command: str = "",
    device: str = "cpu",
    store: Store | None = None,
    executor: Executor | None = None,
    progress: Progress = silent,
) -> Result:
    """Of one model: is it a plausible draw from gold? Of a list of models: does the method reproduce gold's law?

    Args:
        problem: What was to be forgotten.
        unlearned: What a method returned, or any model of the same outputs: a model audit. A list of them, from
            several originals and seeds of one method: a method audit.
        originals: Of a method audit, the original behind each unlearned model, in the same order; one that stands
            there several times is one original. By default all come from the problem's, and no verdict is possible.
        gold: How many gold models to compare with; fewer than the policy asks for is inconclusive.
        heldout: Of a method audit, gold models beside those, for the null; by default as many as there are originals,
            none where all come from one.
        shadows: Models on random halves of training and holdout rows, even, for LiRA, RMIA and difficulty; 0: none.
        relearn: Gold models that relearn the forget rows beside the unlearned ones, >= 2; 0: none.
        planted: Train three more originals with marks on the forget rows, unlearn them by the same method, and look
            for the marks; see `bench/planted.py`.
        seed: Root seed of the gold models; another role than any original's.
        policy: What the verdict demands; see `expunge.audit.policy`.
        forget: The forget set's text form, for the report; by default the problem's own.
        command: What reproduces this, for the report; by default this call.
        device: Where gold is trained; on an accelerator leave the executor as it is.
        store: Where gold models are found and kept; by default `Store()`.
        executor: Who trains gold; by default this process.
        progress: Called with (what, done, total).

    Raises:
        ConfigError: `gold` is less than 4, `shadows` odd, or `relearn` 1.
        ShapeError: not one original for each unlearned model.
        ProblemError: the unlearned models come from different methods or settings.
    """
    check_gold(gold)
    check_shadows(shadows)
    check_relearn(relearn, gold)
    check_classes(problem.recipe)
    several = isinstance(unlearned, Sequence)
    made = list(unlearned) if isinstance(unlearned, Sequence) else [unlearned]
    if several and len(made) < DISTANCE["unlearned"]:
        raise NeedsError(
            f"a method audit needs at least {DISTANCE['unlearned']} unlearned models, got {len(made)}",
            hint="give the model itself, not a list, for an audit of one model",
        )
    groups, starts = _origins(problem, made, originals)
    aside = heldout if heldout is not None else len(starts) if several and len(starts) > 1 else 0
    check("heldout", aside, "0, or >= 2 in a method audit", aside == 0 or (several and aside >= DISTANCE["unlearned"]))
    store = store or Store()
    rows = problem.rows, problem.holdout, problem.test
    fleets = Fleets(problem.recipe, *rows, store, executor or Here(), device, progress)
    kept = max(relearn, PLANTED_GOLD if planted else 0)  # gold models whose weights are needed, not outputs alone
    whole = fleets.gold(problem.forget, kept, seed=seed, weights=True) if kept else None
    fleet = [] if whole is None else [whole.logits()]
    if gold + aside > kept:
        fleet.append(fleets.gold(problem.forget, gold + aside, seed=seed, first=kept).logits())
    logits = np.concatenate(fleet)
    outcome = _outcome(made, fleets, groups if several else None)
    begun = np.stack([outputs(model, fleets.watch) for model in starts])
    sampled = fleets.shadows(shadows, seed=seed) if shadows else None
    sides = logits[:gold], logits[gold:] if aside else None, begun
    pool = fleets.pool(*sides, forget=problem.forget, shadows=sampled, seed=seed)
    called = f"[{len(made)} models]" if several else "unlearned"
    head = Head(
        title=f"audit of {outcome.method}",
        command=command or f"expunge.audit(problem, {called}, gold={gold}, shadows={shadows}, seed={seed})",
        seed=seed,
        recipe=problem.recipe.name,
        data=problem.recipe.data,
        epochs=problem.recipe.epochs,
        forget=forget or problem.forget_set,
        ids=fleets.ids,
        retraining=retraining_seconds(problem, store) if outcome.costs[0].threads == 1 else np.nan,
    )
    extra = Audited({})
    if whole is not None:
        models = [_model(one) for one in made]
        golds = [whole.model(at) for at in range(kept)]
        if relearn:
            try:
                found = relearned(problem, models, golds[:relearn], starts, groups, seed=seed, device=device)
                extra.table["relearn"] = {"forget": found}
            except ExpungeError as error:
                extra.skipped["relearn"] = error.message
        if planted:
            marks = _planted(problem, made[0], golds[:PLANTED_GOLD], pool, seed, device)
            extra.table.update(marks.table)
            extra.skipped.update(marks.skipped)
    return Result(judged(head, pool, outcome, policy, several=several, extra=extra, progress=progress))


def judged(
    head: Head,
    pool: Pool,
    outcome: Outcome,
    policy: Policy,
    *,
    several: bool,
    extra: Audited | None = None,
    progress: Progress = silent,
) -> Json:
    """The result of an audit of one model, or of several of one method, from outputs; `extra` took models."""
    forget, test = (pool.names == name for name in ("forget", "test"))
    if several:
        behind = len(outcome.logits) if outcome.groups is None else len(np.unique(outcome.groups))
        method = foresee_method(policy, unlearned=behind, gold=len(pool.gold), forget=int(forget.sum()))
        outcomes = {outcome.method: outcome}
        return method_result(head, pool, outcomes, policy, foresight=method, extra=extra, progress=progress)
    model = foresee_model(
        policy,
        gold=len(pool.gold),
        forget=int(forget.sum()),
        test=int(test.sum()),
        spread=spread_of_shift(pool.margins["gold"], forget=forget, test=test),
    )
    return model_result(head, pool, outcome, policy, foresight=model, extra=extra)


def _planted(problem: Problem, made: Made, golds: Sequence[nn.Module], pool: Pool, seed: int, device: str) -> Audited:
    if not isinstance(made, Unlearned):
        why = "planted tests run the method again: they need what it returned, not a bare model"
        return Audited({}, {"planted": why})
    return look_for_marks(Planting(problem, made, tuple(golds), pool, seed, device))


def _origins(
    problem: Problem, made: Sequence[Made], originals: Sequence[nn.Module]
) -> tuple[npt.NDArray[np.int64], list[nn.Module]]:
    """`[models]` which original each unlearned model comes from, and those originals."""
    if not originals:
        return np.zeros(len(made), dtype=np.int64), [problem.original]
    if len(originals) != len(made):
        raise ShapeError(f"originals: expected one for each unlearned model ({len(made)}), got {len(originals)}")
    hashes = {id(model): weights_hash(model) for model in originals}  # a copy of an original is no other original
    known = {hashes[id(model)]: model for model in originals}
    places = {key: place for place, key in enumerate(known)}
    return np.array([places[hashes[id(model)]] for model in originals]), list(known.values())


def _model(made: Made) -> nn.Module:
    return made.model if isinstance(made, Unlearned) else made


def check_gold(models: int) -> None:
    """Fewer gold models than the model audit can work with are refused before any is trained."""
    check("gold", models, f"{LEAST['gold']} to {MOST:,} models", LEAST["gold"] <= models <= MOST)


def retraining_seconds(problem: Problem, store: Store) -> float:
    """Seconds of one retraining alone on one thread, from the recorded speed; NaN where none was recorded."""
    speed = timing(problem.recipe, problem.rows, store).get("single_visits_per_second", np.nan)
    return problem.recipe.epochs * len(problem.retain) / float(speed)


def check_relearn(models: int, gold: int) -> None:
    """A number of gold models that gives relearning an interval, or none at all."""
    check("relearn", models, f"0, or 2 to {gold} gold models", models == 0 or 2 <= models <= gold)


def check_shadows(models: int) -> None:
    """A number of shadow models that leaves no row with fewer than two on a side, or none at all."""
    check("shadows", models, "0, or an even number >= 4", models == 0 or enough_shadows(models))


def _outcome(made: Sequence[Made], fleets: Fleets, groups: npt.NDArray[np.int64] | None) -> Outcome:
    """What one method did, from what it returned, once it is known to be one method under one setting."""
    settings = [(one.method, one.settings) if isinstance(one, Unlearned) else ("model", {}) for one in made]
    for other in settings:
        if other != settings[0]:
            raise ProblemError(f"expected unlearned models of one method and setting, got {settings[0]} and {other}")
    logits: FloatArray = np.stack([outputs(_model(one), fleets.watch) for one in made])
    notes: dict[str, Any] = {}
    for one in made:
        notes |= one.notes if isinstance(one, Unlearned) else {}
    costs = [one.cost if isinstance(one, Unlearned) else Cost({}, {}, 0.0) for one in made]
    return Outcome(*settings[0], logits, costs, notes, groups)
