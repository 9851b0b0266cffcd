"""What tells an easy row from a hard one: three numbers per row, each under a model that was trained on the row.

Source:     "Towards Aligned Data Removal via Twin Machine Unlearning", 2024, arXiv:2408.11433, its three features.
            Reconstruction: the size of the attack and the data of the fresh network are not known.
nearest     mean distance to the 5 nearest retain rows of the same class, in penultimate features of length 1
attack      cross-entropy between the predictions on a row and on an adversarial copy of it, nats
curriculum  loss under a network that was trained from scratch for an epoch or two, nats
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from expunge.data import Indices, Rows, joined
from expunge.errors import NeedsError, unknown
from expunge.methods.objectives import entropy
from expunge.methods.reference import measured
from expunge.methods.twin_problem import some
from expunge.problem import Problem
from expunge.seeds import derive, generator
from expunge.tasks import Task
from expunge.training import Run, train

STEP = 1 / 3
"""Length of one step of the attack, as a share of its budget."""
FEATURES = ("nearest", "attack", "curriculum")
MEMBERS = ("neither", "both")
"""Whose rows the fresh network of `curriculum` may see, beside retain rows."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode while the context lasts; every module's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def penultimate(model: nn.Module, rows: Rows, at: Indices, run: Run, *, role: str, features: str = "") -> Tensor:
    """Penultimate features: what goes into the last `nn.Linear` that runs, or into the named submodule.

    The model is watched, not edited; its mode and hooks are as before. Computed in float32.

    Args:
        model: On the run's device.
        rows: Where the rows lie.
        at: `[n]` positions.
        run: Batch size, device and meter.
        role: Under which the visits count.
        features: Name of a submodule; empty for the last dense layer.

    Returns:
        `[n, width]` float32 on the run's device.

    Raises:
        ConfigError: no submodule is called that.
        NeedsError: no dense layer, or not the named one, ran, or its input does not have one line per row.
    """
    parts = []
    with evaluating(model), _watching(model, features) as seen:
        for start in range(0, len(at), run.batch_size):
            part = at[start : start + run.batch_size]
            seen.clear()
            model(rows.batch(part, run.device)[0])
            run.meter.forward(role, len(part))
            parts.append(_line_per_row(seen, len(part), features, type(model).__name__))
    return torch.cat(parts)


@contextmanager
def _watching(model: nn.Module, features: str) -> Iterator[list[Any]]:
    """The inputs of the watched layers, in the order in which they run, while the context lasts."""
    modules = dict(model.named_modules())
    if features and features not in modules:
        raise unknown("submodule", features, modules, "model.named_modules()")
    watched = [modules[features]] if features else [m for m in modules.values() if isinstance(m, nn.Linear)]
    seen: list[Any] = []

    def keep(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen[:] = [*args, *named.values()][:1]  # the last layer that runs stays

    hooks = [module.register_forward_pre_hook(keep, with_kwargs=True) for module in watched]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _line_per_row(seen: list[Any], rows: int, features: str, model: str) -> Tensor:
    """The input that was seen, `[rows, width]`."""
    layer = f"the submodule {features!r}" if features else "an nn.Linear"
    advice = 'features="NAME" (--features NAME) takes the input of a submodule; model.named_modules() lists them'
    if not seen:
        raise NeedsError(f"features: expected {layer} to run in {model}, but none did", hint=advice)
    x = seen[0]
    if not isinstance(x, Tensor) or x.ndim < 2 or len(x) != rows:
        shape = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise NeedsError(f"features: expected the input of {layer} to be [{rows}, ...], got {shape}", hint=advice)
    return x.detach().float().flatten(1)


def nearest(points: Tensor, references: Tensor, neighbours: int, *, chunk: int = 1024) -> Tensor:
    """Mean distance of each point to its nearest references, all scaled to length 1, `[points]`, in [0, 2].

    Args:
        points: `[points, width]`.
        references: `[references, width]`, at least one; with fewer than `neighbours`, all of them count.
        neighbours: How many, >= 1.
        chunk: Points at once; does not change the result.

    Example:
        >>> nearest(torch.tensor([[2.0, 0.0]]), torch.tensor([[4.0, 0.0], [-3.0, 0.0], [-1.0, 0.0]]), 2)
        tensor([1.])
    """
    ours, theirs = normalize(points, dim=1), normalize(references, dim=1)
    k = min(neighbours, len(theirs))
    exact = "donot_use_mm_for_euclid_dist"  # the product form loses small distances, which are the ones wanted
    parts = [
        torch.cdist(ours[cut : cut + chunk], theirs, compute_mode=exact).topk(k, largest=False).values.mean(1)
        for cut in range(0, len(ours), chunk)
    ]
    return torch.cat(parts)


def nearest_distance(
    model: nn.Module, rows: Rows, problem: Problem, run: Run, *, role: str, neighbours: int, features: str = ""
) -> Tensor:
    """`nearest` of each row to the retain rows of its class under the same model, `[rows]` on the CPU.

    Args:
        model: Under which rows and retain rows are compared, on the run's device.
        rows: Whose distances, of classes that have retain rows.
        problem: Whose retain rows.
        run: Batch size, device and meter.
        role: Under which visits to `rows` count.
        neighbours: How many retain rows, >= 1.
        features: See `penultimate`.
    """
    ours = penultimate(model, rows, np.arange(len(rows)), run, role=role, features=features)
    of, kept = rows.labels, problem.rows.labels[torch.as_tensor(problem.retain)]
    distances = torch.empty(len(rows))
    for group in np.unique(of.numpy()):
        at = problem.retain[(kept == group).numpy()]
        theirs = penultimate(model, problem.rows, at, run, role="retain", features=features)
        where = of == group
        distances[where] = nearest(ours[where.to(ours.device)], theirs, neighbours).cpu()
    return distances


@dataclass(frozen=True)
class Attack:
    """How far inputs are moved, and the range that they do not leave."""

    low: Tensor
    """Lowest input seen, `[channels, 1, ...]` to fit one row."""
    high: Tensor
    """Highest input seen, as `low`."""
    budget: float
    """Largest change of an input, as a share of its range, >= 0."""
    steps: int
    """Of gradient ascent, each a third of the budget long, >= 0."""


def attack_within(rows: Rows, *, budget: float, steps: int, chunk: int = 1024) -> Attack:
    """An attack inside the range of some rows' inputs: of each channel of images, of each column of tables.

    Args:
        rows: Where the range is read.
        budget: See `Attack`.
        steps: See `Attack`.
        chunk: Rows at once; does not change the result.
    """
    low, high, axes = [], [], 0
    for start in range(0, len(rows), chunk):
        x = rows.batch(np.arange(start, min(start + chunk, len(rows))))[0]
        flat = x.flatten(2) if x.ndim > 2 else x.reshape(len(x), -1, 1)  # [rows, channels, values]
        low.append(flat.amin((0, 2)))
        high.append(flat.amax((0, 2)))
        axes = x.ndim - 1
    shape = (-1, *[1] * (axes - 1))
    return Attack(torch.stack(low).amin(0).reshape(shape), torch.stack(high).amax(0).reshape(shape), budget, steps)


def attacked(model: nn.Module, x: Tensor, clean: Tensor, task: Task, attack: Attack, source: torch.Generator) -> Tensor:
    """Inputs near x on which the model answers as differently as projected gradient ascent finds, `[rows, ...]`.

    It begins at a random place within reach: at x itself the divergence has no slope. A row that lies outside the
    range already may stay where it is, but is not taken further out.

    Args:
        model: In evaluation mode.
        x: `[rows, ...]` on the model's device.
        clean: `[rows, classes]` the model's outputs on x.
        task: Whose divergence from `clean` is climbed.
        attack: How.
        source: Of the start.

    Raises:
        NeedsError: the outputs have no gradient in the inputs.
    """
    low, high = attack.low.to(x.device), attack.high.to(x.device)
    reach = attack.budget * (high - low)
    lowest = torch.maximum(x - reach, torch.minimum(x, low))
    highest = torch.minimum(x + reach, torch.maximum(x, high))
    start = torch.rand(x.shape, generator=source).to(x.device)
    moved = (x + reach * (2 * start - 1)).clamp(lowest, highest)
    for _ in range(attack.steps):
        moved.requires_grad_()
        with torch.enable_grad():
            gap = task.divergence(model(moved), clean).sum()
        if not gap.requires_grad:
            raise NeedsError(
                f"attack: expected outputs with a gradient in the inputs, {type(model).__name__} gives none",
                hint='leave it out: use=("nearest", "curriculum")',
            )
        (slope,) = torch.autograd.grad(gap, moved)
        moved = (moved.detach() + STEP * reach * slope.sign()).clamp(lowest, highest)
    return moved.detach()


@torch.no_grad()
def attack_divergence(
    model: nn.Module, rows: Rows, task: Task, attack: Attack, run: Run, *, role: str, source: torch.Generator
) -> Tensor:
    """Cross-entropy in nats between the predictions on each row and on its attacked copy, `[rows]` on the CPU.

    It is at least the entropy of the predictions on the row, and equals it where the attack has no budget.

    Args:
        model: On the run's device; its mode and gradients are kept.
        rows: Which rows.
        task: A classification.
        attack: How.
        run: Batch size, device and meter; a step of the attack counts as a visit with a gradient.
        role: Under which the visits count.
        source: Of where the attack starts.
    """
    parts = []
    with evaluating(model):
        for start in range(0, len(rows), run.batch_size):
            at = np.arange(start, min(start + run.batch_size, len(rows)))
            x = rows.batch(at, run.device)[0]
            clean = model(x)
            moved = model(attacked(model, x, clean, task, attack, source))
            parts.append((task.divergence(moved, clean) + entropy(clean)).cpu())
            run.meter.backward(role, attack.steps * len(at))
            run.meter.forward(role, 2 * len(at))
    return torch.cat(parts)


def curriculum_model(
    problem: Problem, auxiliary: Rows, run: Run, *, epochs: int, share: float, members: str
) -> nn.Module:
    """A fresh network, trained by the recipe for few epochs, that treats forget and auxiliary rows alike.

    Args:
        problem: Whose recipe and rows.
        auxiliary: The auxiliary rows.
        run: Seed, device and meter; the visits count as "curriculum".
        epochs: Passes, >= 1.
        share: Share of the retain rows that it sees, in (0, 1].
        members: "neither" forget nor auxiliary rows are among what it sees, or "both" are, all of them.
    """
    seed = derive(run.seed, "curriculum")
    kept = some(problem.retain, max(2, round(share * len(problem.retain))), seed, "rows")
    rows, at = problem.rows, kept
    if members == "both":
        rows = joined(problem.rows, auxiliary)
        at = np.concatenate([kept, problem.forget, np.arange(len(problem.rows), len(rows))])
    recipe = replace(problem.recipe, epochs=epochs)
    return train(recipe, rows, at, replace(run, seed=seed, label=f"{run.label}: curriculum"), role="curriculum").model


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What is asked of a row, the same on both sides of the analogy; only what is asked for is computed."""

    problem: Problem
    """The true one."""
    auxiliary: Rows
    """The auxiliary rows."""
    run: Run
    """Seed, batch size, device and meter."""
    use: tuple[str, ...]
    """Which of FEATURES, in the order of the table's columns."""
    features: str
    """See `penultimate`."""
    neighbours: int
    """See `nearest`."""
    attack_budget: float
    """See `Attack`."""
    attack_steps: int
    """See `Attack`."""
    curriculum_epochs: int
    """See `curriculum_model`."""
    curriculum_share: float
    """See `curriculum_model`."""
    curriculum_members: str
    """See `curriculum_model`."""

    @cached_property
    def attack(self) -> Attack:
        """One attack for both sides, within the range of the training rows."""
        return attack_within(self.problem.rows, budget=self.attack_budget, steps=self.attack_steps)

    @cached_property
    def fresh(self) -> nn.Module:
        """One fresh network for both sides."""
        return curriculum_model(
            self.problem,
            self.auxiliary,
            self.run,
            epochs=self.curriculum_epochs,
            share=self.curriculum_share,
            members=self.curriculum_members,
        )

    def nearest(self, model: nn.Module, rows: Rows, role: str) -> Tensor:
        """Distance to the retain rows of a row's class, `[rows]`."""
        return nearest_distance(
            model, rows, self.problem, self.run, role=role, neighbours=self.neighbours, features=self.features
        )

    def divergence(self, model: nn.Module, rows: Rows, role: str) -> Tensor:
        """Nats between a row and its attacked copy, `[rows]`."""
        source, task = generator(self.run.seed, f"attack/{role}"), self.problem.recipe.task
        return attack_divergence(model, rows, task, self.attack, self.run, role=role, source=source)

    def loss(self, rows: Rows, role: str) -> Tensor:
        """Of each row under the fresh network, nats, `[rows]`."""
        return measured(self.problem.recipe.task.loss, self.fresh, rows, np.arange(len(rows)), self.run, role)

    def correct(self, model: nn.Module, rows: Rows, role: str) -> Tensor:
        """1.0 where a model gets a row right, `[rows]`."""
        return measured(self.problem.recipe.task.correct, model, rows, np.arange(len(rows)), self.run, role)

    def table(self, model: nn.Module, rows: Rows, role: str) -> Tensor:
        """The features of some rows, float32 `[rows, features]` on the CPU.

        Args:
            model: That was trained on these rows: the original for forget rows, the twin for auxiliary rows.
            rows: Which rows.
            role: Under which the visits count.
        """
        columns = {
            "nearest": lambda: self.nearest(model, rows, role),
            "attack": lambda: self.divergence(model, rows, role),
            "curriculum": lambda: self.loss(rows, role),
        }
        return torch.stack([columns[name]() for name in self.use], 1)
