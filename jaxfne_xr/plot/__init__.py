"""Pictures with matplotlib (the extra ``plot``): functions of a Dataset, which are also methods of ``ds.jfne.plot``.

Each takes ``ax=``, or ``row=`` and ``col=`` for facets, and returns the Axes it drew in. None calls ``plt.show()``.
"""

from .groups import summary as summary
from .images import csd as csd
from .images import spectrogram as spectrogram
from .lines import lfp as lfp
from .lines import traces as traces
from .methods import Plot as Plot
from .scalp import topomap as topomap
from .space import morphology as morphology
from .space import probe as probe
from .spectra import spectrum as spectrum
from .spikes import raster as raster


def __dir__() -> list[str]:
    """List only the public names, so that completion shows no modules."""
    return sorted(name for name in [*vars(Plot), "Plot"] if not name.startswith("_"))
