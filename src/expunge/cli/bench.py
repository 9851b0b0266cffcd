"""`expunge bench`: methods x forget sets x originals, one leaderboard a forget set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from expunge.attribution.subsets import subset_masks
from expunge.audit.foresight import foresee_method
from expunge.bench.bench import run_suite
from expunge.bench.chosen import as_many
from expunge.bench.fleets import shadow_plan
from expunge.bench.gan_suite import gan_suite
from expunge.bench.matching import HEADINGS as MATCHING
from expunge.bench.matching import matching_summary
from expunge.bench.result import check_classes
from expunge.bench.suite import Suite, load_suite, suites
from expunge.bench.summary import APART, HEADINGS, by_size, known, summary
from expunge.cli.gan import bench_pairs
from expunge.cli.output import DryRun, Json, out, progress, show, show_plan, table
from expunge.cli.plan import describe_fleet, describe_plan
from expunge.cli.results import free, named, present, shelf_at, spelled, workers
from expunge.data import ForgetSet, Rows, joined, load
from expunge.errors import ConfigError
from expunge.fleet import role_seeds, same_rows
from expunge.fleet.task import Mask
from expunge.problem import checked_forget
from expunge.store import Store
from expunge.training import Recipe
from expunge.training.recipes import recipe as find_recipe


def bench(
    suite: str = "",
    *,
    out_folder: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    data: Path | None = None,
    store: Path | None = None,
    processes: int | None = None,
    device: str = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
    listing: Annotated[bool, Parameter(name="--list", negative="")] = False,
) -> int:
    """Run a suite; a run that was stopped goes on where it was.

    Args:
        suite: A name from `--list`, or the path of a TOML file like those.
        out_folder: Where results are kept; by default `bench-SUITE`. Several forget sets give several.
        data: Folder of the data sets; by default the environment variable EXPUNGE_DATA.
        store: Folder of finished models; by default EXPUNGE_STORE, or .expunge here.
        processes: Worker processes on cpu; by default one per core.
        device: Where to train and unlearn, such as cpu or cuda.
        dry_run: Say what would be trained and what that takes, and do nothing.
        as_json: Results as plain data instead of tables.
        listing: Name the suites that come with expunge.
    """
    if listing:
        show(suites()) if as_json else table(["suite", "what"], [[name, text] for name, text in suites().items()])
        return 0
    if not suite:
        raise ConfigError("bench: expected the name of a suite", hint="`expunge bench --list` names them")
    pairs = gan_suite(suite)
    if pairs is not None:
        return bench_pairs(
            pairs,
            suite,
            folder=named(out_folder or Path(f"bench-{pairs.name}")),
            out_folder=out_folder,
            data=data,
            store=store,
            processes=processes,
            device=device,
            dry_run=dry_run,
            as_json=as_json,
        )
    chosen = load_suite(suite)
    recipe, shelf = chosen.on_data(find_recipe(chosen.recipe)), shelf_at(store)
    check_classes(recipe)
    if dry_run:
        return show_plan(_plan(chosen, recipe, shelf, data), as_json)
    folder = named(out_folder or Path(f"bench-{chosen.name}"))
    for forget_set in chosen.forget:
        free(_place(folder, chosen, forget_set))
    elsewhere = None if device == "cpu" else device
    command = spelled("bench", suite, data=data, store=store, device=elsewhere, out=out_folder)
    found = []
    with workers(device, processes) as executor, progress() as bar:
        for result in run_suite(
            chosen, recipe, store=shelf, command=command, data=data, executor=executor, device=device, progress=bar
        ):
            problem = result["problem"]
            present(result, _place(folder, chosen, ForgetSet(problem["forget"], problem["forget_seed"])), as_json)
            found.append(result)
    if as_json:
        return 0
    if chosen.table == "matching":
        _present_matching(found)
    elif len(found) > 1:
        for size, group in by_size(found).items():
            _present_means(size, group)
    return 0


def _present_matching(results: list[dict[str, Any]]) -> None:
    """Distances over their nulls and costs: of every forget set, and of all of them together."""
    for result in results:
        out().print(f"\n{result['problem']['forget']}: KLoM P95 over the null, 1 is gold", markup=False)
        lines = matching_summary([result])
        table(list(MATCHING), [_cells(line, MATCHING) for line in lines])
    if len(results) > 1:
        out().print(f"\nmeans over {len(results)} forget sets, with standard errors:", markup=False)
        table(list(MATCHING), [_cells(line, MATCHING) for line in matching_summary(results)])


def _present_means(size: int, results: list[dict[str, Any]]) -> None:
    """What several results of one size say together: the table, and what is said of easy and hard rows apart."""
    sets, lines = len({result["problem"]["forget"] for result in results}), summary(results)
    draws = "" if sets == len(results) else f", {len(results)} draws"
    out().print(f"\n{size:,} forget rows, means over {sets} forget sets{draws}, with standard errors:", markup=False)
    table(list(HEADINGS), [_cells(line, HEADINGS) for line in lines])
    apart = known(lines, APART)
    if len(apart) > 1:
        out().print("\nforget rows that at least half of gold get right (easy), and the others (hard):", markup=False)
        table(apart, [_cells(line, apart) for line in lines])


def _cells(line: dict[str, Any], headings: Sequence[str]) -> list[str]:
    """A line of the summary as text."""
    cells = []
    for heading in headings[1:]:
        one = line[heading]
        error = "" if not one or one["error"] is None else f" ± {one['error']:.3f}"
        cells.append("-" if one is None else f"{one['mean']:.3f}{error}")
    return [str(line["method"]), *cells]


def _place(folder: Path, suite: Suite, forget: ForgetSet) -> Path:
    """The folder of one result: the one given; of several, with the forget set behind; of several draws, its seed."""
    if len(suite.forget) == 1:
        return folder
    several = len({one.seed for one in suite.forget}) > 1
    named = f"{forget.text}-seed-{forget.seed}" if several else forget.text
    behind = "".join(c if c.isalnum() else "-" for c in named)
    return folder.with_name(f"{folder.name}-{behind}")


def _plan(suite: Suite, recipe: Recipe, store: Store, data: Path | None) -> dict[str, Any]:
    """What the suite would train, how many unlearnings it would run, and what its audits could see."""
    splits = load(recipe.data, root=data)
    train, watch = splits.train, (splits.train, splits.holdout, splits.test)

    def fleet(rows: Rows, masks: Mask, role: str, *, weights: bool = False) -> dict[str, Any]:
        seeds = role_seeds(suite.seed, role, len(masks))
        return describe_fleet(recipe, rows, masks, seeds, watch, store, weights=weights)

    parts = {
        "originals": fleet(train, same_rows(train, np.arange(len(train)), suite.originals), "original", weights=True)
    }
    for forget_set in suite.forget:
        forget = checked_forget(as_many(forget_set).indices(train), len(train))
        retain = np.setdiff1d(np.arange(len(train)), forget)
        draw = f", seed {forget_set.seed}" if forget_set.seed else ""
        parts[f"gold, {forget_set.text}{draw}"] = fleet(
            train, same_rows(train, retain, suite.gold + suite.originals), "gold"
        )
        if suite.oracles:
            masks = same_rows(train, retain, suite.oracles)
            parts[f"gold to match, {forget_set.text}{draw}"] = fleet(train, masks, "gold to match", weights=True)
    if suite.subsets:
        masks = subset_masks(suite.subsets, len(train), share=suite.subset_share, seed=suite.seed)
        parts["subsets"] = fleet(train, masks, "subset")
    if suite.shadows:
        sampled = joined(train, splits.holdout)
        parts["shadows"] = fleet(sampled, shadow_plan(len(sampled), suite.shadows, seed=suite.seed)[0], "shadow")
    foresight = foresee_method(suite.policy, unlearned=suite.originals, gold=suite.gold, forget=len(forget))
    plan = describe_plan(parts, foresight)
    runs = suite.originals * len(suite.entries) * len(suite.forget)
    return {**plan, "unlearning_runs": runs, "sentence": f"{plan['sentence']}\nand up to {runs:,} unlearning runs"}
