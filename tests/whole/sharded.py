"""Run every labelled function on arrays divided over a mesh, and print where it differs; run by `test_sharding`."""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import sys
import warnings
from contextlib import nullcontext
from itertools import product

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


#: Types of axes, whether the mesh is set as the context, and whether all inputs are divided or the first only.
WAYS = [("Explicit", False, True), ("Explicit", True, False), ("Auto", False, True)]


def main(*, every: bool) -> None:
    """Divide along each dim in each way, in turn with the functions, or all with all if `every`."""
    warnings.simplefilter("ignore")
    number = 0
    for name, (call, inputs) in CALLS.items():
        plain = [PLAIN.of(ds, Form()) for ds in inputs]
        want = call(*plain)
        dims = dict.fromkeys(str(d) for ds in plain for x in ds.data_vars.values() for d in x.dims)
        cases = list(product(WAYS, dims or ["contact"]))
        for (axis, context, both), dim in cases if every else [cases[number % len(cases)]]:
            mesh = jax.make_mesh((2,), ("d",), axis_types=(getattr(AxisType, axis),))
            with jax.set_mesh(mesh) if context else nullcontext():
                count = len(plain) if both else 1
                parts = [divided(ds, dim, mesh) for ds in plain[:count]] + plain[count:]
                try:
                    gap, of = difference(call(*parts), want)
                except Exception as error:
                    print(name, axis, context, "along", dim, type(error).__name__, str(error)[:100])
                    continue
            if not gap <= 1e-4:
                print(name, axis, context, "along", dim, of, gap)
        number += 1
    print(f"{len(CALLS)} functions on {len(jax.devices())} devices")


if __name__ == "__main__":
    main(every="every" in sys.argv)
