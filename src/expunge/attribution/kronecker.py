"""The curvature of dense and convolutional layers, each as a Kronecker product with corrected eigenvalues.

Source:     K-FAC: Martens, Grosse, ICML 2015, arXiv:1503.05671; with convolutions: Grosse, Martens, ICML 2016,
            arXiv:1602.01407; corrected eigenvalues (EK-FAC): George, Laurent, Bouthillier, Ballas, Vincent,
            NeurIPS 2018, arXiv:1806.03884.
Objective:  a layer's weight gradient for one row is the sum over positions of b a', a -> what goes in, with a 1 behind
            it for the bias, b -> slope of what comes out. Factors over all rows

                A = sum of a a'        B = sum of b b'        A = U_A . U_A',  B = U_B . U_B'

            give the basis; the eigenvalue of entry (o, i) is then measured, not multiplied together:

                value[o, i] = sum over rows and slopes of (U_B' (sum of b a') U_A)[o, i]^2

            the diagonal, in that basis, of the layer's exact Gauss-Newton block, sum of J_i' W_i J_i over the rows.
            Slopes: one for each column of a root of W_i, so that nothing is drawn; or, for a price that does not grow
            with the outputs, `draws` sums of its columns with random signs, of which the mean square is W_i too: others
            for the basis than for the eigenvalues, which would be too large in axes that were fitted to them.
Other parameters (of normalisation, of a layer that is passed twice or that shares a weight): the exact diagonal.
Cost:       two passes over all rows, each one forward and as many backward passes as there are outputs, or draws, and
            one more of Jacobians where there are other parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expunge.attribution.curvature import derivatives
from expunge.attribution.gradients import Named, Network
from expunge.attribution.passes import Passes
from expunge.data import Indices, Rows
from expunge.seeds import numpy_generator
from expunge.tasks import Task
from expunge.training import Run

TINY = 1e-12
"""Share of the largest eigenvalue of W below which a root of it counts as zero: rounding."""
ROLE = "attribution"


@dataclass(frozen=True)
class Block:
    """The curvature of one layer in its eigenbasis, float64, summed over all rows."""

    weight: str
    """Name of the parameter."""
    bias: str
    """Name of the parameter; empty where there is none."""
    left: Tensor
    """`[out, out]` U_B."""
    right: Tensor
    """`[in, in]` U_A; `in` counts the bias, which stands last."""
    values: Tensor
    """`[out, in]` eigenvalues, >= 0."""

    def inverse(self, columns: Named, extra: float) -> Named:
        """(block + extra)^-1 of tensors `[k, ...]` by name, for this block's parameters."""
        weight = columns[self.weight]
        joint = weight.reshape(len(weight), len(self.left), -1)  # [k, out, in]
        if self.bias:
            joint = torch.cat([joint, columns[self.bias][..., None]], -1)
        found = self.left @ (self.left.T @ joint @ self.right / (self.values + extra)) @ self.right.T
        if not self.bias:
            return {self.weight: found.reshape(weight.shape)}
        return {self.weight: found[..., :-1].reshape(weight.shape), self.bias: found[..., -1]}


@dataclass(frozen=True)
class Rest:
    """The diagonal of the curvature at a parameter that is in no block, float64, summed over all rows."""

    name: str
    values: Tensor
    """Of the parameter's shape, >= 0."""

    def inverse(self, columns: Named, extra: float) -> Named:
        """(diagonal + extra)^-1 of tensors `[k, ...]` by name, for this parameter."""
        return {self.name: columns[self.name] / (self.values + extra)}


class Kronecker:
    """The basis of a network's curvature, and the eigenvalues in it of any training rows.

    Args:
        network: The model.
        rows: Training rows, of which all count for the basis.
        task: Whose loss.
        run: Its meter and progress, and its seed where something is drawn.
        draws: Slopes drawn for each row; 0 takes all. A row has the same ones whenever it is asked about, so that what
            is measured of some rows can be taken off what was measured of all.
    """

    def __init__(self, network: Network, rows: Rows, task: Task, run: Run, *, draws: int = 0) -> None:
        self.network, self.rows, self.task, self.run = network, rows, task, run
        self.signs = drawn_signs(len(rows), draws, task.width, run.seed) if draws else {}
        self.passes = Passes(network)
        self.passes.keep_single(rows.batch(np.arange(1), network.device)[0].to(network.dtype))
        measured = {name for layer in self.passes.layers for name in (layer.weight, layer.bias)}
        self.other = [name for name in network.parameters if name not in measured]
        """Names of the parameters in no block."""
        self.bases = self._bases()
        """U_B `[out, out]` and U_A `[in, in]` of each layer, float64."""

    def parts(self, at: Indices | None = None) -> list[Block | Rest]:
        """The curvature of the training rows at `at` `[n]`, by default all: blocks, and a diagonal for the rest."""
        where = np.arange(len(self.rows)) if at is None else at
        found: list[Block | Rest] = []
        for layer, (left, right), values in zip(self.passes.layers, self.bases, self._values(where), strict=True):
            found.append(Block(layer.weight, layer.bias, left, right, values))
        return found + [Rest(name, values) for name, values in self._diagonal(where).items()]

    def _bases(self) -> list[tuple[Tensor, Tensor]]:
        totals = [tuple(self._zeros(size, size) for size in layer.sizes) for layer in self.passes.layers]
        for part, x, y in self._batches(np.arange(len(self.rows)), "factors"):
            outputs = self.passes.outputs(x)
            for (_, total), a in zip(totals, self.passes.inputs(), strict=True):
                total += gram(a)
            for cotangent in self._cotangents("factors", part, outputs, y):
                self.run.meter.backward(ROLE, len(x))
                for (total, _), b in zip(totals, self.passes.slopes(outputs, cotangent), strict=True):
                    total += gram(b)
        return [(torch.linalg.eigh(theirs)[1], torch.linalg.eigh(ours)[1]) for theirs, ours in totals]

    def _values(self, at: Indices) -> list[Tensor]:
        """`[out, in]` the corrected eigenvalues of each layer, float64."""
        turns = [(left.to(self.network.dtype), right.to(self.network.dtype)) for left, right in self.bases]
        totals = [self._zeros(*layer.sizes) for layer in self.passes.layers]
        for part, x, y in self._batches(at, "eigenvalues"):
            outputs = self.passes.outputs(x)
            inputs = [a @ right for a, (_, right) in zip(self.passes.inputs(), turns, strict=True)]
            for cotangent in self._cotangents("eigenvalues", part, outputs, y):
                self.run.meter.backward(ROLE, len(x))
                slopes = self.passes.slopes(outputs, cotangent)
                for total, a, b, (left, _) in zip(totals, inputs, slopes, turns, strict=True):
                    total += squares(b @ left, a)
        return totals

    def _diagonal(self, at: Indices) -> Named:
        """The exact diagonal of the curvature, float64, at the parameters in no block."""
        if not self.other:
            return {}
        part = Network(self.network.model, device=self.network.device, dtype=self.network.dtype, only=self.other)
        total = torch.zeros(part.size, dtype=torch.float64, device=part.device)
        for _, x, y in part.batches(self.rows, at, gradients=self.task.width):
            self.run.meter.backward(ROLE, self.task.width * len(x))
            jacobian = part.jacobian(x).double()  # [rows, outputs, p]
            bent = derivatives(self.task, part.outputs(x), y)[1] @ jacobian
            total += (jacobian * bent).sum((0, 1))
        return part.named(total)

    def _cotangents(self, what: str, at: Indices, outputs: Tensor, y: Tensor) -> Iterator[Tensor]:
        """Cotangents c_1, ... `[rows, outputs]` of the rows at `at` `[rows]`: c c' sum to W, exactly or on average."""
        if not self.signs:
            yield from roots(self.task, outputs, y)
            return
        signs = self.signs[what][torch.as_tensor(at)].to(outputs)  # [rows, draws, outputs]
        root = symmetric_root(self.task, outputs, y) / signs.shape[1] ** 0.5
        yield from torch.einsum("ioc,idc->dio", root, signs)

    def _batches(self, at: Indices, what: str) -> Iterator[tuple[Indices, Tensor, Tensor]]:
        """Positions, inputs and labels of the rows at `at`, as many at once as the layers have room for."""
        if not self.passes.layers:
            return
        for start in range(0, len(at), self.passes.at_once):
            part = at[start : start + self.passes.at_once]
            x, y = self.rows.batch(part, self.network.device)
            yield part, x.to(self.network.dtype), y
            self.run.progress(f"{self.run.label}: {what}", start + len(part), len(at))

    def _zeros(self, rows: int, columns: int) -> Tensor:
        return torch.zeros(rows, columns, dtype=torch.float64, device=self.network.device)


def squares(b: Tensor, a: Tensor) -> Tensor:
    """`[out, in]` sum over rows of (sum over positions of b a')^2, float64.

    Args:
        b: `[rows, positions, out]`.
        a: `[rows, positions, in]`.
    """
    if a.shape[1] == 1:  # one product: the square of it is the product of the squares
        return (b[:, 0].square().T @ a[:, 0].square()).double()
    return (b.mT @ a).square().sum(0).double()


def gram(part: Tensor) -> Tensor:
    """Sum over rows and positions of p p', `[size, size]` float64, for p `[rows, positions, size]`."""
    flat = part.flatten(0, 1)
    return (flat.T @ flat).double()


def roots(task: Task, outputs: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Cotangents c_1, c_2, ... `[rows, outputs]` with sum of c c' = W of each row."""
    values, vectors = spectrum(task, outputs, y)
    scaled = (vectors * values.sqrt()[:, None]).to(outputs.dtype)
    largest = values.max(0).values  # [outputs], ascending; the first is zero where outputs count up to a constant
    for index in torch.nonzero(largest >= TINY * largest[-1])[:, 0].tolist():
        yield scaled[..., index]


def symmetric_root(task: Task, outputs: Tensor, y: Tensor) -> Tensor:
    """The root of W of each row, `[rows, outputs, outputs]`, that does not hang on which eigenvectors were found."""
    values, vectors = spectrum(task, outputs, y)
    return ((vectors * values.sqrt()[:, None]) @ vectors.mT).to(outputs.dtype)


def spectrum(task: Task, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues `[rows, outputs]`, ascending and >= 0, and eigenvectors `[rows, outputs, outputs]` of W, float64."""
    values, vectors = torch.linalg.eigh(derivatives(task, outputs.detach(), y)[1])
    return values.clamp(min=0), vectors


def drawn_signs(rows: int, draws: int, width: int, seed: int) -> dict[str, Tensor]:
    """`[rows, draws, width]` int8 of -1 and 1, for the factors and for the eigenvalues."""
    found = {}
    for what in ("factors", "eigenvalues"):
        drawn = numpy_generator(seed, f"signs/{what}").integers(0, 2, (rows, draws, width), dtype=np.int8)
        found[what] = torch.as_tensor(2 * drawn - 1)
    return found
