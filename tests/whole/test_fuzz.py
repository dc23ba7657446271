"""Every labelled function gives the same numbers for every form of its inputs as for plain NumPy float64."""

import inspect
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jaxfne_xr as jfx

sys.path.insert(0, str(Path(__file__).parent))
from forms import CALLS, KINDS, LAYOUTS, TYPES, Form, difference

#: Of float64, and of float32, relative to the largest value: both would show a factor of 1.001.
EXACT, COARSE = 1e-9, 3e-4
#: Of float64 in JAX while it is set to 32 bits: a few factors between kernels are rounded to float32; and of what is
#: made float32 here, for `to_jax`.
BETWEEN = 1e-6
#: What is computed from spikes, which are booleans: in JAX's default precision, if they are JAX.
FROM_SPIKES = {
    "firing_rate",
    "spike_rate_hz",
    "silent_fraction",
    "synaptic_source",
    "emm_proxy",
    "summary",
}


def test_every_labelled_function_is_called():
    labelled = ("xr.Dataset | xr.DataArray", "Data")
    takes = {
        name
        for name, f in vars(jfx).items()
        if inspect.isfunction(f)
        and next((p.annotation for p in inspect.signature(f).parameters.values()), None) in labelled
    }
    assert takes == {name.split(" ")[0] for name in CALLS}


def agrees(name, forms):
    call, inputs = CALLS[name]
    # one form of indexes: whether times that were rounded otherwise are the same is tested elsewhere
    index = forms[0][1]
    changed = [form.of(ds, coords, index) for ds, (form, coords) in zip(inputs, forms, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # float32 currents, contacts near cells
        gap, of = difference(call(*changed), call(*inputs))
    coarse = any(form.coarse for pair in forms for form in pair)
    coarse |= name in FROM_SPIKES and any(form.kind == "jax" for form, _ in forms)
    single = name == "to_jax" or any(form.kind == "jax" for pair in forms for form in pair)
    exact = BETWEEN if single else EXACT
    assert gap <= (COARSE if coarse else exact), (name, of, gap)


def some(kind):
    return st.builds(
        Form,
        kind=kind,
        dtype=st.sampled_from(TYPES),
        swapped=st.booleans(),
        layout=st.sampled_from(LAYOUTS),
        unit=st.sampled_from([None, None, 0, 1]),
        quantified=st.booleans(),
        chunks=st.sampled_from([1, 2, 3, -1]),
        order=st.none() | st.integers(0, 5),
    )


@given(data=st.data(), name=st.sampled_from(sorted(CALLS)))
def test_any_form_gives_the_same(data, name):
    forms = []
    for _ in CALLS[name][1]:
        kind = data.draw(st.sampled_from(KINDS))
        forms.append(
            (data.draw(some(st.just(kind))), data.draw(some(st.sampled_from(["numpy", kind]))))
        )
    agrees(name, forms)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_the_byte_order_of_another_machine(name):
    # Once a kernel is compiled for native data, JAX would read the bytes of others in the wrong order.
    swapped = Form(swapped=True)
    agrees(name, [(swapped, swapped)] * len(CALLS[name][1]))
