"""Importance of a weight for some rows: the mean size of its gradient, row by row or batch by batch.

`per_row` averages over single rows and so does not depend on how rows are batched. `batch` averages over
batch-mean gradients, as published: for a fitted network these shrink with the batch size, so that rows and
forget rows must be measured with the same one, and a forget set smaller than a batch looks more important.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from expunge.problem import Problem
from expunge.training import Run, Stream
from expunge.training.stream import epochs

KINDS = ("per_row", "batch")
ORDER = 0  # root seed of the order of rows: the same in every run, because nothing here is random
HELD = 2**26  # float32 numbers that the gradients of the rows in hand may fill: 256 MB
AT_ONCE = 128  # rows in hand at most, for what their activations fill

Importance = dict[str, Tensor]
"""Parameter name -> importance of each of its weights, >= 0."""
Gradient = dict[str, Tensor]
"""Parameter name -> gradient of the mean score of some rows."""
Score = Callable[[Tensor, Tensor], Tensor]
"""(outputs `[batch, width]`, labels `[batch]`) -> one number per row, `[batch]`."""


def importances(
    model: nn.Module, problem: Problem, run: Run, score: Score, *, kind: str, power: int, batch_size: int
) -> tuple[Importance, Importance]:
    """Importance for all training rows (forget included), and for the forget rows alone.

    Args:
        model: In evaluation mode, on the run's device; only read.
        problem: Whose rows.
        run: Device and meter; its seed is not used.
        score: What is differentiated.
        kind: "per_row" or "batch".
        power: Of the absolute gradient: 2 for the diagonal of the empirical Fisher matrix, 1 for sensitivity.
        batch_size: Rows at once; 0 means the recipe's for "batch", and what memory holds for "per_row".
    """
    weights = sum(p.numel() for p in model.parameters())
    fitting = max(1, min(AT_ONCE, HELD // weights))
    size = batch_size or (fitting if kind == "per_row" else run.batch_size)
    rows = problem.rows
    streams = [
        epochs(role, rows, indices, seed=ORDER, count=1, batch_size=size)
        for role, indices in (("train", np.arange(len(rows))), ("forget", problem.forget))
    ]
    of_all, of_forget = (importance(model, one, run, score, kind=kind, power=power) for one in streams)
    return of_all, of_forget


def importance(model: nn.Module, stream: Stream, run: Run, score: Score, *, kind: str, power: int) -> Importance:
    """Mean of |gradient|^power over the rows, or over the batches, of one pass; see `importances`."""
    weights = {name: p.detach() for name, p in model.named_parameters()}
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    of_rows = row_gradients(model, score, run)
    terms = 0
    for step, (batch,) in enumerate(stream.load(run.device)):
        if kind == "per_row":
            parts = of_rows(weights, batch.x, batch.y)  # [batch, ...]
            terms += len(batch)
        else:
            parts = {name: g[None] for name, g in gradient(model, weights, score, batch.x, batch.y).items()}
            terms += 1
        for name, part in parts.items():
            total[name] += part.abs().pow(power).sum(0)
        run.meter.backward(batch.role, len(batch))
        run.progress(run.label, step + 1, len(stream))
    return {name: value / terms for name, value in total.items()}


def row_gradients(model: nn.Module, score: Score, run: Run) -> Callable[[dict[str, Tensor], Tensor, Tensor], Gradient]:
    """A function of (weights, x `[n, ...]`, y `[n]`) that gives the gradient of every row, `[n, ...]`.

    All rows go through `vmap` together; a model that `vmap` cannot treat is walked one row at a time, and
    `run.notes["row_gradients"]` says why.
    """

    def of_one(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return score(functional_call(model, weights, (x[None],)), y[None]).sum()

    together = vmap(grad(of_one), in_dims=(None, 0, 0))

    def of_rows(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Gradient:
        if "row_gradients" not in run.notes:
            try:
                found: Gradient = together(weights, x, y)
                return found
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                run.notes["row_gradients"] = f"one row at a time; vmap: {str(error).strip().splitlines()[0]}"
        single = [gradient(model, weights, score, x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
        return {name: torch.stack([one[name] for one in single]) for name in weights}

    return of_rows


def gradient(model: nn.Module, weights: dict[str, Tensor], score: Score, x: Tensor, y: Tensor) -> Gradient:
    """Gradient of the mean score of rows x `[n, ...]`, y `[n]` at `weights`; the model is only read."""
    leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
    with torch.enable_grad():
        value = score(functional_call(model, leaves, (x,)), y).mean()
    parts = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, parts, strict=True))


@torch.no_grad()
def dampen(
    model: nn.Module, of_all: Importance, of_forget: Importance, run: Run, *, dampening: float, selection: float
) -> None:
    """Shrink, in place, the weights that matter far more to the forget rows than to all rows.

    Notes the share that was selected, the largest ratio of the importances, and a warning where nothing
    shrank or more than half was selected.

    Args:
        model: Changed in place.
        of_all: Importance for all training rows.
        of_forget: Importance for the forget rows.
        run: For its notes.
        dampening: Lambda, > 0: a selected weight is multiplied by min(lambda * all / forget, 1).
        selection: Alpha, > 0: selected where forget > alpha * all.
    """
    selected = shrunk = weights = 0
    largest = 0.0
    for name, weight in model.named_parameters():
        chosen = of_forget[name] > selection * of_all[name]
        factor = (dampening * of_all[name] / of_forget[name]).clamp(max=1.0)
        weight.copy_(torch.where(chosen, weight * factor, weight))
        ratio = torch.where(of_all[name] > 0, of_forget[name] / of_all[name], 0.0)
        largest = max(largest, float(ratio.max()))
        selected += int(chosen.sum())
        shrunk += int((chosen & (factor < 1)).sum())
        weights += weight.numel()
    run.notes["selected"] = selected / weights
    run.notes["largest_ratio"] = largest
    if shrunk == 0:
        run.notes["warning"] = (
            f"the model is unchanged: the largest ratio of importances is {largest:.3g}, and only a weight "
            f"whose ratio exceeds both selection ({selection:g}) and dampening ({dampening:g}) shrinks"
        )
    elif selected > weights / 2:
        run.notes["warning"] = (
            f"{selected / weights:.0%} of the weights were selected, expect a collapse; raise selection from "
            f"{selection:g}"
        )
