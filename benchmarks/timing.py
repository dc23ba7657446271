"""Interleaved timing: A and B in turn, so that what the machine does meanwhile happens to both."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def interleaved(
    *calls: Callable[[], object],
    rounds: int = 15,
    repeat: int = 1,
    of: Callable[[list[float]], float] = statistics.median,
) -> list[float]:
    """Return the median (or the ``min``) seconds of each call, one after another in every round."""
    for call in calls:
        call()
    seconds: list[list[float]] = [[] for _ in calls]
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for call, taken in zip(calls, seconds, strict=True):
                start = time.perf_counter()
                for _ in range(repeat):
                    call()
                taken.append((time.perf_counter() - start) / repeat)
    finally:
        gc.enable()
    return [of(taken) for taken in seconds]


def report(
    what: str, measured: float, against: str, reference: float, target: float | None
) -> float:
    """Print one row of the table and return the ratio."""
    ratio = measured / reference
    goal = "" if target is None else f"target {target:g}"
    print(f"{what:<58} {measured * 1e3:9.2f} ms  {ratio:6.2f} x {against:<28} {goal}")
    return ratio


def machine() -> str:
    """Return what the figures were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    return f"{os.cpu_count()} x {model}, Python {platform.python_version()}"


def whole_process(code: str) -> float:
    """Return the seconds that a fresh interpreter takes to run `code`, compiled before as an installed package is."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return time.perf_counter() - start
