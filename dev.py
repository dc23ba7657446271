#!/usr/bin/env python3
"""Set up and run, with nothing but Python 3.11 or newer: `python3 dev.py demo`.

The first call makes an environment in the folder .venv, with uv if it is installed, else with pip;
later calls start at once. Options that are not listed here are passed to the program that is run:
`python3 dev.py test -k spikes`.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TESTS = {"jaxley", "plot", "dask", "mne", "fit", "progress", "dev"}
ALL = "not browser"
QUICK = f"not slow and not oracle and {ALL}"
# On other versions than the pinned ones: one case of each test, but for kernels, which depend on jax alone and take
# longest to compile, and for pictures, which other versions of matplotlib draw otherwise.
VERSIONS = ["--one-each", "--ignore", "tests/kernels", "--ignore", "tests/plot/test_pictures.py"]
CORES = ["-n", str(os.cpu_count() or 1)]  # for a debugger: python3 dev.py test -n 0 --pdb
PINNED = ["--constraint", "constraints.txt"]
# To compare with. Not an extra: its cap, jax < 0.12, would hold back what constraints.txt names.
JAXFNE = "jaxfne==0.5.8"
#: What the wheel holds: the package, and the engine of xarray, which is imported without it.
PACKAGE = ["jaxfne_xr", "jaxfne_xr_backend.py"]
#: What `build` runs with the installed wheel.
INSTALLED = """
import importlib.metadata, jaxfne_xr
print("jaxfne_xr", importlib.metadata.version("jaxfne-xr"), "in", jaxfne_xr.__file__)
"""


def run(*command, cwd=ROOT):
    """Run a program, in the repository unless told otherwise, and return its exit status."""
    words = [str(word) for word in command]
    print("$", shlex.join(words), flush=True)
    return subprocess.run(words, cwd=cwd, check=False).returncode


def need(*command, cwd=ROOT):
    """Run a program and stop here if it fails."""
    status = run(*command, cwd=cwd)
    if status:
        sys.exit(status)


def python_in(home):
    """Return the Python of an environment."""
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environment(folder, extras, options=PINNED, uv=None):
    """Return the Python of an environment that has `extras`; make it, or add to it, if needed."""
    import tomllib  # not at the top: an older Python has no tomllib, and is refused below with its version

    home = ROOT / folder
    python = python_in(home)
    inputs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"], options, ROOT
    pins = (ROOT / "constraints.txt").read_text()
    key = hashlib.sha256(repr([inputs, pins, sys.version]).encode()).hexdigest()
    stamp = home / "dev-stamp.json"
    made = json.loads(stamp.read_text()) if stamp.exists() else {}
    usable = made.get("key") == key
    wanted = sorted(extras.union(made["extras"] if usable else ()))
    if usable and wanted == made["extras"]:
        return python

    print(f"Setting up {folder} with {', '.join(wanted)}: about a minute, about 1 GB.", flush=True)
    uv = uv or ([shutil.which("uv")] if shutil.which("uv") else None)
    stamp.unlink(missing_ok=True)  # if anything below fails, the next call starts again
    if not usable:
        shutil.rmtree(home, ignore_errors=True)
        base = getattr(sys, "_base_executable", sys.executable)  # this may be the Python of `home`
        if uv:
            need(*uv, "venv", "--quiet", "--python", base, home)
        elif importlib.util.find_spec("ensurepip"):
            need(base, "-m", "venv", home)
        else:
            sys.exit("Python's venv is missing. Debian, Ubuntu: sudo apt-get install python3-venv")
    # pip always compiles to bytecode, uv only on request, and some machines do not allow it later
    install = [python, "-m", "pip", "install"]
    if uv:
        install = [*uv, "pip", "install", "--compile-bytecode", "--python", python]
    need(*install, "--quiet", *options, "--editable", f".[{','.join(wanted)}]")
    stamp.write_text(json.dumps({"key": key, "extras": wanted}))
    return python


def add_jaxfne(python):
    """Install the original package, to compare with, without its dependencies."""
    need(python, "-m", "uv", "pip", "install", "--quiet", "--python", python, "--no-deps", JAXFNE)


def demo(args, rest):
    """Simulate three cells with Jaxley, label, draw, save, and open again."""
    python = environment(args.venv, {"jaxley", "plot"})
    return run(python, "examples/01_jaxley_bridge.py", *rest)


def test(args, rest):
    """Run the quick tests; all tests with --all, or if the variable CI is "true"."""
    full = args.all or (os.environ.get("CI") == "true" and not args.versions)
    python = environment(args.venv, TESTS | {"oracles"} if full else TESTS)
    if full:
        add_jaxfne(python)
    chosen = ["-m", ALL, "--hypothesis-profile", "full"] if full else ["-m", QUICK]
    if args.versions:
        chosen = [*VERSIONS, "-m", QUICK]
    return run(python, "-m", "pytest", *CORES, *chosen, *rest)


def lint(args, rest):
    """Check style, types, and that imports point to lower layers."""
    python = environment(args.venv, TESTS)
    layers = [python.parent / "lint-imports", "--no-logo", "--cache-dir", ".cache/import_linter"]
    modules = [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]]
    return max(run(*check) for check in [*([python, "-m", *words] for words in modules), layers])


def docs(args, rest):
    """Build the site with warnings as errors, look for broken links, and run every doctest."""
    python = environment(args.venv, TESTS | {"docs"})
    strict = ["--fail-on-warning", "--nitpicky", "--keep-going", "--fresh-env", "--jobs", "auto"]
    site = run(python, "-m", "sphinx", *strict, "docs", "docs/_build/html", *rest)
    links = run(python, "docs/links.py", "docs/_build/html")
    return max(site, links, run(python, "-m", "pytest", *CORES, "--doctest-modules", *PACKAGE))


def browser(args, rest):
    """Open cards, reports, JupyterLab and the built site in Chromium: apt-get install chromium chromium-driver."""
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing. Debian: sudo apt-get install chromium chromium-driver")
    python = environment(args.venv, TESTS | {"browser"})
    return run(python, "-m", "pytest", "-m", "browser", *rest)


def bench(args, rest):
    """Measure speed and memory, as ratios, and compare with jaxfne."""
    python = environment(args.venv, TESTS)
    add_jaxfne(python)
    return run(python, "-m", "pytest", "benchmarks", "--capture=no", *rest)


def lowest(args, rest):
    """Run one case of each quick test with the oldest dependencies that pyproject.toml allows."""
    uv = [environment(args.venv, TESTS), "-m", "uv"]
    python = environment(".venv-lowest", TESTS, ["--resolution", "lowest-direct"], uv)
    return run(python, "-m", "pytest", *CORES, *VERSIONS, "-m", QUICK, "-W", "default", *rest)


def build(args, rest):
    """Build sdist and wheel in dist/, check them, and install and run the wheel in a fresh environment."""
    python = environment(args.venv, {"release"})
    uv = [python, "-m", "uv"]
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    need(*uv, "build", *rest)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    need(python, "-m", "twine", "check", "--strict", sdist, wheel)

    with zipfile.ZipFile(wheel) as archive:
        folders = {name.split("/")[0] for name in archive.namelist()}
    foreign = [f for f in folders if f not in PACKAGE and not f.endswith(".dist-info")]
    if foreign:
        sys.exit(
            f"{wheel.name} holds {', '.join(sorted(foreign))}, and should hold the package only."
        )

    # As a user gets it: no extras, the newest dependencies, and no way to import the repository (-I)
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "environment"
        need(*uv, "venv", "--quiet", "--python", python, fresh)
        need(*uv, "pip", "install", "--quiet", "--python", python_in(fresh), wheel)
        need(python_in(fresh), "-I", "-c", INSTALLED, cwd=folder)
        return run(python_in(fresh), "-I", "-m", "jaxfne_xr", "demo", cwd=folder)


def pin(args, rest):
    """Write constraints.txt: one version of everything for each Python, and no index address."""
    python = environment(args.venv, TESTS)
    compiling = [python, "-m", "uv", "pip", "compile", "--quiet", "--upgrade", "--universal"]
    plain = ["--all-extras", "--no-header", "--no-annotate"]
    return run(*compiling, *plain, "pyproject.toml", "--output-file", "constraints.txt")


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit("Python 3.11 or newer is needed; this one is " + sys.version.split()[0])
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in (demo, test, lint, docs, browser, bench, lowest, build, pin):
        options = commands.add_parser(command.__name__, help=command.__doc__)
        options.set_defaults(command=command)
        options.add_argument("--venv", default=".venv", help="another folder than .venv")
        if command is test:
            options.add_argument("--all", action="store_true", help="slow tests and oracles too")
            options.add_argument("--versions", action="store_true", help="what depends on versions")
    args, rest = parser.parse_known_args()
    sys.exit(args.command(args, rest))
