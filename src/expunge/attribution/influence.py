"""Influence functions over all parameters: what a Newton step away from some rows changes.

Source:     Koh and Liang, arXiv:1703.04730; the curvature of the linearised model in place of the Hessian as in Grosse
            et al., arXiv:2308.03296. The correction for rows that go together is our extension: see `group`.
Objective:  see `linearised`: H step = J_F' r_F for a single row of small leverage.
            solver      explicit: H as a matrix; cg: conjugate gradients; lissa: (1 - H / scale)^j summed
            curvature   ggn: never negative; hessian: of the loss itself, indefinite away from a minimum
Deviations: 1. the rows that go are taken out of H too. By `cg` and `lissa` that is one system with the curvature of the
            retain rows for a whole forget set; the scores of single rows are then to first order, because their
            leverage would take `outputs` systems a row (`single` asks for it all the same).
            2. LiSSA uses all rows at each step unless `sample` says how many are drawn.
Cost:       explicit: `outputs` visits of every row, p^3. cg, lissa: `iterations` visits of every row for each answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from expunge.attribution.curvature import KINDS, Curvature
from expunge.attribution.dense import FLOOR, Dense, check_size, mended
from expunge.attribution.estimator import Estimator, Source, forget_positions
from expunge.attribution.gradients import Network
from expunge.attribution.group import CORRECTIONS
from expunge.attribution.linearised import Linearised
from expunge.attribution.solvers import conjugate_gradients, indefinite, largest, lissa
from expunge.data import Indices
from expunge.errors import check
from expunge.seeds import numpy_generator
from expunge.training import Run

SOLVERS = ("explicit", "cg", "lissa")
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
MARGIN = 1.1
"""By how much an eigenvalue that power iteration found may be exceeded."""


@dataclass(frozen=True, kw_only=True)
class Influence(Estimator):
    """Influence functions."""

    paper: ClassVar[str] = "arXiv:1703.04730"

    solver: str = "cg"
    """One of SOLVERS; "explicit" up to 20,000 parameters."""
    damping: float = 0.0
    """Curvature added to that of each row beside weight decay, >= 0; it stays when rows go. 0 adds nothing where H is
    positive definite, else what it takes, and notes it."""
    curvature: str = "ggn"
    """"ggn" or "hessian"."""
    correction: str = "group"
    """"group", "single" (each row as if alone) or "none" (first order)."""
    tolerance: float = 1e-6
    """Of "cg" and "lissa": residual over right-hand side at which a solution is good, in (0, 1)."""
    iterations: int = 200
    """Of "cg" and "lissa": most products with H for an answer, >= 1."""
    sample: int = 0
    """Rows drawn for each step of "lissa", >= 0; 0 takes all."""
    precision: str = "float64"
    """"float64" or "float32", of the derivatives; systems are solved in float64."""

    def __post_init__(self) -> None:
        for name, choices in {
            "solver": SOLVERS,
            "curvature": KINDS,
            "correction": CORRECTIONS,
            "precision": tuple(PRECISIONS),
        }.items():
            value = getattr(self, name)
            check(name, value, f"one of {', '.join(choices)}", value in choices)
        check("damping", self.damping, ">= 0", self.damping >= 0)
        check("tolerance", self.tolerance, "in (0, 1)", 0 < self.tolerance < 1)
        check("iterations", self.iterations, ">= 1", self.iterations >= 1)
        check("sample", self.sample, ">= 0", self.sample >= 0)

    def attribute(self, source: Source, run: Run) -> Linearised:
        """Form the matrix, or find out how much damping it takes."""
        network = Network(source.model, device=run.device, dtype=PRECISIONS[self.precision])
        curvature = Curvature(network, source.rows, source.recipe.task, run, self.curvature)
        if self.solver == "explicit":
            check_size(network.size)
            return Explicit(source, run, curvature, correction=self.correction, damping=self.damping)
        return Iterative(source, run, curvature, self)


class Explicit(Linearised):
    """Influence by the matrix H.

    Args:
        source: What was fitted on.
        run: Device and meter.
        curvature: Of the loss over all rows.
        correction: One of `group.CORRECTIONS`.
        damping: Added to the curvature of each row, >= 0.
    """

    def __init__(self, source: Source, run: Run, curvature: Curvature, *, correction: str, damping: float) -> None:
        self.curvature = curvature
        self.dense = Dense(curvature.matrix(), rows=len(source.rows), decay=source.recipe.weight_decay, damping=damping)
        super().__init__(source, run, curvature.network, correction=correction, notes=self.dense.notes)

    def inverse(self, columns: Tensor, less: float = 0.0) -> Tensor:
        """By Cholesky factors of H - less, `[p, k]` for columns `[p, k]`."""
        return self.dense.solve(columns, less)

    def step(self, forget: Indices) -> Tensor:
        """`[p]` as of every linearised model, by the smaller system: in the parameters or in the outputs of the rows.

        A Hessian loses the Hessians of the rows that go at `forget` `[forget]`, which their outputs do not tell.

        Raises:
            ProblemError: the forget set is empty, everything, repeated or out of range.
            NeedsError: the curvature of the retain rows is not positive definite.
        """
        at = forget_positions(forget, self.source)
        few = len(at) * self.outputs <= self.network.size
        if self.correction != "group" or (few and self.curvature.kind == "ggn"):
            return super().step(forget)
        pulled = self._pulled(at, self._derivatives(at)[0])
        return self.dense.solve_without(pulled[:, None], self.curvature.matrix(at), len(at) * self.decay)[:, 0]


class Iterative(Linearised):
    """Influence by products with H.

    Args:
        source: What was fitted on.
        run: Seed, device and meter.
        curvature: Of the loss over all rows.
        settings: Solver, damping, when to stop.
    """

    def __init__(self, source: Source, run: Run, curvature: Curvature, settings: Influence) -> None:
        self.curvature, self.settings = curvature, settings
        self.everything = np.arange(len(source.rows))
        self.scale, self.damping, notes = spectrum(curvature, source.recipe.weight_decay, settings, run.seed)
        super().__init__(source, run, curvature.network, correction=settings.correction, notes=notes)
        self.leverage = settings.correction == "single"
        self.of_fit = str(notes.get("warning", ""))

    def inverse(self, columns: Tensor, less: float = 0.0) -> Tensor:
        """By the solver, all columns `[p, k]` at once."""
        return self._solve(columns, self.everything, less)

    def step(self, forget: Indices) -> Tensor:
        """`[p]` by one system with the curvature of the rows beside those at `forget` `[forget]`.

        Raises:
            ProblemError: the forget set is empty, everything, repeated or out of range.
            NeedsError: that curvature is not positive definite.
        """
        if self.correction != "group":
            return super().step(forget)
        at = forget_positions(forget, self.source)
        pulled = self._pulled(at, self._derivatives(at)[0])
        return self._solve(pulled[:, None], np.setdiff1d(self.everything, at), len(at) * self.decay)[:, 0]

    def _solve(self, columns: Tensor, at: Indices, less: float) -> Tensor:
        """(H of the rows at `at` `[n]` - less)^-1 c, noting how far that got."""
        settings = self.settings
        shift = len(self.everything) * (self.decay + self.damping) - less

        def product(moves: Tensor, step: int = 0) -> Tensor:
            some, share = self._drawn(at, step)
            return share * self.curvature.product(moves, some) + shift * moves

        most, good = settings.iterations, settings.tolerance
        if settings.solver == "cg":
            found, error, steps = conjugate_gradients(product, columns, tolerance=good, iterations=most)
        else:
            found, error, steps = lissa(product, columns, scale=self.scale, tolerance=good, iterations=most)
        self.notes |= {"residual": error, "steps": steps}
        stopped = f"{settings.solver} stopped at a residual of {error:.1g} after {steps} steps"
        warnings = [self.of_fit, stopped if error > good else ""]
        if any(warnings):
            self.notes["warning"] = "; ".join(filter(None, warnings))
        else:
            self.notes.pop("warning", None)  # it was about an earlier answer
        return found

    def _drawn(self, at: Indices, step: int) -> tuple[Indices, float]:
        """Rows of a step of LiSSA, and how many rows each stands for."""
        sample = self.settings.sample
        if self.settings.solver != "lissa" or not 0 < sample < len(at):
            return at, 1.0
        draw = numpy_generator(self.run.seed, "lissa rows", step)
        return draw.choice(at, sample, replace=False), len(at) / sample


def spectrum(curvature: Curvature, decay: float, settings: Influence, seed: int) -> tuple[float, float, dict[str, Any]]:
    """At least the largest eigenvalue of H, the damping of a row, and what to note; found by products alone.

    Nothing is computed where H is known to be positive definite and its largest eigenvalue is not needed.

    Raises:
        NeedsError: H is indefinite in spite of the damping that was asked for.
    """
    network, rows, damping = curvature.network, len(curvature.rows), settings.damping
    notes: dict[str, Any] = {"damping": damping}
    sound = settings.curvature == "ggn" and decay + damping > 0
    if sound and settings.solver == "cg":
        return 0.0, damping, notes
    like = network.weights.double()
    shift = rows * (decay + damping)
    top = largest(lambda c: curvature.product(c) + shift * c, network.size, seed=seed, like=like)
    low = shift
    if settings.curvature == "hessian":
        low = top + largest(lambda c: curvature.product(c) + (shift - top) * c, network.size, seed=seed, like=like)
        low, top = min(low, top), max(abs(low), abs(top))
    if low <= 0 and damping > 0:
        raise indefinite(low)
    if low <= 0:
        extra = FLOOR * top - MARGIN * low
        damping, top = damping + extra / rows, top + extra
        notes |= {"damping": damping, "warning": mended(low, top, damping)}
    return MARGIN * top * (2 if settings.sample else 1), damping, notes
