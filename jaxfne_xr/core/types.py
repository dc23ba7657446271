"""Types for signatures: what an argument may be, and the unit of a bare number.

The names are aliases: `help` and editors show them as written, mypy checks what they stand for, and `arguments.public`
checks the arguments of public functions by what is added to them with `Annotated`. A bare number is taken to be in the
unit named here; a string with a unit (``"50 um"``) or a quantity, of pint or another library, is converted to it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeAlias

import jax
import numpy as np
import xarray as xr

from .errors import DimensionError, JfneError, TimeAxisError


@dataclass(frozen=True)
class Number:
    """One real number.

    Attributes
    ----------
    unit : str or None
        The unit of a bare number, to which others are converted; None if it depends on the data.
    finite : bool
        Whether NaN and Inf are refused.
    error : type of JfneError, optional
        The error of anything else.
    ratio_of : str, optional
        Another unit that numbers may have, of which only the ratios count: a direction may be given as lengths.
    """

    unit: str | None = None
    finite: bool = True
    error: type[JfneError] | None = None
    ratio_of: str | None = None


@dataclass(frozen=True)
class Numbers(Number):
    """One real number, or several; in a list, tuple or array, bare or with a unit."""


@dataclass(frozen=True)
class Numeric:
    """An array of numbers or booleans of any library, or nested sequences of them; real numbers, if `real`."""

    real: bool = True


@dataclass(frozen=True)
class Whole:
    """A whole number of at least `least`."""

    least: int = 1


@dataclass(frozen=True)
class Unit:
    """A unit: a text, or an object of pint."""


@dataclass(frozen=True)
class Unchecked:
    """Anything: the function checks the argument itself, since it has more to say than its type."""


@dataclass(frozen=True)
class Example:
    """What to type in place of an argument that is not accepted, and its error."""

    code: str
    error: type[JfneError] | None = None


class Quantity(Protocol):
    """A number or an array with a unit, as pint's; a protocol, since pint is imported only when it is first needed."""

    @property
    def magnitude(self) -> Any:
        """The bare number or array."""

    @property
    def units(self) -> Any:
        """The unit of the magnitude."""


#: One number in the unit that the parameter's description names.
Scalar: TypeAlias = Annotated[
    float | str | Quantity | jax.Array | np.ndarray | np.generic, Number()
]
#: One number, ms.
Time: TypeAlias = Annotated[Scalar, Number("ms")]
#: The interval between samples, ms.
TimeStep: TypeAlias = Annotated[Scalar, Number("ms", error=TimeAxisError)]
#: One number, um.
Length: TypeAlias = Annotated[Scalar, Number("um")]
#: One number, Hz.
Frequency: TypeAlias = Annotated[Scalar, Number("Hz")]
#: One number, mV.
Voltage: TypeAlias = Annotated[Scalar, Number("mV")]
#: One number, S/m.
Conductivity: TypeAlias = Annotated[Scalar, Number("S/m")]
#: One number without a unit.
Ratio: TypeAlias = Annotated[float, Number("1")]
#: One number, or several.
Scalars: TypeAlias = Annotated[Scalar | Sequence[Scalar], Numbers()]
#: One number, ms, which may be NaN.
AnyTime: TypeAlias = Annotated[Scalar, Number("ms", finite=False)]
#: One angle, or several, deg.
Angles: TypeAlias = Annotated[Scalars, Numbers("deg")]
#: One length, or several, um.
Lengths: TypeAlias = Annotated[Scalars, Numbers("um")]
#: Several numbers without a unit.
Vector: TypeAlias = Annotated[Any, Numbers("1")]
#: The components of a direction, or of several; of any length.
Direction: TypeAlias = Annotated[Any, Numbers("1", ratio_of="um")]
#: First and last.
Interval: TypeAlias = tuple[Scalar, Scalar]
#: Start and stop, ms; None for that end of the data.
Window: TypeAlias = Annotated[tuple[Time | None, Time | None], Example("(0, 100)")]
#: The lowest and the highest frequency of each band, Hz.
Bands: TypeAlias = Annotated[
    Mapping[str, tuple[Frequency, Frequency]], Example('{"gamma": (30, 80)}')
]
#: A unit that pint can read.
UnitText: TypeAlias = Annotated[str, Unit()]
#: How many, at least 1.
Count: TypeAlias = Annotated[int, Whole()]

#: How many rows, and how many columns.
Counts: TypeAlias = Annotated[Sequence[Count], Example("(4, 2)")]

#: An array of NumPy, JAX or dask, bare or in a quantity. These have no common type that mypy knows. Whether it is real
#: is checked where its values are.
Array: TypeAlias = Annotated[Any, Numeric(real=False)]
#: What NumPy makes an array of: an array of any kind, or numbers in nested sequences.
ArrayLike: TypeAlias = Annotated[Any, Numeric()]

#: Trained parameters of a module of Jaxley.
Params: TypeAlias = Annotated[Sequence[Mapping[str, Array]], Example("module.get_parameters()")]

#: The names of axes, in their order.
Dims: TypeAlias = Annotated[str | Sequence[str], Example('("time", "unit")', DimensionError)]
#: The name of a file.
FileName: TypeAlias = Annotated[str | bytes | os.PathLike[str], Example('"run.nc"')]
#: The names of readouts.
ReadoutNames: TypeAlias = Annotated[str | Sequence[str], Example('["vm", "lfp_proxy"]')]
#: How many sites each group has, or which.
Groups: TypeAlias = Annotated[
    Mapping[str, int | Sequence[int]], Example('{"E": 80, "I": 20}', DimensionError)
]
#: Contacts of a probe.
Probe: TypeAlias = Annotated[xr.Dataset, Example('jfx.linear_probe(n=16, spacing="50 um")')]
#: Electrodes or sensors around a head.
Sensors: TypeAlias = Annotated[
    xr.Dataset, Example('jfx.probe_at([[0, 0, 90]], units="mm", dim="channel")')
]

#: Cells with the axial conductances between their segments.
Morphology: TypeAlias = Annotated[xr.Dataset, Example("cell")]

#: What a simulator recorded.
Recordings: TypeAlias = Annotated[Any, Unchecked()]
#: Injected currents, by compartment.
Stimulus: TypeAlias = Annotated[xr.DataArray, Unchecked()]
#: The Dataset of a stage, which is told apart from those of other stages.
Stage: TypeAlias = Annotated[xr.Dataset, Unchecked()]

#: A provenance, or one of its steps, as read from JSON.
Record: TypeAlias = Mapping[str, Any]
