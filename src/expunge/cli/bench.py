"""`expunge bench`: methods x forget sets x originals, one leaderboard a forget set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from expunge.audit.foresight import foresee_method
from expunge.bench.bench import run_suite
from expunge.bench.fleets import shadow_plan
from expunge.bench.result import check_classes
from expunge.bench.suite import Suite, load_suite, suites
from expunge.bench.summary import HEADINGS, summary
from expunge.cli.output import DryRun, Json, out, progress, show, table
from expunge.cli.plan import describe_fleet, describe_plan
from expunge.cli.results import free, named, present, shelf_at, spelled, workers
from expunge.data import Rows, joined, load
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
    chosen = load_suite(suite)
    recipe, shelf = find_recipe(chosen.recipe), shelf_at(store)
    check_classes(recipe)
    if dry_run:
        plan = _plan(chosen, recipe, shelf, data)
        show(plan) if as_json else out().print(plan["sentence"], markup=False, soft_wrap=True)
        return 0
    folder = named(out_folder or Path(f"bench-{chosen.name}"))
    for forget_set in chosen.forget:
        free(_place(folder, chosen, forget_set.text))
    elsewhere = None if device == "cpu" else device
    command = spelled("bench", suite, data=data, store=store, device=elsewhere, out=out_folder)
    found = []
    with workers(device, processes) as executor, progress() as bar:
        for result in run_suite(
            chosen, recipe, store=shelf, command=command, data=data, executor=executor, device=device, progress=bar
        ):
            present(result, _place(folder, chosen, result["problem"]["forget"]), as_json)
            found.append(result)
    if len(found) > 1 and not as_json:
        out().print(f"\nmeans over {len(found)} forget sets, with standard errors:", markup=False)
        table(list(HEADINGS), [_cells(line) for line in summary(found)])
    return 0


def _cells(line: dict[str, Any]) -> list[str]:
    """A line of the summary as text."""
    cells = []
    for heading in HEADINGS[1:]:
        one = line[heading]
        error = "" if not one or one["error"] is None else f" ± {one['error']:.3f}"
        cells.append("-" if one is None else f"{one['mean']:.3f}{error}")
    return [str(line["method"]), *cells]


def _place(folder: Path, suite: Suite, forget: str) -> Path:
    """The folder of one result: the one given, with the forget set behind where there are several."""
    if len(suite.forget) == 1:
        return folder
    behind = "".join(c if c.isalnum() else "-" for c in forget)
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
        forget = checked_forget(forget_set.indices(train), len(train))
        retain = np.setdiff1d(np.arange(len(train)), forget)
        parts[f"gold, {forget_set.text}"] = fleet(train, same_rows(train, retain, suite.gold + suite.originals), "gold")
    if suite.shadows:
        sampled = joined(train, splits.holdout)
        parts["shadows"] = fleet(sampled, shadow_plan(len(sampled), suite.shadows, seed=suite.seed)[0], "shadow")
    foresight = foresee_method(suite.policy, unlearned=suite.originals, gold=suite.gold, forget=len(forget))
    plan = describe_plan(parts, foresight)
    runs = suite.originals * len(suite.entries) * len(suite.forget)
    return {**plan, "unlearning_runs": runs, "sentence": f"{plan['sentence']}\nand up to {runs:,} unlearning runs"}
