"""Draw the pictures of the README and the landing page, from the cells of the guides: `python docs/pictures.py`.

The simulations are those of the guides; only the arrangement of the results is defined here. Takes about a minute.
"""

import os
import re
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
STATIC = HERE / "_static"
plt.rcParams.update(
    matplotlib.rc_params_from_file(HERE / "matplotlibrc", use_default_template=False)
)


def cells_of(page):
    """Run every code cell of a page in one namespace, and return it."""
    space = {"__name__": page}
    os.chdir(HERE)
    for cell in re.findall(
        r"^```\{code-cell\}[^\n]*\n(.*?)^```", (HERE / page).read_text(), re.DOTALL | re.MULTILINE
    ):
        code = re.sub(r"\A---\n.*?^---\n|\A(:.*\n)+", "", cell, flags=re.DOTALL | re.MULTILINE)
        exec(compile(code, page, "exec"), space)
    plt.close("all")
    return space


def save(figure, name):
    figure.savefig(STATIC / name, dpi=130)
    print(f"{name}: {(STATIC / name).stat().st_size / 1e3:.0f} kB")


def column():
    """Draw one of two hundred cells, their potential along a shank, and their current source density."""
    made = cells_of("laminar-csd.md")
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 4.2), width_ratios=[0.75, 1.1, 1.15])
    lfp = made["lfp"].sel(time=slice(0, 20))
    shank = made["shank"].assign_coords(
        x=made["shank"].x + 60.0
    )  # next to the cell that is shown, not in it
    shank.jfne.plot.probe(cell=made["currents"], ax=axes[0])
    lfp.jfne.plot.lfp(ax=axes[1])
    made["estimate"].sel(time=slice(0, 20)).jfne.plot.csd(ax=axes[2], sink="red")
    titles = "One of 200 cells", "Potential", "Current source density"
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, loc="left")
    save(figure, "column.png")


def network():
    """Draw spikes and rates of a network of two populations, and the spectra of their mean voltages."""
    made = cells_of("spikes.md")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8), width_ratios=[1.6, 1])
    made["signals"].jfne.plot.raster(bin="5 ms", ax=left)
    spectrum = made["means"].jfne.psd(segment="100 ms").sel(frequency=slice(None, 500))
    spectrum.jfne.plot.spectrum(ax=right)
    save(figure, "network.png")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    STATIC.mkdir(exist_ok=True)
    network()  # in float32; column() switches to 64 bits
    column()
