"""The one-run audit: its two check values, and the seconds of both."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from benchmarks.clock import seconds, threads
from benchmarks.figure import Figure, Options
from expunge.audit.one_run import lower_bound

CHECKS = (((1000, 1000, 620), 0.3803), ((1000, 200, 195), 2.8994))
"""Canaries, guesses and right ones; the epsilon that delta = 1e-5 and alpha = 0.05 give, to four digits."""


def measure(options: Options) -> Iterator[Figure]:
    """The difference to each check value, and the seconds of both bounds."""
    with threads(1):
        runs = [seconds(bounds) for _ in range(options.times)]
    yield Figure(what="one_run, lower bounds of both check values, one core", measured=median(runs), unit="s")
    for ((canaries, guesses, correct), expected), found in zip(CHECKS, bounds(), strict=True):
        what = f"  {canaries} canaries, {correct} of {guesses} guesses right: difference to {expected}, nats"
        yield Figure(what=what, measured=abs(found - expected), most=1e-4)


def bounds() -> list[float]:
    """The bound of each check."""
    return [lower_bound(*case, delta=1e-5, alpha=0.05) for case, _ in CHECKS]
