"""Latents that lead to what has to go: of one picture by search, of a class by drawing and looking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expunge.data import Indices, Rows
from expunge.errors import ProblemError
from expunge.gan.nets import Generator
from expunge.gan.pair import drawn
from expunge.gan.problem import GanProblem, called
from expunge.seeds import generator
from expunge.training import Run

SURE = 0.9
"""Least probability at which a classifier's word about a drawn picture counts."""
MOST_DRAWS = 20_000
"""Pictures drawn before a class is given up."""
DRAWS = 1_000
"""Pictures drawn at a time."""
AT_ONCE = 256
"""Rows searched side by side."""


@dataclass(frozen=True)
class Found:
    """Where the rows were found."""

    z: Tensor
    """`[rows, latent]`, on the CPU."""
    y: Tensor | None
    """`[rows]` labels, for a conditional generator."""
    error: Tensor
    """`[rows]` share of a row's variation that the found picture misses: 0 is the row itself, 1 the mean picture."""


def search(
    net: Generator,
    rows: Rows,
    at: Indices,
    centre: Tensor,
    run: Run,
    *,
    steps: int,
    lr: float,
    role: str = "search",
) -> Found:
    """For each row, a latent whose picture is near it: Adam on |G(z) - x|^2 from a standard normal start.

    Args:
        net: In evaluation mode while it is searched; its weights do not move.
        rows: Where the rows lie.
        at: `[n]` positions.
        centre: `[*shape]` mean picture, against which errors are measured.
        run: Seed, device and meter.
        steps: Of Adam, >= 1.
        lr: Its step size on z.
        role: Of the starts.

    Source: latent search; Bojanowski et al. 2018, arXiv:1707.05776, among others.
    """
    net.to(run.device).eval()
    starts = torch.randn(len(at), net.latent, generator=generator(run.seed, f"latents/{role}"))
    z_parts, errors = [], []
    for cut in range(0, len(at), AT_ONCE):
        x, y = rows.batch(at[cut : cut + AT_ONCE], run.device)
        labels = y if net.classes else None
        z = starts[cut : cut + AT_ONCE].to(run.device).requires_grad_(True)
        adam = torch.optim.Adam([z], lr=lr)
        for step in range(steps):
            loss = (net(z, labels) - x).square().flatten(1).sum(1).sum()  # rows do not meet: each z has its own
            (z.grad,) = torch.autograd.grad(loss, z)
            adam.step()
            run.progress("latent search", (cut * steps + (step + 1) * len(x)) // len(at), steps)
        run.meter.backward(f"generator/{role}", steps * len(x))
        with torch.no_grad():
            missed = (net(z, labels) - x).square().flatten(1).sum(1)
            errors.append((missed / (x - centre.to(x)).square().flatten(1).sum(1).clamp_min(1e-12)).cpu())
            z_parts.append(z.detach().cpu())
    labels_all = rows.batch(at)[1] if net.classes else None
    return Found(torch.cat(z_parts), labels_all, torch.cat(errors))


def of_classes(
    problem: GanProblem, run: Run, *, wanted: bool, count: int, who: str, sure: float = SURE, most: int = MOST_DRAWS
) -> tuple[Tensor, Tensor | None, int]:
    """Latents whose pictures the classifier surely calls a forgotten class, or surely does not.

    Args:
        problem: Whose original draws and whose classifier looks.
        run: Seed, device and meter.
        wanted: True for pictures of a forgotten class, False for all others.
        count: How many to find at most, >= 1.
        who: Asks, for the error.
        sure: Least probability, in (0, 1], that the picture is (or is not) of a forgotten class.
        most: Pictures drawn before it is given up.

    Returns:
        `[found, latent]` with 1 <= found <= count, their labels for a conditional generator, and how many were drawn.

    Raises:
        ProblemError: not one was found.
    """
    net, classifier = problem.original.generator.to(run.device), problem.need_classifier(who)
    gone = torch.tensor(problem.forgotten)
    kept_z, kept_y, drawn_so_far, found = [], [], 0, 0
    role = "forgotten" if wanted else "others"
    while drawn_so_far < most and found < count:
        n = min(DRAWS, most - drawn_so_far)
        source = generator(run.seed, f"latents/{role}", drawn_so_far)
        z = torch.randn(n, net.latent, generator=source)
        y = torch.randint(net.classes, (n,), generator=source) if net.classes else None
        probability = called(classifier, drawn(net, z, y), run.device)[:, gone].sum(1)  # [n]
        run.meter.forward(f"generator/{role}", n)
        run.meter.forward(f"classifier/{role}", n)
        keep = (probability if wanted else 1 - probability) >= sure
        kept_z.append(z[keep])
        kept_y.append(y[keep] if y is not None else torch.empty(0))
        drawn_so_far, found = drawn_so_far + n, found + int(keep.sum())
    if not found:
        names = ", ".join(problem.rows.classes[c] if problem.rows.classes else str(c) for c in problem.forgotten)
        what = f"class {names}" if wanted else f"anything but class {names}"
        raise ProblemError(
            f"{who}: expected pictures of {what}, got none in {drawn_so_far:,} drawn by the original",
            hint="what a generator never draws it need not forget; `--method finetune` goes on without looking for it"
            if wanted
            else "a generator that draws nothing else has no latents to map to",
        )
    return torch.cat(kept_z)[:count], torch.cat(kept_y)[:count] if net.classes else None, drawn_so_far


def mean_picture(rows: Rows, at: Indices, *, batch: int = 4096) -> Tensor:
    """`[*shape]` mean of the rows at `at` `[n]`, by parts."""
    total = torch.zeros(())
    for cut in range(0, len(at), batch):
        total = total + rows.batch(np.asarray(at[cut : cut + batch]))[0].double().sum(0)
    return (total / len(at)).float()
