"""Does tuning on a twin choose well? Regret against tuning on gold, beside rivals that need no gold either.

Cells are data set x forget set x replicate x method. In each, the same settings (the default and drawn ones) are run
on every kind of twin and on the true problem, and each way of choosing takes one; see `tuning_choice`, where regret is
defined, `tuning_units` for the runs, `tuning_summary` for the statistics, the controls, and what success was to be.
Each setting has one run a twin and one on the true problem, and the smallest mean objective is taken: what is measured
is the objective, not the two rounds and the one-standard-error rule of `expunge tune`.
Finished runs lie in a store (--store, or EXPUNGE_STORE), so that a measurement that was stopped goes on.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, Options, skipped
from benchmarks.tuning_choice import GOLD, ONE, Case
from benchmarks.tuning_summary import summary
from benchmarks.tuning_units import TWINS, WAYS, Size, Study, Work, unit
from expunge.data import load
from expunge.errors import ExpungeError
from expunge.fleet import Local
from expunge.store import Store
from expunge.training.recipes import RECIPES

SCHEMA = 1
STUDIES = (
    Study("digits-mlp", ("class:8:20", "class:3:12", "random:30"), 5, other=("class:8:20", 1)),
    Study("fashion-mlp", ("class:6:60", "class:2:30", "random:100"), 3, other=("class:6:60", 4), ratio="class:2:30"),
)
SIZE = Size(
    methods=("finetune", "neggrad_plus", "random_label", "bad_teacher", "scrub", "ssd"), settings=12, gold=32, twins=2
)
LIMITS = (
    "Convolutional networks, larger data sets, and forget sets by subject or of hard rows.",
    "One run of a setting on each twin and on the true problem: its own noise is part of every distance.",
    "The two rounds and the one-standard-error rule of `expunge tune`: here the smallest mean objective is taken.",
    "A twin tuned for one size of forget set and used for another.",
)
PACKAGES = ("expunge", "torch", "numpy", "scipy", "optuna")


def measure(options: Options) -> Iterator[Figure]:
    """Regret, order, sign tests and controls; the result goes to a file where one is named."""
    result, missing = measured(options)
    yield from missing
    if result is None:
        return
    if options.out:
        Path(options.out).write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
        print(f"written: {options.out}; expunge report {shlex.quote(options.out)}", file=sys.stderr)
    yield from figures(result["summary"])


def measured(options: Options) -> tuple[dict[str, Any] | None, list[Figure]]:
    """The result, or None where no data set is there; and a figure for each that is not."""
    size = replace(SIZE, twins=options.twins or SIZE.twins)
    studies = [replace(one, replicates=options.replicates or one.replicates) for one in STUDIES]
    units: list[dict[str, Any]] = []
    cases: list[Case] = []
    missing = []
    named = options.store or os.environ.get("EXPUNGE_STORE")
    place = nullcontext(named) if named else tempfile.TemporaryDirectory()
    begin = time.perf_counter()
    with place as folder, Local(options.processes) as executor:
        work = Work(Store(folder), executor)
        for study in studies:
            try:
                splits = load(RECIPES[study.recipe].data)
            except ExpungeError as error:
                missing.append(skipped(f"tuning, {study.recipe}", error))
                continue
            for forget_set in study.forgets:
                for replicate in range(study.replicates):
                    facts, found = unit(study, splits, forget_set, replicate, size, work)
                    units.append(facts)
                    cases += found
                    passed = time.perf_counter() - begin
                    print(f"  {study.recipe} {forget_set} {replicate}: {passed:,.0f} s", file=sys.stderr, flush=True)
    if not cases:
        return None, missing
    done = [one for one in studies if any(found["recipe"] == one.recipe for found in units)]
    head = {
        "schema": SCHEMA,
        "kind": "tuning",
        "title": "Tuning on twins against tuning on gold",
        "command": command(options),
        "seconds": round(time.perf_counter() - begin, 1),
        "versions": {name: version(name) for name in PACKAGES},
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        "twins": [f"twin {kind}" for kind in TWINS],
        "ways": list(WAYS),
        "studies": [asdict(study) for study in done],
        "size": asdict(size),
        "limits": list(LIMITS),
    }
    whole = {**head, "units": units, "cells": [case.to_dict() for case in cases], "summary": summary(cases, units)}
    return finite(whole), missing


def command(options: Options) -> str:
    """What measures the same again; the store and the place of the result are a person's own."""
    words = ["python", "-m", "benchmarks", "tuning"]
    for name in ("twins", "replicates"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name}", str(value)]
    return shlex.join([*words, "--out", "tuning.json"])


def figures(found: dict[str, Any]) -> Iterator[Figure]:
    """What the groups show, as lines."""
    for group in found["groups"]:
        cells, pooled = group["cells"], group["pooled"]
        name = ", ".join(part for part in (group["data"], group["kind"]) if part) or "all"
        what = f"tuning, {name}: informative of {cells['cells']} cells"
        yield Figure(what=what, measured=float(cells["informative"]))
        for way, one in cells["ways"].items():
            if one["regret"] is None or way == GOLD or way.endswith(ONE):
                continue
            part = one["regret"]
            text = f"{part['median']:.2f} ({part['low']:.2f} to {part['high']:.2f}); J* {one['distance']:.2f}"
            if "rho" in one:
                whole = _two(pooled["ways"][way]["rho"])
                text += f"; order {_two(one['rho'])}, forget {_two(one['rho_forget'])}, methods pooled {whole}"
            yield Figure(what=f"  median relative regret, {way}", measured=part["median"], text=text)
        for way, one in group["several"]["ways"].items():
            if one["one"] is not None:
                what = f"  {way}: one twin instead of several, over {group['several']['cells']} cells that have them"
                yield Figure(what=what, measured=one["one"], text=f"{one['one']:.2f} instead of {one['all']:.2f}")
        for way, one in cells["sign"].items():
            if one is not None:
                what = f"  {way} nearer to gold than {one['rival']}: {one['wins']} of {one['of']} cells, one-sided p"
                yield Figure(what=what, measured=one["p"])
    for one in found["expected"]:
        side, limit = one["limit"].split()
        bound = {"most" if side == "<=" else "least": float(limit)}
        yield Figure(what=f"expected, {one['way']}: {one['text']}", measured=one["value"], **bound)
    for one in found["controls"]:
        says = {True: "as it must be", False: "NOT as it must be", None: "not decided"}[one["holds"]]
        yield Figure(what=f"control, {one['name']}", measured=None, text=f"{says}: {one['detail']}")


def finite(value: Any) -> Any:  # noqa: ANN401  (JSON)
    """Plain data in which what is not finite is None."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
