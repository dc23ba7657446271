"""Write the API page from what the package exports, so that no name can be missing."""

import sys
from pathlib import Path
from types import ModuleType

import jaxfne_xr

#: The sections in reading order: a title, and the packages or modules whose names it lists, in this order. A name is
#: listed under the longest entry that its module starts with; the docstring of the first entry introduces the section.
SECTIONS = {
    "Get data in": ("signals.traces", "io"),
    "Signals and spikes": ("signals",),
    "Geometry: cells and probes": ("geometry",),
    "Currents and potentials": (
        "fields",
        "fields.membrane_currents",
        "fields.potentials",
        "fields.conductors",
        "fields.calibration",
    ),
    "Current source density": ("fields.csd", "fields.kernel_csd", "fields.true_csd"),
    "Dipoles, EEG and MEG": ("fields.eeg_meg", "fields.dipoles", "fields.heads"),
    "Proxies": ("fields.proxies",),
    "Analysis": ("analysis",),
    "Losses for fitting": ("analysis.losses",),
    "Workflow and readouts": ("workflow", "core.registry"),
    "Files": ("io.netcdf",),
    "Plots": ("plot",),
    "Reports": ("display",),
    "JAX transformations": ("transforms",),
    "Scope and validation": ("core.scope", "core.validation"),
    "Errors": ("core.errors",),
    "The accessors": ("accessor", "tree"),
}

SECTION = """
## {title}

{about}

```{{eval-rst}}
.. currentmodule:: jaxfne_xr

.. autosummary::
   :toctree: .
   :nosignatures:

   {names}
```
"""


def entry_of(module: str) -> tuple[str, str]:
    """Return the title and the entry that a module's names are listed under; its package for both if unlisted."""
    path = module.split(".")[1:]
    titles = {entry: title for title, entries in SECTIONS.items() for entry in entries}
    parents = (".".join(path[:n]) for n in range(len(path), 0, -1))
    entry = next((parent for parent in parents if parent in titles), path[0])
    return titles.get(entry, path[0]), entry


def public_names() -> dict[str, str]:
    """Return the module of every public name, in the order in which they are exported."""
    exported = {
        name: value.__module__
        for name, value in vars(jaxfne_xr).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    # `plot` is the only package with public names that are not exported: `jfx.plot.traces` is not `jfx.traces`
    drawn = [n for n, x in vars(jaxfne_xr.plot).items() if not isinstance(x, ModuleType)]
    methods = list(vars(jaxfne_xr.plot.Plot))  # in a chosen order, not by file
    drawn.sort(key=lambda n: methods.index(n) if n in methods else len(methods))
    return exported | {f"plot.{n}": "jaxfne_xr.plot" for n in drawn if not n.startswith("_")}


def write_reference(page: Path) -> None:
    """Write a page that lists every public name, in the sections above; packages that are not listed come last."""
    sections: dict[str, dict[str, list[str]]] = {
        title: {entry: [] for entry in entries} for title, entries in SECTIONS.items()
    }
    for name, module in public_names().items():
        title, entry = entry_of(module)
        sections.setdefault(title, {}).setdefault(entry, []).append(name)

    text = "# API\n\nEvery public name, by what it is for.\n"
    for title, entries in sections.items():
        names = [name for listed in entries.values() for name in listed]
        if names:
            module = sys.modules.get(f"jaxfne_xr.{next(iter(entries))}")
            about = (getattr(module, "__doc__", None) or "").split("\n\n")[0].strip()
            text += SECTION.format(title=title, about=about, names="\n   ".join(names))
    page.parent.mkdir(exist_ok=True)
    page.write_text(text)
