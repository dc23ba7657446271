"""What is public goes to other processes and back: it pickles and copies, and is equal to itself afterwards."""

import copy
import inspect
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

V = np.array([[-65.0, 20.0, 30.0, -70.0, 5.0], [10.0, -65.0, -65.0, 0.0, 1.0]])
DS = jfx.traces(V, ("unit", "time"), dt_ms=0.1)
CFG = (
    jfx.configuration()
    .network(groups={"E": 1, "I": 1})
    .emitter(mode="external_voltage")
    .field(domain="point")
    .probe(name="pipette", modes=["lfp_proxy"])
)
PROBLEM = jfx.Problem("v", "S/m", "mV", "units='mV'", jfx.UnitError)
ARRAY = np.arange(30.0).reshape(2, 3, 5)

#: Instances of every public class that is not an error: NumPy, JAX and labelled parameters where it has some.
EXAMPLES = {
    jfx.Configuration: (jfx.configuration(), CFG),
    jfx.CurrentReport: (jfx.CurrentReport(((1, 0.1, 0.2),), 1e-9, "none"),),
    jfx.FourSphere: (
        jfx.FourSphere(),
        jfx.FourSphere(conductivities=jnp.array([0.3, 1, 0.1, 0.3])),
    ),
    jfx.InfiniteHomogeneous: (jfx.InfiniteHomogeneous(), jfx.InfiniteHomogeneous(jnp.array(0.2))),
    jfx.JaxleyTraceSpec: (jfx.JaxleyTraceSpec(metadata={"a": [1]}),),
    jfx.JfneAccessor: (DS.jfne,),
    jfx.JfneArrayAccessor: (DS.v.jfne,),
    jfx.JfneTreeAccessor: (xr.DataTree.from_dict({"a": DS}).jfne,),
    jfx.LeadField: (
        jfx.LeadField(ARRAY, "V/(A*m)"),
        jfx.LeadField(jnp.asarray(ARRAY), "V/(A*m)"),
        jfx.LeadField(
            xr.DataArray(ARRAY, dims=("channel", "xyz", "cell"), coords={"channel": ["a", "b"]}),
            "fT/(nA*um)",
        ),
    ),
    jfx.LineSource: (jfx.LineSource(), jfx.LineSource((0.1, 0.2, 0.3), "5 um", shape="disk")),
    jfx.Model: (jfx.construct(CFG),),
    jfx.OneSphere: (jfx.OneSphere(100.0, centre=(1.0, 2.0, 3.0)),),
    jfx.PointSource: (jfx.PointSource(np.array([0.1, 0.2, 0.3])), jfx.PointSource(jnp.array(0.2))),
    jfx.Problem: (PROBLEM,),
    jfx.Readout: tuple(jfx.readouts().values()),
    jfx.Replay: (jfx.Replay({"signals/V_m": 0.0}),),
    jfx.Report: (jfx.Report("traces", (PROBLEM,), ("whether v is finite",)),),
    jfx.RootAsPoint: (jfx.RootAsPoint(),),
    jfx.Scope: (jfx.Scope(), jfx.Scope(amplitude_status=True)),
    jfx.Slab: (jfx.Slab(100.0), jfx.Slab("1 mm", images=7)),
    jfx.Spherical: (jfx.Spherical(), jfx.Spherical(centre=np.array([0.0, 1.0, 2.0]))),
}
WAYS = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "oldest pickle of a Dataset": lambda x: pickle.loads(pickle.dumps(x, 2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def errors(of=jfx.JfneError):
    yield of
    for error in of.__subclasses__():
        yield from errors(error)


def public(is_kind):
    return {x for name in jfx.__all__ if is_kind(x := getattr(jfx, name))}


def same(a, b):
    if isinstance(a, (jfx.JfneAccessor, jfx.JfneArrayAccessor)):
        return a._data.identical(b._data)  # accessors hold data, and have no equality of their own
    if isinstance(a, jfx.JfneTreeAccessor):
        return a._tree.identical(b._tree)
    return a == b


def test_every_public_class_has_an_example():
    classes = public(inspect.isclass)
    assert set(EXAMPLES) | set(errors()) == classes | set(errors())
    assert all(type(x) is cls for cls, examples in EXAMPLES.items() for x in examples)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cls", EXAMPLES, ids=lambda cls: cls.__name__)
def test_objects_are_equal_to_their_copies(cls, way):
    for example in EXAMPLES[cls]:
        back = WAYS[way](example)
        assert type(back) is cls
        assert same(back, example)
        assert str(back) == str(example)


@pytest.mark.parametrize("way", [*WAYS, "reduce"])
@pytest.mark.parametrize("error", list(errors()), ids=lambda error: error.__name__)
def test_errors_are_equal_to_their_copies(error, way):
    other = jfx.Problem("t", "s", "ms", "dt_ms=0.1", jfx.TimeAxisError)
    for made in (
        error(PROBLEM),
        error(PROBLEM, other),
        error(PROBLEM, other, other),
        error.of("v", found="x", expected="y", remedy="z"),
    ):
        made.add_note("while running trial 3")
        if way == "reduce":  # as tblib does, for dask.distributed
            make, args, state = made.__reduce_ex__(3)
            back = make(*args)
            back.__dict__.update(state)
        else:
            back = WAYS[way](made)
        assert type(back) is error
        assert back == made
        assert hash(back) == hash(made)
        assert (str(back), repr(back), back.problems) == (str(made), repr(made), made.problems)
        assert back.__notes__ == ["while running trial 3"]
        assert back != jfx.JfneError(other)


def test_functions_pickle_by_name():
    for function in public(inspect.isfunction):
        assert pickle.loads(pickle.dumps(function)) is function


def test_data_pickle(stages):
    for name, ds in stages.items():
        ds.jfne  # noqa: B018  (xarray keeps the accessor with the Dataset)
        back = pickle.loads(pickle.dumps(ds))
        assert back.identical(ds), name
        assert copy.deepcopy(ds).identical(ds), name


# ------------------------------------------------------------------------------------------- equality of models


def test_models_differ_by_type_and_by_every_parameter():
    assert jfx.PointSource() != jfx.LineSource()
    assert jfx.PointSource() != jfx.PointSource(0.31)
    equal = [jfx.PointSource(kind(0.25)) for kind in (float, np.float32, jnp.float32, np.array)]
    assert all(model == equal[0] for model in equal)
    assert len({*equal}) == 1
    assert jfx.PointSource() != jfx.PointSource(min_distance=1.0)
    assert jfx.FourSphere() != jfx.FourSphere(centre=(0.0, 0.0, 1e-9))
    assert jfx.LeadField(ARRAY, "V/(A*m)") != jfx.LeadField(ARRAY, "T/(A*m)")
    changed = ARRAY.copy()
    changed[1, 2, 4] *= 1.0 + 1e-15
    assert jfx.LeadField(ARRAY, "V/(A*m)") != jfx.LeadField(changed, "V/(A*m)")
    assert jfx.Slab(100.0) != "a slab"


def test_equal_models_have_one_hash():
    for cls, examples in EXAMPLES.items():
        if hasattr(cls, "equation"):
            for x in examples:
                assert len({x, copy.deepcopy(x), pickle.loads(pickle.dumps(x))}) == 1


def test_models_compare_under_a_trace():
    def loss(sigma):
        model = jfx.PointSource(sigma)
        assert len({model, model}) == 1
        assert model != jfx.PointSource(0.3)
        assert jfx.PointSource((sigma, 0.1, 0.1)) != jfx.PointSource((0.3, sigma, 0.1))
        return model.conductivity * 2.0

    assert jax.grad(loss)(0.3) == 2.0


# ------------------------------------------------------------------------------------------------ pools

POOL = """
import multiprocessing, sys
import numpy as np
import jaxfne_xr as jfx

def run(seed):
    v = np.random.default_rng(seed).normal(-65.0, 30.0, (3, 500))
    return jfx.traces(v, ("unit", "time"), dt_ms=0.1).jfne.to_signals()

if __name__ == "__main__":
    how, path = sys.argv[1:]
    run(0).jfne.to_netcdf(path)  # the parent computes too, before it forks
    with multiprocessing.get_context(how).Pool(2) as pool:
        assert pool.map_async(jfx.open, [path]).get(100)[0].identical(run(0))
        made = pool.map_async(run, [1, 2]).get(100)
        assert all(x.identical(run(i)) for i, x in enumerate(made, 1))
        try:
            pool.map_async(jfx.open, [path, "no-such.nc"]).get(100)
        except jfx.FileError as error:
            print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["spawn", "fork"])
def test_pools(tmp_path, how):
    if how == "fork" and sys.platform != "linux":
        pytest.skip("fork is not safe here")
    (tmp_path / "script.py").write_text(POOL)
    command = [sys.executable, tmp_path / "script.py", how, tmp_path / "run.nc"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "found no such file" in done.stdout


@pytest.mark.slow
def test_errors_with_dask_distributed_imported():
    pytest.importorskip("distributed")
    code = (
        "import distributed, pickle, copy, jaxfne_xr as jfx\n"
        "e = jfx.FileError.of('path', found='a', expected='b', remedy='c')\n"
        "assert pickle.loads(pickle.dumps(e)) == copy.copy(e) == copy.deepcopy(e) == e\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
