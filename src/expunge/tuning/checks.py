"""Checks on the analogy: how far a twin resembles the true problem, from what can be known without gold.

Source:     own proposal; the limits are chosen, not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expunge.audit.population_attack import auc
from expunge.problem import Problem
from expunge.tuning.twins import Twin, look

MEMORY = (0.5, 2.0)
"""Ratio of the two memories that counts as alike."""
LIKE = 0.6
"""AUROC above which auxiliary and forget rows may be different kinds of rows."""
UNLIKE = 0.75
"""AUROC above which they are, unless so few rows reach it by chance: then nothing is chosen."""
POWER = 2.0
"""Start over how far twin and original lie apart on check rows; below it, there is little to tune for."""
NO_POWER = 1.0
"""The same, of fresh twins, where it is what a change of seed does; below it nothing is chosen."""


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: What is checked.
        value: The number.
        limit: What it should keep to.
        holds: Whether it does; None where it could not be checked.
        detail: A sentence.
        decisive: Whether a choice is ruled out where it does not hold.
    """

    name: str
    value: float
    limit: str
    holds: bool | None
    detail: str
    decisive: bool = False


def checks(problem: Problem, twins: Sequence[Twin], *, kind: str, seed: int) -> tuple[Check, ...]:
    """Memory, fit, likeness and power, each as a mean over the twins; nothing where there are none.

    Args:
        problem: The true problem.
        twins: Built from it.
        kind: Of the twins.
        seed: Of the split behind the likeness.
    """
    if not twins:
        return ()
    count = [len(twin.problem.forget) for twin in twins]
    forget = look(problem.original, problem.rows.take(problem.forget))
    moved = [twin.start.margins - twin.gold.margins for twin in twins]
    learnt = float(np.mean([one[:n].mean() for one, n in zip(moved, count, strict=True)]))
    unseen = np.concatenate([twin.gold.margins[:n] for twin, n in zip(twins, count, strict=True)])
    known = float(forget.margins.mean() - unseen.mean())
    ratio = learnt / known if known > 0 else np.inf
    right = float(np.mean([twin.start.right[:n].mean() for twin, n in zip(twins, count, strict=True)]))
    aim = float(forget.right.mean())
    like = float(np.mean([likeness(problem, twin, seed=seed) for twin in twins]))
    unlike = like > max(UNLIKE, by_chance(len(problem.forget), min(count)))  # never of a likeness that is NaN
    begun = float(np.mean([np.abs(one[:n]).mean() for one, n in zip(moved, count, strict=True)]))
    other = float(np.mean([np.abs(one[n:]).mean() for one, n in zip(moved, count, strict=True)]))
    power = 0.0 if begun == 0 else begun / other if other > 0 else np.inf
    return (
        Check(
            "memory",
            ratio,
            f"{MEMORY[0]:g} to {MEMORY[1]:g}",
            MEMORY[0] <= ratio <= MEMORY[1],
            f"learning the auxiliary rows raised their margins by {learnt:.2f} nats; forget rows stand {known:.2f} "
            "above unseen rows of their classes (a lower bound where a class loses much)",
        ),
        Check(
            "fit", right - aim, ">= 0", right >= aim, f"the twin gets {right:.3f} of its rows right, of D_f {aim:.3f}"
        ),
        Check(
            "likeness",
            like,
            f"<= {LIKE:g}",
            None if np.isnan(like) else like <= LIKE,
            "too few rows to tell auxiliary from forget rows"
            if np.isnan(like)
            else f"a linear classifier tells auxiliary from forget rows by their inputs with an AUROC of {like:.2f}"
            + (f", above {UNLIKE:g}: what suits the ones need not suit the others" if unlike else "")
            + (", which so few rows may reach by chance" if like > UNLIKE and not unlike else ""),
            decisive=unlike,
        ),
        Check(
            "power",
            power,
            f">= {POWER:g}",
            power >= POWER,
            f"the twin lies {begun:.2f} nats from its gold on the rows to forget, {other:.2f} on rows that neither saw"
            + ("" if power >= POWER else ": nothing to forget at this resolution"),
            decisive=begun == 0 or (kind == "fresh" and power < NO_POWER),
        ),
    )


def by_chance(ours: int, theirs: int) -> float:
    """AUROC that rows of one kind exceed about once in forty times: two standard errors of Mann and Whitney's U.

    Args:
        ours: Rows of one sort, >= 1.
        theirs: Rows of the other, >= 1.

    Example:
        >>> round(by_chance(12, 17), 2), round(by_chance(100, 100), 2)
        (0.72, 0.58)
    """
    return 0.5 + 2 * float(np.sqrt((ours + theirs + 1) / (12 * ours * theirs)))


def likeness(problem: Problem, twin: Twin, *, seed: int) -> float:
    """AUROC, on rows held out, of a linear classifier of auxiliary against forget rows, by their inputs.

    Inputs and not a model's features: every model at hand saw one of the two. NaN where there are not two of each.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    theirs = twin.problem.rows.batch(twin.problem.forget)[0].flatten(1).numpy()
    ours = problem.rows.batch(problem.forget)[0].flatten(1).numpy()
    x, y = np.concatenate([ours, theirs]), np.repeat([0, 1], [len(ours), len(theirs)])
    folds = min(5, len(ours), len(theirs))
    if folds < 2:
        return np.nan
    split = StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    scores = cross_val_predict(model, x, y, cv=split, method="decision_function")
    return float(auc(scores[None, y == 1], scores[None, y == 0])[0])
