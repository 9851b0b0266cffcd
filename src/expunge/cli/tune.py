"""`expunge tune`: a method's settings for a run's model, chosen without any gold model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from expunge.cli.output import DryRun, Json, out, progress, show, show_plan, table
from expunge.cli.results import shelf_at, spelled, workers
from expunge.data import ForgetSet
from expunge.methods import Method
from expunge.runs import open_run
from expunge.tuning import Trial, Tuning, plan
from expunge.tuning import tune as run_tuning
from expunge.tuning.rules import way

SHOWN = 10
"""Trials in the table; all of them are in the JSON."""
HOLDS = {True: "ok", False: "NO", None: "--"}
"""In front of a check."""
NOTHING = 3
"""Exit code where nothing was chosen."""


def tune(
    method: str,
    run: Path,
    *,
    rows: str,
    rows_seed: int = 0,
    trials: int = 24,
    twins: int = 3,
    seeds: int = 2,
    kind: str = "auto",
    objective: str = "auto",
    guard: float = 0.02,
    budget: float | None = None,
    seed: int = 0,
    data: Path | None = None,
    store: Path | None = None,
    processes: int | None = None,
    code: Path | None = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Choose a method's settings on twin problems, whose gold is the run's own model; exit code 3: nothing to choose.

    Args:
        method: A name from `expunge methods` that can be tuned, or auto: all of them under one budget.
        run: A folder made by `expunge train`.
        rows: Which rows are to be forgotten, as for `expunge forget`.
        rows_seed: Of the draw of forget rows.
        trials: Settings tried, of all methods together.
        twins: Twins to tune on; fewer where holdout rows run out.
        seeds: Runs of each setting that reaches the second round, on each twin.
        kind: finetune (the model is trained on), rewind (from half of its training on), fresh (a new one is
            trained), or auto: what did best on such rows.
        objective: twin, a rival that needs no twin (holdout, accuracy or close), or auto: what did best on such rows.
        guard: Accuracy on unseen rows that a setting may lose.
        budget: Most row visits of all trials, of all methods together, as a share of one retraining.
        seed: Of twins, draws and runs.
        data: Folder of the data sets; by default the environment variable EXPUNGE_DATA.
        store: Folder of finished twins and trials; by default EXPUNGE_STORE, or .expunge here.
        processes: Worker processes; by default one per core.
        code: Your own file that holds the model, where its recipe names one (the file is executed).
        dry_run: Say what would be run and what that costs beside one retraining, and do nothing.
        as_json: Every trial as plain data instead of a table.
    """
    forget_set = ForgetSet(rows, rows_seed)
    shelf = shelf_at(store)
    parent = open_run(run, data=data, code=code)
    rewound = way(objective, kind, forget_set.kind).kind == "rewind"
    problem = parent.problem(forget_set.indices(parent.splits.train), forget_set.kind, halfway=rewound)
    asked: dict[str, Any] = {"trials": trials, "twins": twins, "seeds": seeds, "kind": kind, "objective": objective}
    asked |= {"guard": guard, "budget": budget, "seed": seed, "store": shelf}
    if dry_run:
        return show_plan(plan(method, problem, **asked).to_json(), as_json)
    with workers("cpu", processes) as executor, progress() as bar:
        found = run_tuning(method, problem, **asked, executor=executor, progress=bar)
    if as_json:
        show(found.to_json())
    else:
        more = {"data": data, "store": store, "code": code}
        _print(found, run, rows, rows_seed, more)
    return 0 if found.method else NOTHING


def _print(found: Tuning, run: Path, rows: str, rows_seed: int, more: dict[str, Path | None]) -> None:
    console = out()
    headings = ["method", "settings", "objective", "forget", "check", "lost", "visits", "runs", ""]
    table(headings, [_line(trial) for trial in found.trials[:SHOWN]])
    nothing = [trial for trial in found.trials[SHOWN:] if trial.method == "no change"]
    table([""] * len(headings), [_line(trial) for trial in nothing])
    for one in found.checks:
        console.print(f"  {HOLDS[one.holds]}  {one.name}: {one.detail}", markup=False, soft_wrap=True)
    for text in (*found.warnings, *([found.why] if found.why else [])):
        console.print(f"  --  {text}", markup=False, soft_wrap=True)
    if found.twins:
        console.print(
            "  --  tuning read the rows to forget as retained data, and holdout rows that an audit counts as unseen",
            soft_wrap=True,
        )
    spent = (found.cost["twins"] + found.cost["trials"]) / found.cost["retraining"]
    console.print(f"\ncost: {spent:.1f} times the row visits of one retraining", markup=False)
    if found.method is None:
        console.print(f"nothing chosen: {found.reason}", markup=False, soft_wrap=True)
        return
    console.print(f"chosen: {found.reason}", markup=False, soft_wrap=True)
    console.print(f"next: {_command(found.method, run, rows, rows_seed, **more)}", markup=False, soft_wrap=True)


def _line(trial: Trial) -> list[str]:
    chosen = ", ".join(f"{name} {_short(value)}" for name, value in trial.settings.items())
    error = "" if trial.error != trial.error else f" ± {trial.error:.2g}"
    numbers = [f"{trial.value:.3g}{error}", f"{trial.forget:.3g}", f"{trial.check:.3g}", f"{trial.lost:.3f}"]
    return [trial.method, chosen, *numbers, f"{trial.visits:,.0f}", str(trial.runs), trial.dropped]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _command(method: Method, run: Path, rows: str, rows_seed: int = 0, **more: Path | None) -> str:
    """The `expunge forget` that takes the chosen settings; `more` are options of `tune` that it has too."""
    flags: list[str] = []
    for name in method.search:
        value = getattr(method, name)
        flag = name.replace("_", "-")
        if value == ():
            flags.append(f"--empty-{flag}")
            continue
        for one in value if isinstance(value, tuple) else (value,):
            flags += [f"--{flag}", str(one)]
    asked = {"rows": rows, "rows-seed": rows_seed or None, **more, "method": method.name()}
    return f"{spelled('forget', str(run), **asked)} {shlex.join([*flags, '-o', 'UNLEARNED'])}"
