"""Options of the stages of a configuration: immutable values, and their conversion to and from JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.errors import DimensionError, SchemaError, UnitError
from jaxfne_xr.core.inputs import proxy_lead_field
from jaxfne_xr.core.types import ArrayLike
from jaxfne_xr.core.units import convert, is_quantity, magnitude, units_of

#: Coordinates of a probe that are lengths.
LENGTHS = ("x", "y", "z", "radius")


class Frozen(Mapping[str, Any]):
    """An immutable mapping, with immutable values."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {str(key): _frozen(value) for key, value in values.items()}

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        # a Dataset can be assigned to, so each caller gets a copy, which shares the read-only arrays
        return value.copy(deep=False) if isinstance(value, xr.Dataset) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def __reduce__(self) -> tuple[type[Frozen], tuple[Mapping[str, Any]]]:
        return Frozen, (self._values,)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping) and not isinstance(value, (xr.Dataset, Frozen)):
        return Frozen(value)
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, xr.Dataset):
        value = value.copy(deep=True)
        for variable in value.variables.values():
            if isinstance(variable._data, np.ndarray):
                variable._data.flags.writeable = False
    return value


def own(places: xr.Dataset | None) -> xr.Dataset | None:
    """Return positions with lengths in um and units in attrs, without the record of the versions that made them."""
    if places is None:
        return None
    changed = {}
    for name, variable in places.variables.items():
        units = units_of(variable)
        length = name in LENGTHS and units is not None
        if not length and not is_quantity(variable._data):
            continue
        target = "um" if length else str(units)
        data = convert(magnitude(variable.data), str(units), target)
        changed[name] = xr.Variable(variable.dims, data, {**variable.attrs, "units": target})
    # the record has versions, with which equal configurations would have different hashes
    return places.drop_attrs(deep=False).assign(changed)


def rows(matrix: ArrayLike | None, name: str) -> list[list[float]] | None:
    """Return a lead field as nested lists for JSON."""
    if matrix is None:
        return None
    if isinstance(matrix, xr.DataArray):
        channels_first = [d for d in matrix.dims if d == "channel"] + [
            d for d in matrix.dims if d != "channel"
        ]
        matrix = matrix.transpose(*channels_first)
    try:
        rows = np.asarray(proxy_lead_field(matrix, name), float)
    except UnitError:
        raise
    except (TypeError, ValueError):
        rows = np.empty(0)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise DimensionError.of(
            name,
            found=f"shape {rows.shape}" if rows.ndim != 2 else "values that are not finite",
            expected="finite numbers, a row for each channel and a column for each site",
            remedy=f"{name}=np.array([[...], ...])",
        )
    return rows.tolist()


def to_json(value: Any) -> Any:
    """Convert an option to JSON-safe values."""
    if isinstance(value, xr.Dataset):
        kept = value.as_numpy().to_dict(data="list")
        kinds = {str(name): str(v.dtype) for name, v in value.variables.items()}
        return {"dataset": json.loads(json.dumps(kept)), "dtypes": kinds}
    return [to_json(v) for v in value] if isinstance(value, tuple) else value


def from_json(key: str, value: Any) -> Any:
    """Convert the JSON form of an option to the argument of its stage."""
    if key == "labels" and isinstance(value, (list, tuple)):
        if all(isinstance(label, str) for label in value):
            members: dict[str, list[int]] = {}
            for i, label in enumerate(value):
                members.setdefault(label, []).append(i)
            return members
        raise SchemaError.of(
            key, found=repr(value), expected="a string for each site", remedy="cfg.to_dict()"
        )
    if not isinstance(value, Mapping) or "dataset" not in value:
        return value
    try:
        ds = xr.Dataset.from_dict(value["dataset"])
        return ds.assign_coords(
            {name: ds[name].astype(dtype) for name, dtype in value["dtypes"].items()}
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        found = f"values that do not form a Dataset ({type(error).__name__}: {error})"
        raise SchemaError.of(
            key, found=found, expected="what to_dict wrote", remedy="cfg.to_dict()"
        ) from error
