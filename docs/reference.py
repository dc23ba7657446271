"""The API page, room by room, from what the package exports: no name can be missing."""

import sys
from pathlib import Path
from types import ModuleType

import jaxfne_xr

#: Rooms in the order that data walks through them; any other comes after these.
ROAD = ["traces", "interop", "signals", "soft_spikes", "combine", "source", "current"]
ROAD += ["morphology", "probe", "conductor", "field", "csd", "ground_truth", "dipole", "head"]
ROAD += ["eeg_meg", "readout", "measures", "proxy", "spectra", "summary", "losses"]
ROAD += ["configuration", "workflow", "bundle", "io", "plot", "report", "validation"]
ROAD += ["scope", "transforms", "pytrees", "accessor", "tree", "errors"]

SECTION = """
## {room}

{about}

```{{eval-rst}}
.. currentmodule:: jaxfne_xr

.. autosummary::
   :toctree: .
   :nosignatures:

   {names}
```
"""


def write_reference(page: Path) -> None:
    """Write a page that lists every public name under the room that it comes from."""
    rooms: dict[str, list[str]] = {}
    for name, value in vars(jaxfne_xr).items():
        if not name.startswith("_") and not isinstance(value, ModuleType):
            rooms.setdefault(value.__module__, []).append(name)

    # the one room that has names of its own: ``jfx.plot.traces`` beside ``jfx.traces``
    pictures = [n for n, x in vars(jaxfne_xr.plot).items() if not isinstance(x, ModuleType)]
    methods = list(vars(jaxfne_xr.plot.Plot))  # in an order that somebody chose
    pictures.sort(key=lambda n: methods.index(n) if n in methods else len(methods))
    rooms["jaxfne_xr.plot"] = [f"plot.{n}" for n in pictures if not n.startswith("_")]

    def place(module: str) -> int:
        room = module.split(".")[1]
        return ROAD.index(room) if room in ROAD else len(ROAD)

    text = "# API\n\nEvery public name, in the order that data walks through the rooms.\n"
    for module in sorted(rooms, key=place):
        about = (sys.modules[module].__doc__ or "").split("\n\n")[0].strip()
        names = "\n   ".join(rooms[module])
        text += SECTION.format(room=module.split(".", 1)[1], about=about, names=names)
    page.parent.mkdir(exist_ok=True)
    page.write_text(text)
