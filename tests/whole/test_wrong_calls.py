"""Wrong calls of everything public: each is refused with what to type, or listed here as one that is right."""

import inspect
import re
import sys
import warnings
from itertools import islice
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.inputs import as_dataset
from jaxfne_xr.core.units import magnitude

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
import wrong
from remedies import codes, run

#: Public functions without parameters, and those that need a simulator: see `test_wrong_calls_with_jaxley`.
APART = {"readouts", "configuration", "enable_pytrees", "from_jaxley", "integrate_field"}
APART |= {"from_lfpy"}

TEXTS = {v for v in wrong.VALUES if "text" in v or "unit" in v} - {"0-d text array", "text array"}
TEXTS -= {"bands of text"}
POSITIVE = {"0.5", "10**30", "Fraction", "0-d array", "number for a name"}
NUMBERS = POSITIVE | {"0", "-1", "1e-320"}
SEVERAL = {"JAX array", "Series", "0-d DataArray", "DataArray", "Variable", "pair reversed"}
SEVERAL |= {"bool array", "list of one", "list of 5"}
LABELLED = {"Dataset", "empty Dataset", "DataArray", "0-d DataArray"}
NAMES = {"empty list", "empty array", "text array", "list of names", "tuple for a name"}

#: What is right after all: for each annotation, the values that a parameter of it may be.
ACCEPTED = {
    "bool": {"True"},
    "Scalar": NUMBERS,
    "Time": NUMBERS,
    "TimeStep": NUMBERS,
    "Length": NUMBERS,
    "Voltage": NUMBERS,
    "Frequency": NUMBERS,
    "Conductivity": NUMBERS,
    "Angles": NUMBERS | SEVERAL | {"text of a number"},
    "AnyTime": NUMBERS | {"NaN", "Inf", "1e308", "-1e308", "NaN NumPy"},
    "float": NUMBERS,
    "int": {"number for a name", "0", "-1"},
    "Count": {"number for a name"},
    "Lengths": NUMBERS | SEVERAL,
    "Scalars": NUMBERS | SEVERAL,
    "Vector": SEVERAL,
    "Direction": SEVERAL,
    "UnitText": TEXTS,
    "Window": {"list of None"},
    "Array": {"DataFrame", "2-D", "tuple of lists"},
    "Recordings": {"DataFrame", "2-D"},
    "ArrayLike": {"DataArray", "Variable", "DataFrame", "2-D", "tuple of lists", "pair reversed"},
    # other names, and other arrays, are refused where they are looked up
    "str": TEXTS,
    "FileName": TEXTS | {"bytes"},
    "Sequence[str]": NAMES,
    "ReadoutNames": NAMES,
    "Sequence[int]": NAMES,
    "Hashable": {v for v in wrong.VALUES if wrong.is_hashable(v)},
    "tuple[Hashable, ...]": NAMES | SEVERAL | {"complex array", "NaN list", "Inf array"}
    | {"pair of NaN"},
    "Callable[..., Any]": {"function", "type"},
    "Mapping[str, Any]": {"dict", "empty dict", "bands of text"},
    "Mapping[str, str]": {"dict", "empty dict", "bands of text", "bands of NaN"},
    "Params": {"empty list"},
    "Mapping[Hashable, Any]": {"empty dict"},
    "Chunks": NUMBERS | {"dict", "empty dict", "bands of NaN", "bands of text"},
    "xr.Dataset": LABELLED,
    "Data": LABELLED,
    "Sensors": LABELLED,
    "Stage": {"Dataset"},
    "xr.DataTree": {"DataTree"},
    "Tree": {*wrong.VALUES},  # whatever JAX can carry, NaN included
}  # fmt: skip
#: None where it is not the default, and says something.
NOTHING = {"by", "spike_threshold", "init"}


def accepted(parameter, value):
    if value == "None":
        return parameter.default is None or parameter.name in NOTHING
    kinds = str(parameter.annotation).split(" | ")
    return any(value in ACCEPTED.get(kind, ()) for kind in kinds)


@pytest.fixture(autouse=True)
def nothing_is_left():
    """What remedies do, which are executed here, ends with the test: pictures, and JAX's 64 bits."""
    x64 = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", x64)
    plt.close("all")


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    plt.switch_backend("Agg")
    return wrong.calls(tmp_path_factory.mktemp("wrong"))


def finite(made):
    if isinstance(made, xr.DataArray):
        made = made.to_dataset(name="array")
    variables = made.variables.values() if isinstance(made, xr.Dataset) else ()
    values = [np.asarray(magnitude(v.data)) for v in variables]
    return all(np.isfinite(x).all() for x in values if x.dtype.kind in "fc")


def judge(call, parameter, value, tried):
    """Return what is wrong with what a wrong call did; None if nothing is.

    If `tried` is a set, what the error says to type is executed too, each once.
    """
    try:
        made = call(**{parameter.name: wrong.VALUES[value]()})
    except jfx.JfneError as error:
        problems = error.problems
        parts = [(p.found, p.expected, p.remedy) for p in problems]
        if not parts or not all(map(all, parts)):
            return f"says too little: {parts}"
        if tried is None or len(problems) > 1:
            return None
        return useless(call, parameter, value, problems[0], tried)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        plt.close("all")
    if not accepted(parameter, value):
        return "is accepted, but not listed"
    if finite(made) or not finite(call()):  # some have NaN where nothing is defined
        return None
    return "gives NaN"


#: Raised by the user's own function, when it is called.
OF_THE_USER = ("scan", "fn", "type")


def judged(right, cases, tried=None):
    failed, n = {}, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, parameter, value in cases:
            if (name, parameter.name, value) == OF_THE_USER:
                continue
            n += 1
            found = judge(right[name], parameter, value, tried)
            if found is not None:
                failed[f"{name}({parameter.name}={value})"] = found
    assert not failed, "\n".join(f"{k}: {v}" for k, v in islice(failed.items(), 40))
    return n


def some(right, each):
    """Yield `each` values for every parameter: all values in turn."""
    values, k = list(wrong.VALUES), 0
    for name, call in right.items():
        for parameter in call.parameters():
            for i in range(each):
                yield name, parameter, values[(k + i * 11) % len(values)]
            k += 1


def test_two_thousand_wrong_calls(right, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert judged(right, some(right, 6)) >= 2000


@pytest.mark.slow
def test_every_wrong_call(right, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    every = (
        (name, parameter, value)
        for name, call in right.items()
        for parameter in call.parameters()
        for value in wrong.VALUES
    )
    tried = set()
    assert judged(right, every, tried) >= 25_000
    assert len(tried) > 700


def test_everything_public_is_called(right):
    functions = {n for n in jfx.__all__ if inspect.isfunction(getattr(jfx, n))} | {"open"}
    classes = {n for n, c in vars(jfx).items() if inspect.isclass(c) and hasattr(c, "equation")}
    pictures = {f"plot.{n}" for n, f in vars(jfx.plot).items() if inspect.isfunction(f)}
    pictures -= {"plot.__dir__"}
    assert (functions | classes | pictures) - {*right} == APART
    for name in functions:
        assert hasattr(getattr(jfx, name), "__wrapped__"), name  # decorated with `public`


def test_the_right_calls_work(right):
    for name, call in right.items():
        call()
        assert {*call.right} <= {p.name for p in call.parameters()}, name
    plt.close("all")


def test_methods_refuse_what_functions_refuse(right, refused):
    dipoles, signals = (right[n].right[k] for n, k in (("rotate", "dipoles"), ("psd", "data")))
    with refused(jfx.ArgumentError, "angle: found nan deg", "finite"):
        dipoles.jfne.rotate(float("nan"))
    with refused(jfx.ArgumentError, "overlap", "found '0.5'"):
        signals.jfne.psd(overlap="0.5")
    with refused(jfx.ArgumentError, "ax: found a int"):
        signals.jfne.plot.traces(ax=3)


@pytest.mark.slow
def test_wrong_calls_with_jaxley(tmp_path):
    jx = pytest.importorskip("jaxley")
    cell = jx.Cell([jx.Branch(jx.Compartment(), 2)], parents=[-1])
    cell.compute_compartment_centers()
    cell.branch(0).comp("all").record(verbose=False)
    v = jx.integrate(cell, delta_t=0.025, t_max=0.5)
    probe = jfx.linear_probe(3, origin=(50, 0, 0))
    right = {
        "from_jaxley": wrong.Call(
            jfx.from_jaxley, {"module": cell, "recordings": v, "delta_t": 0.025}
        ),
        "integrate_field": wrong.Call(
            jfx.integrate_field, {"module": cell, "probe": probe, "delta_t": 0.025, "t_max": 0.1}
        ),
    }
    every = (
        (name, parameter, value)
        for name, call in right.items()
        for parameter in call.parameters()
        for value in wrong.VALUES
    )
    judged(right, every)


# ----------------------------------------------------------------------------------------- what is said to type


def in_hand(call, parameter, value):
    """Return what the user has by name: arguments, the data at hand as `ds`, its variables, and data to label."""
    datasets = [x for x in call.right.values() if isinstance(x, xr.Dataset)]
    ds = datasets[0] if datasets else wrong.VALUES["Dataset"]()
    if isinstance(value, xr.Dataset | xr.DataArray):
        ds = as_dataset(value, parameter.name)
    names = {str(n): x for n, x in ds.data_vars.items()}
    names |= {"positions": 90.0 * np.eye(3), "matrix": np.ones((4, 2)), "cell": wrong.cell()}
    names |= {"current": np.zeros(24), "tree": value, "variable": value, "array": value}
    names |= {"is_soma": [True, False], "labels": list("ab"), "source": wrong.V}
    names |= {"other": ds, "values": {"schema": 1, "stages": {}}, "signals": SIGNALS}
    names |= call.right | {"x": [0, 1], "y": [0, 1], "z": [0, 1], "times": np.arange(3.0)}
    names |= {parameter.name: value}
    return names | {"ds": ds}  # also where an argument of this name is no Dataset


SIGNALS = jfx.traces(wrong.V, ("unit", "time"), dt_ms=0.1).jfne.to_signals()
SIGNALS = SIGNALS.assign_coords(population=("unit", ["E", "I"]))
#: Methods of a model, and what makes things that a test has not, are typed by who has them.
ELSEWHERE = ("model.", "jfx.bundle(", "jfx.construct(", "from_jaxley", "compute_readout(")
ELSEWHERE += (
    'xr.DataArray(array, dims=("channel", "xyz", "dipole")',
)  # of an array with these axes


#: Takes a DataArray and makes a Dataset of it, of which its errors speak.
INSIDE = ("Model.simulate_external", "source")


def useless(call, parameter, value, problem, tried):
    """Execute the code of a remedy on what caused it; return why one does not help, None if all do."""
    for code in codes(problem.remedy):
        case = (call.function.__qualname__, parameter.name, code)
        if case not in tried and not code.startswith(ELSEWHERE) and case[:2] != INSIDE:
            tried.add(case)
            again = (problem.where, problem.found)
            why = does_not_help(call, parameter, wrong.VALUES[value](), code, again)
            if why:
                return f"{code}: {why}"
    return None


def does_not_help(call, parameter, value, code, found):
    """Return why the code of a remedy does not help: it raises, or the same is found again; None if it does."""
    names = in_hand(call, parameter, value)
    names.setdefault(found[0], value)  # a variable is called by its name
    shape = re.search(r'values, dims=([(\[][^)\]]*)|"(\w+)", values', code)
    if shape:  # which are as many as the data has
        ndim = shape[1].count('"') // 2 if shape[1] else 1
        n = names["ds"].sizes.get(shape[2], 2)
        names["values"] = np.zeros((n, 24, 2)[:ndim] if ndim < 3 else (2, n, 24))
    along = re.search(r'"(\w+)", labels', code)
    if along:
        names["labels"] = list("abcdef")[: names["ds"].sizes.get(along[1], 2)]
    try:
        made = run(code, names)
        mine = {k: x for k, x in made.items() if k in {p.name for p in call.parameters()}}
        if mine:
            call(**{parameter.name: value, **mine})
    except jfx.FileError:
        return None  # a file of this name would be opened
    except jfx.JfneError as error:
        again = any((p.where, p.found) == found for p in error.problems)
        return f"the same again: {error}" if again else None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        plt.close("all")
    return None
