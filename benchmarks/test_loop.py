"""What reading a field costs a simulation that records nothing, in time and memory. Prints; asserts nothing.

python dev.py bench
"""

from __future__ import annotations

import jax
import pytest

import jaxfne_xr as jfx

from .timing import interleaved, machine, report

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.usefixtures("x64"),
]

DT = 0.025
CONTACTS = 64


def tree():
    """Return a cell of 1008 compartments in 63 branches, with Hodgkin-Huxley channels."""
    import jaxley as jx
    from jaxley.channels import HH

    cell = jx.Cell(jx.Branch(ncomp=16), parents=[-1, *((i - 1) // 2 for i in range(1, 63))])
    cell.insert(HH())
    cell.set("length", 20.0)
    cell.set("axial_resistivity", 150.0)
    return cell


def test_time() -> None:
    import jaxley as jx

    print(f"\n{machine()}")
    cell = tree()
    soma = cell.branch(0).comp(0)
    soma.stimulate(jx.step_current(1.0, 2.0, 0.5, DT, 50.0), verbose=False)
    soma.record("v", verbose=False)  # Jaxley wants at least one row
    probe = jfx.linear_probe(CONTACTS, spacing="20 um", origin=(40, 10, -600))
    bare = jax.jit(lambda x: jx.integrate(cell, delta_t=DT, t_max=50.0) + x)
    read = jax.jit(lambda x: jfx.integrate_field(cell, probe, delta_t=DT, t_max=50.0).lfp.data + x)
    ours, reference = interleaved(
        lambda: jax.block_until_ready(read(0.0)), lambda: jax.block_until_ready(bare(0.0))
    )
    report(
        "integrate_field, 1008 compartments, 64 contacts",
        ours,
        "jx.integrate of one row",
        reference,
        1.15,
    )


def test_memory() -> None:
    import jaxley as jx

    cell = tree()
    probe = jfx.linear_probe(CONTACTS, spacing="20 um", origin=(40, 10, -600))

    def megabytes(run) -> float:
        analysis = jax.jit(run).lower(0.0).compile().memory_analysis()
        return (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / 1e6

    ours = megabytes(
        lambda x: jfx.integrate_field(cell, probe, delta_t=DT, t_max=1000.0).lfp.data + x
    )
    cell.record("v", verbose=False)
    all_voltages = megabytes(lambda x: jx.integrate(cell, delta_t=DT, t_max=1000.0) + x)
    print(
        f"\nintegrate_field, 1008 compartments, 40 000 steps, 64 contacts: {ours:.1f} MB, "
        f"of which the result is {8 * 40_001 * CONTACTS / 1e6:.1f} MB; "
        f"jx.integrate of all voltages {all_voltages:.1f} MB; {ours / all_voltages:.1%}"
    )
