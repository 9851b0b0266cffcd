"""Ridge regression without a group of rows: every estimator that can say what that gives, against the closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.clock import seconds, threads
from benchmarks.figure import Figure, Options, skipped
from expunge.attribution import ESTIMATORS, Estimator, Source
from expunge.attribution.group import CORRECTIONS
from expunge.attribution.named import configured
from expunge.attribution.ridge import Ridge
from expunge.data import MemoryRows
from expunge.errors import ConfigError, NeedsError
from expunge.tasks import Regression
from expunge.training import Recipe

Floats = npt.NDArray[np.float64]

SIZES = ((100, 400), (400, 50))
"""Rows and inputs."""
FORGET = (5, 20)
LISTED = (100, 400, 20)
"""Where every estimator is asked."""
PENALTY = 4.0
"""lambda of the sum of squared errors + lambda |theta|^2 over all rows."""
SEEN = 200
"""New rows on which outputs are compared."""
KNOWN = {"group": (None, 1e-8), "single": (0.1, 0.4), "none": (0.97, 1.0)}
"""Lowest and highest error of ridge at LISTED: exact, about 0.2, about 0.99."""
WAYS = {"influence": (("solver=explicit",), ("solver=cg",), ("solver=lissa", "iterations=1000"))}
"""Settings with which an estimator is listed, beside each correction; by default its own."""
SAID = {"group": "group", "single": "sum of leave-one-out", "none": "first order"}


def measure(options: Options) -> Iterator[Figure]:
    """Relative error of the change of outputs on new rows."""
    with threads(1):
        for rows, inputs in SIZES:
            for count in FORGET:
                yield from closed(rows, inputs, count)
        yield from every(*LISTED)


def closed(rows: int, inputs: int, count: int) -> Iterator[Figure]:
    """The closed form with each correction, and how long the exact one takes."""
    source, new, exact = problem(rows, inputs, count)
    what = f"n={rows}, d={inputs}, {count} rows"
    for correction in CORRECTIONS:
        estimator = Ridge(correction=correction)
        least, most = KNOWN[correction] if (rows, inputs, count) == LISTED else (None, None)
        most = 1e-8 if correction == "group" else most
        measured = error(estimator, source, new, count, exact)
        yield Figure(what=f"group, ridge {what}: {SAID[correction]}", measured=measured, least=least, most=most)
    spent = seconds(lambda: Ridge().fit(source).removal(np.arange(count), new))
    yield Figure(what="  seconds of the fit and the group", measured=spent, unit="s", most=1)


def every(rows: int, inputs: int, count: int) -> Iterator[Figure]:
    """Each estimator in each of its ways; one that cannot says why."""
    source, new, exact = problem(rows, inputs, count)
    yield Figure(
        what=f"group, every estimator, n={rows}, d={inputs}, {count} rows", measured=None, text="relative error"
    )
    for name, kind in ESTIMATORS.items():
        for text in [name] if "subsets" in kind.needs else ways(name):
            try:
                yield Figure(what=f"  {text}", measured=error(configured(text), source, new, count, exact))
            except NeedsError as reason:
                yield skipped(f"  {text}", reason)


def ways(name: str) -> Iterator[str]:
    """An estimator in text form with each correction that it knows; the model has not been stopped early."""
    known = {field.name for field in fields(ESTIMATORS[name])}
    early = ["early=false"] if "early" in known else []
    for own in WAYS.get(name, ((),)):
        settings = [*own, *early]
        found = [f"correction={one}" for one in CORRECTIONS if "correction" in known and takes(name, one)]
        for correction in found or [""]:
            yield f"{name}:{','.join(filter(None, [*settings, correction]))}".rstrip(":")


def takes(name: str, correction: str) -> bool:
    """Whether the estimator knows that correction."""
    try:
        configured(f"{name}:correction={correction}")
    except ConfigError:
        return False
    return True


def error(estimator: Estimator, source: Source, new: MemoryRows, count: int, exact: Floats) -> float:
    """|predicted change - exact change| / |exact change| of the outputs on new rows."""
    change = estimator.fit(source).removal(np.arange(count), new).change
    return float(np.linalg.norm(change - exact) / np.linalg.norm(exact))


def problem(rows: int, inputs: int, count: int) -> tuple[Source, MemoryRows, Floats]:
    """A linear model at its optimum, new rows, and how its outputs on them change without the first `count` rows."""
    draw = np.random.default_rng(1)
    truth = draw.normal(size=(inputs, 1)) / inputs**0.5
    x, new = draw.normal(size=(rows, inputs)), draw.normal(size=(SEEN, inputs))
    recipe = Recipe(name="ridge", model="linear", task=Regression(1), weight_decay=2 * PENALTY / rows)
    train, other = (MemoryRows(part, part @ truth + draw.normal(size=(len(part), 1))) for part in (x, new))
    start, gold = (solved(train, kept, recipe.weight_decay) for kept in (np.arange(rows), np.arange(count, rows)))
    model = recipe.fresh((inputs,), seed=0)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(start).float(), model.parameters())
    return Source(recipe=recipe, rows=train, model=model), other, columns(other) @ (gold - start)[:, None]


def solved(rows: MemoryRows, kept: npt.NDArray[np.int64], decay: float) -> Floats:
    """`[inputs + 1]` weights and bias by the normal equations of the kept rows alone."""
    x, y = columns(rows)[kept], rows.labels.double().numpy()[kept, 0]
    return np.asarray(np.linalg.solve(2 * x.T @ x + len(kept) * decay * np.eye(x.shape[1]), 2 * x.T @ y))


def columns(rows: MemoryRows) -> Floats:
    """Inputs and a one for the bias, `[rows, inputs + 1]`."""
    return np.hstack([rows.x.double().numpy(), np.ones((len(rows), 1))])
