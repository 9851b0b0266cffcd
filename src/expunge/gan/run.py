"""GanRun: a run that can be looked at on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from expunge.gan.pair import Pair
from expunge.training import Run

Watch = Callable[[int, Callable[[], Pair]], None]
"""Called after each step with its number and a function that gives the pair as it would be kept then."""


Swaps = tuple[Tensor | None, Tensor | None, Tensor | None]


def unwatched(step: int, pair: Callable[[], Pair]) -> None:
    """Look at nothing."""


@dataclass
class GanRun(Run):
    """A run of a GAN method."""

    watch: Watch = unwatched
    swaps: Swaps = (None, None, None)
    """Set by a method that maps latents to other pictures: latents, labels, pictures that shall be drawn."""

    def warn(self, text: str) -> None:
        """Note a sentence for people; several stand one behind the other."""
        before = self.notes.get("warning")
        self.notes["warning"] = f"{before}; {text}" if before else text
