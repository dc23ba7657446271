"""Even grids: each point is the double nearest to the exact number, by Python's fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfne_xr.kernels.grid import _in_pairs, exact, grid

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


#: Starts and steps whose numerators need more than 53 bits; sums of the last are halfway between doubles at each k.
LONG = [
    (0.0, np.pi),
    (1000.1, np.pi / 30),
    (-7 / 9 * np.pi, 1e-3 * np.e),
    (np.e * 1e-9, 0.1),
    (1e9 + 0.123456789123, 1 / 30000.3),
    (Fraction(1, 3), Fraction(10**20 + 1, 10**21)),
    (Fraction(-(2**60) - 1, 2**61), Fraction(2**60 + 1, 2**60)),
    (2.0**20 + 1 + 2.0**-33, 1.0),
    (2.0**-33 + 2.0**-31, 3.0),
    (np.pi * 1e-250, np.e * 1e-290),
]


@pytest.mark.parametrize(("start", "step"), LONG)
def test_numbers_of_many_digits_are_as_exact(start, step):
    first, by = (x if isinstance(x, Fraction) else exact(x) for x in (start, step))
    n = 1_200_000
    made = grid(start, step, n)
    for k in (range(3000), range(n // 2, n // 2 + 3000), range(n - 3000, n)):
        assert made[k].tolist() == [float(first + by * i) for i in k]


@given(
    st.fractions(-(10**6), 10**6, max_denominator=10**30),
    st.fractions(Fraction(1, 10**9), 10**4, max_denominator=10**30),
    st.integers(0, 10**6),
)
def test_any_fraction(first, step, begin):
    want = [float(first + step * k) for k in range(begin, begin + 30)]
    assert grid(first + step * begin, step, 30).tolist() == want


@given(st.integers(-(2**70), 2**70), st.integers(1, 2**70), st.integers(40, 80))
def test_any_dyadic_number(a, b, bits):
    first, step = Fraction(a, 2**bits), Fraction(b, 2**bits)
    assert grid(first, step, 50).tolist() == [float(first + step * k) for k in range(50)]


def test_a_hair_above_halfway_is_rounded_up():
    first = 1 + Fraction(1, 2**2000)
    assert grid(first, Fraction(2**53), 3).tolist() == [1.0, 2.0**53 + 2, 2.0**54]


def test_numbers_of_many_digits_take_no_loop():
    """Only where the nearest double is in doubt are Python's integers divided: at less than one in a hundred."""
    k = np.arange(1_200_000.0)
    for start, step in LONG[:-1]:
        first, by = (x if isinstance(x, Fraction) else exact(x) for x in (start, step))
        assert len(_in_pairs(first, by, k)[1]) < len(k) / 100
