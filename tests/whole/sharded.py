"""Run every labelled function on arrays divided over a mesh, and print where it differs; run by `test_sharding`."""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import sys
import warnings
from contextlib import nullcontext

import jax
import xarray as xr
from forms import CALLS, Form, difference
from jax.sharding import AxisType, NamedSharding, PartitionSpec

PLAIN = Form(kind="jax", dtype="f4")


def divided(ds: xr.Dataset, dim: str, mesh: jax.sharding.Mesh) -> xr.Dataset:
    """Return a Dataset whose variables are divided along `dim`, if their length is even."""

    def put(x: xr.DataArray) -> xr.Variable:
        even = dim in x.dims and x.sizes[dim] % 2 == 0
        spec = PartitionSpec(*(mesh.axis_names[0] if d == dim and even else None for d in x.dims))
        return xr.Variable(x.dims, jax.device_put(x.data, NamedSharding(mesh, spec)), x.attrs)

    return ds.assign({name: put(x) for name, x in ds.data_vars.items()})


def main(kind: str, context: str, how: str) -> None:
    mesh = jax.make_mesh((2,), ("d",), axis_types=(getattr(AxisType, kind),))
    warnings.simplefilter("ignore")
    for name, (call, inputs) in CALLS.items():
        plain = [PLAIN.of(ds, Form()) for ds in inputs]
        want = call(*plain)
        for dim in dict.fromkeys(
            str(d) for ds in plain for x in ds.data_vars.values() for d in x.dims
        ):
            with jax.set_mesh(mesh) if context == "set" else nullcontext():
                count = 1 if how == "first" else len(plain)
                parts = [divided(ds, dim, mesh) for ds in plain[:count]] + plain[count:]
                try:
                    gap, of = difference(call(*parts), want)
                except Exception as error:
                    print(name, "along", dim, type(error).__name__, str(error).splitlines()[0])
                    continue
            if not gap <= 1e-4:
                print(name, "along", dim, of, gap)
    print(f"{len(CALLS)} functions on {len(jax.devices())} devices")


if __name__ == "__main__":
    main(*sys.argv[1:])
