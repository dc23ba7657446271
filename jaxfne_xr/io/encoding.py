"""Encode a Dataset for netCDF, and decode it again.

What netCDF cannot hold (quantities, bool and nested attributes, exact types) is also kept in one JSON attribute,
``attrs["jaxfne_xr_file"]``, next to a form that other programs can read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arrays import is_dask, is_traced
from jaxfne_xr.core.errors import FileError, Problem, SchemaError
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.units import is_quantity, magnitude, quantity, units_of

from .cf import about_variable, is_small

RECORD = "jaxfne_xr_file"
RECORD_VERSION = 1

#: Attributes that are kept only in the record. Readers would apply the first ones (rescale, mask, recode, drop), by the
#: conventions of netCDF; the others are internal to the netCDF library.
RESERVED = frozenset(
    (
        "scale_factor",
        "add_offset",
        "_FillValue",
        "missing_value",
        "coordinates",
        "dtype",
        "grid_mapping",
    )
    + ("_Unsigned", "_Encoding", RECORD)
    + ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates")
    + ("_NCProperties", "_nc3_strict", "_SuperblockVersion", "_IsNetcdf4")
)

#: Names that netCDF accepts for a variable, a dimension or an attribute.
NAME = re.compile(r"[A-Za-z0-9_\x80-\U0010ffff][^\x00-\x1f\x7f/]*(?<! )")


def record_of(raw: xr.Dataset, path: Path) -> dict[str, Any]:
    """Return the record of what netCDF could not hold; an empty one if xarray's own to_netcdf wrote the file."""
    text = raw.attrs.get(RECORD)
    if text is None and provenance.KEY not in raw.attrs:
        raise SchemaError.of(
            "file",
            found=f"{path.name!r}, a netCDF file without the record of this package",
            expected="a file written by to_netcdf",
            remedy="open(path, plain=True) for the Dataset as it is, then .jfne.to_signals()",
        )
    try:
        record = json.loads(text) if text is not None else {"version": 0}
        version = int(record["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaError.of(
            f'attrs["{RECORD}"]',
            found=f"text that is not a file record ({type(error).__name__}: {error})",
            expected="the JSON that to_netcdf writes",
            remedy="copy the file again from its source, or open(path, plain=True)",
        ) from error
    if version > RECORD_VERSION:
        raise SchemaError.of(
            "file",
            found=f"version {version} of the file record",
            expected=f"at most {RECORD_VERSION}, which this version of the package reads",
            remedy="pip install --upgrade jaxfne-xr, or open(path, plain=True)",
        )
    return record


def to_plain(
    ds: xr.Dataset, about: Mapping[str, str] | None = None
) -> tuple[xr.Dataset, list[Problem]]:
    """Return a Dataset that netCDF can hold, with the record that restores it, and the problems found.

    `about` are attrs for other programs, which the file gets where `ds` has no such attrs, and `restore` takes off.
    """
    problems: list[Problem] = []
    record: dict[str, Any] = {"version": RECORD_VERSION, "attrs": {}, "added": {}, "small": {}}
    pint_indexes = {
        str(name): str(index.units[name])
        for name, index in ds.xindexes.items()
        if type(index).__name__ == "PintIndex"
    }
    for name, index in ds.xindexes.items():
        if type(index).__name__ == "PandasMultiIndex":
            problems.append(_unstorable(str(name), "a MultiIndex", f'ds.reset_index("{name}")'))
    # noted before dequantify, after which nothing is a quantity
    quantified = {str(n): units_of(v) for n, v in ds.variables.items() if is_quantity(v._data)}
    if pint_indexes:
        ds = ds.pint.dequantify()
    variables = {}
    for name, variable in ds.variables.items():
        data = magnitude(variable.data)
        if is_traced(data):
            problems.append(
                _unstorable(f'ds["{name}"]', "data that JAX traces", "save outside jit")
            )
            continue
        if not is_dask(data) and not hasattr(data, "__array_function__"):
            data = np.asarray(data)  # JAX arrays: netCDF4 writes NumPy and dask only
        problems += _variable_problems(name, data)
        attrs = dict(variable.attrs)
        if str(name) in quantified:
            attrs["units"] = quantified[str(name)]
        attrs, kept, more = _attrs(attrs, str(name))
        if kept:
            record["attrs"][str(name)] = kept
        problems += more
        attrs |= _added(str(name), about_variable(name, variable.attrs), record)
        if is_small(data):
            record["small"].setdefault(str(data.dtype), []).append(str(name))
            data = data.astype(np.int32)
        variables[name] = xr.Variable(variable.dims, data, attrs)
    # a file opened with plain=True still has the record of the earlier writing, which no longer applies
    own = {key: value for key, value in ds.attrs.items() if key != RECORD}
    attrs, kept, more = _attrs(own, "")
    attrs |= _added("", {k: v for k, v in (about or {}).items() if k not in own}, record)
    if kept:
        record["attrs"][""] = kept
    problems += more
    problems += [
        _unstorable(
            repr(name), "a name that netCDF does not accept", f'ds.rename({{{name!r}: "a_name"}})'
        )
        for name in {**ds.variables, **ds.sizes}
        if not isinstance(name, str) or not NAME.fullmatch(name)
    ]
    if problems:
        return ds, problems
    record |= {
        "quantified": list(quantified),
        "pint_indexes": pint_indexes,
        "dtypes": {
            str(n): str(v.dtype) for n, v in variables.items() if not _is_native_type(v.dtype)
        },
        "numbers": [str(n) for n, v in variables.items() if v.dtype.kind in "biuf"],
        "timedeltas": [str(n) for n, v in variables.items() if v.dtype.kind == "m"],
    }
    attrs[RECORD] = json.dumps(record, sort_keys=True)
    coords = {name: variables.pop(name) for name in ds.coords}
    indexes = xr.Coordinates({n: c for n, c in coords.items() if n in ds.dims})
    return xr.Dataset(variables, {**coords, **indexes}, attrs), []


def restore(raw: xr.Dataset, record: Mapping[str, Any], *, lazy: bool = False) -> xr.Dataset:
    """Restore the Dataset that `to_plain` encoded, from the undecoded content of the file.

    ``lazy`` leaves units in attrs: xarray cannot compute a Dataset in which some dask arrays are quantities and others
    are not.
    """
    # a number whose unit is "ms" or "days" would otherwise be decoded as a time or a duration
    numbers, timedeltas = record.get("numbers", ()), record.get("timedeltas", ())
    ds = xr.decode_cf(
        raw,
        decode_times={str(n): n not in numbers for n in raw.variables},
        decode_timedelta={str(n): n in timedeltas for n in raw.variables},
    ).drop_encoding()
    changed = {}
    pint_indexes = {n: u for n, u in record.get("pint_indexes", {}).items() if n in ds.coords}
    for name, variable in ds.variables.items():
        dtype = record.get("dtypes", {}).get(name, variable.dtype)
        for wide in ("int64", "uint64"):
            if name in record.get("small", {}).get(wide, ()) and variable.dtype == np.int32:
                dtype = np.dtype(wide)
        same = variable.dtype == dtype
        # `data` reads what has not been read yet
        data: Any = variable._data if lazy and same else variable.data
        data = data if same else data.astype(dtype)
        attrs = _restored_attrs(variable.attrs, record, str(name))
        quantified = name in record.get("quantified", ()) and name not in pint_indexes and not lazy
        # read from the file, not the record: it may have been edited
        if quantified and "units" in attrs:
            data = quantity(data, attrs.pop("units"))
        changed[name] = type(variable)(variable.dims, data, attrs)
    coords = {name: changed.pop(name) for name in ds.coords}
    attrs = _restored_attrs(ds.attrs, record, "")
    attrs.pop(RECORD, None)
    restored = xr.Dataset(changed, coords, attrs)
    for name, unit in pint_indexes.items():
        import pint_xarray  # noqa: F401  (registers .pint)

        restored = restored.assign_coords(restored[[name]].pint.quantify({name: unit}).coords)
    return restored


def _attrs(
    attrs: Mapping[Hashable, Any], owner: str
) -> tuple[dict[str, Any], dict[str, Any], list[Problem]]:
    """Return attrs that netCDF can hold, those that the record must restore, and the problems of the others."""
    native: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value in attrs.items():
        where = f'ds["{owner}"].attrs[{key!r}]' if owner else f"ds.attrs[{key!r}]"
        if not isinstance(key, str) or not NAME.fullmatch(key):
            problems.append(
                _unstorable(where, f"the name {key!r}", "a name of letters, digits and _")
            )
        elif _is_plain(value) and key not in RESERVED:
            native[key] = value
        elif (form := _form(value)) is not None:
            kept[key] = form
            if key not in RESERVED:
                native[key] = _readable(form)
        else:
            found = f"{value!r} ({type(value).__name__})"
            problems.append(
                _unstorable(where, found, "a string, numbers, or lists and dicts of them")
            )
    return native, kept, problems


def _is_plain(value: object) -> bool:
    """Whether netCDF returns a value unchanged: text, a NumPy number, or a 1-D array of at least two numbers."""
    if isinstance(value, str):
        return "\0" not in value
    if not isinstance(value, (np.generic, np.ndarray)) or value.dtype.kind not in "fiu":
        return False
    is_scalar_or_list = isinstance(value, np.generic) or (value.ndim == 1 and value.size > 1)
    return is_scalar_or_list and value.dtype.itemsize <= 8 and value.dtype != np.float16


def _form(value: Any) -> list[Any] | None:
    """Return the name of a value's type and its JSON form, which `_value` converts back, or None."""
    if isinstance(value, (np.generic, np.ndarray)) and value.dtype.kind in "biufU":
        return [f"numpy:{value.dtype}", value.tolist()] if value.dtype.itemsize <= 8 else None
    plain = list(value) if isinstance(value, tuple) else value
    return [type(value).__name__, plain] if _is_json(plain) else None


def _is_json(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_json(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _value(form: list[Any]) -> Any:
    """Return an attribute from the name of its type and its JSON form."""
    kind, value = form
    if kind.startswith("numpy:"):
        return np.array(value, kind.removeprefix("numpy:"))[()]
    return tuple(value) if kind == "tuple" else value


def _readable(form: list[Any]) -> Any:
    """Return the readable form, in the file, of an attribute that is kept in the record."""
    value = form[1]
    if isinstance(value, bool):
        return np.int8(value)
    # netCDF has no integers over 64 bits
    if isinstance(value, int) and abs(value) < 2**31:
        return np.int32(value)  # R and CDO warn of 64 bits
    is_number = isinstance(value, (int, float)) and (isinstance(value, float) or abs(value) < 2**63)
    return value if is_number else json.dumps(value, sort_keys=True)


def _added(owner: str, attrs: dict[str, str], record: dict[str, Any]) -> dict[str, str]:
    """Note attrs that the Dataset has not, so that they can be taken off."""
    if attrs:
        record["added"][owner] = attrs
    return attrs


def _restored_attrs(
    attrs: Mapping[str, Any], record: Mapping[str, Any], owner: str
) -> dict[str, Any]:
    """Return attrs in their original types; an attribute edited in the file keeps its new value."""
    kept = record.get("attrs", {}).get(owner, {})
    added = record.get("added", {}).get(owner, {})
    attrs = {k: v for k, v in attrs.items() if not (isinstance(v, str) and added.get(k) == v)}
    unedited = {
        key: _value(form)
        for key, form in kept.items()
        if key in RESERVED or (key in attrs and np.array_equal(attrs[key], _readable(form)))
    }
    return {**attrs, **unedited}


def _is_native_type(dtype: np.dtype) -> bool:
    """Whether netCDF returns values of this type unchanged."""
    return dtype.kind in "biufUS" and dtype.isnative


def _variable_problems(name: Hashable, data: Array) -> list[Problem]:
    where = f'ds["{name}"]'
    dtype = data.dtype
    if dtype.kind == "O" and not is_dask(data) and all(isinstance(x, str) for x in data.ravel()):
        return []
    if dtype.kind not in "fiubUSmM" or (dtype.kind == "f" and dtype.itemsize not in (4, 8)):
        remedy = f'ds["{name}"].astype("float32"), or .astype(str)'
        return [_unstorable(where, f"values of type {dtype}", remedy)]
    return []


def _unstorable(where: str, found: str, remedy: str) -> Problem:
    return Problem(where, found, "something that netCDF can store", remedy, FileError)
