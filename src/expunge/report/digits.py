"""How numbers are written, in the terminal and on the page alike: plain ASCII, sensible digits."""

from __future__ import annotations

import math
from collections.abc import Iterable

ABSENT = "-"
"""Stands where there is no number."""


def fixed(value: float | None, digits: int) -> str:
    """The value with that many decimals; zero never has a sign.

    Example:
        >>> fixed(0.6951, 2), fixed(-0.001, 2), fixed(None, 2)
        ('0.70', '0.00', '-')
    """
    if value is None:
        return ABSENT
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def gap(value: float | None, reference: float | None, digits: int = 3) -> str:
    """The signed difference in brackets, empty where one of them is absent.

    Example:
        >>> gap(0.91, 0.88), gap(0.85, 0.88), gap(0.88, 0.88), gap(0.88, None)
        ('(+0.030)', '(-0.030)', '(0.000)', '')
    """
    if value is None or reference is None:
        return ""
    text = fixed(value - reference, digits)
    sign = "" if text.startswith("-") or float(text) == 0 else "+"
    return f"({sign}{text})"


def decimals(values: Iterable[float | None], least: int = 2, most: int = 4) -> int:
    """Decimals for a column, so that its smallest number keeps two significant digits.

    Example:
        >>> decimals([5.1, 0.7]), decimals([0.31, 0.0042]), decimals([])
        (2, 4, 2)
    """
    sizes = [abs(value) for value in values if value]
    if not sizes:
        return least
    return min(max(1 - math.floor(math.log10(min(sizes))), least), most)


def share(fraction: float | None) -> str:
    """A fraction in percent, two or three digits.

    Example:
        >>> [share(part) for part in (1.0, 0.1234, 0.0456, 0.004, 0.00001, 0.0, None)]
        ['100%', '12%', '4.6%', '0.40%', '<0.01%', '0%', '-']
    """
    if fraction is None:
        return ABSENT
    percent = 100 * fraction
    if percent == 0:
        return "0%"
    if percent < 0.005:
        return "<0.01%"
    digits = 0 if percent >= 9.95 else 1 if percent >= 0.995 else 2
    return f"{percent:.{digits}f}%"


def seconds(value: float | None) -> str:
    """Seconds, with decimals only where they say something.

    Example:
        >>> [seconds(time) for time in (0.0213, 3.14159, 42.42, 1234.5, 0.001, None)]
        ['0.02', '3.14', '42.4', '1234', '<0.01', '-']
    """
    if value is None:
        return ABSENT
    if 0 < value < 0.005:
        return "<0.01"
    return f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def count(value: float | None) -> str:
    """A whole number with separators.

    Example:
        >>> count(30510.0)
        '30,510'
    """
    return ABSENT if value is None else f"{value:,.0f}"


def span(pair: Iterable[float | None] | None, digits: int) -> str:
    """An interval.

    Example:
        >>> span([4.8, 5.4], 2), span(None, 2), span([None, None], 2)
        ('4.80 to 5.40', '-', '-')
    """
    ends = list(pair or [])
    if len(ends) != 2 or None in ends:
        return ABSENT
    return f"{fixed(ends[0], digits)} to {fixed(ends[1], digits)}"


def loose(value: object) -> str:
    """Any setting or fact as short text: floats lose their noise, the rest is as it is.

    Example:
        >>> loose(9.1034), loose(True), loose("adam"), loose(1e-05), loose(128.0)
        ('9.1', 'True', 'adam', '1e-05', '128')
    """
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else count(value)
