"""Encode labels that netCDF cannot hold as arrays that it can, and decode them again.

Labels are text with missing values or numbers among it, and what pandas has beyond NumPy: categories, numbers with
missing values, intervals, periods, times in a time zone. The array in the file is readable by other programs; what it
lacks is in a form, a JSON-safe mapping, which is empty if it lacks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

#: A JSON-safe description of labels.
Form = dict[str, Any]

#: Missing values by their names in a form, tested in this order.
_MISSING: dict[str, tuple[Any, Callable[[Any], bool]]] = {
    "None": (None, lambda value: value is None),
    "NA": (pd.NA, lambda value: value is pd.NA),
    "NaT": (pd.NaT, lambda value: value is pd.NaT),
    "nan": (np.nan, lambda value: isinstance(value, float) and value != value),
}
#: Types that JSON keeps, by their names in a form.
_PLAIN = {"text": str, "bool": bool, "int": int, "float": float}


class NotStorable(TypeError):
    """Labels of a kind that has no form."""


def storable_text(text: str) -> bool:
    """Whether netCDF returns a text unchanged: it ends a text at NUL, and encodes it as UTF-8."""
    return "\0" not in text and _cleaned(text) == text


def encoded(labels: Any) -> tuple[np.ndarray, Form]:
    """Return the array that the file holds, and the form with which `decoded` makes the labels again.

    Parameters
    ----------
    labels : numpy.ndarray or pandas ExtensionArray
        Of any dtype; not dask.

    Raises
    ------
    NotStorable
        If there is no form for labels of this kind.
    """
    dtype = labels.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind in "OU":
            return _encoded_text(labels)
        if dtype.kind == "T":
            values, form = _encoded_text(labels.astype(object))
            missing = (
                {"missing": _described(dtype.na_object)[0]} if hasattr(dtype, "na_object") else {}
            )
            return values, {**form, "kind": "StringDType", **missing}
        return labels, {}
    kind = next((name for name, (types, *_) in _KINDS.items() if isinstance(dtype, types)), None)
    if kind is None:
        raise NotStorable(str(dtype))
    values, form = _KINDS[kind][1](labels)
    form["kind"] = kind
    # labels of pandas have many settings: those that would not come back are refused
    back = pd.Index(decoded(values, form))
    if back.dtype != dtype or not back.equals(pd.Index(labels)):
        raise NotStorable(str(dtype))
    return values, form


def decoded(values: np.ndarray, form: Mapping[str, Any]) -> Any:
    """Return labels from the array and the form that `encoded` returned; values edited in the file count."""
    values = _decoded_text(values, form)
    kind = form.get("kind")
    if kind == "StringDType":
        missing = form.get("missing")
        options = {} if missing is None else {"na_object": _MISSING[missing][0]}
        return values.astype(np.dtypes.StringDType(**options))
    try:
        return _KINDS[kind][2](values, form) if kind in _KINDS else values
    except (KeyError, TypeError, ValueError):  # the array was replaced by one of another kind
        return values


# ----------------------------------------------------------------------------------------------------- text


def _encoded_text(values: np.ndarray) -> tuple[np.ndarray, Form]:
    """Encode an array of text; what netCDF cannot hold or would change is listed by its position, type and value."""
    flat = values.ravel().tolist()
    try:
        if storable_text("".join(flat)):
            return values, {}
    except TypeError:
        pass  # not all are text
    listed = [(i, *_described(value)) for i, value in enumerate(flat)]
    shown = np.array([*(_shown(kind, plain) for _, kind, plain in listed), None], object)[:-1]
    shown = shown.reshape(values.shape)
    odd = [
        [i, kind, plain] for i, kind, plain in listed if kind != "text" or shown.flat[i] != plain
    ]
    return shown if values.dtype.kind == "O" else shown.astype(str), {"odd": odd}


def _decoded_text(values: np.ndarray, form: Mapping[str, Any]) -> np.ndarray:
    if not form.get("odd"):
        return values
    made = values.astype(object)
    for i, kind, plain in form["odd"]:
        if made.flat[i] != _shown(kind, plain):
            continue  # edited in the file
        if kind in _MISSING:
            made.flat[i] = _MISSING[kind][0]
        else:
            made.flat[i] = plain if kind in _PLAIN else np.dtype(kind).type(plain)
    return made.astype(str) if values.dtype.kind == "U" else made


def _described(value: Any) -> tuple[str, Any]:
    """Return the type of an element of an array of objects, and its JSON-safe value."""
    for kind, (_, is_one) in _MISSING.items():
        if is_one(value):
            return kind, None
    for kind, of_type in _PLAIN.items():
        if type(value) is of_type:
            return kind, value
    if isinstance(value, np.generic) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        return str(value.dtype), value.item()
    raise NotStorable(f"{type(value).__name__} among text")


def _shown(kind: str, plain: Any) -> str:
    """Return the text that stands in the file for an element of an array of objects."""
    return "" if kind in _MISSING else _cleaned(str(plain)).replace("\0", "")


def _cleaned(text: str) -> str:
    """Return a text without what UTF-8 cannot encode."""
    return text.encode("utf-8", "ignore").decode("utf-8")


# ------------------------------------------------------------------------------------------- what pandas has


def _encoded_string(labels: Any) -> tuple[np.ndarray, Form]:
    values, form = _encoded_text(labels.to_numpy(dtype=object))
    return values, {**form, "dtype": str(labels.dtype), "storage": labels.dtype.storage}


def _decoded_string(values: np.ndarray, form: Mapping[str, Any]) -> Any:
    # the dtype is named "str" if NaN is its missing value, and "string" if NA is
    missing = np.nan if form["dtype"] == "str" else pd.NA
    try:
        return pd.array(values, dtype=pd.StringDtype(form["storage"], missing))
    except (ImportError, TypeError, ValueError):  # pyarrow is not installed, or pandas is older
        return pd.array(values, dtype="string")


def _encoded_masked(labels: Any) -> tuple[np.ndarray, Form]:
    values = labels.to_numpy(dtype=labels.dtype.numpy_dtype, na_value=0)
    values, form = _filled(values, np.asarray(labels.isna()))
    return values, {**form, "dtype": str(labels.dtype)}


def _decoded_masked(values: np.ndarray, form: Mapping[str, Any]) -> Any:
    missing = _is_missing(values, form)
    base = pd.api.types.pandas_dtype(form["dtype"]).numpy_dtype
    made = pd.array(np.where(missing, 0, values).astype(base), dtype=form["dtype"])
    made[missing] = pd.NA
    return made


def _encoded_categories(labels: Any) -> tuple[np.ndarray, Form]:
    categories, codes = labels.categories, labels.codes
    keys, missing = _keys(categories), codes < 0
    if keys.dtype.kind == "O":
        values, form = _encoded_text(np.append(keys, [np.nan])[codes])
    else:
        values, form = _filled(np.append(keys, keys.dtype.type())[codes], missing)
    return values, {**form, "categories": _listed(categories), "ordered": bool(labels.ordered)}


def _decoded_categories(values: np.ndarray, form: Mapping[str, Any]) -> Any:
    categories = pd.Index(_unlisted(form["categories"]))
    keys = pd.Index(_keys(categories), dtype=object)
    codes = keys.get_indexer(pd.Index(values.astype(object), dtype=object))
    missing = _is_missing(values, form)
    if new := list(dict.fromkeys(values[(codes < 0) & ~missing].tolist())):
        return pd.Categorical(values, categories=[*keys, *new], ordered=form["ordered"])
    codes[missing] = -1
    return pd.Categorical.from_codes(codes, categories=categories, ordered=form["ordered"])


def _keys(categories: pd.Index) -> np.ndarray:
    """Return the values by which the file has the categories: numbers and times as they are, others as text."""
    if isinstance(categories.dtype, np.dtype) and categories.dtype.kind in "biufmM":
        return categories.to_numpy()
    return np.array([*map(str, categories), None], object)[:-1]


def _encoded_intervals(labels: Any) -> tuple[np.ndarray, Form]:
    ends = {"left": _listed(labels.left), "right": _listed(labels.right)}
    return _as_text(labels), {**ends, "closed": labels.closed}


def _decoded_intervals(values: np.ndarray, form: Mapping[str, Any]) -> Any:
    ends = (_unlisted(form[end]) for end in ("left", "right"))
    made = pd.arrays.IntervalArray.from_arrays(*ends, closed=form["closed"])
    return pd.Index(made) if _as_text(made).tolist() == values.tolist() else values


def _encoded_periods(labels: Any) -> tuple[np.ndarray, Form]:
    return _as_text(labels), {"freq": labels.freqstr}


def _decoded_periods(values: np.ndarray, form: Mapping[str, Any]) -> Any:
    return pd.PeriodIndex(values, freq=form["freq"])


def _encoded_times(labels: Any) -> tuple[np.ndarray, Form]:
    utc = pd.DatetimeIndex(labels).tz_convert("UTC").tz_localize(None)
    return utc.to_numpy(), {"time_zone": str(labels.tz)}


def _decoded_times(values: np.ndarray, form: Mapping[str, Any]) -> Any:
    return pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(form["time_zone"])


def _as_text(labels: Any) -> np.ndarray:
    return np.array([*map(str, labels), None], object)[:-1]


def _filled(values: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, Form]:
    """Return values with a fill value, which other programs take for missing, in place of those that are missing."""
    if not missing.any():
        return values, {}
    values = values.astype(np.int8) if values.dtype.kind == "b" else values.copy()
    if values.dtype.kind in "fmM":
        values[missing] = np.array("NaT" if values.dtype.kind in "mM" else np.nan, values.dtype)
        return values, {}
    limits, used = np.iinfo(values.dtype), set(values[~missing].tolist())
    fill = next((n for n in range(limits.max, limits.min - 1, -1) if n not in used), None)
    if fill is None:
        raise NotStorable(f"{values.dtype} of all possible values, and missing ones")
    values[missing] = fill
    return values, {"fill": fill}


def _is_missing(values: np.ndarray, form: Mapping[str, Any]) -> np.ndarray:
    missing = np.asarray(pd.isna(values))
    return missing | (values == form["fill"]) if "fill" in form else missing


def _listed(index: pd.Index) -> Form:
    """Return an index as JSON-safe values."""
    values, form = encoded(of_index(index))
    numbers = values.astype("i8") if values.dtype.kind in "mM" else values
    return {"values": numbers.tolist(), "dtype": str(values.dtype), "form": form}


def _unlisted(listed: Mapping[str, Any]) -> Any:
    values = np.array(listed["values"], None if listed["values"] else listed["dtype"])
    return decoded(values.astype(listed["dtype"]), listed["form"])


def of_index(index: pd.Index) -> Any:
    """Return the labels of an index as a NumPy array if their dtype is NumPy's, else as an ExtensionArray."""
    return index.to_numpy() if isinstance(index.dtype, np.dtype) else index.array


_MASKED = (
    *(pd.Int8Dtype, pd.Int16Dtype, pd.Int32Dtype, pd.Int64Dtype),
    *(pd.UInt8Dtype, pd.UInt16Dtype, pd.UInt32Dtype, pd.UInt64Dtype),
    *(pd.Float32Dtype, pd.Float64Dtype, pd.BooleanDtype),
)
#: For each kind of labels the dtypes, and how to encode and to decode it.
_KINDS: dict[str, tuple[Any, Callable[..., Any], Callable[..., Any]]] = {
    "string": (pd.StringDtype, _encoded_string, _decoded_string),
    "masked": (_MASKED, _encoded_masked, _decoded_masked),
    "categories": (pd.CategoricalDtype, _encoded_categories, _decoded_categories),
    "intervals": (pd.IntervalDtype, _encoded_intervals, _decoded_intervals),
    "periods": (pd.PeriodDtype, _encoded_periods, _decoded_periods),
    "times": (pd.DatetimeTZDtype, _encoded_times, _decoded_times),
}
