"""`expunge demo`, with an empty store, as a person starts it: seconds and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.figure import Figure, Options
from benchmarks.memory import EVERY, peak

MINUTE = 90.0
"""Seconds that still count as "about a minute"."""
COMMAND = (sys.executable, "-m", "expunge", "demo", "--out", "demo", "--store", "store")


def measure(options: Options) -> Iterator[Figure]:
    """Whole runs, imports and worker start included."""
    runs = [run() for _ in range(options.times)]
    workers = f"{os.cpu_count()} workers of one thread"
    yield Figure(what=f"demo, {workers}", measured=median(time for time, _ in runs), unit="s", most=MINUTE)
    peaks = [size for _, size in runs if size is not None]
    what = f"demo, peak memory of all processes, sampled every {EVERY} s"
    if peaks:
        yield Figure(what=what, measured=median(peaks) / 2**20, unit="MiB")
    else:
        yield Figure(what=what, measured=None, text="not measured: Linux only")


def run() -> tuple[float, int | None]:
    """Seconds and peak resident bytes of one demo.

    Raises:
        RuntimeError: the demo failed; the text is the end of what it wrote.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as written:
            begin = time.perf_counter()
            process = subprocess.Popen(COMMAND, cwd=folder, env=environment, stdout=written, stderr=subprocess.STDOUT)
            largest = peak(process)
            passed = time.perf_counter() - begin
        if process.returncode:
            raise RuntimeError(f"expunge demo ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return passed, largest
