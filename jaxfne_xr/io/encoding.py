"""Encode a Dataset for netCDF, and decode it again.

What netCDF cannot hold (quantities, bool and nested attributes, exact types) is also kept in one JSON attribute,
``attrs["jaxfne_xr_file"]``, next to a form that other programs can read.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
import xarray as xr
from xarray.indexes import PandasIndex, PandasMultiIndex

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arrays import is_dask, is_traced
from jaxfne_xr.core.errors import FileError, Problem, SchemaError
from jaxfne_xr.core.registries import for_quantities
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.units import bare, is_quantity, parse, quantity, units_of

from .cf import about_variable, is_small
from .labels import Form, NotStorable, decoded, encoded, of_index, storable_text

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

#: Maximum number of bytes of a name.
LONGEST = 255
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
            remedy="jfx.open(path, plain=True) for the Dataset as it is",
        )
    try:
        record = json.loads(text) if text is not None else {"version": 0}
        version = int(record["version"])
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaError.of(
            f'attrs["{RECORD}"]',
            found=f"text that is not a file record ({type(error).__name__}: {error})",
            expected="the JSON that to_netcdf writes",
            remedy="copy the file again from its source, or jfx.open(path, plain=True)",
        ) from error
    if version > RECORD_VERSION:
        raise SchemaError.of(
            "file",
            found=f"version {version} of the file record",
            expected=f"at most {RECORD_VERSION}, which this version of the package reads",
            remedy="pip install --upgrade jaxfne-xr, or jfx.open(path, plain=True)",
        )
    return record


def records_of(groups: Mapping[str, xr.Dataset], path: Path) -> dict[str, dict[str, Any]]:
    """Return the record of each group of a file; an empty one for groups that others added."""
    ours = [g for g, raw in groups.items() if not {RECORD, provenance.KEY}.isdisjoint(raw.attrs)]
    if not ours:
        record_of(groups["/"], path)  # raises
    return {g: record_of(raw, path) if g in ours else {} for g, raw in groups.items()}


def to_plain(
    ds: xr.Dataset, about: Mapping[str, str] | None = None
) -> tuple[xr.Dataset, list[Problem]]:
    """Return a Dataset that netCDF can hold, with the record that restores it, and the problems found.

    `about` are attrs for other programs, which the file gets where `ds` has no such attrs, and `restore` takes off.
    """
    pint_indexes = {
        str(name): str(index.units[name])
        for name, index in ds.xindexes.items()
        if type(index).__name__ == "PintIndex"
    }
    # noted before dequantify, after which nothing is a quantity
    quantified = {str(n): units_of(v) for n, v in ds.variables.items() if is_quantity(v._data)}
    if pint_indexes:
        ds = ds.pint.dequantify()
    kept_attrs: dict[str, Any] = {}
    forms: dict[str, Form] = {}
    added: dict[str, dict[str, str]] = {}  # what the Dataset has not, for other programs
    small: dict[str, list[str]] = {}  # integers of 64 bits that fit in 32
    variables = {}
    indexes, levels, problems = _described_indexes(ds)
    for name, variable in ds.variables.items():
        attrs = dict(variable.attrs)
        if str(name) in quantified:
            attrs["units"] = quantified[str(name)]
        native, kept, more = _attrs(attrs, str(name))
        problems += more
        if "levels" in (indexes.get(str(name)) or {}):
            # the tuples of a MultiIndex are made again from its levels
            indexes[str(name)]["attrs"] = {key: _form(value) for key, value in attrs.items()}
            continue
        data, form, more = _plain_data(name, levels.get(name, variable), ds)
        problems += more
        if data is None:
            continue
        if kept:
            kept_attrs[str(name)] = kept
        if form:
            forms[str(name)] = form
            native |= {"_FillValue": data.dtype.type(form["fill"])} if "fill" in form else {}
        elif is_small(data):
            small.setdefault(str(data.dtype), []).append(str(name))
            data = data.astype(np.int32)
        if new := about_variable(name, attrs):
            added[str(name)] = new
        variables[name] = xr.Variable(variable.dims, data, {**native, **new})
    # a file opened with plain=True still has the record of the earlier writing, which no longer applies
    own = {key: value for key, value in ds.attrs.items() if key != RECORD}
    attrs, kept, more = _attrs(own, "")
    if new := {k: v for k, v in (about or {}).items() if k not in own}:
        added[""] = new
        attrs |= new
    if kept:
        kept_attrs[""] = kept
    problems += more
    problems += _name_problems({**ds.variables, **ds.sizes})
    problems += _clashing_dims(variables, ds.sizes)
    if problems:
        return ds, problems
    record = {
        "version": RECORD_VERSION,
        "attrs": kept_attrs,
        "added": added,
        "small": small,
        "quantified": list(quantified),
        "pint_indexes": pint_indexes,
        "dtypes": {
            str(n): str(v.dtype) for n, v in variables.items() if not _is_native_type(v.dtype)
        },
        "numbers": [str(n) for n, v in variables.items() if v.dtype.kind in "biuf"],
        "timedeltas": [str(n) for n, v in variables.items() if v.dtype.kind == "m"],
    }
    record |= {"labels": forms} if forms else {}
    record |= {"indexes": indexes} if indexes else {}
    attrs[RECORD] = json.dumps(record, sort_keys=True)
    coords = {name: variables.pop(name) for name in ds.coords if name in variables}
    # without indexes, so that groups are written as they are, whatever their parents hold
    return xr.Dataset(variables, xr.Coordinates(coords, indexes={}), attrs), []


def with_record(ds: xr.Dataset, **more: Any) -> xr.Dataset:
    """Return what `to_plain` returned with more in its record."""
    record = json.loads(ds.attrs[RECORD]) | more
    return ds.assign_attrs({RECORD: json.dumps(record, sort_keys=True)})


def restore(raw: xr.Dataset, record: Mapping[str, Any], *, lazy: bool = False) -> xr.Dataset:
    """Restore the Dataset that `to_plain` encoded, from the undecoded content of the file.

    ``lazy`` leaves units in attrs: xarray cannot compute a Dataset in which some dask arrays are quantities and others
    are not.
    """
    forms = {n: form for n, form in record.get("labels", {}).items() if n in raw.variables}
    for name in forms:
        raw.variables[name].attrs.pop("_FillValue", None)  # it stands for missing labels
    # a number whose unit is "ms" or "days" would otherwise be decoded as a time or a duration
    numbers, timedeltas = record.get("numbers", ()), record.get("timedeltas", ())
    ds = xr.decode_cf(
        raw,
        decode_times={str(n): n not in numbers for n in raw.variables},
        decode_timedelta={str(n): n in timedeltas for n in raw.variables},
    ).drop_encoding()
    changed = {}
    labels: dict[Hashable, Any] = {}
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
        if name in forms:
            data = labels[name] = decoded(np.asarray(data), forms[str(name)])
        attrs = _restored_attrs(variable.attrs, record, str(name))
        quantified = name in record.get("quantified", ()) and name not in pint_indexes and not lazy
        # read from the file, not the record: it may have been edited
        if quantified and "units" in attrs:
            data = quantity(data, attrs.pop("units"))
        changed[name] = type(variable)(variable.dims, data, attrs)
    coords = {name: changed.pop(name) for name in ds.coords}
    attrs = _restored_attrs(ds.attrs, record, "")
    attrs.pop(RECORD, None)
    indexes = record.get("indexes", {})
    restored = xr.Dataset(changed, _indexed(coords, indexes, labels) if indexes else coords, attrs)
    for name, unit in pint_indexes.items():
        parsed = for_quantities(parse(unit), lazy=False)[1]
        restored = restored.assign_coords(restored[[name]].pint.quantify({name: parsed}).coords)
    return restored


def _described_indexes(
    ds: xr.Dataset,
) -> tuple[dict[str, Any], dict[Hashable, Any], list[Problem]]:
    """Return the indexes that xarray does not make by itself, the labels of levels, and the problems of others."""
    described: dict[str, Any] = {}
    levels: dict[Hashable, Any] = {}
    problems: list[Problem] = []
    for index, variables in ds.xindexes.group_by_index():
        if type(index) is PandasMultiIndex:
            dim, names = str(index.dim), list(index.index.names)
            levels |= {n: of_index(index.index.get_level_values(n)) for n in names}
            dtypes = {n: str(v.dtype) for n, v in variables.items() if _kind(v.dtype) == "U"}
            described[dim] = {"levels": names, "dtypes": dtypes}
        elif type(index) is PandasIndex:
            (name,) = variables
            how = {"dtype": str(index.index.dtype)} if _kind(variables[name].dtype) in "OUT" else {}
            if how or name != index.dim:
                described[str(name)] = how
        else:
            names, found = [*map(str, variables)], f"a {type(index).__name__}"
            problems.append(_unstorable(", ".join(names), found, f"ds.drop_indexes({names})"))
    described |= {str(d): None for d in ds.dims if d in ds.coords and d not in ds.xindexes}
    return described, levels, problems


def _indexed(
    coords: Mapping[Hashable, xr.Variable],
    described: Mapping[str, Any],
    labels: Mapping[Hashable, Any],
) -> xr.Coordinates:
    """Return coordinates with the indexes that `_described_indexes` describes."""
    made, indexes = dict(coords), {}
    for name, variable in coords.items():
        how = described.get(str(name), {} if variable.dims == (name,) else None)
        if how is None or variable.ndim != 1:
            continue
        one = _pandas_index(name, variable, labels.get(name), how)
        made |= one.create_variables({name: variable})
        indexes[name] = one
    for dim, how in described.items():
        names = (how or {}).get("levels", ())
        if not names or not set(names) <= set(coords):
            continue
        arrays = [pd.Index(labels.get(n, coords[n].data)) for n in names]
        many = PandasMultiIndex(pd.MultiIndex.from_arrays(arrays, names=names), dim)
        many.level_coords_dtype.update({n: np.dtype(t) for n, t in how["dtypes"].items()})
        attrs = {key: _value(form) for key, form in how["attrs"].items()}
        of_dim = xr.Variable(dim, np.zeros(len(arrays[0])), attrs)
        variables = many.create_variables({dim: of_dim, **{n: coords[n] for n in names}})
        made |= variables
        indexes |= dict.fromkeys(variables, many)
    return xr.Coordinates(made, indexes)


def _pandas_index(
    name: Hashable, variable: xr.Variable, labels: Any, how: Mapping[str, Any]
) -> PandasIndex:
    """Return the index of a coordinate, of the dtype that it had in pandas."""
    if labels is not None and not isinstance(labels, np.ndarray):
        return PandasIndex(pd.Index(labels, name=name), variable.dims[0])
    if "dtype" in how:
        with suppress(ImportError, TypeError, ValueError):  # a dtype of another version of pandas
            text = np.asarray(variable.data if labels is None else labels, dtype=object)
            index = pd.Index(text, dtype=how["dtype"], name=name)
            return PandasIndex(index, variable.dims[0], coord_dtype=variable.dtype)
    return PandasIndex.from_variables({name: variable}, options={})


def _plain_data(
    name: Hashable, data: Any, ds: xr.Dataset
) -> tuple[Array | None, Form, list[Problem]]:
    """Return an array that netCDF can hold, the form that restores the labels in it, and the problems."""
    data = bare(data.data if isinstance(data, xr.Variable) else data)
    where = f'ds["{name}"]'
    if is_traced(data):
        return None, {}, [_unstorable(where, "data that JAX traces", "save outside jit")]
    kind = _kind(data.dtype)
    if is_dask(data) and kind in "OT":
        data = data.compute()
    form: Form | None = {}
    if kind in "OTU" and not is_dask(data):
        try:
            data, form = encoded(getattr(data, "array", data))
        except NotStorable:
            form = None
    elif kind not in "biufUSmM" or (kind == "f" and data.dtype.itemsize not in (4, 8)):
        form = None
    elif not hasattr(data, "__array_function__"):
        data = np.asarray(data)  # JAX arrays: netCDF4 writes NumPy and dask only
    if form is not None:
        return data, form, []
    found = f"values of type {data.dtype}"
    return None, {}, [_unstorable(where, found, _converted(str(name), data.dtype, ds))]


def _converted(name: str, dtype: Any, ds: xr.Dataset) -> str:
    """Return code that converts a variable to a type that netCDF can hold."""
    variable, assign = f"ds[{name!r}]", "assign_coords" if name in ds.coords else "assign"
    kind = _kind(dtype)
    if kind == "c":
        parts = (
            f"{name + '_' + part!r}: ({variable}.dims, {variable}.values.{part})"
            for part in ("real", "imag")
        )
        return f"ds.drop_vars({name!r}).{assign}({{{', '.join(parts)}}})"
    if kind == "f":
        return f'ds.{assign}({{{name!r}: {variable}.astype("float64")}})'
    text = f"np.array([*map(str, {variable}.values.ravel())]).reshape({variable}.shape)"
    return f"ds.{assign}({{{name!r}: ({variable}.dims, {text})}})"


def _name_problems(names: Iterable[Hashable]) -> list[Problem]:
    found = "a name that netCDF does not accept"
    return [
        _unstorable(repr(name), found, f"ds.rename({{{name!r}: {accepted_name(name)!r}}})")
        for name in names
        if not is_name(name)
    ]


def _clashing_dims(
    variables: Mapping[Hashable, xr.Variable], dims: Iterable[Hashable]
) -> list[Problem]:
    """Return the problems of dims that have the name of a dim that xarray adds for the characters of bytes."""
    added = {f"string{v.dtype.itemsize}" for v in variables.values() if _kind(v.dtype) == "S"}
    found = "a name that the characters of bytes have in the file"
    return [
        _unstorable(repr(dim), found, f"ds.rename({{{dim!r}: {f'{dim}_'!r}}})")
        for dim in dims
        if dim in added
    ]


def is_name(name: object) -> TypeGuard[str]:
    """Whether netCDF accepts a name, and returns it unchanged."""
    return (
        isinstance(name, str)
        and NAME.fullmatch(name) is not None
        and storable_text(name)
        and unicodedata.is_normalized("NFC", name)
        and len(name.encode()) <= LONGEST
    )


def accepted_name(name: object) -> str:
    """Return a name that netCDF accepts: `name`, or one as near to it as that allows."""
    text = "".join(c if storable_text(c) and NAME.fullmatch(c + "_") else "_" for c in str(name))
    text = unicodedata.normalize("NFC", text)
    while len(text.encode()) > LONGEST:
        text = text[:-1]
    return text if is_name(text) else f"{text.rstrip()}_"


def _attrs(
    attrs: Mapping[Hashable, Any], owner: str
) -> tuple[dict[str, Any], dict[str, Any], list[Problem]]:
    """Return attrs that netCDF can hold, those that the record must restore, and the problems of the others."""
    native: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    problems: list[Problem] = []
    held = f'ds["{owner}"].attrs' if owner else "ds.attrs"
    for key, value in attrs.items():
        where = f"{held}[{key!r}]"
        if not is_name(key):
            renamed = f"{held}[{accepted_name(key)!r}] = {held}.pop({key!r})"
            problems.append(_unstorable(where, f"the name {key!r}", renamed))
        elif _is_plain(value) and key not in RESERVED:
            native[key] = value
        elif (form := _form(value)) is not None:
            kept[key] = form
            if key not in RESERVED:
                native[key] = _readable(form)
        else:
            found = f"{value!r} ({type(value).__name__})"
            problems.append(_unstorable(where, found, f"{where} = str({where})"))
    return native, kept, problems


def _is_plain(value: object) -> bool:
    """Whether netCDF returns a value unchanged: text, a NumPy number, or a 1-D array of at least two numbers."""
    if isinstance(value, str):
        return storable_text(value)
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


def _kind(dtype: Any) -> str:
    """Return the kind of a NumPy dtype; "O" for those of pandas."""
    return dtype.kind if isinstance(dtype, np.dtype) else "O"


def _is_native_type(dtype: np.dtype) -> bool:
    """Whether netCDF returns values of this type unchanged."""
    return dtype.kind in "biufUS" and dtype.isnative


def _unstorable(where: str, found: str, remedy: str) -> Problem:
    return Problem(where, found, "something that netCDF can store", remedy, FileError)
