"""Even grids whose points are the doubles nearest to exact numbers: sample times, frequencies.

``0.1`` is not a tenth in floating point, and ``3 * 0.1`` is not the double that someone types as ``0.3``. A step stands
for an exact number, a decimal of few digits or a simple fraction (`exact`), and each point of a grid is rounded once,
from the exact number.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import lcm, nextafter
from typing import Any

import numpy as np

#: Significant digits of a decimal number that a computed one may stand for; a double distinguishes 15.
DIGITS = 12
#: Digits of the largest denominator of a fraction that a computed number may stand for: 1/30 ms, 10/441 ms.
MOST = 5
#: How many doubles a computed number may lie beside the one that is nearest to the number meant.
NEAR = 4
#: Up to here, integers are doubles without rounding.
_EXACT = 2**53
#: Numbers of this size and their parts of the least significance are doubles of full precision.
_LEAST = 2.0**-800


@lru_cache(maxsize=4096)
def exact(value: float, slack: float = 0.0) -> Fraction:
    """Return the exact number that a computed one stands for.

    Parameters
    ----------
    value : float
        Finite.
    slack : float
        How far the number meant may be from `value`; at least a few roundings of `value` itself.

    Returns
    -------
    Fraction
        As close as that: the decimal number of the fewest digits, 12 at most, or the simplest fraction with a
        denominator of at most 10^5, whichever has fewer digits; else `value` itself, every bit of it.

    Examples
    --------
    >>> exact(0.1), exact(0.1 + 0.2), exact(1 / 30), exact(0.025 + 1e-9, slack=1e-8)
    (Fraction(1, 10), Fraction(3, 10), Fraction(1, 30), Fraction(1, 40))
    """
    slack = max(slack, NEAR * (nextafter(abs(value), float("inf")) - abs(value)))
    near = lambda number: abs(float(number) - value) <= slack
    decimals = ((n, Fraction(f"{value:.{n}g}")) for n in range(1, DIGITS + 1))
    fractions = (Fraction(value).limit_denominator(10**n) for n in range(1, MOST + 1))
    simplest = ((len(f"{f.numerator}{f.denominator}"), f) for f in fractions if f)
    # of each kind the first that is near enough has the fewest digits
    found = [next(((n, f) for n, f in kind if near(f)), None) for kind in (decimals, simplest)]
    return min((c for c in found if c), key=lambda c: c[0], default=(0, Fraction(value)))[1]


def grid(start: Fraction | float, step: Fraction | float, length: int) -> np.ndarray:
    """Compute the points of an even grid, each the double nearest to the exact one.

    Parameters
    ----------
    start, step : Fraction or float
        The first point and the distance of two; a float stands for the number that `exact` returns.
    length : int
        Number of points.

    Returns
    -------
    numpy array of float64 (length)
        ``start + k step`` for k = 0, 1, ..., rounded once.

    Examples
    --------
    >>> grid(0, 0.1, 4).tolist(), (0.1 * np.arange(4)).tolist()
    ([0.0, 0.1, 0.2, 0.3], [0.0, 0.1, 0.2, 0.30000000000000004])
    """
    first, by = (exact(x) if isinstance(x, float) else Fraction(x) for x in (start, step))
    below = lcm(first.denominator, by.denominator)
    a, b = int(first * below), int(by * below)
    k = np.arange(length, dtype=np.float64)
    if max(abs(a), abs(a + b * max(length - 1, 0)), abs(b) * length, below) <= _EXACT:
        # products, sums and divisors of integers up to 2^53 are exact: the division is the only rounding
        return (a + b * k) / below
    ends = [abs(x) for x in (first, by, first + by * length) if x]
    if all(_LEAST < x < 1 / _LEAST for x in ends):
        points, doubtful = _in_pairs(first, by, k)
    else:
        points, doubtful = k, np.arange(length)
    # Python divides integers of any size with one rounding
    points[doubtful] = [(a + b * i) / below for i in doubtful.tolist()]
    return points


def _in_pairs(first: Fraction, by: Fraction, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute ``first + by k``, and the indices where the result may not be the nearest double.

    Integers that do not fit into 53 bits would take a Python loop. Instead each exact number is the sum of two doubles,
    and the rounding errors of the large parts are computed exactly (Dekker, Numer Math 18:224, 1971). What is left out
    is bounded: where the sum rounds to the same double with the bound subtracted as with the bound added, it is right.
    """
    high = [float(first), float(by)]
    low = [float(x - Fraction(h)) for x, h in zip((first, by), high, strict=True)]
    product, beyond = _product(high[1], k)
    total, rest = _sum(high[0], product)
    rest, beyond = _sum(rest, beyond)
    left = rest + (beyond + (low[0] + low[1] * k))
    # Each of at most eight roundings is within 2^-53 of a term. Sums of two doubles without a remainder are exact, so
    # that halves are rounded as they should be: there may be one at every sample.
    terms = np.abs(rest) + np.abs(beyond) + abs(low[0]) + np.abs(low[1] * k)
    bound = np.where((beyond == 0) & ([first, by] == high), 0.0, 2.0**-49 * terms)
    points = total + (left - bound)
    return points, np.flatnonzero(points != total + (left + bound))


def _sum(a: np.ndarray | float, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rounded sum of doubles, and its error."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _product(a: float, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rounded product of doubles, and its error: products of halves of 26 bits are exact."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


def _halves(x: Any) -> tuple[Any, Any]:
    """Return two doubles of 26 bits with the sum x."""
    high = x * (2.0**27 + 1)
    high = high - (high - x)
    return high, x - high
