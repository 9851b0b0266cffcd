"""The dense and convolutional layers of a model, which note what passes them: inputs, slopes, and how these move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from expunge.attribution.ghost import Layer, Trace, product, sum_of
from expunge.errors import NeedsError

MIXED = 1e-3
"""Change of an output beside another row that rounding does not explain."""
REMEDY = (
    "the built-in models linear, mlp and cnn can be watched, and any other of dense and convolutional layers; the "
    "estimators that need no training run, such as influence, take more kinds"
)


class Layers:
    """A model's layers, which note what passes them. Use it as a context: the model is as before afterwards.

    Args:
        model: Of dense and convolutional layers, each passed once; anything without parameters may stand between.

    Raises:
        NeedsError: a parameter belongs to another kind of layer or to two of them, or batch normalisation mixes rows.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.names, self.layers = zip(*_found(model).items(), strict=True)
        self.one_mode = all(map(_same_in_both_modes, model.modules()))
        """Whether the model works alike in training and in evaluation mode."""
        self._inputs: dict[int, Tensor] = {}
        self._edges: dict[int, GradientEdge] = {}

    def __enter__(self) -> Layers:
        """Begin to note."""
        self._hooks = [layer.register_forward_hook(partial(self._note, at)) for at, layer in enumerate(self.layers)]
        return self

    def __exit__(self, *error: object) -> None:
        """Note no more."""
        for hook in self._hooks:
            hook.remove()
        self._inputs, self._edges = {}, {}

    def _note(self, at: int, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if at in self._inputs:
            raise NeedsError(f"layer {self.names[at]} is passed twice in one forward pass", hint=REMEDY)
        # the edge and not the output: an activation that works in place would put its own result there
        self._inputs[at], self._edges[at] = inputs[0], get_gradient_edge(output)

    def forward(self, x: Tensor) -> Tensor:
        """The model's outputs `[rows, outputs]` for x `[rows, ...]`; what was noted before is forgotten.

        Raises:
            NeedsError: a layer is passed twice, or not at all.
        """
        self._inputs, self._edges = {}, {}
        outputs: Tensor = self.model(x)
        if len(self._inputs) < len(self.layers):
            name = next(name for at, name in enumerate(self.names) if at not in self._inputs)
            raise NeedsError(f"layer {name} is not passed, though the model has it", hint=REMEDY)
        return outputs

    @torch.no_grad()
    def check_apart(self, x: Tensor) -> None:
        """No row of the model's input changes another row's output; to be asked before it begins to note.

        Args:
            x: `[rows, ...]` some inputs.

        Raises:
            NeedsError: a row's output depends on what stands beside it.
        """
        training = self.model.training
        self.model.eval()
        alone, beside = self.model(x[:1]), self.model(torch.cat([x[:1], 1 - x[:1]]))[:1]
        self.model.train(training)
        if not torch.allclose(alone, beside, rtol=MIXED, atol=MIXED):
            raise NeedsError(
                f"the model mixes the rows of a batch: outputs move by {float((alone - beside).abs().max()):.3g}",
                hint=REMEDY,
            )

    def traces(self, measured: Tensor) -> list[Trace]:
        """What each layer saw in the last forward pass.

        Args:
            measured: A scalar, the sum over rows of what is measured.
        """
        every = range(len(self.layers))
        slopes = torch.autograd.grad(measured, [self._edges[at] for at in every])
        return [Trace(self._inputs[at], slopes[at]) for at in every]

    def moves(self, x: Tensor, measure: Callable[[Tensor], Tensor], direction: Mapping[str, Tensor]) -> list[Trace]:
        """How fast each layer's inputs and slopes change while the parameters move along a direction.

        One forward and one backward pass in dual numbers, for all rows together.

        Args:
            x: `[rows, ...]`.
            measure: Outputs `[rows, outputs]` -> what is measured, summed over rows.
            direction: Parameter name -> tensor of its shape.
        """
        with torch.enable_grad(), forward_ad.dual_level():
            dual = {
                name: forward_ad.make_dual(parameter, direction[name])  # type: ignore[no-untyped-call]
                for name, parameter in self.model.named_parameters()
            }
            self._inputs, self._edges = {}, {}
            traces = self.traces(measure(functional_call(self.model, dual, (x,))))
            return [Trace(_tangent(trace.inputs), _tangent(trace.slopes)) for trace in traces]

    def collect(self, ours: Sequence[Trace], theirs: Sequence[Trace]) -> Tensor:
        """Set the gradient of every parameter to that of our rows, summed; and compare each row's with the others'.

        Both layer by layer, while a layer's numbers are at hand in the processor.

        Args:
            ours: Of each layer, `rows` rows.
            theirs: Of each layer, `others` rows.

        Returns:
            `[rows, others]` inner products of the gradients by all parameters, float32.
        """
        found = []
        for layer, one, other in zip(self.layers, ours, theirs, strict=True):
            weight, bias = _gradient(layer, one.inputs.to(one.slopes.dtype), one.slopes)
            layer.weight.grad = weight.to(layer.weight.dtype)
            if layer.bias is not None:
                layer.bias.grad = bias.to(layer.bias.dtype)
            found.append(product(layer, one, other, bias=layer.bias is not None))
        return sum_of(found)

    def tangent_products(self, ours: Sequence[Trace], theirs: Sequence[Trace], moves: Sequence[Trace]) -> Tensor:
        """`[rows, others]` inner products of our gradients with the change of theirs along a direction, float32.

        The gradient b a' changes by db a' + b da'.

        Args:
            ours: Of each layer, `rows` rows.
            theirs: Of each layer, `others` rows.
            moves: How fast the inputs and slopes of `theirs` change.
        """
        found = []
        for layer, one, other, move in zip(self.layers, ours, theirs, moves, strict=True):
            found += [
                product(layer, one, Trace(other.inputs, move.slopes), bias=layer.bias is not None),
                product(layer, one, Trace(move.inputs, other.slopes), bias=False),
            ]
        return sum_of(found)


def _tangent(part: Tensor) -> Tensor:
    """The speed that a dual number carries; zeros where it stands still."""
    speed: Tensor | None = forward_ad.unpack_dual(part).tangent  # type: ignore[no-untyped-call]
    return torch.zeros_like(part) if speed is None else speed


def _gradient(layer: Layer, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients by weight and bias, summed over rows, as training computes them."""
    if isinstance(layer, nn.Linear):
        slopes = b.reshape(-1, b.shape[-1])
        return slopes.T @ a.reshape(-1, a.shape[-1]), slopes.sum(0)
    wanted = [False, True, layer.bias is not None]
    settings = (layer.stride, layer.padding, layer.dilation, False, [0, 0], layer.groups, wanted)
    weight = layer.weight.detach().to(b.dtype)
    found = torch.ops.aten.convolution_backward(b, a, weight, [len(weight)], *settings)
    return found[1], found[2]


def _found(model: nn.Module) -> dict[str, Layer]:
    """Every dense and convolutional layer by name, once nothing else has parameters."""
    found: dict[str, Layer] = {}
    owners: dict[nn.Parameter, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, _NormBase) and not isinstance(module, _InstanceNorm):
            raise NeedsError(
                f"layer {name} ({type(module).__name__}) mixes the rows of a batch: no gradient belongs to one row",
                hint=REMEDY,
            )
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        # exactly these kinds: a subclass may do something else with its weight
        if type(module) not in (nn.Linear, nn.Conv2d):
            raise NeedsError(
                f"layer {name or 'at the top'} ({type(module).__name__}): expected parameters in nn.Linear and "
                "nn.Conv2d alone",
                hint=REMEDY,
            )
        if isinstance(module, nn.Conv2d) and (module.padding_mode != "zeros" or isinstance(module.padding, str)):
            raise NeedsError(
                f"layer {name}: expected zeros as padding, in numbers; got {module.padding!r}, {module.padding_mode}",
                hint="nn.Conv2d(..., padding=1)",
            )
        for parameter in own:
            if parameter in owners:
                raise NeedsError(f"layers {owners[parameter]} and {name} share a parameter", hint=REMEDY)
            owners[parameter] = name
        found[name] = module
    if not found:
        raise NeedsError("expected a model with dense or convolutional layers, got one without parameters")
    return found


def _same_in_both_modes(module: nn.Module) -> bool:
    """Whether a module is torch's own and no dropout of any kind; of others nothing is known."""
    random = isinstance(module, _DropoutNd | nn.RReLU)
    return type(module).__module__.startswith("torch.nn.modules.") and not random
