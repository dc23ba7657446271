"""Typed errors. Each lists all problems: what was found, what was expected, and what to type."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Problem:
    """One problem and its remedy.

    Attributes
    ----------
    where : str
        The variable, dimension, coordinate or argument concerned.
    found, expected, remedy : str
        What is there, what should be there, and what to type.
    error : type of JfneError
        The error to raise if this is the first problem.
    """

    where: str
    found: str
    expected: str
    remedy: str
    error: type[JfneError]

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; expected {self.expected}.\n    Remedy: {self.remedy}"


class JfneError(ValueError):
    """Base of all errors of this package; ``problems`` holds every problem found."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__(*problems)

    @classmethod
    def of(cls, where: str, *, found: str, expected: str, remedy: str) -> Self:
        """Make the error of one problem."""
        return cls(Problem(where, found, expected, remedy, cls))

    def __str__(self) -> str:
        return listing(self.problems)

    # Errors travel between processes, and FileError is an OSError, which pickles (errno, strerror).
    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.problems, self.__dict__

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.problems == getattr(other, "problems", None)

    def __hash__(self) -> int:
        return hash((type(self), self.problems))


class DimensionError(JfneError):
    """A dimension is missing, given twice, or has the wrong length."""


class UnitError(JfneError):
    """A unit is missing, unreadable, or of the wrong dimension."""


class TimeAxisError(JfneError):
    """The time axis or the sampling interval is not usable."""


class DataError(JfneError):
    """The values are of a type, or in a range, that cannot be used."""


class NonFiniteError(DataError):
    """There are NaN or Inf, and every value must be finite."""


class VariableError(JfneError):
    """A variable is missing, or the choice between several is ambiguous."""


class ArgumentError(JfneError):
    """An argument has a value that is not allowed."""


class ScopeError(JfneError):
    """The scope claims more than the provenance supports."""


class SchemaError(JfneError):
    """The data is not from this package, or is of a newer version of its schema."""


class FileError(JfneError, OSError):
    """A file cannot be written or read."""

    # OSError formats its text from (errno, strerror); ours is in `problems`.
    __str__ = JfneError.__str__


class MissingDependencyError(JfneError, ImportError):
    """An optional package is not installed."""

    __str__ = JfneError.__str__


def listing(problems: Iterable[Problem]) -> str:
    """Return the problems as text, numbered if there are several."""
    problems = tuple(problems)
    if len(problems) == 1:
        return str(problems[0])
    lines = [f"{len(problems)} problems"]
    lines += [f"  {i}. {problem}" for i, problem in enumerate(problems, 1)]
    return "\n".join(lines)


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise one error that lists all `problems`, of the first one's type; do nothing if there are none."""
    problems = tuple(problems)
    if problems:
        raise problems[0].error(*problems)


def renaming(names: Iterable[object], to: str, *, of: str = "ds") -> str:
    """Return the remedy that gives the first of `names`, dims or variables of `of`, the name `to`."""
    first = next(iter(names), None)
    return (
        f'name a dim or variable "{to}"'
        if first is None
        else f'{of}.rename({{{first!r}: "{to}"}}), if it is that'
    )


def warn(text: str) -> None:
    """Warn the user; the warning points to the first line outside this package."""
    # `skip_file_prefixes` of warnings.warn would do this, from Python 3.12 on
    here, frame, level = str(Path(__file__).parents[1]), sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def missing_dependency(package: str, extra: str, purpose: str) -> MissingDependencyError:
    """Make the error for an optional package that is not installed."""
    return MissingDependencyError.of(
        package,
        found="that it is not installed",
        expected=f"it, {purpose}",
        remedy=f'pip install "jaxfne-xr[{extra}]"',
    )
