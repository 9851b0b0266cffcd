"""In-run Shapley values: what the ledger costs beside plain training, and whether it holds the right numbers.

The cost depends on the step. A probe rides behind the batch: its pass is (probes / batch) * 2/3 of a step, since no
gradient by weights is computed for it. What Python does for the ledger is the same few hundred microseconds whatever
the size: as much as a whole step of `digits-mlp`, little of a step of a wide network. So the goal is that of a wide
one, and the others are shown without a goal. Times are of the processor on one thread, not of the clock: a ratio so
near to 1 would otherwise say more about what else the machine is doing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmarks.clock import paired, threads
from benchmarks.figure import Figure, Options
from expunge.attribution.in_run import in_run, largest_difference
from expunge.data import MemoryRows, Rows, load
from expunge.seeds import generator
from expunge.tasks import Classification
from expunge.training import Recipe, Run, fit, predict
from expunge.training.optim import rate
from expunge.training.recipes import RECIPES

GOAL = 15.0
"""Percent."""
EXACT = 1e-5
PROBES = 8
PIXELS = 784
WIDE = (
    # hidden layers, batch, order, goal
    ((1024, 1024), 128, 1, GOAL),
    ((1024, 1024), 64, 1, None),
    ((512, 512), 64, 1, None),
    ((1024, 1024), 128, 2, None),
)
STEPS = 20
"""Steps of a timed training of a wide network."""
TIMED = 10
"""Epochs of a timed training of `digits-mlp`."""
CHECKED = 3
"""Epochs of a training whose every step is checked."""


def measure(options: Options) -> Iterator[Figure]:
    """Overhead on one thread; then the largest differences to per-row gradients and to the model of `fit`."""
    digits = load("digits")
    probes = digits.test.take(np.arange(PROBES))
    with threads(1):
        for hidden, batch, order, goal in WIDE:
            rows, watched = drawn(batch * STEPS, 0), drawn(PROBES, 1)
            yield overhead(wide(hidden, batch), rows, watched, order, goal, options.times)
        timed = replace(RECIPES["digits-mlp"], epochs=TIMED)
        yield overhead(timed, digits.train, probes, 1, None, options.times)
        for name in ("digits-mlp", "digits-cnn"):
            recipe = replace(RECIPES[name], epochs=CHECKED, momentum=0.0)
            yield from checked(recipe, digits.train, probes)
        for momentum in (0.0, 0.9):
            yield booked(replace(RECIPES["digits-mlp"], momentum=momentum), digits.train, probes)


def wide(hidden: tuple[int, ...], batch: int) -> Recipe:
    """One epoch of a wide dense network."""
    sizes = "-".join(str(size) for size in (PIXELS, *hidden, 10))
    arguments = {"hidden": list(hidden)}
    return Recipe(
        name=f"mlp {sizes}",
        task=Classification(10),
        arguments=arguments,
        lr=0.01,
        momentum=0,
        epochs=1,
        batch_size=batch,
    )


def drawn(count: int, index: int) -> MemoryRows:
    """Rows of noise: time does not depend on what they show."""
    source = generator(0, "benchmark", index)
    return MemoryRows(torch.randn(count, PIXELS, generator=source), torch.randint(10, (count,), generator=source))


def overhead(recipe: Recipe, rows: Rows, probes: Rows, order: int, goal: float | None, times: int) -> Figure:
    """By how much longer a training takes that keeps a ledger."""
    fit(recipe, rows, seed=0)  # the first run of a size is slower than those after it
    pair = paired(
        [
            (
                spent(lambda: fit(recipe, rows, seed=0)),
                spent(lambda: in_run(recipe, rows, probes, seed=0, order=order)),
            )
            for _ in range(times)
        ]
    )
    steps = recipe.epochs * -(-len(rows) // recipe.batch_size)
    what = f"in-run, {recipe.name}, batch {recipe.batch_size}, {len(probes)} probes, order {order}"
    percent = 100 * (pair.ratio - 1)
    text = f"{percent:.1f} % of {1e3 * pair.ours / steps:.2f} ms a step"
    return Figure(what=f"{what}: overhead", measured=percent, unit="%", most=goal, text=text)


def spent(work: Callable[[], object]) -> float:
    """Seconds of the processor that one call takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def checked(recipe: Recipe, rows: Rows, probes: Rows) -> Iterator[Figure]:
    """Differences to gradients of single rows, and to the model that `fit` trains."""
    ledger = in_run(recipe, rows, probes, seed=0)
    slow = by_rows(recipe, rows, probes, seed=0)
    apart = float(np.abs(ledger.values - slow).max() / np.abs(slow).max())
    name = f"in-run, {recipe.name}, {recipe.epochs} epochs"
    yield Figure(what=f"{name}: largest difference to per-row gradients / largest value", measured=apart, most=EXACT)
    moved = largest_difference(fit(recipe, rows, seed=0).model, ledger.model)
    yield Figure(what="  largest difference of a weight to plain training", measured=moved, most=EXACT)


def booked(recipe: Recipe, rows: Rows, probes: Rows) -> Figure:
    """What all rows together are credited with, beside what happened to the probes."""
    ledger = in_run(recipe, rows, probes, seed=0)
    shape = tuple(probes.batch(np.arange(1))[0].shape[1:])
    start, end = (margins(model, recipe, probes) for model in (recipe.fresh(shape, 0), ledger.model))
    happened, credited = float((end - start).mean()), float(ledger.values.sum(0).mean())
    return Figure(
        what=f"in-run, {recipe.name}, momentum {recipe.momentum:g}: credited, a probe",
        measured=credited,
        text=f"{credited:.1f} nats; its margin rose by {happened:.1f}",
    )


def margins(model: nn.Module, recipe: Recipe, rows: Rows) -> Tensor:
    """`[rows]` nats."""
    return recipe.task.margin(predict(model, rows), rows.labels)


def by_rows(recipe: Recipe, rows: Rows, probes: Rows, *, seed: int) -> npt.NDArray[np.float64]:
    """`[rows, probes]` first-order values from the gradient of every single row, and a step written out."""
    model = recipe.fresh(tuple(rows.batch(np.arange(1))[0].shape[1:]), seed)
    names = [name for name, _ in model.named_parameters()]
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    def each(measure: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> dict[str, Tensor]:
        def alone(of: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
            return measure(functional_call(model, of, (one[None],)), label[None]).sum()

        return vmap(grad(alone), (None, 0, 0))(weights, x, y)  # type: ignore[no-any-return]

    x, y = probes.batch(np.arange(len(probes)))
    indices = np.arange(len(rows))
    stream = Run(seed, recipe.batch_size).epochs(
        "train", rows, indices, count=recipe.epochs, batch_size=recipe.batch_size
    )
    values = np.zeros((len(rows), len(probes)))
    for step, (draw,) in enumerate(stream.steps):
        lr = recipe.lr * rate(recipe.schedule, step, len(stream))
        ours = each(recipe.task.loss, *rows.batch(draw.indices))
        theirs = each(recipe.task.margin, x, y)
        for name in names:
            share = ours[name].double().flatten(1) / len(draw.indices)  # [batch, p]
            values[draw.indices] -= lr * (share @ theirs[name].double().flatten(1).T).numpy()
            moved = share.sum(0).reshape(weights[name].shape).float() + recipe.weight_decay * weights[name]
            weights[name] = weights[name] - lr * moved
    return values
