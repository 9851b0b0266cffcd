"""`descend`: the one gradient loop. Training from scratch and every gradient-based method go through it.

It owns what is the same for all of them: the optimiser on exactly the given parameters, precision, gradient
clipping, the guard against non-finite numbers, the policy for normalisation statistics, the cost meter and
progress. What differs (which rows, which loss, which weights are held) is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from expunge.errors import ConfigError, DivergedError, check
from expunge.seeds import generator, lent
from expunge.training.augment import AUGMENTATIONS
from expunge.training.optim import SCHEDULES, optimizer, rate, set_rate
from expunge.training.run import Run
from expunge.training.stream import Batch, Stream

STATISTICS = ("frozen", "running")


def descend(
    model: nn.Module,
    stream: Stream,
    objective: Callable[..., Tensor],
    *,
    run: Run,
    lr: float,
    optimizer_name: str = "sgd",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: str | Callable[[int], float] = "constant",
    clip: float | None = None,
    parameters: Iterable[nn.Parameter] | None = None,
    statistics: str = "frozen",
    augmentation: tuple[str, ...] = (),
    after_step: Callable[[int], bool | None] | None = None,
) -> nn.Module:
    """Walk `model` down `objective` over `stream`, in place, and return it in evaluation mode.

    Args:
        model: Moved in place: a method passes its own copy.
        stream: What each step sees; its length drives the schedule.
        objective: Called with the step's batches (one argument each); returns the scalar loss.
        run: Device, precision, seed, meter and progress.
        lr: Step size at factor 1 of the schedule, > 0.
        optimizer_name: "sgd", "adam" or "adamw".
        momentum: Of "sgd".
        weight_decay: L2 coefficient, >= 0.
        schedule: "constant", "cosine", "linear" or "triangle", or a function from the step (from 0) to the
            factor on `lr`, for steps that the name of a curve does not describe.
        clip: Largest gradient norm, > 0, or None.
        parameters: What may move, by default every parameter; the rest gets no gradient at all.
        statistics: "frozen" leaves running statistics of normalisation layers alone and normalises with
            them; "running" uses and updates batch statistics, as in training.
        augmentation: Names applied to every batch, in order.
        after_step: Called with the step's number after each step (masks, projections); True stops.

    Raises:
        DivergedError: the loss or a weight is not finite; names the step.
        ConfigError: an option has no such value.
    """
    check("schedule", schedule, f"one of {', '.join(SCHEDULES)}", callable(schedule) or schedule in SCHEDULES)
    check("statistics", statistics, f"one of {', '.join(STATISTICS)}", statistics in STATISTICS)
    check("clip", clip, "> 0 or None", clip is None or clip > 0)
    moving = list(model.parameters() if parameters is None else parameters)
    if not moving:
        raise ConfigError("parameters: expected at least one tensor to train, got none")
    model.to(run.device)
    done = 0
    with _only(model, moving), lent(run.dropout):
        set_mode(model, statistics)
        chosen = optimizer(optimizer_name, moving, lr=lr, momentum=momentum, weight_decay=weight_decay)
        for step, batches in enumerate(stream.load(run.device)):
            batches = _augmented(batches, augmentation, run, step)
            factor = schedule(step) if callable(schedule) else rate(schedule, step, len(stream))
            set_rate(chosen, lr * factor)
            chosen.zero_grad(set_to_none=True)
            with run.autocast():
                loss = objective(*batches)
            loss.backward()  # type: ignore[no-untyped-call]
            if clip is not None:
                nn.utils.clip_grad_norm_(moving, clip)
            _guard(loss, step, lr)
            chosen.step()
            for batch in batches:
                run.meter.backward(batch.role, len(batch))
            run.note(step, len(stream), float(loss.detach()))
            done = step + 1
            if after_step is not None and after_step(step):
                break
    if not all(bool(p.isfinite().all()) for p in moving):
        raise DivergedError(f"weights are not finite after {done} steps", hint=f"lower lr from {lr:g}")
    return model.eval()


def set_mode(model: nn.Module, statistics: str) -> None:
    """Training mode; with "frozen" statistics, normalisation layers stay in evaluation mode."""
    model.train()
    if statistics == "frozen":
        for module in model.modules():
            if isinstance(module, _NormBase):
                module.eval()


def hold_outside(model: nn.Module, masks: dict[str, Tensor]) -> Callable[[int], None]:
    """An after-step hook that puts weights outside their mask back to where they are now.

    Masking gradients alone is not enough: momentum and weight decay move weights whose gradient is zero.

    Args:
        model: Whose named parameters are held.
        masks: Name -> bool tensor of the parameter's shape, true where it may move.
    """
    start = {name: p.detach().clone() for name, p in model.named_parameters() if name in masks}
    named = dict(model.named_parameters())

    @torch.no_grad()
    def put_back(step: int) -> None:
        for name, mask in masks.items():
            named[name].copy_(torch.where(mask, named[name], start[name]))

    return put_back


def _only(model: nn.Module, moving: list[nn.Parameter]) -> AbstractContextManager[None]:
    """Gradients for `moving` alone while the context lasts."""
    keep = {id(p) for p in moving}
    if all(id(p) in keep and p.requires_grad for p in model.parameters()):
        return nullcontext()
    return _Frozen([p for p in model.parameters() if id(p) not in keep], moving)


class _Frozen(AbstractContextManager[None]):
    """Sets requires_grad off for `still` and on for `moving`, and restores both."""

    def __init__(self, still: list[nn.Parameter], moving: list[nn.Parameter]) -> None:
        self.before = [(p, p.requires_grad) for p in [*still, *moving]]
        self.wanted = [(p, False) for p in still] + [(p, True) for p in moving]

    def __enter__(self) -> None:
        for p, flag in self.wanted:
            p.requires_grad_(flag)

    def __exit__(self, *error: object) -> None:
        for p, flag in self.before:
            p.requires_grad_(flag)


def _augmented(batches: tuple[Batch, ...], names: tuple[str, ...], run: Run, step: int) -> tuple[Batch, ...]:
    """The batches with each augmentation applied to their inputs."""
    if not names:
        return batches
    source = generator(run.seed, "augment", step)
    changed = []
    for batch in batches:
        x = batch.x
        for name in names:
            x = AUGMENTATIONS[name](x, source)
        changed.append(Batch(x, batch.y, batch.indices, batch.role))
    return tuple(changed)


def _guard(loss: Tensor, step: int, lr: float) -> None:
    if not bool(loss.detach().isfinite()):
        raise DivergedError(
            f"the loss became {float(loss.detach())} at step {step}; the original model is untouched",
            hint=f"lower lr from {lr:g}, or bound the objective",
        )
