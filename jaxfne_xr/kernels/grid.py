"""Even grids whose points are the doubles nearest to exact numbers: sample times, frequencies.

``0.1`` is not a tenth in floating point, and ``3 * 0.1`` is not the double that someone types as ``0.3``. A step stands
for an exact number, a decimal of few digits or a simple fraction (`exact`), and each point of a grid is rounded once,
from the exact number.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import lcm, nextafter

import numpy as np

#: Significant digits of a decimal number that a computed one may stand for; a double distinguishes 15.
DIGITS = 12
#: Digits of the largest denominator of a fraction that a computed number may stand for: 1/30 ms, 10/441 ms.
MOST = 5
#: How many doubles a computed number may lie beside the one that is nearest to the number meant.
NEAR = 4
#: Up to here, integers are doubles without rounding.
_EXACT = 2**53


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
    if not a and below & (below - 1) == 0:
        return float(by) * k  # a step that is a double: the product is the only rounding
    # Python divides integers of any size with one rounding
    return np.array([(a + b * i) / below for i in range(length)], dtype=np.float64)
