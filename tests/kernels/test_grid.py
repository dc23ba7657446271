"""Even grids: each point is the double nearest to the exact number, by Python's fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfne_xr.kernels.grid import exact, grid

DECIMALS = [
    "0.1",
    "0.025",
    "0.2",
    "0.0125",
    "1e-3",
    "0.7",
    "0.0333",
    "0.04096",
    "2.5e-5",
    "3",
    "0.123456789",
]


@pytest.mark.parametrize("start", ["0", "-50", "0.3", "1000.1", "1e5"])
def test_points_are_the_nearest_doubles(start):
    for step in DECIMALS:
        want = [float(Fraction(start) + Fraction(step) * k) for k in range(1000)]
        assert grid(float(start), float(step), 1000).tolist() == want, step


def test_long_grids_are_as_exact():
    for step in ("0.025", "0.1", "0.0333"):
        k = np.arange(999_000, 1_000_000)
        want = [float(Fraction(step) * int(i)) for i in k]
        assert grid(0, float(step), 1_000_000)[k].tolist() == want


@given(st.integers(1, 10**9), st.integers(0, 9), st.integers(-(10**6), 10**6), st.integers(1, 60))
def test_any_decimal(digits, places, start, length):
    step = Fraction(digits, 10**places)
    first = Fraction(start, 1000)
    want = [float(first + step * k) for k in range(length)]
    assert grid(float(first), float(step), length).tolist() == want


@pytest.mark.parametrize("rate", [30.0, 44.1, 24.4140625, 22.05, 3.0, 7.0, 32.0, 10.0])
def test_a_rate_stands_for_a_fraction(rate):
    assert exact(1 / rate) == 1 / Fraction(str(rate))


def test_what_a_computed_number_stands_for():
    assert exact(0.1 + 0.2) == Fraction(3, 10)
    assert exact(3e-4 * 1000) == Fraction(3, 10)
    assert exact(1e-4 * 1e3) == Fraction(1, 10)
    assert exact(np.pi) == Fraction(np.pi)  # nothing simple: every bit of it
    assert exact(0.1 + 1e-12) == Fraction("0.100000000001")
    assert exact(float(np.float32(0.1)), slack=1e-8) == Fraction(1, 10)
    assert exact(0.0) == 0


def test_no_and_few_points():
    assert grid(0, 0.1, 0).shape == (0,)
    assert grid(0.3, 0.1, 1).tolist() == [0.3]
