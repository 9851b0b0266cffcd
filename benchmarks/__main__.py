"""`python -m benchmarks [NAME...] [--times N] [--recipes NAME...] [--json]`; ends with 1 where a goal is missed.

`tuning` takes some more: [--out FILE] [--store DIR] [--processes N] [--twins K] [--replicates R].
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence

import torch

from benchmarks import (
    attacks,
    calibration,
    challenge,
    datamodels,
    demo,
    gan_recipes,
    gradients,
    group,
    in_run,
    klom,
    lds,
    one_run,
    precision,
    processes,
    projection,
    recipes,
    rows,
    stacked,
    tuning,
    whole,
)
from benchmarks.figure import Figure, Options, skipped, table
from expunge.errors import NeedsError

BENCHMARKS: dict[str, Callable[[Options], Iterator[Figure]]] = {
    "demo": demo.measure,
    "stacked": stacked.measure,
    "processes": processes.measure,
    "rows": rows.measure,
    "klom": klom.measure,
    "challenge": challenge.measure,
    "attacks": attacks.measure,
    "one_run": one_run.measure,
    "whole": whole.measure,
    "calibration": calibration.measure,
    "datamodels": datamodels.measure,
    "gradients": gradients.measure,
    "group": group.measure,
    "in_run": in_run.measure,
    "lds": lds.measure,
    "projection": projection.measure,
    "tuning": tuning.measure,
    "recipes": recipes.measure,
    "gan_recipes": gan_recipes.measure,
    "precision": precision.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is named, all of it by default, and print it."""
    given = parser().parse_args(arguments)
    own = {name: getattr(given, name) for name in ("out", "store", "processes", "twins", "replicates")}
    options = Options(times=given.times, recipes=tuple(given.recipes), **own)
    names = given.names or list(BENCHMARKS)
    here = hardware()
    if not given.json:
        print(here, end="\n\n", flush=True)
    found = {}
    for name in names:
        found[name] = figures(name, options)
        if not given.json:
            print(table(found[name]), end="\n\n", flush=True)
    if given.json:
        plain = {name: [figure.to_dict() for figure in group] for name, group in found.items()}
        print(json.dumps({"hardware": here, "times": options.times, "figures": plain}, indent=1))
    return int(any(figure.holds is False for group in found.values() for figure in group))


def figures(name: str, options: Options) -> list[Figure]:
    """What one benchmark measured, or the reason why it could not."""
    print(f"measuring {name} ...", file=sys.stderr, flush=True)
    try:
        return list(BENCHMARKS[name](options))
    except NeedsError as error:
        return [skipped(name, error)]


def hardware() -> str:
    """What the figures were measured on, in a line."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}"
    return f"{os.cpu_count()} cores, {_processor()}, {versions}"


def parser() -> argparse.ArgumentParser:
    """What may stand behind `python -m benchmarks`."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the figures of the docs.")
    made.add_argument("names", nargs="*", type=_benchmark, metavar="NAME", help=", ".join(BENCHMARKS))
    made.add_argument("--times", type=_positive, default=Options.times, help="repetitions (default %(default)s)")
    made.add_argument("--recipes", nargs="+", default=Options.recipes, metavar="NAME", help="which `recipes` trains")
    made.add_argument("--json", action="store_true", help="plain data instead of tables")
    made.add_argument("--out", metavar="FILE", help="where `tuning` writes its result, for `expunge report`")
    made.add_argument("--store", metavar="DIR", help="where `tuning` and `lds` keep what is done; or EXPUNGE_STORE")
    made.add_argument(
        "--processes", type=_positive, metavar="N", help="workers of `tuning`, `lds` (default one a core)"
    )
    made.add_argument("--twins", type=_positive, metavar="K", help="twins of each kind in `tuning`")
    made.add_argument("--replicates", type=_positive, metavar="R", help="replicates of each forget set in `tuning`")
    return made


def _benchmark(text: str) -> str:
    if text not in BENCHMARKS:
        raise argparse.ArgumentTypeError(f"expected {', '.join(BENCHMARKS)}, got {text!r}")
    return text


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected >= 1, got {value}")
    return value


def _processor() -> str:
    """The processor's name where Linux tells it, else its family."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
