"""What `train`, `forget`, `audit` and `bench` do where the model is a pair of generator and discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expunge.bench.gan import SHOWN, gan_summary, run_gan_suite
from expunge.bench.gan_suite import GanSuite
from expunge.cli.flags import configured
from expunge.cli.output import out, progress, show, show_plan, table
from expunge.cli.results import EXIT, free, named, present, shelf_at, spelled, workers
from expunge.data import ForgetSet, load
from expunge.errors import ConfigError
from expunge.fleet import role_seeds
from expunge.gan.audit import GOLD, audit_run
from expunge.gan.duel import VISITS
from expunge.gan.fit import KIND, training_key
from expunge.gan.judge import extractor_of
from expunge.gan.measure_table import MEASURES
from expunge.gan.measures import Settings
from expunge.gan.methods import gan_method
from expunge.gan.recipe import GanRecipe
from expunge.gan.runs import forget_gan_run, open_gan_run, open_gan_unlearned, train_gan_run
from expunge.gan.verdict import check_gold
from expunge.runs import check_new
from expunge.store import Store


def train_pair(
    recipe: GanRecipe,
    place: Path,
    *,
    data: Path | None,
    store: Path | None,
    seed: int,
    device: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Train an original pair; one that was stopped goes on where it was."""
    if dry_run:
        rows = len(load(recipe.data, root=data).train)
        visits = round(rows * recipe.epochs * VISITS)
        facts = {"models": 1, "rows": rows, "visits": visits, "out": str(place)}
        words = f"would train 1 pair: {rows} rows x {recipe.epochs} epochs, {visits:,} visits of both nets"
        show(facts) if as_json else out().print(words)
        return 0
    with progress() as bar:
        run = train_gan_run(recipe, place, seed=seed, data=data, device=device, store=shelf_at(store), progress=bar)
    if as_json:
        show({"run": str(place), "cost": run.cost.to_dict()})
    else:
        out().print(f"{place}: {recipe.name}, {run.cost.visits:,.0f} visits of both nets, {run.cost.seconds:.1f} s")
        name = run.splits.classes[3] if len(run.splits.classes) > 3 else 0
        out().print(f"next: expunge forget {place} --rows class:{name} --method cascade -o UNLEARNED", markup=False)
    return 0


def forget_pair(
    run: Path,
    flags: Sequence[str],
    *,
    rows: ForgetSet,
    method: str,
    place: Path,
    seed: int,
    data: Path | None,
    store: Path | None,
    device: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Unlearn a run's pair."""
    chosen = configured(gan_method(method), flags)
    parent = open_gan_run(run, data=data)
    plain = parent.problem(rows)
    if dry_run:
        facts = {
            "method": method,
            "settings": chosen.settings(),
            "mode": plain.kind,
            "forget": len(plain.forget),
            "retain": len(plain.retain),
            "out": str(place),
        }
        words = f"would forget {len(plain.forget)} of {len(plain.rows)} rows ({plain.kind}) by {method} into {place}"
        show(facts) if as_json else out().print(words, markup=False)
        return 0
    check_new(place)
    shelf = shelf_at(store)
    with progress() as bar:
        looks = chosen.looks(plain.kind)
        problem = parent.problem(rows, store=shelf, progress=bar) if looks else plain
        made = forget_gan_run(parent, problem, chosen, place, seed=seed, device=device, store=shelf, progress=bar)
    share = made.cost.visits / parent.cost.visits
    if as_json:
        facts = {"out": str(place), "mode": problem.kind, "cost": made.cost.to_dict(), "notes": made.notes}
        show({**facts, "fraction_of_training": share})
        return 0
    out().print(
        f"{place}: {len(problem.forget)} rows ({problem.kind}), {made.cost.seconds:.1f} s, "
        f"{share:.1%} of the visits of the original's training"
    )
    for name, value in made.notes.items():
        out().print(f"{name.replace('_', ' ')}: {value}", markup=False)
    out().print(f"next: expunge audit {place} --gold {GOLD}", markup=False)
    return 0


def audit_pair(
    unlearned: Sequence[Path],
    *,
    gold: int,
    out_folder: Path | None,
    seed: int,
    data: Path | None,
    store: Path | None,
    processes: int | None,
    device: str,
    features: str,
    rows: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Compare one unlearned pair with gold; exit code by verdict."""
    if len(unlearned) > 1:
        raise ConfigError(
            f"audit: expected one unlearned pair, got {len(unlearned)}", hint="`expunge bench gan` compares several"
        )
    whole = named(unlearned[0])
    place = free(out_folder or whole.with_name(f"{whole.name}-audit"))
    check_gold(gold)
    if features:
        extractor_of(features)  # told before gold is trained
    shelf = shelf_at(store)
    opened = open_gan_unlearned(unlearned[0], data=data, store=shelf)
    seeds = role_seeds(seed, "gold", gold)
    if dry_run:
        problem, recipe = opened.problem, opened.parent.recipe
        keys = [training_key(recipe, problem.rows, problem.retain, one) for one in seeds]
        missing = sum(not shelf.has(KIND, key) for key in keys)
        visits = round(missing * len(problem.retain) * recipe.epochs * VISITS)
        minutes = missing * opened.parent.cost.seconds / 60
        plan: dict[str, Any] = {"models": gold, "in_store": gold - missing, "to_train": missing, "visits": visits}
        sentence = (
            f"gold: {gold} pairs: {gold - missing} in the store, {missing} to train, {visits:,} visits, "
            f"about {minutes:.1f} minutes on one process, as the original took"
        )
        return show_plan({**plan, "minutes_on_one_process": minutes, "sentence": sentence}, as_json)
    command = spelled(
        "audit",
        str(unlearned[0]),
        gold=gold,
        seed=seed,
        data=data,
        store=store,
        device=None if device == "cpu" else device,
        features=features or None,
        out=out_folder,
        **{"no-rows": None if rows else True},
    )
    with workers(device, processes) as executor, progress() as bar:
        result = audit_run(
            opened,
            seeds,
            settings=Settings(seed=seed),
            command=command,
            features=features,
            rows_shown=rows,
            store=shelf,
            executor=executor,
            device=device,
            progress=bar,
        )
    present(result, place, as_json)
    return EXIT[result["verdict"]["state"]]


def bench_pairs(
    suite: GanSuite,
    spelled_as: str,
    *,
    folder: Path,
    out_folder: Path | None,
    data: Path | None,
    store: Path | None,
    processes: int | None,
    device: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Run a suite of pairs: a page for each forget set and original, then means over them."""
    shelf, recipe = shelf_at(store), suite.trained()
    if dry_run:
        return show_plan(_suite_plan(suite, recipe, shelf, data), as_json)
    places = [_place(folder, suite, forget, at) for forget in suite.forget for at in range(suite.originals)]
    for place in places:
        free(place)
    elsewhere = None if device == "cpu" else device
    command = spelled("bench", spelled_as, data=data, store=store, device=elsewhere, out=out_folder)
    results = []
    with workers(device, processes) as executor, progress() as bar:
        found = run_gan_suite(
            suite, store=shelf, command=command, data=data, executor=executor, device=device, progress=bar
        )
        for place, result in zip(places, found, strict=True):
            present(result, place, as_json)
            results.append(result)
    if not as_json and len(results) > 1:
        for mode in dict.fromkeys(result["problem"]["mode"] for result in results):
            _show_means(mode, [result for result in results if result["problem"]["mode"] == mode])
    return 0


def _show_means(mode: str, results: Sequence[dict[str, Any]]) -> None:
    """A line for original, gold and each method; in brackets how often it lay where gold would not."""
    lines = gan_summary(results)
    names = [name for name in SHOWN if any(name in line["measures"] for line in lines)]
    out().print(f"\n{mode} unlearning, means over {len(results)} results, with standard errors;", end=" ")
    out().print("in brackets: share of them outside of where one more gold would lie", markup=False)
    headings = ["method", *(MEASURES[name].title for name in names), "visits", "times faster"]
    table(headings, [_cells(line, names) for line in lines])


def _cells(line: dict[str, Any], names: Sequence[str]) -> list[str]:
    cells = [line["name"]]
    for name in names:
        one = line["measures"].get(name)
        error = "" if one is None or one["error"] is None else f" ± {one['error']:.3f}"
        cells.append("-" if one is None else f"{one['mean']:.3f}{error} ({one['outside']:.0%})")
    if line["share"] is None:
        return [*cells, "-", "-"]
    return [*cells, f"{line['share']:.1%}", "-" if line["ratio"] is None else f"{line['ratio']:.1f}"]


def _place(folder: Path, suite: GanSuite, forget: ForgetSet, at: int) -> Path:
    """The folder of one result: with the forget set behind where there are several, and the original's number."""
    parts = [forget.text] if len(suite.forget) > 1 else []
    parts += [f"original-{at + 1}"] if suite.originals > 1 else []
    behind = "".join(c if c.isalnum() else "-" for part in parts for c in f"-{part}")
    return folder.with_name(folder.name + behind)


def _suite_plan(suite: GanSuite, recipe: GanRecipe, shelf: Store, data: Path | None) -> dict[str, Any]:
    """Pairs to train and visits; methods and measures come on top."""
    rows = load(recipe.data, root=data).train
    every, trained, models, visits = np.arange(len(rows)), 0, 0, 0.0
    sides = [(every, role_seeds(suite.seed, "original", suite.originals))]
    for forget in suite.forget:
        retain = np.setdiff1d(every, forget.indices(rows))
        sides.append((retain, role_seeds(suite.seed, "gold", suite.gold)))
    for at, seeds in sides:
        missing = sum(not shelf.has(KIND, training_key(recipe, rows, at, seed)) for seed in seeds)
        models, trained = models + len(seeds), trained + missing
        visits += missing * len(at) * recipe.epochs * VISITS
    runs = len(suite.forget) * suite.originals * (len(suite.entries) + 1)
    sentence = (
        f"{models} pairs: {models - trained} in the store, {trained} to train, {round(visits):,} visits of both nets\n"
        f"and up to {runs} unlearning runs, each measured once"
    )
    facts = {"models": models, "in_store": models - trained, "to_train": trained, "visits": round(visits)}
    return {**facts, "unlearning_runs": runs, "sentence": sentence}
