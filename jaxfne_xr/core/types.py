"""Types for signatures: what an argument may be, and the unit of a bare number.

The names are aliases: `help` and editors show them as written, and mypy checks what they stand for. A bare number is
taken to be in the unit named here; a string with a unit (``"50 um"``) or a quantity, of pint or another library, is
converted to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import jax
import numpy as np


class Quantity(Protocol):
    """A number or an array with a unit, as pint's; a protocol, since pint is imported only when it is first needed."""

    @property
    def magnitude(self) -> Any:
        """The bare number or array."""

    @property
    def units(self) -> Any:
        """The unit of the magnitude."""


#: One number in the unit that the parameter's description names.
Scalar: TypeAlias = float | str | Quantity | jax.Array | np.ndarray | np.generic
#: One number, ms.
Time: TypeAlias = Scalar
#: One number, um.
Length: TypeAlias = Scalar
#: One number, Hz.
Frequency: TypeAlias = Scalar
#: One number, mV.
Voltage: TypeAlias = Scalar
#: One number, S/m.
Conductivity: TypeAlias = Scalar
#: One number, or several.
Scalars: TypeAlias = Scalar | Sequence[Scalar]
#: First and last.
Interval: TypeAlias = tuple[Scalar, Scalar]
#: Start and stop, ms; None for that end of the data.
Window: TypeAlias = tuple[Time | None, Time | None]
#: The lowest and the highest frequency of each band, Hz.
Bands: TypeAlias = Mapping[str, tuple[Frequency, Frequency]]

#: An array of NumPy, JAX or dask, bare or in a quantity. These have no common type that mypy knows.
Array: TypeAlias = Any
#: What NumPy makes an array of: an array of any kind, or numbers in nested sequences.
ArrayLike: TypeAlias = Any

#: A provenance, or one of its steps, as read from JSON.
Record: TypeAlias = Mapping[str, Any]
