"""Check the arguments of public functions, by the types in their signatures.

What a parameter accepts is said once, in its annotation, with the aliases of `types`. `public` reads the annotations of
a function when it is first called, and then checks each argument before the function runs: its type, its unit, and
that numbers are finite. Tracers of JAX are arrays whose values are not known: their values are not checked here.
"""

from __future__ import annotations

import builtins
import inspect
import numbers
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import wraps
from types import NoneType, UnionType
from typing import Annotated, Any, ParamSpec, TypeGuard, TypeVar, Union, get_args, get_origin

import numpy as np
import xarray as xr

from .arrays import is_jax, is_traced
from .errors import ArgumentError, JfneError, Problem, UnitError, raise_problems
from .inputs import no_dataset
from .numeric import is_real_type, kind_problem, masked_problem
from .types import Number, Numbers, Numeric, Unchecked, Unit, Whole
from .units import bare, factor, is_quantity, same_dimension, unit_of, unit_text
from .values import LARGEST, carries_unit, example, scalar

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type[Any])

REQUIRED = inspect.Parameter.empty
#: The largest count, with which indices of 32 bits end.
MOST = 2**31 - 1
#: The largest number of values of a JAX array that are checked.
FEW = 4096


def public(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function: its arguments are checked by their annotations before it runs.

    Raises
    ------
    JfneError
        When called: all arguments that are not what their annotations say.
    """
    # Annotations may name what is defined further down in the module: they are read at the first call.
    read: list[tuple[list[Parameter], dict[str, Parameter]]] = []

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not read:
            read.append(_parameters(function))
        by_place, by_name = read[0]
        problems = [
            p.problem(value)
            for p, value in zip(by_place, args, strict=False)
            if value is not p.default and not p.accepts(value)
        ]
        for name, value in kwargs.items():
            parameter = by_name.get(name)
            if parameter and value is not parameter.default and not parameter.accepts(value):
                problems.append(parameter.problem(value))
        if problems:
            raise_problems(problems)
        return function(*args, **kwargs)

    return checked


def public_class(cls: C) -> C:
    """Decorate a public dataclass: its arguments are checked as those of a function."""
    cls.__init__ = public(cls.__init__)
    return cls


def require_array(value: Any, name: str) -> None:
    """Raise unless a value is what `ArrayLike` stands for, where that depends on more than the annotation."""
    problem = _Array(Numeric()).problem(value, name)
    if problem is not None:
        raise_problems([problem])


class Rule:
    """What one type accepts: in words, as a test, and what to type instead of anything else."""

    error: type[JfneError] = ArgumentError

    def __init__(self, words: str, accepts: Callable[[Any], bool], code: str = "") -> None:
        self.words, self.accepts, self.code = words, accepts, code

    def problem(self, value: Any, name: str) -> Problem | None:
        """Return what is wrong with a value that is nearly accepted, such as NaN; None of any other."""
        return None

    def refused(self, value: Any, name: str, found: str | None = None) -> Problem:
        """Return the problem of a value that is not accepted."""
        remedy = f"{name}={self.code}" if self.code else f"pass {self.words}"
        return Problem(name, found or described(value), self.words, remedy, self.error)


class Parameter:
    """A parameter, and the rules of the types in its annotation: one of them has to accept the argument."""

    def __init__(self, name: str, default: Any, rules: Sequence[Rule]) -> None:
        self.name, self.default, self.rules = name, default, rules
        self._tests = [rule.accepts for rule in rules]

    def accepts(self, value: Any) -> bool:
        """Whether the value is what the annotation says."""
        return any(test(value) for test in self._tests)

    def problem(self, value: Any) -> Problem:
        """Return what is wrong with a value that is not accepted."""
        # what is nearly a number is told so, and only what is nothing else is taken to be labelled data
        for rule in sorted(self.rules, key=lambda rule: isinstance(rule, _Labelled)):
            known = rule.problem(value, self.name)
            if known is not None:
                return known
        expected = " or ".join(rule.words for rule in self.rules)
        remedy = f"pass {expected}"
        code = next((rule.code for rule in self.rules if rule.code), None)
        if code or self.default is not REQUIRED:
            remedy = (
                f"{self.name}={code if self.default in (None, REQUIRED) else repr(self.default)}"
            )
        return Problem(self.name, described(value), expected, remedy, self.rules[0].error)


def described(value: Any) -> str:
    """Describe an argument that is not accepted: a short value as it is, anything else by its type."""
    if value is None or isinstance(value, (str, bytes, numbers.Number, list, tuple, dict, set)):
        text = repr(value)
        if len(text) <= 60:
            return text
    shape = getattr(value, "shape", None)
    text = "a value that JAX traces" if is_traced(value) else f"a {type(value).__name__}"
    return f"{text} of shape {shape}" if isinstance(shape, tuple) and shape else text


# ------------------------------------------------------------------------------------------------- annotations


def _parameters(function: Callable[..., Any]) -> tuple[list[Parameter], dict[str, Parameter]]:
    """Return the checked parameters of a function, by their place and by their name."""
    by_place, by_name = [], {}
    names = _Names({**vars(builtins), **inspect.unwrap(function).__globals__})
    for p in inspect.signature(function).parameters.values():
        hint = Any if p.annotation is p.empty else p.annotation
        hint = eval(hint, {}, names) if isinstance(hint, str) else hint
        parameter = Parameter(p.name, p.default, _rules(hint))
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            by_place.append(parameter)
        if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD):
            by_name[p.name] = parameter
    return by_place, by_name


class _Names(dict[str, Any]):
    """The names in annotations. What is imported for type checkers only, such as Axes, is not checked here."""

    def __missing__(self, name: str) -> Any:
        return Any


def _rules(hint: Any) -> list[Rule]:
    """Return a rule for each of the types that an annotation allows."""
    if get_origin(hint) is Annotated:
        return _noted(hint)
    if get_origin(hint) in (Union, UnionType) or isinstance(hint, TypeVar):
        members = hint.__constraints__ if isinstance(hint, TypeVar) else get_args(hint)
        labelled = [m for m in members if m in _LABELLED]
        if xr.Dataset in labelled:
            rest = [m for m in members if m not in labelled]
            return [_Labelled(*labelled), *(r for m in rest for r in _rules(m))]
        return [rule for member in members for rule in _rules(member)]
    return [_rule(hint)]


def _noted(hint: Any) -> list[Rule]:
    """Return the rules of an annotation with notes; of several notes, the last says what is accepted."""
    kind, *notes = get_args(hint)
    note = notes[-1]
    if type(note) in _OF_NOTES:
        rules = [_OF_NOTES[type(note)](note)]
    else:
        rules = _rules(kind)
    for rule in rules:
        rule.code = getattr(note, "code", rule.code)
        rule.error = getattr(note, "error", None) or rule.error
    return rules


def _rule(hint: Any) -> Rule:
    """Return the rule of one type."""
    kind = get_origin(hint) or hint
    if kind in _OF_TYPES:
        return _OF_TYPES[kind]()
    if kind in (xr.Dataset, xr.DataArray):
        return _Labelled(kind)
    if kind is Sequence or (kind is tuple and Ellipsis in get_args(hint)):
        members = [member for member in get_args(hint) if member not in (Ellipsis, Any)]
        return _sequence([rule for member in members for rule in _rules(member)])
    if (
        kind is tuple
    ):  # what is inside is checked where it is read: either end of a window may be None
        return Rule("a pair", lambda value: not isinstance(value, (str, set, dict)), "(0, 1)")
    # Models and trees are checked where they are used: there is more to say about them than their type.
    if (
        not isinstance(kind, type)
        or kind in (Any, Iterable, xr.DataTree)
        or not _is_plain_class(kind)
    ):
        return Rule("anything", lambda value: True)
    code = f"jfx.{kind.__name__}()" if is_dataclass(kind) else ""
    return Rule(f"a {kind.__name__}", lambda value: isinstance(value, kind), code)


def _is_plain_class(kind: type) -> bool:
    """Whether a class is no protocol, and, if it is a dataclass, can be made without arguments."""
    fixed = fields(kind) if is_dataclass(kind) else ()
    needed = any(f.default is MISSING and f.default_factory is MISSING for f in fixed)
    return not needed and not getattr(kind, "_is_protocol", False)


def _is_plain(value: Any) -> bool:
    """Whether a value is a finite number of Python or NumPy: what plain arithmetic takes."""
    return is_real(value) and isinstance(value, (int, float, np.number)) and abs(value) <= LARGEST


def _is_name(value: Any) -> bool:
    """Whether a value may be the name of a variable or a dim: any object with a hash, in xarray."""
    if value is None:
        return False
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and not isinstance(value, _LABELLED)


_LABELLED = xr.Dataset, xr.DataArray, xr.DataTree
_FLAGS = bool, np.bool_

#: The rules of types that need no note. Each rule is created where it is used, as an example may be added to it.
_OF_TYPES: dict[Any, Callable[[], Rule]] = {
    NoneType: lambda: Rule("None", lambda value: value is None, "None"),
    bool: lambda: Rule("True or False", lambda value: isinstance(value, _FLAGS), "True"),
    int: lambda: _whole(-MOST),
    float: lambda: Rule("a number", _is_plain, "0.5"),
    str: lambda: Rule("a string", lambda value: isinstance(value, str)),
    bytes: lambda: Rule("bytes", lambda value: isinstance(value, bytes)),
    Hashable: lambda: Rule("a name", _is_name),
    Mapping: lambda: Rule("a mapping", _is_mapping, "{}"),
    Callable: lambda: Rule("a function", callable, "lambda ds: ds"),
}


def is_real(value: object) -> TypeGuard[numbers.Real]:
    """Whether a value is a real number of Python or NumPy; booleans and times are not meant as one."""
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.timedelta64))


def _whole(least: int) -> Rule:
    words = "a whole number" if least < 0 else f"a whole number, at least {least}"

    def accepts(value: Any) -> bool:
        return is_real(value) and isinstance(value, (int, np.integer)) and least <= value <= MOST

    return Rule(words, accepts, str(max(least, 1)))


def _sequence(inside: Sequence[Rule]) -> Rule:
    """Return the rule of a list, a tuple or a one-dimensional array, of what one of the rules inside accepts."""

    def accepts(value: Any) -> bool:
        several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        if not several and not (isinstance(value, np.ndarray) and value.ndim == 1):
            return False
        return not inside or all(any(rule.accepts(x) for rule in inside) for x in value)

    what = " or ".join(rule.words for rule in inside)
    code = f"[{inside[0].code}]" if inside else "[]"
    return Rule(f"a list, each {what}" if what else "a list", accepts, code)


# ----------------------------------------------------------------------------------------------- labelled data


class _Labelled(Rule):
    """A Dataset, a DataArray, or either."""

    def __init__(self, *kinds: type) -> None:
        words = " or ".join(f"a {kind.__name__}" for kind in kinds)
        super().__init__(words, lambda value: isinstance(value, kinds))
        self.needs_dataset = xr.Dataset in kinds

    def problem(self, value: Any, name: str) -> Problem | None:
        """Return what makes a Dataset of something else; None if the annotation says what to type."""
        if not self.code and self.needs_dataset:
            return no_dataset(value, name, self.words).problems[0]
        return None


# ----------------------------------------------------------------------------------------------------- numbers


class _Number(Rule):
    """One real number: a number, a string with a unit, a quantity, or an array without dims."""

    def __init__(self, note: Number) -> None:
        self.unit, self.finite, self.ratio_of = note.unit, note.finite, note.ratio_of
        bare = self.unit in (None, "1")
        code = "0.5" if bare else f'"{example(str(self.unit))}"'
        words = f"one number{'' if bare else f' in {self.unit}'}"
        if self.ratio_of:
            words, code = "a direction, not all 0", "(0, 0, 1)"
        super().__init__(words, self._accepts, code)

    def _accepts(self, value: Any) -> bool:
        if type(value) is float:  # what is given most often
            return abs(value) <= LARGEST or not self.finite
        return self.problem(value, "") is None

    def problem(self, value: Any, name: str) -> Problem | None:
        """Return what is wrong with a number."""
        number = 0.0
        if is_jax(value):
            if value.ndim or value.dtype.kind not in "fiu":
                return self.refused(value, name)
            number = 0.0 if is_traced(value) else float(value)
        elif isinstance(
            value, (list, tuple, np.timedelta64)
        ):  # NumPy counts times among the integers
            return self.refused(value, name)
        elif self.unit or not (isinstance(value, str) or is_quantity(value)):
            try:
                number = self._read(value, name)
            except OverflowError:  # an int beyond any float
                return self._too_large(described(value), name)
            except UnitError as error:
                return error.problems[0]
        if abs(number) <= LARGEST or not self.finite:
            return None
        return self._too_large(f"{number:g}", name)

    def _read(self, value: Any, name: str) -> float:
        return scalar(value, self._unit_for(value) or "1", name)

    def _unit_for(self, value: Any) -> str | None:
        """Return the unit in which a value is read: `ratio_of`, if it has that dimension."""
        other = self.ratio_of
        ratio = other and is_quantity(value) and same_dimension(unit_of(value), other)
        return other if ratio else self.unit

    def _too_large(self, number: str, name: str) -> Problem:
        """Return the problem of NaN, Inf, or a number that single precision does not hold."""
        unit = "" if self.unit in (None, "1") else f" {self.unit}"
        expected = f"{self.words}, finite, of at most {LARGEST:.1e}"
        return replace(self.refused(number, name, number + unit), expected=expected)


class _Numbers(_Number):
    """One real number, or several in a list, a tuple, an array, a quantity or a DataArray."""

    def __init__(self, note: Numbers) -> None:
        super().__init__(note)
        self.words = self.words.replace("one number", "one number or several")

    def problem(self, value: Any, name: str) -> Problem | None:
        """Return what is wrong with numbers."""
        if isinstance(value, (xr.DataArray, xr.Variable)):
            value = value.data
        data = bare(value)
        if type(data) is np.ndarray and data.dtype == object and data.ndim:
            data = data.tolist()
        if isinstance(data, (list, tuple)):
            made = _array_of(data)
            if made is not None and made.dtype.kind not in "fiu":  # with units, among others
                return next(filter(None, (self.problem(x, name) for x in data)), None)
            data = data if made is None else made
        elif not hasattr(data, "dtype") or not np.ndim(data):
            return super().problem(value, name)
        problem = _Array(Numeric()).problem(data, name)
        if problem or is_traced(data) or not self.finite:
            return problem
        if is_quantity(value) and self.unit:
            try:
                factor(unit_of(value), self._unit_for(value) or "1")
            except UnitError as error:
                return replace(error.problems[0], where=name)
        # To see the values of a JAX array is to wait for them and copy them from a device: for a few only.
        if np.size(data) == 0 or (is_jax(data) and data.size > FEW):
            return None
        values = np.asarray(data, float)
        if values.min() >= -LARGEST and values.max() <= LARGEST:  # never true of NaN
            return None
        return self._too_large(described(value), name)


class _Array(Rule):
    """An array of numbers, or what NumPy makes one of."""

    def __init__(self, note: Numeric) -> None:
        self.kinds = "fiub" if note.real else "fiubc"
        words = f"an array of {'real ' if note.real else ''}numbers"
        super().__init__(words, self._accepts)

    def _accepts(self, value: Any) -> bool:
        if type(value) is np.ndarray and value.dtype.kind in self.kinds:
            return True
        return self.problem(value, "") is None

    def problem(self, value: Any, name: str) -> Problem | None:
        """Return what is wrong with an array."""
        data = bare(value)
        kind = getattr(data, "dtype", None)
        if isinstance(kind, np.dtype):
            # the argument is a variable of the user's, by any name
            masked = masked_problem(data, name, name if data is value else f"{name}.magnitude")
            if masked is not None:
                code = masked.remedy + ("" if data is value else f" * {name}.units")
                return replace(masked, remedy=f"{name}={code}")
            if kind.kind in self.kinds or is_real_type(kind):
                return None
            if kind.kind == "O" and carries_unit(data):
                return None  # converted where they are used
            return kind_problem(kind, name)
        listed = isinstance(data, (list, tuple))
        if listed and carries_unit(data):
            return None  # quantities, whose units NumPy would lose: converted where they are used
        made_of = _array_of(data) if listed or hasattr(data, "__array__") or is_real(data) else None
        if made_of is None or made_of.dtype.kind not in self.kinds:
            return self.refused(value, name)
        return None


def _array_of(values: Any) -> np.ndarray | None:
    """Return what NumPy makes of nested sequences, or None; of quantities and arrays of JAX, an array of objects."""
    if isinstance(values, (list, tuple)) and (carries_unit(values) or any(map(is_jax, values))):
        return np.empty(len(values), object)
    try:
        return np.asarray(values)
    except (TypeError, ValueError):
        return None


class _UnitText(Rule):
    """A text, or a unit of pint; whether pint can read the text is checked where it is used."""

    def __init__(self, note: Unit) -> None:
        super().__init__("a text, or a unit of pint", lambda v: self.problem(v, "") is None, '"mV"')

    def problem(self, value: Any, name: str) -> Problem | None:
        """Return what is wrong with a unit: the remedy writes one of another library as text."""
        try:
            unit_text(value)
        except UnitError as error:
            (problem,) = error.problems
            return replace(problem, where=name, remedy=problem.remedy.replace("units=", f"{name}="))
        return None


#: The rules of notes in annotations, which say more than the types beside them.
_OF_NOTES: dict[type, Callable[[Any], Rule]] = {
    Number: _Number,
    Numbers: _Numbers,
    Numeric: _Array,
    Unit: _UnitText,
    Whole: lambda note: _whole(note.least),
    Unchecked: lambda note: Rule("anything", lambda value: True),
}
