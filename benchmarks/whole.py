"""The whole audit of a method from stored margins: seconds, and the memory of a process that does nothing else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, Options
from benchmarks.klom import margins

MODELS, ORIGINALS = 128, 32
ROWS = {"forget": 200, "retain": 1000, "test": 500, "holdout": 300}
ALONE = """
import resource, sys, time
from pathlib import Path
from expunge.bench.stored import audit_stored, read_stored
arrays = read_stored(Path(sys.argv[1]))
begun = time.perf_counter()
audit_stored(arrays)
print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measure(options: Options) -> Iterator[Figure]:
    """Median seconds and largest memory over several runs, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "margins.npz"
        np.savez(path, **stored())
        runs = np.array([alone(path) for _ in range(options.times)])
    what = f"whole method audit from margins, {MODELS} + {MODELS} models x {sum(ROWS.values()):,} rows, one thread"
    yield Figure(what=what, measured=float(np.median(runs[:, 0])), unit="s", most=30)
    yield Figure(what="  largest resident memory", measured=float(runs[:, 1].max()), unit="MB", most=2000)


def stored() -> dict[str, np.ndarray]:
    """Arrays of an audit: Gaussian margins, an original that is surer of the forget rows."""
    split = np.repeat(list(ROWS), list(ROWS.values()))
    original = margins(ORIGINALS, len(split), seed=3)
    original[:, split == "forget"] += 4
    sides = {name: margins(MODELS, len(split), seed=seed) for seed, name in enumerate(("gold", "unlearned"))}
    return {**sides, "original": original, "split": split}


def alone(path: Path) -> tuple[float, float]:
    """Seconds and megabytes of one audit in a fresh process."""
    found = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True, check=True)
    seconds, megabytes = found.stdout.split()
    return float(seconds), float(megabytes)
