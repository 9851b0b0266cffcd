"""One explicit random generator per purpose, derived by hashing (root seed, role, index).

Roles never share a stream: the order in which retain rows are drawn does not change because a method also
draws forget rows, and a gold model never shares its initialisation with an original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(seed: int, role: str, index: int = 0) -> int:
    """A 63-bit seed for one purpose.

    Args:
        seed: Root seed, any integer.
        role: What the randomness is for, such as "init" or "order".
        index: Which of several, such as the epoch.

    Example:
        >>> derive(0, "init") != derive(0, "order")
        True
    """
    digest = hashlib.sha256(f"{seed}/{role}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, role: str, index: int = 0) -> torch.Generator:
    """A CPU generator for one purpose; CPU on every device, so that a GPU draws the same rows."""
    return torch.Generator().manual_seed(derive(seed, role, index))


def numpy_generator(seed: int, role: str, index: int = 0) -> np.random.Generator:
    """A NumPy generator for one purpose."""
    return np.random.default_rng(derive(seed, role, index))


@contextmanager
def lent(source: torch.Generator) -> Iterator[None]:
    """Lend `source` to code that only knows torch's global generator (layer initialisers, dropout).

    Inside, the global CPU generator is in the state of `source`; afterwards `source` has advanced and the
    global generator is as before, so a caller's own random numbers are not disturbed.
    """
    before = torch.get_rng_state()
    torch.set_rng_state(source.get_state())
    try:
        yield
    finally:
        source.set_state(torch.get_rng_state())
        torch.set_rng_state(before)
