"""Duel: the ordinary step of adversarial training, and what every GAN method needs around it.

Source:     Goodfellow et al., NeurIPS 2014, arXiv:1406.2661, with its non-saturating loss of the generator.
Objective:  min_D  mean softplus(-D(x)) + mean softplus(D(G(z)))        min_G  mean softplus(-D(G(z)))

It owns both optimisers, the latents, the guard against non-finite numbers and the counting of visits. A visit is one
row through one net; those of the two nets are counted apart. The seed, the role and the number of the step decide
the latents, so that a training that was stopped goes on exactly as it would have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from expunge.errors import DivergedError
from expunge.gan.nets import Generator
from expunge.gan.pair import Pair
from expunge.gan.recipe import GanRecipe
from expunge.gan.run import GanRun
from expunge.seeds import generator
from expunge.training import Batch, set_mode

VISITS = 13 / 3
"""Visits of one row in an ordinary step: four with a gradient, and a third of one without."""
Labels = Tensor | None
More = Callable[[], Tensor] | None


class Duel:
    """One pair and its two optimisers.

    Args:
        pair: Moved in place: a method passes its own copy.
        recipe: Whose Adam both nets step by.
        run: Seed, device and meter.
        role: What the latents are drawn for; two duels of one run draw different ones.
        lr: Step size; None takes the recipe's.
        average: Decay of the moving average of the generator, in [0, 1); 0 for none.
        watched: Whether who watches the run is shown its pair after each step.
    """

    def __init__(
        self,
        pair: Pair,
        recipe: GanRecipe,
        run: GanRun,
        *,
        role: str,
        lr: float | None = None,
        average: float = 0.0,
        watched: bool = False,
    ) -> None:
        self.pair, self.recipe, self.run, self.role, self.watched = pair.to(run.device), recipe, run, role, watched
        self.average = (
            AveragedModel(pair.generator, multi_avg_fn=get_ema_multi_avg_fn(average), use_buffers=True)  # type: ignore[no-untyped-call]
            if average
            else None
        )
        rate = recipe.lr if lr is None else lr
        betas = (recipe.beta, 0.999)
        self.of_generator = torch.optim.Adam(pair.generator.parameters(), lr=rate, betas=betas)
        self.of_discriminator = torch.optim.Adam(pair.discriminator.parameters(), lr=rate, betas=betas)
        self.step = 0

    def latents(self, count: int) -> Tensor:
        """The latents `[count, latent]` of this step; a second call repeats them."""
        source = generator(self.run.seed, f"duel/{self.role}", self.step)
        return torch.randn(count, self.pair.generator.latent, generator=source).to(self.run.device)

    def labels(self, batch: Batch) -> Labels:
        """The labels that a conditional pair is told, None for an unconditional one."""
        return batch.y if self.recipe.classes else None

    def learn(
        self, batch: Batch, *, of_real: float = 1.0, of_fakes: float = 1.0, more: More = None, penalty: More = None
    ) -> float:
        """One ordinary step of both nets on real rows; returns the discriminator's loss plus the generator's.

        Args:
            batch: Real rows.
            of_real: Weight of the discriminator's loss on them.
            of_fakes: Weight of its loss on fakes.
            more: Is added to the discriminator's loss: a function, called when both nets are in training mode; its own
                visits are counted by who gives it.
            penalty: Likewise for the generator's.
        """
        self.training()
        y, n = self.labels(batch), len(batch)
        z = self.latents(n)
        with torch.no_grad():
            fake = self.pair.generator(z, y)
        self.run.meter.forward("generator/fake", n)
        seen, made = self.pair.discriminator(batch.x, y), self.pair.discriminator(fake, y)
        loss = of_real * real(seen) + of_fakes * unreal(made)
        first = self.move_discriminator(loss + more() if more else loss, {batch.role: n, "fake": n})
        loss = real(self.pair.discriminator(self.pair.generator(z, y), y))
        second = self.move_generator(loss + penalty() if penalty else loss, {"fake": n})
        self.run.meter.backward("discriminator/through", n)  # the generator's gradient passes through it
        self.passed()
        return first + second

    def passed(self) -> None:
        """Count a finished step; the average follows."""
        self.step += 1
        if self.average is not None:
            self.average.update_parameters(self.pair.generator)
        if self.watched:
            self.run.watch(self.step, self.finished)

    def finished(self) -> Pair:
        """The pair to keep, in evaluation mode: with the averaged generator where there is one that has taken a step.

        Raises:
            DivergedError: a weight is not finite.
        """
        pair = self.pair
        if self.average is not None and self.step:
            pair = Pair(cast(Generator, self.average.module), pair.discriminator)
        for net in (pair.generator, pair.discriminator):
            if not all(bool(p.isfinite().all()) for p in net.parameters()):
                raise DivergedError(f"weights are not finite after {self.step} steps", hint="lower lr")
        return pair.eval()

    def move_discriminator(self, loss: Tensor, rows: dict[str, int]) -> float:
        """One step of the discriminator down a loss; `rows` is role -> how many rows went through it."""
        return self._move(loss, self.of_discriminator, "discriminator", rows)

    def move_generator(self, loss: Tensor, rows: dict[str, int]) -> float:
        """One step of the generator down a loss; the discriminator gets no gradient from it that is used."""
        return self._move(loss, self.of_generator, "generator", rows)

    def training(self) -> None:
        """Both nets as in training: batch statistics are used and updated."""
        set_mode(self.pair.generator, "running")
        set_mode(self.pair.discriminator, "running")

    def still(self) -> None:
        """Both nets with their normalisation as in use, for steps whose batches are no fair sample."""
        set_mode(self.pair.generator, "frozen")
        set_mode(self.pair.discriminator, "frozen")

    def _move(self, loss: Tensor, optimizer: torch.optim.Adam, net: str, rows: dict[str, int]) -> float:
        value = float(loss.detach())
        if not loss.detach().isfinite():
            raise DivergedError(
                f"the {net}'s loss became {value} at step {self.step}; the original pair is untouched",
                hint="lower lr, or bound the objective",
            )
        self.of_generator.zero_grad(set_to_none=True)
        self.of_discriminator.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        for role, count in rows.items():
            self.run.meter.backward(f"{net}/{role}", count)
        return value


def real(logits: Tensor) -> Tensor:
    """Mean loss where "real" is the right answer, in nats; logits `[n]`."""
    return functional.softplus(-logits).mean()


def unreal(logits: Tensor) -> Tensor:
    """Mean loss where "not real" is the right answer, in nats; logits `[n]`."""
    return functional.softplus(logits).mean()


def towards(logits: Tensor, label: float) -> Tensor:
    """Mean binary cross-entropy towards a label between 0 ("not real") and 1 ("real"), in nats; logits `[n]`.

    Example:
        >>> round(float(towards(torch.zeros(3), 0.25)), 4)  # ln 2, whatever the label
        0.6931
    """
    return label * real(logits) + (1 - label) * unreal(logits)
