"""The twin problem: rows that the original never saw are taught to it, and to forget them again has a known gold.

Source:     "Towards Aligned Data Removal via Twin Machine Unlearning", 2024, arXiv:2408.11433, equations 2 and 3.
            Reconstruction: the paper leaves open how long the twin is trained and what its ratio counts.
Names:      M_o    problem.original                           D      problem.rows = D_f and D_r
            D_aux  holdout rows of the classes of D_f         M_t    M_o trained further on D and D_aux, the twin
Idea:       "remove D_aux from M_t" is a problem like "remove D_f from M_o", and its gold is M_o, at no cost.
Ratio:      per class c, scope "class":   n_aux = |D_c| * |D_fc| / |D_rc|      as much of the class is taken away
            scope "global":               n_aux = |D|   * |D_fc| / |D_r|       as much of all rows is
Limits:     a class that is forgotten whole has no twin: M_o knows it, and so is no gold for its removal.
            The auxiliary rows were learnt last and the forget rows throughout; whatever depends on fit differs.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data import Indices, MemoryRows, Rows, joined
from expunge.errors import NeedsError, check
from expunge.methods.reference import measured
from expunge.problem import Problem
from expunge.seeds import derive, generator
from expunge.training import Batch, Run, descend
from expunge.training.augment import AUGMENTATIONS

SCOPES = ("class", "global")
JITTER = 0.05
"""Noise on a copied row, as a share of each input's standard deviation over the auxiliary rows."""
NONE: Indices = np.empty(0, dtype=np.int64)


def groups(problem: Problem, rows: Rows) -> Tensor:
    """What rows are matched by, int64 `[rows]`: their class, or 0 for each where the task has no classes."""
    if problem.recipe.task.kind == "classification":
        return rows.labels
    return torch.zeros(len(rows), dtype=torch.int64)


def auxiliary_counts(problem: Problem, *, scope: str) -> dict[int, int]:
    """How many auxiliary rows each class of the forget rows needs, so that the twin forgets the same share.

    Args:
        problem: Whose forget rows.
        scope: "class": the share of each class; "global": the share of all rows.

    Raises:
        NeedsError: every row of a class is to be forgotten.
    """
    check("scope", scope, f"one of {', '.join(SCOPES)}", scope in SCOPES)
    of = groups(problem, problem.rows).numpy()
    classes, sizes = np.unique(of[problem.forget], return_counts=True)
    counts = {}
    for group, gone in zip(classes.tolist(), sizes.tolist(), strict=True):
        rows = int((of == group).sum())
        if gone == rows:
            raise NeedsError(
                f"twin problem: all {rows} rows of class {called(problem, group)} are to be forgotten, and the "
                "original, which knows that class, is no gold for its removal",
                hint="forget a part of the class (class:C:N), or use a method that treats whole classes",
            )
        every, kept = (rows, rows - gone) if scope == "class" else (len(of), len(problem.retain))
        counts[group] = round(every * gone / kept)
    return counts


def called(problem: Problem, group: int) -> str:
    """What people call a class: its name where there is one, else its number."""
    names = problem.rows.classes
    return names[group] if group < len(names) else str(group)


def draw_auxiliary(problem: Problem, counts: dict[int, int], *, seed: int, avoid: Indices = NONE) -> Indices:
    """Holdout rows of the given classes: a random subset where there are more, all of them where there are fewer.

    Args:
        problem: Whose holdout rows.
        counts: Class -> rows wanted.
        seed: Root seed of the draw.
        avoid: `[n]` positions among the holdout rows that are not to be drawn, such as those of another twin.

    Returns:
        Positions among `problem.holdout`, sorted, `[rows]`.

    Raises:
        NeedsError: a class has no such row at all.
    """
    of = groups(problem, problem.holdout).numpy()
    drawn = []
    for group, count in counts.items():
        there = np.setdiff1d(np.flatnonzero(of == group), avoid)
        if len(there) == 0:
            raise NeedsError(
                f"auxiliary rows: expected {count} holdout rows of class {called(problem, group)}, got none"
                + (f" beside the {len(avoid)} that are taken" if len(avoid) else ""),
                hint="give the problem holdout rows of that class: never trained on, and not among its test rows",
            )
        drawn.append(some(there, count, seed, "auxiliary", group))
    return np.sort(np.concatenate(drawn))


def some(indices: Indices, count: int, seed: int, role: str, index: int = 0) -> Indices:
    """`count` of `indices` `[n]` at random, sorted; all of them where there are no more."""
    at = torch.randperm(len(indices), generator=generator(seed, role, index)).numpy()
    return np.sort(indices[at[:count]])


def auxiliary_rows(
    problem: Problem, positions: Indices, counts: dict[int, int], *, seed: int
) -> tuple[MemoryRows, int]:
    """The auxiliary rows, each class filled up to its count by changed copies of its own rows.

    A copy goes through the recipe's augmentation, or gets Gaussian noise where the recipe has none. Its id is that
    of its source with `~n` behind it.

    Args:
        problem: Whose holdout rows, and whose recipe says how rows are augmented.
        positions: `[rows]` among the holdout rows, from `draw_auxiliary`.
        counts: Class -> rows wanted.
        seed: Root seed of which rows are copied, and of the changes.

    Returns:
        The rows, and how many of them are copies.
    """
    real = joined(problem.holdout.take(positions))
    of = groups(problem, real).numpy()
    sources = [_repeats(np.flatnonzero(of == group), count, seed, group) for group, count in counts.items()]
    at = np.concatenate([NONE, *sources])
    if len(at) == 0:
        return real, 0
    x, y = real.batch(at)
    copies = MemoryRows(
        _changed(x, real, problem, generator(seed, "auxiliary copies")),
        y,
        ids=[f"{real.ids[i]}~{n}" for n, i in enumerate(at)],
        subjects=[real.subjects[i] for i in at] if real.subjects else None,
    )
    return joined(real, copies), len(at)


def _repeats(there: Indices, count: int, seed: int, group: int) -> Indices:
    """Which rows are copied to fill `there` `[n]` up to `count`: each as often as every other, up to one."""
    short = max(0, count - len(there))
    shuffled = there[torch.randperm(len(there), generator=generator(seed, "auxiliary sources", group)).numpy()]
    return np.resize(shuffled, short)


def _changed(x: Tensor, real: MemoryRows, problem: Problem, source: torch.Generator) -> Tensor:
    """Copies x `[copies, ...]`, augmented by the recipe or jittered."""
    if not problem.recipe.augmentation:
        spread = real.x.std(0, correction=0)  # 0 for a single row, whose copies then stay as it is
        return x + JITTER * spread * torch.randn(x.shape, generator=source)
    for name in problem.recipe.augmentation:
        x = AUGMENTATIONS[name](x, source)
    return x


def twin_model(
    problem: Problem,
    auxiliary: MemoryRows,
    run: Run,
    *,
    epochs: int,
    lr: float,
    optimizer: str = "adam",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    batch_size: int = 0,
) -> tuple[nn.Module, dict[str, Any]]:
    """The twin M_t: the original trained further on its rows and the auxiliary ones, without augmentation.

    It stops after the first epoch whose accuracy on the auxiliary rows reaches the original's on the forget rows:
    then the one problem looks like the other.

    Args:
        problem: Its original is copied.
        auxiliary: What the twin has to learn beside the training rows.
        run: Seed, device and meter; visits count as "twin", looks at the accuracies as "forget" and "auxiliary".
        epochs: Most passes, >= 1.
        lr: Constant step size, > 0.
        optimizer: "sgd", "adam" or "adamw".
        momentum: Of "sgd", in [0, 1).
        weight_decay: L2 coefficient, >= 0.
        batch_size: Rows a step, >= 1, or 0 for the recipe's.

    Returns:
        The model in evaluation mode, and notes: "twin_accuracy" on the auxiliary rows, "twin_aim" (the original's on
        the forget rows), "twin_epochs", and a "warning" where the aim was not reached.
    """
    task, model = problem.recipe.task, deepcopy(problem.original).to(run.device)
    rows = joined(problem.rows, auxiliary)
    own = replace(run, seed=derive(run.seed, "twin"), label=f"{run.label}: twin")  # no stream shared with its caller
    stream = own.epochs("twin", rows, np.arange(len(rows)), count=epochs, batch_size=batch_size)
    length = len(stream) // epochs  # every pass is cut into as many steps
    aim = float(measured(task.correct, model, problem.rows, problem.forget, run, "forget").double().mean())
    notes: dict[str, Any] = {"twin_aim": aim}

    def objective(batch: Batch) -> Tensor:
        return task.loss(model(batch.x), batch.y).mean()

    def after_step(step: int) -> bool:
        if (step + 1) % length:
            return False
        there = measured(task.correct, model, auxiliary, np.arange(len(auxiliary)), run, "auxiliary")
        notes["twin_accuracy"], notes["twin_epochs"] = float(there.double().mean()), (step + 1) // length
        return bool(notes["twin_accuracy"] >= aim)

    descend(
        model,
        stream,
        objective,
        run=own,
        lr=lr,
        optimizer_name=optimizer,
        momentum=momentum,
        weight_decay=weight_decay,
        after_step=after_step,
    )
    if notes["twin_accuracy"] < aim:
        notes["warning"] = (
            f"the twin did not learn its rows: expected accuracy {aim:.3f} on the auxiliary rows, which is the "
            f"original's on the forget rows, got {notes['twin_accuracy']:.3f} after {epochs} epochs, so the analogy is "
            "poor; raise the twin's epochs or lr"
        )
    return model, notes


def twin_problem(problem: Problem, auxiliary: MemoryRows, model: nn.Module) -> Problem:
    """The problem "remove the auxiliary rows from the twin", whose gold is `problem.original`.

    Args:
        problem: The true one.
        auxiliary: From `auxiliary_rows`.
        model: The twin, from `twin_model`.

    Raises:
        NeedsError: no holdout row is left beside the auxiliary ones.
        ProblemError: an auxiliary row stands among the training or the test rows.
    """
    taken = set(auxiliary.ids)
    left = [i for i, row_id in enumerate(problem.holdout.ids) if row_id not in taken]
    if not left:
        raise NeedsError(
            f"twin problem: all {len(problem.holdout)} holdout rows became auxiliary rows, none is left unseen",
            hint="more holdout rows, or fewer forget rows",
        )
    return replace(
        problem,
        rows=joined(problem.rows, auxiliary),
        forget=np.arange(len(auxiliary)) + len(problem.rows),
        holdout=problem.holdout.take(np.array(left, dtype=np.int64)),
        original=model,
        forget_set=None,
        halfway=None,  # these are of the original and its rows
        subsets=None,
        gold=(),
    )
