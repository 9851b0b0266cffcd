"""Peak memory of a process and its descendants, sampled from /proc; Linux only."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

EVERY = 0.2
"""Seconds between samples; a shorter peak may be missed."""
AVAILABLE = sys.platform == "linux"


def peak(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for a process; the largest sum of resident bytes over it and its descendants, or None.

    Pages that several processes share, such as torch's own code, count once for each of them.
    """
    largest = 0
    while process.poll() is None:
        if AVAILABLE:
            largest = max(largest, sum(resident(pid) for pid in family(process.pid, parents())))
        time.sleep(EVERY)
    return largest if AVAILABLE else None


def family(root: int, parent: Mapping[int, int]) -> set[int]:
    """`root` and all its descendants.

    Args:
        root: Process id.
        parent: Process id -> that of its parent.
    """
    found, new = {root}, {root}
    while new:
        new = {pid for pid, above in parent.items() if above in new} - found
        found |= new
    return found


def parents() -> dict[int, int]:
    """Process id -> that of its parent, for every process of the machine."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            text = _read(entry / "stat")
            if text:
                found[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    return found


def resident(pid: int) -> int:
    """Resident bytes of one process; 0 once it is gone."""
    text = _read(Path("/proc") / str(pid) / "statm")
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") if text else 0


def _read(path: Path) -> str:
    """The text of a file below /proc; empty where its process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""
