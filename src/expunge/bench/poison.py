"""Planting: forget rows that can be told apart later, by noise in their inputs or by swapped labels.

The planted rows keep their ids: an original trained on them and gold models trained without them belong together.
Audits of such rows: `audit.gaussian_poison` and `audit.confusion`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from expunge.data import Indices, MemoryRows, Rows
from expunge.errors import ProblemError, check
from expunge.seeds import generator
from expunge.tasks import Task


def plant_noise(
    rows: MemoryRows, indices: Indices, *, sd: float, seed: int
) -> tuple[MemoryRows, npt.NDArray[np.float32]]:
    """Rows with independent N(0, sd^2) noise added to some inputs, and that noise.

    Args:
        rows: Clean rows; left as they are.
        indices: `[planted]` positions of the rows to plant in.
        sd: Standard deviation of the noise, > 0, in units of the input; 0.57 (variance 0.32) is published.
        seed: Root seed of the noise; no method may know it.

    Returns:
        Rows with the same ids, labels and subjects, and the noise `[planted, ...]`, in the order of `indices`.

    Raises:
        ConfigError: sd is not above 0. ProblemError: a row is named twice.
    """
    check("sd", sd, "> 0", sd > 0)
    at = _distinct(indices)
    noise = sd * torch.randn((len(at), *rows.x.shape[1:]), generator=generator(seed, "plant/noise"))
    x = rows.x.clone()
    x[at] += noise
    planted = MemoryRows(x, rows.labels, ids=rows.ids, subjects=rows.subjects, classes=rows.classes)
    return planted, noise.numpy()


def swap_labels(rows: MemoryRows, indices: Indices, *, classes: tuple[int, int]) -> MemoryRows:
    """Rows on some of which the labels of two classes are exchanged.

    Args:
        rows: Rows with their true labels; left as they are.
        indices: `[planted]` positions of rows of the two classes.
        classes: The two classes.

    Returns:
        Rows with the same ids, inputs and subjects.

    Raises:
        ProblemError: a row to swap is of neither class, or named twice. ConfigError: the classes are equal.
    """
    first, second = classes
    check("classes", classes, "two different classes", first != second)
    at = _distinct(indices)
    before = rows.labels[at]
    stray = (before != first) & (before != second)
    if bool(stray.any()):
        place = int(stray.nonzero()[0])
        raise ProblemError(f"row {indices[place]}: expected class {first} or {second}, got {before[place]}")
    return relabelled(rows, indices, first + second - before)


def relabelled(rows: MemoryRows, indices: Indices, labels: Tensor) -> MemoryRows:
    """Rows with other labels `[planted]` at some positions, everything else as it was.

    Raises:
        ProblemError: a row is named twice.
    """
    changed = rows.labels.clone()
    changed[_distinct(indices)] = labels
    return MemoryRows(rows.x, changed, ids=rows.ids, subjects=rows.subjects, classes=rows.classes)


def input_gradients(
    model: nn.Module,
    task: Task,
    rows: Rows,
    indices: Indices,
    *,
    device: str = "cpu",
    batch_size: int = 256,
) -> npt.NDArray[np.float32]:
    """Gradient of each row's own loss with respect to its input, the model in evaluation mode.

    One backward pass a batch: in evaluation mode no row's output depends on another row, so the gradient of the
    summed loss is every row's own.

    Args:
        model: Any module; its mode and the gradients of its parameters are kept.
        task: Whose loss.
        rows: Clean rows.
        indices: `[n]` positions.
        device: Where to compute.
        batch_size: Rows at once; does not change the result.

    Returns:
        `[n, ...]` float32.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.to(device).eval()
    parts = []
    try:
        for cut in range(0, len(indices), batch_size):
            x, y = rows.batch(indices[cut : cut + batch_size], device)
            x.requires_grad_()
            loss = task.loss(model(x).float(), y).sum()
            parts.append(torch.autograd.grad(loss, x)[0].cpu())
    finally:
        for module, training in modes:
            module.training = training
    gradients: npt.NDArray[np.float32] = torch.cat(parts).numpy()
    return gradients


def _distinct(indices: Indices) -> Tensor:
    """Positions as a tensor, once no row is named twice."""
    if len(np.unique(indices)) != len(indices):
        raise ProblemError(f"plant: {len(indices) - len(np.unique(indices))} rows are named more than once")
    return torch.as_tensor(indices)
