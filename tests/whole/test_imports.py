"""What importing does to the process: it registers `.jfne`, and nothing else."""

import builtins
import importlib.metadata
import inspect
import json
import subprocess
import sys

import pytest

import jaxfne_xr as jfx

LAZY = [
    "pint",
    "pint_xarray",
    "dask",
    "netCDF4",
    "h5netcdf",
    "scipy.signal",
    "matplotlib",
    "mpl_toolkits",
    "mne",
    "jaxley",
    "jaxfne",
]

PROBE = """
import json, sys, warnings
warnings.simplefilter("error")
import jax, xarray
before = dict(xarray.get_options()), dict(jax.config.values), set(sys.modules)
import jaxfne_xr
after = dict(xarray.get_options()), dict(jax.config.values)
print(json.dumps({
    "options": [a == b for a, b in zip(before, after)],
    "loaded": sorted(set(sys.modules) - before[2]),
    "backends": len(jax._src.xla_bridge._backends),
}))
"""


@pytest.fixture(scope="module")
def fresh():
    """What a new process says after importing."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", LAZY)
def test_what_is_not_needed_is_not_imported(fresh, name):
    assert name not in fresh["loaded"]


def test_no_option_is_changed(fresh):
    assert fresh["options"] == [True, True]


def test_no_device_is_started(fresh):
    assert fresh["backends"] == 0


def test_little_more_than_the_package_itself_is_imported(fresh):
    ours = ("jaxfne_xr", "jaxtyping", "jax.")  # parts of jax that jax itself leaves for later
    others = {name.partition(".")[0] for name in fresh["loaded"] if not name.startswith(ours)}
    assert not [name for name in others if name not in sys.stdlib_module_names], others


def test_dir_shows_the_public_names_alone():
    public = {*jfx.__all__, "open"}
    assert dir(jfx) == sorted(public)
    # what is there and not shown is a package or a module
    others = {name for name in vars(jfx) if not name.startswith("_")} - public
    assert all(inspect.ismodule(getattr(jfx, name)) for name in others)
    for name in public - {"__version__"}:
        assert getattr(jfx, name).__doc__, name
    drawn = {name for name in vars(jfx.plot.Plot) if not name.startswith("_")}
    assert {*dir(jfx.plot)} == drawn | {"Plot"}


def test_no_module_has_the_name_of_a_public_function():
    functions = {name for name in dir(jfx) if callable(getattr(jfx, name))}
    assert not {f"jaxfne_xr.{name}" for name in functions} & {*sys.modules}


def test_a_star_replaces_no_builtin():
    there = {}
    exec("from jaxfne_xr import *", there)
    assert there["to_netcdf"] is jfx.to_netcdf
    assert not {*jfx.__all__} & {*vars(builtins)}


def test_the_version_is_that_of_the_distribution():
    assert jfx.__version__ == importlib.metadata.version("jaxfne-xr")


def test_errors_are_value_errors_and_what_they_are_besides():
    errors = [e for e in vars(jfx).values() if isinstance(e, type) and issubclass(e, jfx.JfneError)]
    assert len(errors) == 12
    assert all(issubclass(error, ValueError) for error in errors)
    assert issubclass(jfx.NonFiniteError, jfx.DataError)
    assert issubclass(jfx.FileError, OSError)
    assert issubclass(jfx.MissingDependencyError, ImportError)
