"""Sphinx configuration. Builds offline: the names that we link to are listed in links.toml."""

import datetime
import hashlib
import os
import shutil
import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
os.environ.setdefault("JAX_PLATFORMS", "cpu")  # which JAX reads when first imported

from inventories import write_inventories  # noqa: E402
from reference import write_reference  # noqa: E402

import jaxfne_xr  # noqa: E402

os.environ["TQDM_DISABLE"] = (
    "1"  # on a slow machine bars would be shown, and leave empty boxes in the pages
)
os.environ["MATPLOTLIBRC"] = str(HERE / "matplotlibrc")  # how pictures in notebooks look
shutil.rmtree(HERE / "generated", ignore_errors=True)  # may hold pages of removed names


def _package_digest() -> str:
    """Return a digest of the package's sources: a notebook runs again if the package has changed."""
    sources = sorted((HERE.parent / "jaxfne_xr").rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


project = "jaxfne_xr"
author = "the jaxfne_xr developers"
copyright = f"{datetime.date.today().year}, {author}"
release = version_of("jaxfne-xr")

extensions = [
    "equations",
    "gallery",
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_transformations.md"]
nitpicky = True

# Pages are MyST text; those with {code-cell}s are executed, and an error in a cell fails the build.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE.parent / ".cache" / "notebooks" / _package_digest())
nb_execution_raise_on_error = True
nb_execution_timeout = 120

autosummary_generate = True
# names in docstrings that can be imported but have no page
nitpick_ignore = {
    ("py:obj", name)
    for name in (
        "jaxfne_xr", "jaxfne_xr.plot", "jax.experimental.checkify.JaxRuntimeError", "probeinterface",
        "probe", "signals", "sites", "units",
    )
}  # fmt: skip
# `lfp` in a docstring is a link where it is a public name, else in italics
default_role = "autolink"
autodoc_typehints = "none"  # docstrings give shapes and units, which annotations cannot
autodoc_member_order = "bysource"
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # link only the words of a type that are listed here
numpydoc_xref_aliases = {
    **dict.fromkeys(["xr.DataArray", "xarray.DataArray", "DataArray"], "xarray.DataArray"),
    **dict.fromkeys(["xr.Dataset", "xarray.Dataset", "Dataset"], "xarray.Dataset"),
    **dict.fromkeys(["xr.DataTree", "xarray.DataTree", "DataTree"], "xarray.DataTree"),
    **dict.fromkeys(["jax.Array", "Array"], "jax.Array"),
    **dict.fromkeys(["pint.Quantity", "Quantity"], "pint.Quantity"),
    "Path": "pathlib.Path",
    # numpydoc's entries for these point to labels, which links.toml does not have
    **dict.fromkeys(["array_like", "array-like"], "numpy.typing.ArrayLike"),
    "bool": "bool",
    "scalar": "numpy.generic",
    "callable": "collections.abc.Callable",
    "iterable": "collections.abc.Iterable",
    "sequence": "collections.abc.Sequence",
    **{name: f"jaxfne_xr.{name}" for name in vars(jaxfne_xr) if name[0].isupper()},
}
# a documented parameter that does not exist, or in another order; ruff checks the rest
numpydoc_validation_checks = {"PR02", "PR03"}

write_reference(HERE / "generated" / "api.md")
intersphinx_mapping = write_inventories(HERE / "links.toml", HERE / "_build" / "inventories")

WIDE = ["ten-minutes", "coming-from", "jaxley-to-lfp", "spikes", "laminar-csd", "eeg-meg"]
WIDE += ["fit-from-outside", "share", "workflow", "large-data", "interactive", "contributing"]

html_math_renderer = "mathtext"
html_theme = "pydata_sphinx_theme"
html_title = f"jaxfne_xr {release}"
html_theme_options = {
    "logo": {"text": project},  # without the release, which a phone cannot show
    "navigation_with_keys": False,
    "show_prev_next": False,
    "navbar_center": [],  # the pages are listed next to the text, or behind the menu button on a phone
    # code needs the space more than short pages need a list of their headings
    "secondary_sidebar_items": {"**": ["page-toc"], **{page: [] for page in WIDE}},
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"**": ["pages.html"]}
html_context = {"default_mode": "auto"}  # light or dark as set in the reader's system
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
