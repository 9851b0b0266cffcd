"""`run_gan_suite`: originals and gold, every method on every original, one result a forget set and original.

Pairs, classifiers, numbers and whole results lie in the store: a run that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from expunge.bench.gan_suite import GanSuite
from expunge.data import ForgetSet, load
from expunge.errors import DivergedError, ProblemError
from expunge.fleet import Executor, Here, role_seeds
from expunge.gan.audit import baseline
from expunge.gan.candidate import Candidate
from expunge.gan.fit import fit_pair
from expunge.gan.measure_table import MEASURES
from expunge.gan.measures import yardstick
from expunge.gan.result import Asked, Json, audit_pairs
from expunge.gan.runs import GanRunFolder, watched
from expunge.gan.work import same_pairs
from expunge.problem import checked_forget
from expunge.report.gan_table import outside
from expunge.seeds import derive
from expunge.store import Contents, Store, key_of
from expunge.training import Progress, silent

KIND = "gan-cell"


def run_gan_suite(
    suite: GanSuite,
    *,
    store: Store,
    command: str,
    data: Path | None = None,
    executor: Executor | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Iterator[Json]:
    """One result of kind "gan" for each forget set and original, in their order.

    Args:
        suite: What to run.
        store: Where finished work lies.
        command: What a person would type to run this again.
        data: Folder of the data sets.
        executor: Who trains and unlearns; by default this process.
        device: Where to train and unlearn.
        progress: Called with (what, done, total).
    """
    recipe, executor = suite.trained(), executor or Here()
    splits = load(recipe.data, root=data)
    shared: dict[str, Any] = {"store": store, "executor": executor, "device": device, "progress": progress}
    seeds = role_seeds(suite.seed, "original", suite.originals)
    every = np.arange(len(splits.train))
    originals = same_pairs(recipe, splits.train, every, seeds, what="train originals", **shared)
    one = GanRunFolder(Path(), recipe, splits, suite.seed, originals[0].pair, originals[0].cost)
    # classifiers first: two processes would train them twice
    one.judge(seed=suite.seed, store=store, progress=progress)
    one.problem(suite.forget[0], store=store, progress=progress)
    cells = [(forget, at) for forget in suite.forget for at in range(suite.originals)]
    for forget in suite.forget:
        gone = checked_forget(forget.indices(splits.train), len(splits.train))
        gold = role_seeds(suite.seed, "gold", suite.gold)
        same_pairs(recipe, splits.train, np.setdiff1d(every, gone), gold, what=f"train gold, {forget}", **shared)
    jobs = [
        {
            "key": cell_key(suite, one, forget, at),
            "suite": suite.to_dict(),
            "store": str(store.root.resolve()),
            "data": None if data is None else str(data),
            "device": device,
            "command": command,
            "at": at,
            "forget": forget.text,
            "seed": forget.seed,
        }
        for forget, at in cells
    ]
    done: dict[str, Json] = {}
    progress("unlearn and measure", 0, len(jobs))
    keys = [str(job["key"]) for job in jobs]
    for key in executor.map(gan_cell_job, jobs):
        done[key] = store.get(KIND, key).document("result")
        progress("unlearn and measure", len(done), len(jobs))
    for key, (_, at) in zip(keys, cells, strict=True):
        several = f", original {at + 1}" if suite.originals > 1 else ""
        yield {**done[key], "title": f"expunge bench {suite.name}{several}", "command": command}


def gan_cell_job(job: dict[str, Any]) -> str:
    """Unlearn one original by every method of a suite, measure, and keep the result; returns its key.

    Args:
        job: plain data, as `run_gan_suite` makes it.
    """
    store, key = Store(job["store"]), str(job["key"])
    if not store.has(KIND, key):
        result = _cell(GanSuite.from_dict(job["suite"]), ForgetSet(job["forget"], job["seed"]), job, store)
        facts = {"suite": job["suite"], "forget": job["forget"], "original": job["at"]}
        store.put(key, Contents(KIND, facts, documents={"result": result}))
    return key


def cell_key(suite: GanSuite, folder: GanRunFolder, forget: ForgetSet, at: int) -> str:
    """Of all that decides a result: not where things lie, what somebody typed, nor what else the suite runs."""
    rows, said = folder.splits, suite.to_dict()
    return key_of(
        {
            "recipe": folder.recipe.fingerprint(),
            "classifier": folder.measuring().fingerprint(),
            "rows": [part.fingerprint for part in (rows.train, rows.holdout, rows.test)],
            "forget": forget.indices(rows.train).tolist(),
            "original": role_seeds(suite.seed, "original", at + 1)[at],
            "expunge": version("expunge"),
            **{name: said[name] for name in ("entries", "gold", "seed", "settings")},
        }
    )


def _cell(suite: GanSuite, forget: ForgetSet, job: dict[str, Any], store: Store) -> Json:
    recipe, at = suite.trained(), int(job["at"])
    splits = load(recipe.data, root=Path(job["data"]) if job["data"] else None)
    seeds = role_seeds(suite.seed, "original", suite.originals)
    original = fit_pair(recipe, splits.train, seed=seeds[at], store=store)
    folder = GanRunFolder(Path(), recipe, splits, suite.seed, original.pair, original.cost)
    problem = folder.problem(forget, store=store)
    gold_seeds = role_seeds(suite.seed, "gold", suite.gold)
    gold = same_pairs(recipe, splits.train, problem.retain, gold_seeds, store=store, executor=Here())
    stick = yardstick(problem, folder.judge(seed=suite.seed, store=store), suite.settings, device=job["device"])
    candidates: list[Candidate] = []
    left_out: list[str] = []
    for entry in suite.entries:
        if problem.kind not in entry.method.forget_kinds:
            continue
        own = derive(suite.seed, f"unlearn/{entry.label}", at)
        try:
            made, steps = watched(entry.method, problem, seed=own, device=job["device"])
        except (ProblemError, DivergedError) as error:  # the others still have their say
            left_out.append(f"{entry.label} is left out: {error.message}")
            continue
        candidates.append(Candidate(name=entry.label, made=made, steps={} if candidates else steps))
    if not candidates:
        raise ProblemError(f"suite {suite.name}, {forget}: no method could unlearn; {'; '.join(left_out)}")
    candidates.append(baseline(problem, candidates[0].made, seed=suite.seed, device=job["device"]))
    asked = Asked(title="expunge bench", command=job["command"], seed=suite.seed)  # both are set when it is read
    result = audit_pairs(asked, stick, gold, candidates, store=store)
    if candidates[0].name != suite.entries[0].label:  # the verdict was to be about another
        said = [f"it is about {candidates[0].name}: {left_out[0]}", *result["verdict"]["reasons"]]
        result["verdict"] |= {"state": "inconclusive", "reasons": said}
    return {**result, "limits": [*left_out, *result["limits"]]}


SHOWN = (
    *(name for name, one in MEASURES.items() if one.judged),
    "downstream_accuracy",
)
"""Measures of the table of means."""


def gan_summary(results: Sequence[Json]) -> list[dict[str, Any]]:
    """Means over results: a line for original, gold and each method.

    Args:
        results: Of kind "gan" and of one mode, items or classes.

    Returns:
        name, results (how many it stands in), share (of gold's visits), ratio (gold's seconds over its own), and
        measures {name: {mean, error (standard error, None of one result), outside (share of results in which it lay
        where gold would not)}} for those of SHOWN that apply.
    """
    lines = []
    for name in (
        "original",
        "gold",
        *dict.fromkeys(entry["name"] for result in results for entry in result["entries"]),
    ):
        costs = [entry["cost"] for result in results for entry in result["entries"] if entry["name"] == name]
        lines.append(
            {
                "name": name,
                "results": len(costs) or len(results),
                "share": float(np.mean([cost["share"] for cost in costs])) if costs else None,
                "ratio": float(np.mean(ratios))
                if (ratios := [cost["ratio"] for cost in costs if cost["ratio"]])
                else None,
                "measures": {
                    shown: _mean(found, alone=name == "gold")
                    for shown in SHOWN
                    if (found := [pair for result in results for pair in _values(result, shown, name)])
                },
            }
        )
    return lines


def _values(result: Json, shown: str, name: str) -> list[tuple[Json, float]]:
    """A measure of one result and what it is for an entry, for "original" or for "gold"; nothing where it is absent."""
    for measure in result["measures"]:
        if measure["name"] == shown:
            own = {"original": measure["original"], "gold": float(np.mean(measure["gold"]))}
            value = own.get(name, measure["values"].get(name))
            return [] if value is None else [(measure, value)]
    return []


def _mean(found: Sequence[tuple[Json, float]], *, alone: bool) -> dict[str, Any]:
    """Mean and its standard error; `alone` where several results share the same pairs, so that none can be told."""
    values = np.array([value for _, value in found])
    return {
        "mean": float(values.mean()),
        "error": float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 and not alone else None,
        "outside": float(np.mean([outside(measure, value) for measure, value in found])),
    }
