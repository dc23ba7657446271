"""LFPy: read the segments, axial conductances, voltages and currents of a cell from NEURON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.errors import ArgumentError, warn
from jaxfne_xr.core.time_axis import TIME, as_typed, even_times
from jaxfne_xr.geometry.morphology import ROW, joined, segments
from jaxfne_xr.kernels.fields import membrane_currents_numpy

#: Attributes of a cell that `from_lfpy` reads.
_NEEDED = ("allseclist", "totnsegs", "x", "y", "z", "d", "area", "somaidx")


def from_lfpy(cell: Any, *, quantify: bool = True) -> xr.Dataset:
    """Label what LFPy simulated: the segment and time of each value, and how the segments are joined.

    Parameters
    ----------
    cell : LFPy.Cell, or a sequence of them
        Its NEURON sections must still exist. Voltages are there after ``cell.simulate(rec_vmem=True)``, transmembrane
        currents after ``rec_imem=True``; before a simulation the result is a morphology. Each cell is one ``unit``.
    quantify : bool
        Whether to return pint quantities, or units in ``attrs["units"]``.

    Returns
    -------
    xr.Dataset
        ``v`` (mV) and ``i_membrane`` (nA, including the current of electrodes) on ``recording`` and ``time``, if they
        were recorded; ``conductance`` (uS) on ``edge``; on ``recording`` ``unit``, ``branch`` (the section),
        ``compartment`` (the segment in it), ``section`` (its name), ``compartment_id``, positions and ``diameter``
        (um), ``membrane_area`` (um^2), ``soma``.

    Raises
    ------
    ArgumentError
        If it is not such a cell, its sections do not exist any more, or several cells were not simulated together.
    TimeAxisError
        If the samples are not evenly spaced, as with ``variable_dt=True``.

    Warns
    -----
    UserWarning
        If the currents of the initial state do not sum to zero, and there are no voltages from which to compute them.

    Notes
    -----
    The conductances are those of NEURON (``segment.ri()``), with points without membrane eliminated. With them
    `transmembrane_currents` returns LFPy's ``imem`` up to rounding, without the current of electrodes.

    NEURON has no capacitive current yet when it records the initial state, so the ``imem`` of that sample does not sum
    to zero. It is replaced by ``G V`` of the same sample, without the current of an electrode that is on at the start.

    Examples
    --------
    >>> import LFPy  # doctest: +SKIP
    >>> cell = LFPy.Cell(morphology="cell.swc")  # doctest: +SKIP
    >>> cell.simulate(rec_vmem=True)  # doctest: +SKIP
    >>> from_lfpy(cell).jfne.transmembrane_currents()  # doctest: +SKIP
    """
    cells = list(cell) if isinstance(cell, Sequence) else [cell]
    for one in cells:
        missing = [name for name in _NEEDED if getattr(one, name, None) is None]
        if missing or not list(one.allseclist):
            raise _cell_error(
                f"a {type(one).__name__} without {missing or 'sections'}",
                "an LFPy.Cell, with its sections",
            )
    if not cells:
        raise _cell_error("no cells", "at least one")

    labels, links, offset = [], [], 0
    for unit, one in enumerate(cells):
        labels.append(_labels(one, unit, offset))
        links.append(_links(one, offset))
        offset += one.totnsegs
    merged = {name: np.concatenate([x[name] for x in labels]) for name in labels[0]}
    a, b, g = (np.concatenate(part) for part in zip(*links, strict=True))
    # points of all cells are numbered -1, -2, ...: after the segments
    points = np.where(b < 0, offset - 1 - b, b)
    recorded, time = _recorded(cells)
    ends = [
        np.concatenate([np.stack([c.x[:, k], c.y[:, k], c.z[:, k]], axis=1) for c in cells])
        for k in (0, 1)
    ]
    edges = joined(a, points, g, offset)
    if "i_membrane" in recorded and _starts_at_rest(cells):
        recorded |= _with_first_sample(recorded, edges, merged["unit"])
    ds = segments(
        ends[0].astype(float),
        ends[1].astype(float),
        np.concatenate([np.asarray(c.d, float) for c in cells]),
        edges,
        merged,
        function="from_lfpy",
        parameters={
            "n": offset,
            "geometry": "traced",
            **({"source": "transmembrane_current"} if "i_membrane" in recorded else {}),
        },
        quantify=quantify,
        variables=recorded,
        time=time,
        origin="lfpy",
    )
    if "i_membrane" in ds:
        ds["i_membrane"].attrs |= {"stimulus": "included", "sign_convention": "outward positive"}
    return ds


def _labels(cell: Any, unit: int, offset: int) -> dict[str, np.ndarray]:
    sections = list(cell.allseclist)
    counts = [sec.nseg for sec in sections]
    n = sum(counts)
    soma = np.zeros(n, bool)
    soma[np.asarray(cell.somaidx, int)] = True
    return {
        "unit": np.full(n, unit),
        "branch": np.repeat(np.arange(len(sections)), counts),
        "compartment": np.concatenate([np.arange(k) for k in counts]),
        "section": np.repeat([sec.name() for sec in sections], counts),
        "compartment_id": offset + np.arange(n),
        "membrane_area": np.asarray(cell.area, float),
        "soma": soma,
    }


def _links(cell: Any, offset: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ends of each connection in NEURON, and its conductance, uS; points without membrane are negative."""
    sections = list(cell.allseclist)
    first = dict(
        zip(sections, np.cumsum([0, *(sec.nseg for sec in sections)]).tolist(), strict=False)
    )
    number = {sec: k for k, sec in enumerate(sections)}

    # two numbers for each section: of the point at x = 1, and, if it is a root, of the point at x = 0
    def end(sec: Any) -> int:
        return -2 * (offset + number[sec]) - 2

    def attached(sec: Any) -> int:
        at = sec.parentseg()
        if at is None:
            return end(sec) + 1
        if at.x == 1:
            return end(at.sec)
        if at.x == 0:
            return attached(at.sec)
        return offset + first[at.sec] + min(int(at.x * at.sec.nseg), at.sec.nseg - 1)

    a, b, g = [], [], []
    for sec in sections:
        if sec.orientation() != 0:
            raise _cell_error(
                f"section {sec.name()}, connected at its end", "sections connected at their start"
            )
        # from the parent through all segments to the end; ri() is the resistance towards the parent
        nodes = [
            attached(sec),
            *range(offset + first[sec], offset + first[sec] + sec.nseg),
            end(sec),
        ]
        resistance = [*(seg.ri() for seg in sec), sec(1).ri()]
        a += nodes[1:-1] + [nodes[-2]]
        b += nodes[:-2] + [nodes[-1]]
        g += [1 / r for r in resistance]
    # a segment has the larger number, so it comes first, a point second
    pairs = np.array([a, b])
    return pairs.max(axis=0), pairs.min(axis=0), np.array(g)


def _recorded(cells: Sequence[Any]) -> tuple[dict[str, tuple[xr.Variable, str]], np.ndarray | None]:
    """Return the voltages and currents that were recorded in all cells, and their times, ms."""
    found: dict[str, tuple[xr.Variable, str]] = {}
    for name, attribute, unit in (("v", "vmem", "mV"), ("i_membrane", "imem", "nA")):
        given = [getattr(c, attribute, None) for c in cells]
        rows = [np.asarray(x) for x in given if x is not None and np.ndim(x) == 2]
        if not rows:
            continue
        if len(rows) != len(cells) or len({x.shape[1] for x in rows}) != 1:
            raise _cell_error(
                f"{attribute} of {len(rows)} of {len(cells)} cells, or of different lengths",
                "all cells simulated together",
            )
        found[name] = xr.Variable((ROW, TIME), np.concatenate(rows)), unit
    if not found:
        return {}, None
    times = xr.Variable((TIME,), np.asarray(cells[0].tvec, float), {"units": "ms"})
    return found, as_typed(*even_times(times, None)).copy()


def _starts_at_rest(cells: Sequence[Any]) -> bool:
    """Whether the first sample is the initial state: LFPy leaves out what is simulated before 0 ms."""
    return float(getattr(cells[0], "tstart", 0.0)) >= float(cells[0].tvec[0])


def _with_first_sample(
    recorded: dict[str, tuple[xr.Variable, str]],
    edges: tuple[np.ndarray, np.ndarray, np.ndarray],
    unit: np.ndarray,
) -> dict[str, tuple[xr.Variable, str]]:
    """Return currents whose first sample is ``G V``; without a voltage, warn if it does not sum to zero."""
    variable, unit_of_current = recorded["i_membrane"]
    current = variable.data
    if "v" in recorded:
        start, stop, g = edges
        first = membrane_currents_numpy.transmembrane_current(
            recorded["v"][0].data[:, :1].astype(float), start, stop, g, axis=0
        )
        made = np.concatenate([first.astype(current.dtype), current[:, 1:]], axis=1)
        return {"i_membrane": (xr.Variable(variable.dims, made), unit_of_current)}
    excess = abs(np.bincount(unit, current[:, 0])).max()
    if excess > 1e-6 * abs(current).max(initial=0):
        warn(
            f"the membrane currents of the first sample sum to {excess:.3g} nA: NEURON has no capacitive current yet "
            "when it records the initial state. Leave that sample out, ds.isel(time=slice(1, None)), or record the "
            "voltages too: cell.simulate(rec_imem=True, rec_vmem=True)."
        )
    return {}


def _cell_error(found: str, expected: str) -> ArgumentError:
    return ArgumentError.of(
        "cell",
        found=found,
        expected=expected,
        remedy="from_lfpy(cell), or jfx.morphology(...) for plain arrays",
    )
