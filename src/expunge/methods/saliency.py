"""Which weights the forget rows pull at: gradient saliency, and masks of its largest entries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from expunge.problem import Problem
from expunge.training import Run


def forget_saliency(model: nn.Module, problem: Problem, run: Run) -> dict[str, Tensor]:
    """Magnitude of the forget rows' summed loss gradient at each weight, in evaluation mode.

    Args:
        model: On the run's device; its mode, weights and gradients stay as they are.
        problem: Whose forget rows.
        run: Batch size and meter; the visits count as "forget".

    Returns:
        Parameter name -> a tensor of the parameter's shape, >= 0.
    """
    weights = {name: p.detach().requires_grad_() for name, p in model.named_parameters()}
    totals = {name: torch.zeros_like(w) for name, w in weights.items()}
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for start in range(0, len(problem.forget), run.batch_size):
        at = problem.forget[start : start + run.batch_size]
        x, y = problem.rows.batch(at, run.device)
        with run.autocast():
            outputs = torch.func.functional_call(model, weights, (x,))
            loss = problem.recipe.task.loss(outputs, y).sum()
        run.meter.backward("forget", len(at))
        for name, g in zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True):
            totals[name] += g
    for module, training in modes:
        module.training = training
    return {name: total.abs() for name, total in totals.items()}


def top_share(scores: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks of the weights with the largest scores, ranked over all tensors together.

    Args:
        scores: Parameter name -> scores of the parameter's shape.
        share: Share of all weights that is selected, in (0, 1]; the count is rounded, ties go to the earlier.

    Returns:
        Parameter name -> bool tensor, true where selected.

    Example:
        >>> top_share({"a": torch.tensor([1.0, 5.0]), "b": torch.tensor([4.0, 2.0])}, 0.5)
        {'a': tensor([False,  True]), 'b': tensor([ True, False])}
    """
    flat = torch.cat([score.flatten() for score in scores.values()])
    chosen = torch.argsort(flat, descending=True, stable=True)[: round(share * len(flat))]
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[chosen] = True
    parts = torch.split(mask, [score.numel() for score in scores.values()])
    return {name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)}
