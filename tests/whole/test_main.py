"""The command line, as others run it: what it says, where, and its exit status."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.__main__ import main


@pytest.fixture
def run_nc(tmp_path):
    """A file of signals."""
    v = np.random.default_rng(0).normal(-65, 1, (3, 200))
    ds = jfx.traces(v, ("unit", "time"), dt_ms=0.1, coords={"layer": ("unit", ["L4", "L4", "L5"])})
    return ds.jfne.to_signals().jfne.to_netcdf(tmp_path / "run.nc")


def test_info(run_nc, capsys):
    assert main(["info", str(run_nc)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("run.nc\njaxfne_xr: signals [proxy]\n")
    assert "3 units; layer L4: 2, L5: 1" in out
    assert "200 samples, dt 0.1 ms: 20 ms" in out


def test_info_as_json(run_nc, capsys):
    assert main(["info", "--json", str(run_nc)]) == 0
    made = json.loads(capsys.readouterr().out)
    about = made["parts"]["/"]
    assert made["file"] == "run.nc"
    assert about["sizes"] == {"unit": 3, "time": 200}
    assert about["scope"]["amplitude_status"] is False
    assert about["validation"]["valid"] is True


def test_a_valid_file(run_nc, capsys):
    assert main(["validate", str(run_nc)]) == 0
    assert capsys.readouterr() == ("signals: valid\n", "")


def test_a_file_with_problems(run_nc, capsys):
    import netCDF4

    with netCDF4.Dataset(run_nc, "a") as file:
        file["V_m"][0, 3] = np.nan
        file["time"][2] = 7.0
    assert main(["validate", str(run_nc)]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert "2 problems" in out
    assert "NaN at index unit=0, time=3" in out
    assert main(["info", str(run_nc)]) == 0
    assert "[not valid]" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["info", "validate", "report"])
def test_files_that_cannot_be_read(tmp_path, capsys, command):
    (tmp_path / "text.nc").write_text("not netCDF")
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "foreign.nc")
    (tmp_path / "folder.nc").mkdir()
    said = {
        "missing.nc": "no such file",
        "text.nc": "not netCDF",
        "foreign.nc": "without the record of this package",
        "folder.nc": "a folder",
    }
    for name, words in said.items():
        assert main([command, str(tmp_path / name)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("jaxfne_xr: ")
        assert words in err
        assert "Remedy" in err
    assert not list(tmp_path.glob("*.html"))


def test_a_truncated_file(run_nc, capsys):
    run_nc.write_bytes(run_nc.read_bytes()[:2000])
    assert main(["validate", str(run_nc)]) == 2
    assert "truncated" in capsys.readouterr().err


def test_report(run_nc, capsys):
    assert main(["report", str(run_nc)]) == 0
    assert "run.html" in capsys.readouterr().out
    assert "<img" in run_nc.with_suffix(".html").read_text()
    assert main(["report", str(run_nc), "-o", str(run_nc.parent / "b.html")]) == 0
    assert (run_nc.parent / "b.html").read_text().count("<img") == 2
    assert main(["report", str(run_nc), "-o", str(run_nc.parent / "no" / "b.html")]) == 2


def test_demo(tmp_path, capsys):
    target = tmp_path / "demo.nc"
    assert main(["demo", "-o", str(target)]) == 0
    out = capsys.readouterr().out
    assert out.count("jaxfne_xr: ") == 3
    assert "LFP (proxy)" in out
    for command in ("info", "validate", "report"):
        assert f"python -m jaxfne_xr {command} {target}" in out
        assert main([command, str(target)]) == 0
    assert 5 < float(jfx.open(target).spikes.sum()) < 500
    assert main(["demo", "-o", str(tmp_path / "no" / "demo.nc")]) == 2


def test_info_says_how_to_get_at_it(run_nc, capsys, monkeypatch):
    import matplotlib.pyplot as plt

    assert main(["info", str(run_nc)]) == 0
    text = capsys.readouterr().out
    lines = [
        line[len("  next      ") :].strip() for line in text[text.index("  next") :].splitlines()
    ]
    assert lines[0] == 'ds = jfx.open("run.nc")'
    monkeypatch.chdir(run_nc.parent)
    names = {"jfx": jfx}
    for line in lines[:2]:
        exec(line, names)
    plt.close("all")


@pytest.mark.parametrize("command", ["info", "validate"])
@pytest.mark.slow
def test_names_in_a_file_do_not_steer_the_terminal(tmp_path, command):
    """A file from elsewhere, read where characters have one byte each."""
    ds = xr.Dataset(
        {"V_m": (("unit", "time"), np.zeros((2, 5)), {"units": "mV"})},
        {"time": 0.1 * np.arange(5), "population": ("unit", ["長い", "b\x1b[31m"])},
    )
    ds.time.attrs["units"] = "ms"
    path = ds.jfne.to_signals().jfne.to_netcdf(tmp_path / "run.nc")
    with xr.open_dataset(path) as file:
        file = file.load()
    file.V_m.attrs["units"] = "\x1b[32m"
    file.to_netcdf(path)
    done = as_others_run_it(command, str(path), PYTHONIOENCODING="ascii")
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
    assert "\\x1b[3" in done.stdout
    if command == "info":
        assert done.returncode == 0
        assert "\\u9577\\u3044: 1, b\\x1b[31m: 1" in done.stdout


def test_without_dask_files_are_read_at_once(run_nc, capsys, monkeypatch):
    from jaxfne_xr import __main__

    monkeypatch.setattr(__main__.importlib.util, "find_spec", lambda name: None)
    assert main(["info", str(run_nc)]) == 0
    assert "NumPy" in capsys.readouterr().out


def test_bundles_by_part(tmp_path, capsys):
    cfg = jfx.configuration().network(n=1).emitter().field(domain="point")
    model = jfx.construct(cfg.probe(name="soma", modes=["lfp_proxy"]))
    signals = model.simulate_external(np.full((50, 1), -65.0), dt_ms=0.1)
    tree = jfx.bundle(model, signals, model.compute_readout(signals))
    path = jfx.to_netcdf(tree, tmp_path / "run.nc")
    assert main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("run.nc")] == [
        "run.nc, signals",
        "run.nc, readouts",
        "run.nc, probe",
    ]
    assert main(["validate", str(path)]) == 0
    assert "readouts: readout: valid" in capsys.readouterr().out


def as_others_run_it(*words, **variables):
    command = [sys.executable, "-m", "jaxfne_xr", *words]
    env = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_as_a_program(run_nc):
    good = as_others_run_it("validate", str(run_nc))
    assert (good.returncode, good.stdout, good.stderr) == (0, "signals: valid\n", "")
    bad = as_others_run_it("validate", "missing.nc")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "Traceback" not in bad.stderr
    usage = as_others_run_it("inform")
    assert usage.returncode == 2
    assert "invalid choice" in usage.stderr
